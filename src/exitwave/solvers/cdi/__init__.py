"""Phase retrieval of isolated objects (coherent diffraction imaging, CDI). Importing this package registers its solvers."""

from exitwave.solvers.cdi import multistart as multistart, phase_retrieval as phase_retrieval
