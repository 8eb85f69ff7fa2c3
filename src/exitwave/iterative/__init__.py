"""Iterative solvers, one algorithm family a file. Importing this package registers them all."""

from exitwave.iterative import pie as pie
