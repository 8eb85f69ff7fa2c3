"""Unknowns beyond object and probe, each improved from one look at all frames."""
