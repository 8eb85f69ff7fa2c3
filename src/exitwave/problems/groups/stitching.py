"""Stitching of many small canvases into one object: aligned with their neighbours through what they share, then averaged."""

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Complex, Float
from scipy import sparse
from scipy.sparse import csgraph
from scipy.sparse.linalg import splu
from torch import Tensor

from exitwave.physics.kernels import dispatch as kernels

MOST_NEIGHBOURS = 12
"""Neighbours that a canvas is compared with as it comes: keeps the work per frame constant in dense scans."""
LEAST_SHARED = 1e-3
"""Share of its light that a canvas must have in common with another to be compared with it."""
FAINT = 1e-3
"""Share of the brightest illumination below which a warm start fades to what was there before."""
FAINT_PHOTONS = 4.0
"""Photons of a pixel at which its noise outweighs what was there before."""
TIED = 1e-3
"""How strongly a canvas's scale is held to 1, as a share of what its neighbours say: photons are absolute."""

Image = Complex[Tensor, "Y X"]


@dataclass(eq=False)
class Patchwork:
    """The object so far, from canvases that come one by one. Where no canvas is, it is `start`.

    A canvas knows its object up to one complex factor. The factors that make all overlaps agree best, weighted with the
    light both canvases had there, are found together over the graph of canvases (synchronisation: Singer, Appl. Comput.
    Harmon. Anal. 30, 20, 2011), so that errors do not add up along a path as they do when canvases are joined one by one.
    """

    start: Image
    held: Float[Tensor, "Y X"] | None = None
    """Light behind `start`, where it is an earlier result: canvases to come count as what they were in it."""
    placed: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    """Corner of each canvas in the object."""
    scales: bool = True
    """Whether canvases may be brought to one scale as well as one phase; without it their photons are taken at their word."""
    images: list[Image] = field(default_factory=list[Image])
    lights: list[Float[Tensor, "Y X"]] = field(default_factory=list[Float[Tensor, "Y X"]])
    """Weight of each pixel of each canvas: the sum of |probe|^2 over its frames."""

    def __post_init__(self) -> None:
        self._sum = torch.zeros_like(self.start)
        self._light = torch.zeros_like(self.start.real)
        self._cells: defaultdict[tuple[int, int], list[int]] = defaultdict(list[int])
        self._pairs: list[tuple[int, int]] = []
        self._overlaps: list[tuple[complex, float, float]] = []
        self._component: list[int] = []
        self._power: list[float] = []

    def window(self, corner: tuple[int, int], light: Float[Tensor, "y x"]) -> Image:
        """What the neighbours say of a canvas before it is solved; `start`, in their phase, where they say nothing."""
        here = _at(corner, light)
        total, seen, before = self._sum[here], self._light[here], self.start[here]
        faint = FAINT * light.max() + FAINT_PHOTONS
        if self.held is not None:
            rest = (self.held[here] - seen).clamp(min=0) + faint
            return (total + rest * before) / (seen + rest)
        common = (before.conj() * total).sum()
        weight = (before.abs().square() * seen).sum()
        known = bool(weight > faint)
        return (total + faint * before * (common / weight if known else 1.0)) / (seen + faint)

    def add(self, corner: tuple[int, int], image: Image, light: Float[Tensor, "y x"]) -> None:
        """Put a solved canvas in its place. Canvases that it joins, so far apart, are brought into one phase."""
        number = len(self.images)
        self.placed.append(corner)
        self.images.append(image)
        self.lights.append(light)
        self._power.append(float(light.sum()))
        joined = self._compare(number)
        self._component.append(min(joined, default=number))
        here = _at(corner, light)
        self._sum[here] += light * image
        self._light[here] += light
        if len(joined) > 1:
            first = min(joined)
            self._component = [first if part in joined else part for part in self._component]
            self.align()

    def align(self) -> None:
        """Bring all canvases into one phase and scale, and sum them anew."""
        factors = self._factors()
        self.images = [image * complex(factor) for image, factor in zip(self.images, factors, strict=True)]
        self._overlaps = [
            (cross * np.conj(factors[a]) * factors[b], own * abs(factors[a]) ** 2, other * abs(factors[b]) ** 2)
            for (a, b), (cross, own, other) in zip(self._pairs, self._overlaps, strict=True)
        ]
        self._sum = self._summed(np.ones(len(self.images)))

    def stitched(self) -> Image:
        """The object: the average of the aligned canvases, weighted with the light each had. Changes nothing."""
        if not self.images:
            return self.start.clone()
        # Canvases that began from an earlier result share its phase.
        fresh = self.held is None
        factors = self._factors() if fresh else np.ones(len(self.images))
        least = 1e-6 * self._light.max()
        mean = self._summed(factors) / self._light.clamp(min=least)
        return torch.where(self._light > least, mean, self.start)

    def _factors(self) -> np.ndarray:
        found = aligned(self._pairs, self._overlaps, len(self.images))
        return found if self.scales else found / np.abs(found)

    def _summed(self, factors: np.ndarray) -> Image:
        total = torch.zeros_like(self.start)
        for corner, image, light, factor in zip(self.placed, self.images, self.lights, factors, strict=True):
            total[_at(corner, light)] += light * (image * complex(factor))
        return total

    def _compare(self, number: int) -> set[int]:
        """Note the overlap with earlier canvases; returns the connected parts that it belongs to."""
        near = self._near(number)
        joined: set[int] = set()
        for other in near:
            found = self._overlap(other, number)
            if found is not None:
                self._pairs.append((other, number))
                self._overlaps.append(found)
                joined.add(self._component[other])
        return joined

    def _near(self, number: int) -> list[int]:
        """Earlier canvases whose corner is less than a canvas away, the nearest first."""
        corner, shape = self.placed[number], self.lights[number].shape
        row, column = corner[0] // self._pitch, corner[1] // self._pitch
        reach = range(-1, 2)
        found = [other for i in reach for j in reach for other in self._cells[row + i, column + j]]
        self._cells[row, column].append(number)
        distance = {n: max(abs(self.placed[n][k] - corner[k]) / shape[k] for k in (0, 1)) for n in found}
        return sorted((n for n in found if distance[n] < 1), key=lambda n: (distance[n], n))[:MOST_NEIGHBOURS]

    @property
    def _pitch(self) -> int:
        return max(self.lights[0].shape)

    def _overlap(self, a: int, b: int) -> tuple[complex, float, float] | None:
        """<a, b>, <a, a>, <b, b> over the pixels that two canvases share; None when that is too little."""
        (ay, ax), (by, bx) = self.placed[a], self.placed[b]
        top, left = max(ay, by), max(ax, bx)
        bottom = min(ay + self.lights[a].shape[0], by + self.lights[b].shape[0])
        right = min(ax + self.lights[a].shape[1], bx + self.lights[b].shape[1])
        if bottom <= top or right <= left:
            return None
        weight, real, imaginary, own, other = kernels.agreement(
            self.images[a],
            self.images[b],
            self.lights[a],
            self.lights[b],
            (top - ay, left - ax),
            (top - by, left - bx),
            (bottom - top, right - left),
        )
        cross = complex(real, imaginary)
        if weight < LEAST_SHARED * min(self._power[a], self._power[b]) or not abs(cross) > 0:
            return None
        return cross, own, other


