"""Dislocations: lines about which the phase of a crystal turns by whole circles, found from single plaquettes."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex, Float, Int
from scipy import ndimage

from exitwave.physics.crystal.levelled import GivenCrystal, levelled_crystal
from exitwave.physics.crystal.phase import Crystal, Region

CORE_VOXELS = 2
"""A dislocation's core is dark, so that a support may have a channel there: one narrower than twice this is looked into, too."""
SHORTEST = 4
"""Plaquettes in a row; what is shorter is noise."""


@dataclass(frozen=True, kw_only=True, eq=False)
class DislocationLine:
    """A line in a crystal about which the displacement of the lattice does not close."""

    places_m: Float[np.ndarray, "place 3"]
    """Middles of the plaquettes that it pierces (z, y, x) in the laboratory, from the middle of the array."""
    voxels: Float[np.ndarray, "place 3"]
    """The same in voxels of the array, counted from its first."""
    turns: int
    """|Q . b| / 2 pi of the Burgers vector b: whole lattice planes that a circuit about the line is short of."""


def dislocations(estimate: GivenCrystal) -> list[DislocationLine]:
    """Lines in a crystal about which the phase turns by 2 pi n, the longest first; empty where there is none.

    Only dislocations whose Burgers vector has a part along Q show. Clark et al., Nat. Mater. 14, 780 (2015).
    """
    crystal = levelled_crystal(estimate)
    # In an empty core the phase is that of what is around it.
    around = ndimage.gaussian_filter(crystal.object, 1.0)
    turns = phase_turns(np.where(crystal.region, crystal.object, around), _with_cores(crystal.region))
    found = np.nonzero(turns)
    along = np.eye(3)[found[0]]
    # The middle of a plaquette lies half a voxel on along both axes that span it.
    places = np.stack(found[1:], axis=1) + 0.5 * (1 - along)
    parts, count = ndimage.label(_drawn(places, along, crystal.object.shape))  # pyright: ignore[reportGeneralTypeIssues]
    of_part = parts[_finer(places)]
    lines: list[DislocationLine] = []
    for part in range(1, count + 1):
        own = of_part == part
        if np.count_nonzero(own) >= SHORTEST:
            at = (places[own] - np.array(crystal.object.shape) // 2) @ crystal.basis_m.T
            pierced = _most_pierced(turns[found][own], found[0][own], places[own])
            lines.append(DislocationLine(places_m=at, voxels=places[own], turns=pierced))
    return sorted(lines, key=lambda line: -len(line.voxels))


def phase_turns(crystal: Crystal, region: Region) -> Int[np.ndarray, "3 frame y x"]:
    """Turns of the phase about every plaquette, by the axis square to it: circles counter-clockwise, mostly 0.

    Entry [j, n] goes from voxel n one step along axis j + 1, then one along j + 2 (of 3), and back; zero where a corner lies
    outside the region. Nye & Berry, Proc. R. Soc. A 336, 165 (1974).
    """
    phase = np.angle(crystal)
    made = np.zeros((3, *crystal.shape), np.int64)
    for normal in range(3):
        first, second = (normal + 1) % 3, (normal + 2) % 3
        corners = [_at(phase, steps) for steps in ((), (first,), (first, second), (second,))]
        whole = np.all([_at(region, steps) for steps in ((), (first,), (first, second), (second,))], axis=0)
        around = sum(_wrapped(there - here) for here, there in zip(corners, corners[1:] + corners[:1], strict=True))
        made[normal] = np.where(whole, np.rint(around / (2 * np.pi)), 0).astype(np.int64)
    return made


def circuit_turns(crystal: Complex[np.ndarray, "*axes"], path: Int[np.ndarray, "place axis"]) -> int:
    """Turns of the phase along a closed path of neighbouring voxels (Burgers circuit): -Q . b / 2 pi of what it encloses.

    The path ends beside its first voxel, or on it.
    """
    phases = np.angle(crystal)[tuple(path.T)]
    return int(np.rint(_wrapped(np.diff(phases, append=phases[:1])).sum() / (2 * np.pi)))


def _most_pierced(
    turns: Int[np.ndarray, " place"], normals: Int[np.ndarray, " place"], places: Float[np.ndarray, "place 3"]
) -> int:
    """Turns about a line in most of the planes that it crosses; on voxels a double line is two single ones side by side."""
    normal = int(np.argmax(np.bincount(normals)))
    square, planes = turns[normals == normal], places[normals == normal, normal].astype(np.int64)
    ahead, back = (np.bincount(planes, np.clip(sign * square, 0, None)) for sign in (1, -1))
    both = np.maximum(ahead, back)
    return int(np.median(both[both > 0]))


def _with_cores(support: Region) -> Region:
    """The support and narrow channels in it."""
    roomy = np.pad(support, CORE_VOXELS)
    ball = ndimage.generate_binary_structure(3, 1)
    closed = np.asarray(ndimage.binary_closing(roomy, ball, iterations=CORE_VOXELS))
    inner = slice(CORE_VOXELS, -CORE_VOXELS)
    return closed[inner, inner, inner]


def _drawn(places: Float[np.ndarray, "place 3"], along: Float[np.ndarray, "place 3"], shape: tuple[int, ...]) -> Region:
    """Plaquettes and the cubes on both their sides on a grid twice as fine: what a line pierces hangs together there."""
    drawn = np.zeros([2 * size + 2 for size in shape], bool)
    for side in (-0.5, 0.0, 0.5):
        drawn[_finer(places + side * along)] = True
    return drawn


def _finer(places: Float[np.ndarray, "place 3"]) -> tuple[Int[np.ndarray, " place"], ...]:
    """Indices on a grid twice as fine, with half a voxel of room before the first."""
    return tuple(np.rint(2 * places + 1).astype(np.int64).T)


def _at(values: np.ndarray, steps: tuple[int, ...]) -> np.ndarray:
    """The values one voxel on along some axes; wraps, which only empty space does."""
    return np.roll(values, [-1] * len(steps), steps) if steps else values


def _wrapped(angle: np.ndarray) -> np.ndarray:
    return angle - 2 * np.pi * np.rint(angle / (2 * np.pi))
