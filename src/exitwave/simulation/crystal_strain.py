"""How the lattice of a made crystal is displaced: bending, smooth random fields, relaxed surfaces, dislocations.

Everything here is phase, -Q . u in radians, and lengths are shares of the crystal's radius.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
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
    """The displacement of one crystal as a function of place."""

    bending: Float[Array, "3 3"]
    """Symmetric: strain that changes linearly over the crystal, from compression to tension, or as shear that bends or twists it."""
    smooth: SmoothField
    relaxed: Float[Array, " facet"]
    """Of the middle of each facet: its displacement along the normal, seen along Q."""
    depth: float
    weights: tuple[float, float, float]
    """Factors on bending, smooth field and relaxed surfaces."""
    dislocations: tuple[Dislocation, ...] = ()
    plane: Float[Array, "4"] = field(default_factory=lambda: np.zeros(4))
    """A constant and a slope (z, y, x) that are taken away."""

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
            weights=(first, second, third),
        )

    def scaled(self, places: Float[Array, "3 place"], depths: Float[Array, "facet place"], span_rad: float) -> "Strain":
        """The same, so that without dislocations the phase at places in the crystal spans so much; its plane and mean are taken away.

        A plane only moves the peak, as any affine strain does: a lattice parameter, a tilt.
        """
        parts = [_span(_levelled(part, places)) for part in self._parts(places, depths)]
        weights = np.divide(self.weights, parts, out=np.zeros(3), where=np.array(parts) > 0)
        mixed = replace(self, weights=tuple(weights.tolist()), dislocations=(), plane=np.zeros(4))
        spanned = _span(_levelled(mixed.phase(places, depths), places))
        first, second, third = (weights * (span_rad / spanned if spanned else 0.0)).tolist()
        chosen = replace(mixed, weights=(first, second, third), dislocations=self.dislocations)
        return replace(chosen, plane=_plane(chosen.phase(places, depths), places))

    def phase(self, places: Float[Array, "3 place"], depths: Float[Array, "facet place"]) -> Float[Array, " place"]:
        """-Q . u at places that lie so deep below each facet."""
        total = -(self.plane[0] + self.plane[1:].astype(places.dtype) @ places)
        for weight, part in zip(self.weights, self._parts(places, depths), strict=True):
            total += weight * part
        for dislocation in self.dislocations:
            total += dislocation.phase(places)
        return total

    def _parts(
        self, places: Float[Array, "3 place"], depths: Float[Array, "facet place"]
    ) -> Iterator[Float[Array, " place"]]:
        """Bending, smooth field, relaxed surfaces; zero where they have no weight."""
        parts = (
            lambda: ((self.bending.astype(places.dtype) @ places) * places).sum(axis=0),
            lambda: self.smooth.at(places),
            lambda: self.relaxed.astype(places.dtype) @ np.exp(np.minimum(-depths / self.depth, 0.0)),
        )
        for weight, part in zip(self.weights, parts, strict=True):
            yield part() if weight else np.zeros(places.shape[1], places.dtype)


def _plane(phase: Float[Array, " place"], places: Float[Array, "3 place"]) -> Float[Array, "4"]:
    """Constant and slope of the plane that fits best."""
    design = np.vstack([np.ones(places.shape[1]), places]).astype(np.float64)
    return np.linalg.solve(design @ design.T, design @ phase)


def _levelled(phase: Float[Array, " place"], places: Float[Array, "3 place"]) -> Float[Array, " place"]:
    plane = _plane(phase, places)
    return phase - plane[0] - plane[1:] @ places


def _span(phase: Float[Array, " place"]) -> float:
    """0 where it is but rounding."""
    span = float(np.ptp(phase))
    return span if span > 1e-6 else 0.0