def _at(corner: tuple[int, int], light: Tensor) -> tuple[slice, slice]:
    return slice(corner[0], corner[0] + light.shape[0]), slice(corner[1], corner[1] + light.shape[1])


def aligned(
    pairs: list[tuple[int, int]], overlaps: list[tuple[complex, float, float]], count: int
) -> Complex[np.ndarray, " canvas"]:
    """Complex factors s that make s_a u_a and s_b u_b agree best over all overlaps at once, of the whole graph.

    Phases: the unit complex numbers nearest to the smallest eigenvector of the Hermitian Laplacian, by inverse iteration.
    Scales: least squares on their logarithms. Overlaps are (<a, b>, <a, a>, <b, b>). The mean phase of every connected
    part stays what it was.
    """
    if not pairs:
        return np.ones(count, dtype=np.complex128)
    a, b = np.array(pairs).T
    cross = np.array([o[0] for o in overlaps])
    own, other = np.array([o[1:] for o in overlaps]).T
    factors = _phases(a, b, cross, count)
    weight = np.abs(cross) + 1e-12 * np.abs(cross).max()
    graph = _laplacian(a, b, weight, np.ones(len(a)), count)
    tied = graph + TIED * sparse.diags(graph.diagonal() + 1e-12 * weight.max())
    gap = weight * 0.5 * np.log(np.maximum(other, 1e-300) / np.maximum(own, 1e-300))
    asked = np.bincount(a, gap, count) - np.bincount(b, gap, count)
    return factors * np.exp(splu(tied.tocsc()).solve(asked))


