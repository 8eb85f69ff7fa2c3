"""The oracle for signs and axes, for all tests of this folder."""

from oracle import explain, oracle, truth

__all__ = ["explain", "oracle", "truth"]
