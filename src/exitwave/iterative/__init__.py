"""Iterative solvers, one algorithm family a file. Importing this package registers them all."""

from exitwave.iterative import phasing as phasing, pie as pie, starts as starts
