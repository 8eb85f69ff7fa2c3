"""Posing problems, running solvers and training: the drivers."""
