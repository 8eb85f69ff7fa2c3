"""Shapes and types of annotated functions are checked while tests run; production code does not pay for it."""

import os

# Two threads that spin against each other on a busy machine cost more than they give.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from jaxtyping import install_import_hook

install_import_hook(
    ["exitwave.data", "exitwave.physics", "exitwave.solver", "exitwave.iterative"], "runtime_types.checked"
)
