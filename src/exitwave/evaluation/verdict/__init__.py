"""A verdict on an image without the truth: the evidence, one kind to a file, and the rules that grade it."""
