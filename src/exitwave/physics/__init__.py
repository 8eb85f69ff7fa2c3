"""Optics: interaction, propagation, detection; pure functions and forward models."""
