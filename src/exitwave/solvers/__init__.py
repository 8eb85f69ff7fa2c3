"""Solvers: what they are, how they combine, and the families of methods."""