def _phases(a: np.ndarray, b: np.ndarray, cross: np.ndarray, count: int) -> np.ndarray:
    weight = np.abs(cross) + 1e-12 * np.abs(cross).max()
    graph = _laplacian(a, b, weight, cross / weight, count)
    # Canvases without a neighbour have an empty row.
    size = np.real(graph.diagonal()) + 1e-12 * weight.max()
    solve = splu((graph + 1e-6 * sparse.diags(size)).tocsc()).solve
    _, part = csgraph.connected_components(sparse.coo_matrix((weight, (a, b)), shape=(count, count)), directed=False)
    phases = np.exp(1j * _along_a_tree(a, b, cross, count))
    for _ in range(3):
        phases = solve(size * phases)
        phases /= np.maximum(np.abs(phases), 1e-300)
    mean = np.bincount(part, np.real(phases)) + 1j * np.bincount(part, np.imag(phases))
    turn = np.where(np.abs(mean) > 1e-9, mean / np.maximum(np.abs(mean), 1e-300), 1.0)
    return phases * turn[part].conj()


def _laplacian(a: np.ndarray, b: np.ndarray, weight: np.ndarray, link: np.ndarray, count: int) -> sparse.csc_matrix:
    diagonal = np.bincount(a, weight, count) + np.bincount(b, weight, count)
    rows, columns = np.concatenate([a, b, np.arange(count)]), np.concatenate([b, a, np.arange(count)])
    values = np.concatenate([-weight * link, -weight * link.conj(), diagonal])
    return sparse.csc_matrix((values, (rows, columns)), shape=(count, count))


def _along_a_tree(a: np.ndarray, b: np.ndarray, cross: np.ndarray, count: int) -> Float[np.ndarray, " canvas"]:
    """Phases that agree along the strongest overlaps: where inverse iteration begins, so that it cannot begin at a null."""
    cost = 1 / (np.abs(cross) + 1e-12 * np.abs(cross).max())
    tree = csgraph.minimum_spanning_tree(sparse.coo_matrix((cost, (a, b)), shape=(count, count)))
    angle = sparse.coo_matrix((np.angle(cross), (a, b)), shape=(count, count)).tocsr()
    back = sparse.coo_matrix((-np.angle(cross), (b, a)), shape=(count, count)).tocsr()
    step = angle + back
    phases, reached = np.zeros(count), np.zeros(count, dtype=bool)
    for root in range(count):
        if reached[root]:
            continue
        order, parents = csgraph.breadth_first_order(tree, root, directed=False)
        reached[order] = True
        for node in order[1:]:
            # s_parent u_parent = s_node u_node: the phase of s_node is that of s_parent less that of <parent, node>.
            phases[node] = phases[parents[node]] - step[parents[node], node]
    return phases
