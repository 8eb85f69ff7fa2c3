"""Evaluation of an image: alignment, metrics under precise ids, resolution. Judges; never runs a solver."""
