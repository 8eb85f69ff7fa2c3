"""A measurement of Bragg coherent diffraction imaging: one crystal, turned in small steps through a Bragg peak."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Self

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from exitwave.data.arrays import as_tensor
from exitwave.data.bragg_geometry import BraggGeometry, Matrix, Vector
from exitwave.data.errors import InputError
from exitwave.data.lengths import number
from exitwave.data.measurement import Measurement
from exitwave.data.patterns import SelectedPatterns


@dataclass(frozen=True, kw_only=True, eq=False)
class RockingCurve(Measurement):
    """The rocking curve of one crystal (3D Bragg CDI): frames are planes of the pattern around a Bragg peak, angle by angle.

    Raises InputError for shapes that do not fit together, and angles that are not numbers.
    """

    keeps_lie: ClassVar[str] = "the diffractometer says how rows and columns of the detector run (rows, columns)"

    angles_rad: Float[Tensor, " frame"]
    """Angle of the rocked circle in each frame, float64."""
    diffraction: BraggGeometry
    """How crystal and detector stood."""
    voxel_mask: Bool[Tensor, "frame y x"] | None = None
    """True where a voxel can be trusted, beside `mask`: for what is wrong in some frames only, such as alien scattering."""

    def __post_init__(self) -> None:
        super().__post_init__()
        angles = as_tensor(self.angles_rad, dtype=torch.float64).cpu()
        if tuple(angles.shape) != (len(self),) or not bool(angles.isfinite().all()):
            raise InputError(
                f"{len(self)} frames but {angles.numel()} angles, of which {int(angles.isfinite().sum())} are numbers; expected "
                "the angle of the rocked circle for each frame"
            )
        self._store("angles_rad", angles)
        if self.voxel_mask is not None:
            voxels = as_tensor(self.voxel_mask).to(torch.bool)
            if tuple(voxels.shape) != tuple(self.patterns.shape):
                raise InputError(f"voxel_mask has shape {tuple(voxels.shape)}; expected {tuple(self.patterns.shape)}")
            self._store("voxel_mask", voxels)

    @property
    def title(self) -> str:
        return f"a rocking curve of {len(self)} frames (3D Bragg CDI)"

    @property
    def layout(self) -> tuple[int, ...]:
        return self.patterns.shape

    @property
    def trusted(self) -> Bool[Tensor, "frame y x"]:
        """Voxels that count."""
        everywhere = self.mask.expand(*self.patterns.shape)
        return everywhere if self.voxel_mask is None else everywhere & self.voxel_mask

    @property
    def step_rad(self) -> float:
        """Angle from frame to frame: the slope of the line through all angles."""
        count = len(self)
        if count < 2:
            return 0.0
        return float(np.polyfit(np.arange(count), self.angles_rad.numpy(), 1)[0])

    @cached_property
    def posed(self) -> BraggGeometry:
        """The geometry with the rocked circle where it stands in the middle frame."""
        at, angles = self.diffraction.rocked_circle, list(self.diffraction.sample_angles_rad)
        angles[at] = float(self.angles_rad[len(self) // 2])
        return replace(self.diffraction, sample_angles_rad=tuple(angles))

    @property
    def scattering_vector(self) -> Vector:
        """Q (z, y, x) in the laboratory of the voxel in the middle, 1/m."""
        return self.posed.scattering_vector(self.geometry)

    @property
    def reciprocal_basis(self) -> Matrix:
        """Steps of Q per frame, row and column, 1/m: columns of the matrix; its rows are the laboratory's (z, y, x)."""
        return self.posed.reciprocal_basis(self.geometry, self.step_rad)

    @property
    def direct_basis_m(self) -> Matrix:
        """Steps in the laboratory (z, y, x) per voxel of the object along each axis of its array: columns of the matrix."""
        return self.posed.direct_basis_m(self.geometry, self.step_rad, self.patterns.shape)

    @property
    def object_pixel_m(self) -> tuple[float, ...]:
        """Length of a voxel's edge along each axis of the object's array; the axes are in general not at right angles."""
        return tuple(float(length) for length in np.linalg.norm(self.direct_basis_m, axis=0))

    def told(self) -> tuple[str, ...]:
        first, *rest = super().told()
        q = float(np.linalg.norm(self.scattering_vector))
        rocked = f"{self.diffraction.rocked} of {self.diffraction.diffractometer.name}"
        steps = f"{number(math.degrees(self.step_rad), 3)}° a frame, |Q| = {number(q * 1e-10, 4)} per Å"
        return (first, *rest, f"{rocked} rocked by {steps}")

    def some(self, kept: Int[Tensor, " kept"]) -> Self:
        monitor = None if self.monitor is None else self.monitor[kept]
        return replace(
            self,
            patterns=SelectedPatterns(self.patterns, kept),
            angles_rad=self.angles_rad[kept],
            monitor=monitor,
            voxel_mask=None if self.voxel_mask is None else self.voxel_mask[kept],
        )

    def reframed(
        self,
        look: Callable[..., Tensor],
        shape: tuple[int, int],
        *,
        trust: Callable[[Tensor], Tensor],
        middle_px: tuple[float, float],
        step_px: tuple[int, int] = (1, 1),
    ) -> Self:
        bare = replace(self, voxel_mask=None)
        made = super(RockingCurve, bare).reframed(look, shape, trust=trust, middle_px=middle_px, step_px=step_px)
        beam = self.diffraction.direct_beam_px
        at = ((beam[0] - middle_px[0]) / step_px[0], (beam[1] - middle_px[1]) / step_px[1])
        return replace(
            made,
            voxel_mask=None if self.voxel_mask is None else trust(self.voxel_mask),
            diffraction=replace(self.diffraction, direct_beam_px=at),
        )
