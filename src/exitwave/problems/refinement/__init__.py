"""Refinement of unknowns beyond object and probe, each improved from one pass over all frames."""
