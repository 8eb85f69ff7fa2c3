"""Solvers with a network inside. Importing this package registers them all."""

from exitwave.neural import ptychonn as ptychonn, ptychopinn as ptychopinn
