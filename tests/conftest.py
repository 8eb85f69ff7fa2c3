"""Shapes and types of annotated functions are checked while tests run; production code does not pay for it."""

import os

# Two threads that spin against each other on a busy machine cost more than they give.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from jaxtyping import install_import_hook

# Not data.scan: a Scan takes plain arrays and None where its fields then hold more, and checks them itself.
CHECKED = [
    "exitwave.data.estimate",
    "exitwave.data.geometry",
    "exitwave.data.prepare",
    "exitwave.data.survey",
    "exitwave.physics",
    "exitwave.solver",
    "exitwave.iterative",
]
install_import_hook(CHECKED, "runtime_types.checked")
