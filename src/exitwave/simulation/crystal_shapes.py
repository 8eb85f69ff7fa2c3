"""Shapes of nanocrystals: polytopes of an fcc metal, bounded by {100}, {110} and {111} planes."""

import itertools
import math
from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np
from jaxtyping import Float
from scipy.spatial import HalfspaceIntersection

Array = np.ndarray
DIRECTIONS = 600
"""Directions in which the surface is followed while planes are cut."""
PLACES = 13
"""Places along each side of the box around a crystal."""
BELOW_SURFACE = 0.97
NEAREST = 0.5
"""Of the distances of the first planes, the smallest as a share of the largest: crystals are seldom as thick as wide."""
CUT = (0.55, 0.95)
"""A further plane lies at such a share of how far the crystal reaches in its direction, so that it always cuts."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Polytope:
    """A convex body bounded by planes: the points r with normals . r <= distances. The unit of length is the caller's."""

    normals: Float[Array, "facet 3"]
    """Unit vectors (z, y, x) that point outwards."""
    distances: Float[Array, " facet"]
    """Of the planes from the origin, which lies inside."""

    @cached_property
    def vertices(self) -> Float[Array, "vertex 3"]:
        """Corners; where more than three planes meet, one may stand there several times."""
        halfspaces = np.column_stack([self.normals, -self.distances])
        return HalfspaceIntersection(halfspaces, np.zeros(3)).intersections

    def inner_places(self) -> Float[Array, "3 place"]:
        """Places evenly all over the inside, and just below corners, edges and facets, where strain is often strongest."""
        low, high = self.vertices.min(axis=0), self.vertices.max(axis=0)
        steps = (np.arange(PLACES) + 0.5) / PLACES
        ruler = [start + (end - start) * steps for start, end in zip(low, high, strict=True)]
        places = np.stack(np.meshgrid(*ruler, indexing="ij")).reshape(3, -1)
        inside = (self.normals @ places <= self.distances[:, None]).all(axis=0)
        on = np.abs(self.vertices @ self.normals.T - self.distances) < 1e-9
        first, second = np.nonzero(np.triu(on.astype(int) @ on.T >= 2, 1))
        edges = (self.vertices[first] + self.vertices[second]) / 2
        facets = (on.T @ self.vertices)[on.any(axis=0)] / on.sum(axis=0)[on.any(axis=0), None]
        outermost = np.vstack([self.vertices, edges, facets])
        return np.hstack([places[:, inside], BELOW_SURFACE * outermost.T])

    def moved(self, shift: Float[Array, "3"]) -> "Polytope":
        """The same body elsewhere."""
        return replace(self, distances=self.distances + self.normals @ shift)

    def mapped(self, matrix: Float[Array, "3 3"]) -> "Polytope":
        """The body of the points matrix @ r: turned, scaled, or on the axes of another basis."""
        normals = self.normals @ np.linalg.inv(matrix)
        lengths = np.linalg.norm(normals, axis=1)
        return Polytope(normals=normals / lengths[:, None], distances=self.distances / lengths)


def drawn_polytope(facets: int, generator: np.random.Generator) -> Polytope:
    """A random crystal in the axes of its cubic lattice, about as large as the unit sphere, its centre of mass at the origin.

    It begins as a tetrahedron, cube, octahedron or rhombic dodecahedron whose planes lie at random distances; the further ones
    cut off corners and edges. Each plane cuts when it is drawn; a later one may take all that is left of its facet.
    """
    normals, ways = fcc_normals(), _directions()
    facing = normals @ ways.T
    first = _first_planes(facets, generator)
    others = [plane for plane in range(len(normals)) if plane not in first]
    planes, distances = list(first), list(generator.uniform(NEAREST, 1.0, len(first)))
    surface = _reach(facing[planes], np.array(distances))
    for plane in generator.permutation(others)[: facets - len(planes)]:
        distance = float((surface * facing[plane]).max()) * generator.uniform(*CUT)
        surface = np.minimum(surface, _reach(facing[plane : plane + 1], np.array([distance])))
        planes.append(int(plane))
        distances.append(distance)
    # Integrals over solid angle: of a thin cone of length s the volume goes as s^3, the first moment as s^4.
    centre = 0.75 * (surface[:, None] ** 4 * ways).sum(axis=0) / (surface**3).sum()
    return Polytope(normals=normals[planes], distances=np.array(distances)).moved(-centre)


@cache
def fcc_normals() -> Float[Array, "plane 3"]:
    """Unit normals of {111}, {100} and {110}, in this order."""
    families: dict[int, list[tuple[int, ...]]] = {3: [], 1: [], 2: []}
    for way in itertools.product((-1, 0, 1), repeat=3):
        if any(way):
            families[sum(map(abs, way))].append(way)
    ways = np.array([way for family in families.values() for way in family], dtype=np.float64)
    return ways / np.linalg.norm(ways, axis=1, keepdims=True)


def _first_planes(facets: int, generator: np.random.Generator) -> tuple[int, ...]:
    normals = fcc_normals()
    upright = [plane for plane in range(8) if normals[plane].prod() > 0]
    begun = [tuple(upright), tuple(range(8, 14)), tuple(range(8)), tuple(range(14, 26))]
    fitting = [planes for planes in begun if len(planes) <= facets]
    return fitting[generator.integers(len(fitting))]


@cache
def _directions() -> Float[Array, "way 3"]:
    """Directions evenly over the sphere (Fibonacci spiral)."""
    number = np.arange(DIRECTIONS) + 0.5
    height, turn = 1 - 2 * number / DIRECTIONS, math.pi * (1 + math.sqrt(5)) * number
    ring = np.sqrt(1 - height**2)
    return np.column_stack([height, ring * np.cos(turn), ring * np.sin(turn)])


def _reach(facing: Float[Array, "plane way"], distances: Float[Array, " plane"]) -> Float[Array, " way"]:
    """How far the body reaches in each direction."""
    return (distances[:, None] / np.maximum(facing, 1e-9)).min(axis=0)
