"""Reconstruction while frames arrive."""
