"""How good an image is: alignment, metrics under precise ids, resolution. Judges; never runs a solver."""
