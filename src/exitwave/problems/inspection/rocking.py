"""What a scientist checks first in a rocking curve: peak, sampling of its fringes, saturation, aliens, what is missing."""

import math
from dataclasses import dataclass

import numpy as np

from exitwave.data.aliens import light_apart
from exitwave.data.errors import ExitwaveError
from exitwave.data.lengths import number
from exitwave.data.rocking_curve import RockingCurve
from exitwave.data.statistics import ScanStatistics
from exitwave.data.volume import oversampling, peak_voxel, volume
from exitwave.problems.bragg import check_rocking_curve
from exitwave.problems.inspection.figures import Inspection, Looked, figures, look, suspicions
from exitwave.problems.memory_estimate import OBJECTS, MemoryEstimate


@dataclass(frozen=True, kw_only=True)
class RockingInspection(Inspection):
    """The figures of a rocking curve; lengths in metres, voxels in the order (frame, row, column)."""

    rocked: str
    """Name of the circle that was turned."""
    peak: tuple[int, int, int]
    """The brightest voxel of the slightly blurred pattern."""
    peak_counts: float
    q_per_m: float
    """Length of the scattering vector of the peak."""
    spacing_m: float
    """Distance of the lattice planes, 2 pi / |Q|."""
    step_rad: float
    range_rad: float
    sampled: tuple[float, float, float]
    """Voxels per fringe along frames, rows and columns: the array over the crystal's size."""
    crystal_m: tuple[float, float, float]
    """Extent of the crystal along the axes of the object's array."""
    voxels: int
    untrusted_voxels: int
    lit_voxels: int
    aliens: int
    """Light of other crystals that is still there."""

    def told(self) -> tuple[str, ...]:
        first, photons, *doubts = super().told()
        sampled = " × ".join(number(s, 2) for s in self.sampled)
        return (
            first,
            f"{photons.partition(', oversampling')[0]}, oversampling {sampled}, {number(self.peak_counts)} counts in the peak",
            f"|Q| = {number(self.q_per_m * 1e-10, 4)} per Å, lattice planes {number(self.spacing_m * 1e10, 4)} Å apart",
            *doubts,
        )


@look.register
def _(curve: RockingCurve, seen: ScanStatistics) -> RockingInspection:
    counts, trusted, refusal = volume(curve), curve.trusted, ""
    peak, sampled, voxel_m = peak_voxel(counts, trusted), oversampling(counts, trusted), (0.0, 0.0, 0.0)
    try:
        check_rocking_curve(curve)
        first, second, third = curve.object_pixel_m
        voxel_m = first, second, third
    except ExitwaveError as error:
        refusal = str(error)
    sizes = [n / s * edge for n, s, edge in zip(counts.shape, sampled, voxel_m, strict=True)]
    q = float(np.linalg.norm(curve.scattering_vector))
    told = figures(curve, seen, Looked(curve.frame_shape, refusal=refusal), voxel_m)
    told |= {"oversampling": min(sampled), "memory": _memory(counts.numel()), "saturated_pixels": 0}
    return RockingInspection(
        **told,
        rocked=f"{curve.diffraction.rocked} of {curve.diffraction.diffractometer.name}",
        peak=peak,
        peak_counts=float(counts[peak]),
        q_per_m=q,
        spacing_m=2 * math.pi / q if q > 0 else math.inf,
        step_rad=curve.step_rad,
        range_rad=float(curve.angles_rad.max() - curve.angles_rad.min()),
        sampled=sampled,
        crystal_m=(sizes[0], sizes[1], sizes[2]),
        voxels=counts.numel(),
        untrusted_voxels=int((~trusted).sum()),
        lit_voxels=int((counts > 0).sum()),
        aliens=sum(each.alien for each in light_apart(counts, trusted, peak, sampled)),
    )


def _memory(voxels: int) -> MemoryEstimate:
    """Whole arrays are transformed at once; complex ones, and the amplitudes and their mask beside them."""
    return MemoryEstimate(working=8 * (OBJECTS + 2) * voxels, amplitudes=8 * voxels, waves=0)


@suspicions.register
def _(i: RockingInspection) -> list[str]:
    found: list[str] = []
    if i.particle == "photon" and not 1e3 < i.energy_ev < 5e4:
        found.append(
            f"photon energy {i.energy_ev:.4g} eV: unusual for Bragg diffraction; were keV or joules meant? --energy-ev"
        )
    known = {finding.name for finding in i.findings}
    if i.aliens and "aliens" not in known:
        found.append(f"{i.aliens} aliens (scattering of other crystals) are kept: --prepare mask_aliens")
    if i.peak_counts < 100:
        found.append(f"only {i.peak_counts:.3g} {i.particle}s in the peak: expect a coarse image; are these counts?")
    longest, shortest = max(i.crystal_m), min(i.crystal_m)
    if shortest > 0 and longest > 15 * shortest:
        found.append(
            f"the crystal would be {longest / shortest:.2g} times as long along one axis as along another: check the unit of the "
            "angles, --distance-m and --detector-pixel-m"
        )
    if not 0.5e-10 < i.spacing_m < 2e-9:
        found.append(
            f"lattice planes would be {i.spacing_m * 1e10:.3g} angstrom apart; expected 0.5 to 20: check the angles of the "
            "detector and the energy"
        )
    if min(i.sampled) > 4.5:
        wished = math.prod(3 / s for s in i.sampled)
        found.append(
            f"fringes are sampled {' x '.join(f'{s:.2g}' for s in i.sampled)} times, 3 would do in {100 * wished:.2g} % of the "
            "time: --prepare resample=3"
        )
    return found
