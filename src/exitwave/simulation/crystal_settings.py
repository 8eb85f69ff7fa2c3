"""What made crystals are like: shapes, sampling, strain; as ranges of which each crystal draws its own."""

import math
from dataclasses import dataclass

from exitwave.data.errors import InputError

FEWEST_FACETS, MOST_FACETS = 4, 26


def _range(name: str, values: tuple[float, float], least: float, most: float) -> None:
    low, high = values
    if not (least <= low <= high <= most):
        told = f"{low:g}" if low == high else f"{low:g} to {high:g}"
        raise InputError(f"{name} is {told}; expected from {least:g} to {most:g}, the smaller one first")


@dataclass(frozen=True, kw_only=True)
class CrystalSettings:
    """What made crystals are like; of each pair of numbers one between them is drawn. Raises InputError for what cannot be.

    The default is close to the crystals on which AutoPhaseNN was trained: Yao et al., npj Comput. Mater. 8, 124 (2022).
    """

    facets: tuple[int, int] = (4, 20)
    """Planes {111}, {100}, {110} that cut the crystal."""
    oversampling: tuple[float, float] = (2.7, 3.5)
    """Frame over crystal along each axis, drawn for each by itself."""
    phase_span_rad: tuple[float, float] = (0.0, 2 * math.pi)
    """Largest less smallest phase in the crystal, without dislocations, without the plane that fits best. What voxels see of it
    differs by some 15 %, as they meet sharp corners or not."""
    bending: float = 1.0
    """Largest share of strain that changes linearly over the crystal (compression to tension, shear)."""
    smooth: float = 1.0
    """Largest share of a smooth random field."""
    surface: float = 1.0
    """Largest share of relaxed surfaces, which decays from the facets."""
    dislocations: tuple[int, int] = (0, 0)
    """Straight dislocations, screw or edge, that this reflection shows; each winds the phase by 2 pi."""
    density_variation: float = 0.1
    """Largest drop of the density inside."""
    edge_px: float = 1.0
    """Width of a face, voxels."""
    least_amplitude: float = 0.1
    """Below this share of the largest the amplitude is zero."""
    reflection: tuple[int, int, int] = (1, 1, 1)
    """Miller indices of the Bragg peak."""

    def __post_init__(self) -> None:
        _range("facets", self.facets, FEWEST_FACETS, MOST_FACETS)
        _range("oversampling", self.oversampling, 1.0, math.inf)
        _range("phase_span_rad", self.phase_span_rad, 0.0, math.inf)
        _range("dislocations", self.dislocations, 0, 100)
        single = {"bending": 1e6, "smooth": 1e6, "surface": 1e6, "density_variation": 1.0, "least_amplitude": 1.0}
        for name, most in single.items():
            value = getattr(self, name)
            _range(name, (value, value), 0.0, most)
        _range("edge_px", (self.edge_px, self.edge_px), 0.1, 10.0)
        if not any(self.reflection) or len({index % 2 for index in self.reflection}) > 1:
            raise InputError(
                f"the reflection {self.reflection} is none of an fcc crystal; expected indices all odd or all even, such as 1 1 1"
            )


TRAINING = CrystalSettings()
"""For training networks."""
SHIFTED = CrystalSettings(
    facets=(8, 26),
    oversampling=(3.6, 4.5),
    phase_span_rad=(math.pi, 3 * math.pi),
    density_variation=0.4,
    edge_px=2.0,
)
"""Crystals of another kind, for fine-tuning: smaller, rounder, softer, uneven, more strained."""
