"""Groups of neighbouring frames: small ones that cover a scan of any shape."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.spatial import KDTree
from torch import Tensor

from exitwave.data.errors import InputError

Members = Int[Tensor, "group member"]
"""Groups of frames, by the numbers of these."""


@dataclass(frozen=True, kw_only=True)
class Grouping(ABC):
    """How frames form groups: one rule for what a network learns from, what judges it, and what it is shown to make an image."""

    size: int
    """Frames of a group."""

    @abstractmethod
    def training(self, positions_px: Float[Tensor, "frame 2"], seed: int) -> Members:
        """Groups to learn from. Raises InputError where the scan has none."""

    @abstractmethod
    def covering(self, positions_px: Float[Tensor, "frame 2"]) -> Members:
        """Groups that hold every frame at least once. Raises InputError where the scan has none."""

    def arrangement(self, positions_px: Float[Tensor, "frame 2"]) -> Float[Tensor, "member 2"] | None:
        """Where the members of all groups stand about their middle, in pixels; None where groups differ."""
        return None

    def strays(self, positions_px: Float[Tensor, "frame 2"]) -> float:
        """Share of the frames that stand in no group with the arrangement of the others."""
        return 0.0


@dataclass(frozen=True, kw_only=True)
class Singles(Grouping):
    """Groups of one frame: every frame by itself."""

    size: int = 1

    def training(self, positions_px: Float[Tensor, "frame 2"], seed: int) -> Members:
        return torch.arange(len(positions_px))[:, None]

    def covering(self, positions_px: Float[Tensor, "frame 2"]) -> Members:
        return neighbour_groups(positions_px, 1)


@dataclass(frozen=True, kw_only=True)
class Neighbours(Grouping):
    """Frames that lie close together, however they are arranged: for networks that are told where frames are."""

    nearest: int
    """Training groups are drawn among so many neighbours of each frame,"""
    samples: int = 1
    """so many times."""

    def training(self, positions_px: Float[Tensor, "frame 2"], seed: int) -> Members:
        return sampled_groups(positions_px, self.size, nearest=self.nearest, samples=self.samples, seed=seed)

    def covering(self, positions_px: Float[Tensor, "frame 2"]) -> Members:
        return neighbour_groups(positions_px, self.size)


def neighbour_groups(positions_px: Float[Tensor, "frame 2"], size: int, *, shared: int = 0) -> Members:
    """Groups of `size` neighbouring frames, every frame in at least one, in the order in which a running scan completes them.

    `shared` is how many frames of a group at least belong to a neighbour as well. Frames are known by their number, and
    the groups depend on positions and numbers alone. Scans of fewer frames are one group. Raises InputError when
    nothing would be a group's own.
    """
    if not 0 <= shared < size:
        raise InputError(f"{shared} frames of a group of {size} are to be shared; expected 0 to {size - 1}")
    places = positions_px.detach().cpu().numpy().astype(np.float64)
    size = min(size, len(places))
    own = max(size - shared, 1)
    cells = _cells(places, np.arange(len(places)), -(-len(places) // own))
    tree = KDTree(places)
    groups = np.stack([_filled(tree, places, cell, size) for cell in cells])
    groups.sort(axis=1)
    return torch.from_numpy(groups[np.lexsort((groups[:, 0], groups[:, -1]))])


def sampled_groups(
    positions_px: Float[Tensor, "frame 2"], size: int, *, nearest: int, samples: int, seed: int
) -> Members:
    """Random groups of neighbours for a network to learn from: up to `samples` of each frame, frame after frame.

    A group is a frame with `size` - 1 of its `nearest` nearest neighbours, each set of them once a frame. Members come by
    row, then column of their position, so that a place in a group means the same in all. Frames are known by their number;
    the groups depend on positions, numbers and `seed` alone. Raises InputError where there is no such group.
    Hoidn, Mishra & Mehta, Sci. Rep. 13, 22789 (2023), methods.
    """
    if size < 1 or samples < 1 or nearest < size - 1:
        raise InputError(
            f"{samples} groups a frame, of {size} frames out of {nearest} nearest neighbours; expected at least one group "
            f"of one frame, and at least {max(size - 1, 0)} neighbours to choose from"
        )
    places = positions_px.detach().cpu().numpy().astype(np.float64)
    count = len(places)
    if count < size:
        raise InputError(f"a scan of {count} frames has no group of {size}; ask for smaller groups")
    if size == 1:
        return torch.arange(count)[:, None]
    near = _nearest(places, min(nearest, count - 1))
    drawn = np.random.default_rng(seed).random((count, samples, near.shape[1])).argsort(axis=2)[..., : size - 1]
    chosen = near[np.arange(count)[:, None, None], np.sort(drawn, axis=2)]
    anchors = np.broadcast_to(np.arange(count)[:, None, None], (count, samples, 1))
    # The frame goes first, so that equal rows are the same choice of the same frame.
    groups = np.unique(np.concatenate([anchors, chosen], axis=2).reshape(-1, size), axis=0)
    order = np.lexsort((groups, places[groups, 1], places[groups, 0]), axis=1)
    return torch.from_numpy(np.take_along_axis(groups, order, axis=1))


def _nearest(places: np.ndarray, count: int) -> np.ndarray:
    """The nearest neighbours of each frame without itself; the lower number among those equally far."""
    # A raster has up to eight that are equally far: a few more are looked at than are kept.
    distance, near = KDTree(places).query(places, k=min(count + 9, len(places)))
    distance[near == np.arange(len(places))[:, None]] = np.inf
    order = np.lexsort((near, distance.round(6)), axis=1)[:, :count]
    return np.take_along_axis(near, order, axis=1)


def _cells(places: np.ndarray, members: np.ndarray, count: int) -> list[np.ndarray]:
    """Cut a cloud of points across its longer side until there are `count` compact cells of nearly equal size."""
    if count <= 1:
        return [members]
    span = np.ptp(places[members], axis=0)
    axis = int(span[1] > span[0])
    # The frame number decides among equal coordinates, so that rows of a raster are cut in the order of the scan.
    order = members[np.lexsort((members, places[members, 1 - axis], places[members, axis]))]
    cut = round(len(order) * (count // 2) / count)
    return _cells(places, order[:cut], count // 2) + _cells(places, order[cut:], count - count // 2)


def _filled(tree: KDTree, places: np.ndarray, cell: np.ndarray, size: int) -> np.ndarray:
    """A cell with its nearest neighbours, so that all groups have the same size."""
    missing = size - len(cell)
    if missing <= 0:
        return cell
    _, near = tree.query(places[cell].mean(axis=0), k=min(size + len(cell), len(places)))
    others = np.setdiff1d(np.atleast_1d(near), cell, assume_unique=True)
    distance = np.square(places[others] - places[cell].mean(axis=0)).sum(axis=1)
    return np.concatenate([cell, others[np.lexsort((others, distance.round(6)))][:missing]])
