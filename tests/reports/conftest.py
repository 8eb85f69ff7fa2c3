"""Results made by formula: quick, and known to the last digit."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from exitwave.data.estimate import PtychoEstimate
from exitwave.data.geometry import Geometry
from exitwave.data.result import Result

MakeResult = Callable[..., Result]


def made_result(
    *, modes: int = 1, slices: int = 1, frame_px: int = 32, side: int = 6, step_px: float = 6.0, squeeze: float = 1.0
) -> Result:
    """A smooth object under a Gaussian probe; detector pixels `squeeze` times taller than wide."""
    size = int(frame_px + (side - 1) * step_px + 9)
    y, x = np.mgrid[:size, :size] / size
    phase = np.stack([np.sin(5 * y + layer) * np.cos(4 * x) for layer in range(slices)])
    amplitude = 0.8 + 0.1 * np.cos(7 * x * y)
    ruler = np.arange(frame_px) - frame_px // 2
    gauss = np.exp(-(ruler[:, None] ** 2 + ruler[None, :] ** 2) / (frame_px / 4) ** 2)
    probe = np.stack([30.0 * gauss * (ruler[:, None] / 4) ** mode / (mode + 1) for mode in range(modes)])
    grid = torch.stack(torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij"), dim=-1)
    positions = grid.reshape(-1, 2).double() * step_px + 4
    geometry = Geometry.from_energy(8000.0, 2.0, (75e-6 * squeeze, 75e-6))
    return Result(
        estimate=PtychoEstimate(
            object=torch.from_numpy(amplitude * np.exp(1j * phase)).to(torch.complex64),
            probe=torch.from_numpy(probe).to(torch.complex64),
            positions_px=positions,
        ),
        geometry=geometry,
        object_pixel_m=geometry.object_pixel_m((frame_px, frame_px)),
        spec={"name": "rpie", "epochs": 20, "alpha": 0.1},
        history=tuple(0.1 * 0.5**epoch + 0.003 for epoch in range(20)),
        residual=0.0042,
        frame_residual=torch.linspace(0.001, 0.008, side * side),
        provenance={"scan": {"file": "runs/gold_balls.cxi"}, "epochs": 20, "seconds": 12.5, "ending": "finished"},
    )


@pytest.fixture
def make_result() -> MakeResult:
    return made_result
