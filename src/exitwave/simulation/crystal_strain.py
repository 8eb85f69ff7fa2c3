"""How the lattice of a made crystal is displaced: bending, smooth random fields, relaxed surfaces, dislocations.

Everything here is phase, -Q . u in radians, and lengths are shares of the crystal's radius.
"""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from jaxtyping import Float

Array = np.ndarray
WAVES = 10
"""Plane waves whose sum is a smooth random field."""
WAVELENGTHS = (1.3, 5.0)
"""Shortest and longest of them."""
DEPTHS = (0.1, 0.4)
"""How deep a relaxed surface reaches: where it has fallen to 1/e."""
POISSON_RATIO = 0.42
"""Of gold."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SmoothField:
    """A sum of plane waves of random directions, lengths, weights and phases."""

    wave_vectors: Float[Array, "wave 3"]
    phases_rad: Float[Array, " wave"]
    weights: Float[Array, " wave"]

    @classmethod
    def drawn(cls, generator: np.random.Generator) -> Self:
        ways = generator.standard_normal((WAVES, 3))
        lengths = generator.uniform(*WAVELENGTHS, WAVES)
        return cls(
            wave_vectors=ways / np.linalg.norm(ways, axis=1, keepdims=True) * (2 * math.pi / lengths[:, None]),
            phases_rad=generator.uniform(0, 2 * math.pi, WAVES),
            # Longer waves are stronger, as of a field with a power law.
            weights=generator.standard_normal(WAVES) * lengths,
        )

    def at(self, places: Float[Array, "3 voxel"]) -> Float[Array, " voxel"]:
        """Its value at places (z, y, x), of no particular scale."""
        turns = self.wave_vectors.astype(places.dtype) @ places + self.phases_rad.astype(places.dtype)[:, None]
        return self.weights.astype(places.dtype) @ np.cos(turns)


@dataclass(frozen=True, kw_only=True, eq=False)
class Dislocation:
    """A straight dislocation in an endless isotropic medium. Hirth & Lothe, Theory of Dislocations, eq. (3-3) and (3-45)."""

    point: Float[Array, "3"]
    axes: Float[Array, "2 3"]
    """Unit vectors across the line: of an edge the Burgers vector and the normal of its slip plane, of a screw any two."""
    turns: int
    """Q . b / 2 pi, about the line: the phase winds by 2 pi times this."""
    edge: bool
    tilt: float = 0.0
    """Of an edge: Q along the normal over Q along the Burgers vector."""

    def phase(self, places: Float[Array, "3 voxel"]) -> Float[Array, " voxel"]:
        """-Q . u."""
        x, y = self._across(places)
        angle = np.arctan2(y, x)
        if not self.edge:
            return -self.turns * angle
        square = np.maximum(x**2 + y**2, 1e-6)
        room = 4 * (1 - POISSON_RATIO)
        along = angle + 2 * x * y / square / room
        upwards = -((1 - 2 * POISSON_RATIO) * np.log(square) + (x**2 - y**2) / square) / room
        return -self.turns * (along + self.tilt * upwards)

    def core(self, places: Float[Array, "3 voxel"], radius: float) -> Float[Array, " voxel"]:
        """Amplitude about the line, where all phases meet within a voxel: 0 on it, 1 some `radius` away."""
        x, y = self._across(places)
        square = x**2 + y**2
        return np.sqrt(square / (square + radius**2))

    def _across(self, places: Float[Array, "3 voxel"]) -> Float[Array, "2 voxel"]:
        axes = self.axes.astype(places.dtype)
        return axes @ places - (axes @ self.point.astype(places.dtype))[:, None]


@dataclass(frozen=True, kw_only=True, eq=False)
class Strain:
    """The displacement of one crystal, before its scale is chosen."""

    bending: Float[Array, "3 3"]
    """Symmetric: strain that changes linearly over the crystal, from compression to tension, or as shear that bends or twists it."""
    smooth: SmoothField
    relaxed: Float[Array, " facet"]
    """Phase at the middle of each facet: its displacement along the normal, seen along Q."""
    depth: float
    shares: tuple[float, float, float]
    """Of bending, smooth field and relaxed surfaces."""
    dislocations: tuple[Dislocation, ...] = ()

    @classmethod
    def drawn(
        cls,
        normals: Float[Array, "facet 3"],
        along_q: Float[Array, "3"],
        shares: tuple[float, float, float],
        generator: np.random.Generator,
    ) -> Self:
        """Each share is at most what is asked for."""
        half = generator.standard_normal((3, 3))
        # One sign: surfaces of a metal all go inwards, or all outwards where something holds on to them.
        surface = generator.choice((-1.0, 1.0)) * generator.uniform(0.5, 1.0, len(normals))
        first, second, third = (share * generator.uniform() for share in shares)
        return cls(
            bending=half + half.T,
            smooth=SmoothField.drawn(generator),
            relaxed=surface * (normals @ along_q),
            depth=generator.uniform(*DEPTHS),
            shares=(first, second, third),
        )

    def phase(
        self,
        places: Float[Array, "3 voxel"],
        depths: Float[Array, "facet voxel"],
        density: Float[Array, " voxel"],
        span_rad: float,
    ) -> Float[Array, " voxel"]:
        """Phase of each voxel, its plane and mean removed; without dislocations it spans `span_rad` where density is over a half."""
        inside = density > 0.5
        fields = (
            lambda: ((self.bending.astype(places.dtype) @ places) * places).sum(axis=0),
            lambda: self.smooth.at(places),
            lambda: self.relaxed.astype(places.dtype) @ np.exp(np.minimum(-depths / self.depth, 0.0)),
        )
        total = np.zeros_like(density)
        for share, field in zip(self.shares, fields, strict=True):
            if share and span_rad:
                values = levelled(field(), places, density)
                total += share * values / max(float(np.ptp(values[inside])), 1e-6)
        total *= span_rad / max(float(np.ptp(total[inside])), 1e-6)
        for dislocation in self.dislocations:
            total += levelled(dislocation.phase(places), places, density)
        return total


def levelled(
    phase: Float[Array, " voxel"], places: Float[Array, "3 voxel"], density: Float[Array, " voxel"]
) -> Float[Array, " voxel"]:
    """Less the plane that fits best, weighted by density: it only moves the peak, as any affine strain (a lattice parameter, a tilt)."""
    plane = np.vstack([np.ones_like(density), places])
    weighted = plane * density
    return (
        phase - np.linalg.solve((weighted @ plane.T).astype(np.float64), weighted @ phase).astype(phase.dtype) @ plane
    )
