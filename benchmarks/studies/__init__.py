"""The studies of `benchmarks/iterative.py`, one to a file; each has `run` and says in its docstring what it measures."""
