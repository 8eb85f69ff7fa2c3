"""3D Bragg coherent diffraction imaging as a problem: the rocking curve of one crystal, phased in three dimensions."""

import hashlib
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from exitwave.data.checks import check_counts
from exitwave.data.errors import InputError
from exitwave.data.estimate import BraggEstimate, Estimate, SupportEstimate
from exitwave.data.measurement import Measurement
from exitwave.data.rocking_curve import RockingCurve
from exitwave.data.statistics import scan_statistics
from exitwave.problems.cdi import SupportProblem
from exitwave.problems.mirror_symmetry import NOT_SYMMETRIC, MirrorSymmetry
from exitwave.problems.stated_support import stated_support

FEWEST_FRAMES = 8
"""Fewer angles show no third dimension."""


@dataclass(frozen=True, kw_only=True, eq=False)
class BraggProblem(SupportProblem):
    """A rocking curve put to solvers (3D Bragg CDI): the pattern of a crystal on three axes, frame (angle), row and column.

    The crystal is zero outside a support that is found with it. Made by `exitwave.pose`.
    """

    title: ClassVar[str] = "the rocking curve of a crystal"
    measures: ClassVar[type[Measurement]] = RockingCurve
    # It costs a crystal nothing that can be measured, and tells a bad start and a support that is too large.
    holds_out: ClassVar[bool] = True

    pattern: RockingCurve

    @staticmethod
    def symmetry_of(counts: Float[Tensor, "*axes"], mask: Bool[Tensor, "*axes"]) -> MirrorSymmetry:
        """A crystal without strain is real, but hardly any is; nothing is taken from the opposite side of the peak."""
        return NOT_SYMMETRIC

    def estimate(self, obj: Complex[Tensor, "*axes"], support: Bool[Tensor, "*axes"]) -> BraggEstimate:
        """An estimate in the beam of this rocking curve, in its pose."""
        return BraggEstimate(
            object=obj,
            support=support,
            beam_photons=torch.tensor(self.beam_photons, dtype=torch.float64, device=self.device),
            basis_m=torch.tensor(self.pattern.direct_basis_m, device=self.device),
            scattering_vector=torch.tensor(self.pattern.scattering_vector, device=self.device),
        )

    def started(self, start: Estimate) -> SupportEstimate:
        return super().started(self.require(start, BraggEstimate))

    def misfits(
        self, x: SupportEstimate, *, held_out: bool = False
    ) -> tuple[Float[Tensor, " frame"], Float[Tensor, " frame"]]:
        voxels = self.held_out.to(torch.float32) if held_out else self.trusted
        wave = x.object.to(self.device) * (x.beam_photons / self.beam_photons).sqrt().to(self.device, torch.float32)
        deviation = (self.seen(wave, self.blur_of(x)) - self.amplitudes).square()
        misfit, power = (
            torch.fft.fftshift((squares * voxels).sum(dim=(1, 2))).cpu()
            for squares in (deviation, self.amplitudes.square())
        )
        return misfit, power

    def fingerprint(self) -> str:
        digest = hashlib.sha256(repr((self.geometry, self.pattern.diffraction)).encode())
        for array in (
            self.pattern.angles_rad.numpy(),
            np.array([self.photons], np.float32),
            np.packbits(self.trusted.cpu().numpy() > 0),
        ):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]


def rocking_problem(
    curve: RockingCurve,
    *,
    seed: int = 0,
    device: torch.device | str = "cpu",
    free_fraction: float = 0.0,
    support: str | None = None,
    blur_px: float = 0.0,
) -> BraggProblem:
    """Check a rocking curve and pose it; `free_fraction` of its voxels, in small islands, is held out.

    `support` is what `stated_support` takes. Raises InputError where it cannot be phased.
    """
    check_rocking_curve(curve)
    known_support = stated_support(support, curve.patterns.shape, curve.object_pixel_m) if support else None
    frames: list[Tensor] = []
    # Far from the peak a frame may well hold no photon.
    check_counts(scan_statistics(curve, also=lambda _, read: frames.append(read)))
    return BraggProblem.from_intensity(
        curve,
        torch.cat(frames),
        curve.trusted,
        seed=seed,
        device=device,
        free_fraction=free_fraction,
        support=known_support,
        blur_px=blur_px,
    )


def check_rocking_curve(curve: RockingCurve) -> None:
    """What can be refused of a rocking curve before it is read."""
    if len(curve) < FEWEST_FRAMES:
        raise InputError(
            f"a rocking curve of {len(curve)} frames; expected at least {FEWEST_FRAMES} angles across the Bragg peak, 60 to 200 "
            "are usual"
        )
    if not bool(curve.trusted.any()):
        raise InputError("the mask trusts no voxel at all; masks are True where the detector is good: invert it")
    if not float(curve.angles_rad.max() - curve.angles_rad.min()) > 1e-9:
        raise InputError("all frames have the same angle; expected the angle of the rocked circle in each")
    # Raises where the three steps of Q lie in a plane.
    _ = curve.direct_basis_m
