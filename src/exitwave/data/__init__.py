"""Measurements, estimates and results: frozen values, no files, no physics."""
