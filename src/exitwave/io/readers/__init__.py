"""Formats of other programs and facilities, one to a file."""
