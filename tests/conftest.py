"""Shapes and types of annotated functions are checked while tests run; production code does not pay for it."""

import os
from pathlib import Path

# Two threads that spin against each other on a busy machine cost more than they give.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from jaxtyping import install_import_hook

SOURCE = Path(__file__).parents[1] / "src" / "exitwave"
# Not data.scan: a Scan takes plain arrays and None where its fields then hold more, and checks them itself.
CHECKED = [
    "exitwave.data.estimate",
    "exitwave.data.geometry",
    "exitwave.data.prepare",
    "exitwave.data.statistics",
    "exitwave.data.checks",
    # Module by module: kernels.cpu must not be touched, its functions are compiled.
    *(f"exitwave.physics.{name.stem}" for name in (SOURCE / "physics").glob("*.py")),
    "exitwave.physics.crystal",
    "exitwave.physics.kernels.reference",
    "exitwave.physics.kernels.dispatch",
    "exitwave.problems",
    "exitwave.networks",
    *(f"exitwave.solvers.{name.stem}" for name in (SOURCE / "solvers").glob("*.py")),
    "exitwave.solvers.ptychography",
    "exitwave.solvers.cdi",
    # Not those whose tests hand in what they must refuse, or a stand-in for a network.
    *(
        f"exitwave.solvers.neural.{name.stem}"
        for name in (SOURCE / "solvers/neural").glob("*.py")
        if name.stem != "prediction"
    ),
    *(f"exitwave.evaluation.{name}" for name in ("evaluate", "metrics", "region", "comparison", "gauge", "cdi")),
    *(f"exitwave.evaluation.{name}" for name in ("crystals", "crystal_alignment", "shells")),
]
install_import_hook(CHECKED, "runtime_types.checked")
