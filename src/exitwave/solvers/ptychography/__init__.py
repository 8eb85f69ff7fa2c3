"""Iterative ptychography, one algorithm family a file. Importing this package registers its solvers."""

from exitwave.solvers.ptychography import (
    adam as adam,
    lbfgs as lbfgs,
    local as local,
    lsqml as lsqml,
    pie as pie,
    projections as projections,
    proximal as proximal,
    quasi_newton as quasi_newton,
    wasp as wasp,
    wirtinger as wirtinger,
)
