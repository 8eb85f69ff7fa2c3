"""The solvers made of other solvers. Importing this module registers them."""

from exitwave.solvers import chain as chain, ensemble as ensemble, refined as refined
