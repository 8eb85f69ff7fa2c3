"""Iterative solvers, one algorithm family a file. Importing this package registers them all."""

from exitwave.iterative import (
    gradient as gradient,
    lbfgs as lbfgs,
    local as local,
    lsqml as lsqml,
    phasing as phasing,
    pie as pie,
    projections as projections,
    proximal as proximal,
    refined as refined,
    second_order as second_order,
    starts as starts,
    wasp as wasp,
    wirtinger as wirtinger,
)
