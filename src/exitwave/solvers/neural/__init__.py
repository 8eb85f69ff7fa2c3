"""Solvers with a network inside. Importing this package registers them all."""

from exitwave.solvers.neural import autophasenn as autophasenn, ptychonn as ptychonn, ptychopinn as ptychopinn
