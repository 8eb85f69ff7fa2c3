"""How large a crystal is, and how sure that is."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from exitwave.data.errors import InputError
from exitwave.data.laboratory_crystal import LaboratoryCrystal
from exitwave.data.lengths import length, number
from exitwave.data.showing import Told
from exitwave.physics.crystal.laboratory import crystal_in_laboratory
from exitwave.physics.crystal.levelled import GivenCrystal, bulk_amplitude

LEVELS = (0.3, 0.5, 0.7)
"""Amplitudes, as shares of that of the bulk, at which the surface may be drawn; the one in the middle is meant."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CrystalSize(Told):
    """Size of a crystal where its amplitude falls to half of that of its bulk; each spread is half of what values range over
    other levels of amplitude, and several reconstructions where given."""

    extents_m: tuple[float, float, float]
    """(z, y, x) in the laboratory, from face to face."""
    extents_spread_m: tuple[float, float, float]
    along_q_m: float
    along_q_spread_m: float
    volume_m3: float
    volume_spread_m3: float

    @property
    def diameter_m(self) -> float:
        """Of the sphere of this volume."""
        return (6 * self.volume_m3 / math.pi) ** (1 / 3)

    @property
    def diameter_spread_m(self) -> float:
        """A third of the volume's relative spread."""
        return self.diameter_m * self.volume_spread_m3 / (3 * self.volume_m3)

    def told(self) -> tuple[str, ...]:
        sides = zip(self.extents_m, self.extents_spread_m, strict=True)
        return (
            f"{' × '.join(f'{number(s * 1e9)} ± {number(d * 1e9, 2)}' for s, d in sides)} nm (z × y × x)",
            f"{number(self.along_q_m * 1e9)} ± {number(self.along_q_spread_m * 1e9, 2)} nm along Q",
            f"volume of a sphere of {length(self.diameter_m)} ± {length(self.diameter_spread_m, 2)} diameter",
        )


def crystal_size(
    crystals: LaboratoryCrystal | GivenCrystal | Sequence[LaboratoryCrystal | GivenCrystal],
) -> CrystalSize:
    """Size of a crystal along the laboratory's axes and along Q, and its volume, in metres with their spread.

    Give several reconstructions of one crystal to have their differences in the spread. Raises InputError for none.
    """
    given = list(crystals) if isinstance(crystals, Sequence) else [crystals]
    if not given:
        raise InputError("no crystal to measure; give at least one reconstruction")
    grids = [each if isinstance(each, LaboratoryCrystal) else crystal_in_laboratory(each) for each in given]
    values = np.array([[_measured(grid, level) for level in LEVELS] for grid in grids])
    middle = values[:, LEVELS.index(0.5)].mean(axis=0)
    spread = np.ptp(values, axis=(0, 1)) / 2
    z, y, x, along, volume = middle.tolist()
    dz, dy, dx, dalong, dvolume = spread.tolist()
    return CrystalSize(
        extents_m=(z, y, x),
        extents_spread_m=(dz, dy, dx),
        along_q_m=along,
        along_q_spread_m=dalong,
        volume_m3=volume,
        volume_spread_m3=dvolume,
    )


def _measured(crystal: LaboratoryCrystal, level: float) -> tuple[float, ...]:
    """Extents along z, y, x and Q, and the volume, of what is brighter than a share of the bulk."""
    amplitude = crystal.amplitude
    threshold = level * bulk_amplitude(amplitude)
    there = _largest(amplitude > threshold)
    surface = _surface(amplitude, there, threshold)
    along = surface @ np.column_stack([np.eye(3), crystal.q_direction])
    sides = np.ptp(along, axis=0) * crystal.voxel_m
    return *sides.tolist(), float(np.count_nonzero(there)) * crystal.voxel_m**3


def _surface(
    amplitude: Float[np.ndarray, "z y x"], there: Bool[np.ndarray, "z y x"], threshold: float
) -> Float[np.ndarray, "place 3"]:
    """Where the amplitude passes a threshold at the rim of a region, voxels: interpolated between neighbours along each axis."""
    places: list[np.ndarray] = []
    roomy, inside = np.pad(amplitude, 1), np.pad(there, 1)
    for axis in range(3):
        for toward in (1, -1):
            rim = np.argwhere(inside & ~np.roll(inside, -toward, axis))
            step = toward * np.eye(3, dtype=np.int64)[axis]
            near, far = roomy[tuple(rim.T)], roomy[tuple((rim + step).T)]
            part = (near - threshold) / np.maximum(near - far, 1e-30)
            places.append(rim + np.clip(part, 0, 1)[:, None] * step)
    return np.concatenate(places)


def _largest(region: Bool[np.ndarray, "z y x"]) -> Bool[np.ndarray, "z y x"]:
    """The largest connected part of a region, so that a stray voxel does not count."""
    parts, _ = ndimage.label(region)  # pyright: ignore[reportGeneralTypeIssues]
    return parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
