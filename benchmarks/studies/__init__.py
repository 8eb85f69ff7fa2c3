"""The studies, one to a file; the docstring of each says what it measures, the options of `run` what can be asked for.

`run` returns the rows of one table, or yields parts (name, what it measures, rows), which the runner writes down; it
returns None where it keeps its own record.
"""
