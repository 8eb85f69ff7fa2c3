"""Solvers with a network inside. Importing this package registers them all."""

from exitwave.solvers.neural import ptychonn as ptychonn, ptychopinn as ptychopinn
