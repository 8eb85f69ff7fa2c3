"""Groups of frames that all have one arrangement: for networks that see patterns but not where they were taken."""

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial import KDTree
from torch import Tensor

from exitwave.data.errors import InputError
from exitwave.physics.scan_steps import scan_steps
from exitwave.problems.groups.neighbours import Grouping, Members

LOOSE = 0.25
"""A frame further from its place in the arrangement, in steps of the scan, is a stray."""
STRAYS = 0.75
"""A scan with a larger share of strays has no arrangement. The encoder still learned from a spiral, with half of that."""
ROUNDS = 5
"""So often at most the arrangement is found anew from the groups that fit it best."""


@dataclass(frozen=True, kw_only=True)
class Clusters(Grouping):
    """Groups with one arrangement: `size` frames in rows and columns of the scan, member k always in the same place.

    The arrangement is found from the positions alone: the shortest steps, across and down, that many frames have in
    common. Frames may stand a little beside their place, as in a jittered raster. Those that stand in no such group,
    alone at a rim or in a gap, go with the group that fits them best. Raises InputError where there is no arrangement.
    """

    def training(self, positions_px: Float[Tensor, "frame 2"], seed: int) -> Members:
        """All groups that fit, whatever the seed: overlapping ones in a raster, the clusters alone in a scan of clusters."""
        found = self._arranged(positions_px)
        return torch.from_numpy(found.groups[found.fitting])

    def covering(self, positions_px: Float[Tensor, "frame 2"]) -> Members:
        found = self._arranged(positions_px)
        return torch.from_numpy(found.groups[found.cover()])

    def arrangement(self, positions_px: Float[Tensor, "frame 2"]) -> Float[Tensor, "member 2"]:
        return torch.from_numpy(self._arranged(positions_px).places.copy())

    def strays(self, positions_px: Float[Tensor, "frame 2"]) -> float:
        return self._arranged(positions_px).strays

    def _arranged(self, positions_px: Float[Tensor, "frame 2"]) -> "_Arranged":
        points = positions_px.detach().cpu().numpy().astype(np.float64)
        if len(points) < self.size:
            raise InputError(f"a scan of {len(points)} frames has no group of {self.size}; ask for smaller groups")
        found = _arranged(points.tobytes(), self.size)
        if found is None or found.strays > STRAYS:
            share = 1.0 if found is None else found.strays
            raise InputError(
                f"{100 * share:.0f} % of the frames stand in no group of {self.size} that is arranged like the others; clusters "
                f"need a regular scan, in which at most {100 * STRAYS:.0f} % do: a network that is not told where frames are "
                "cannot tell other groups apart. Take the network unet, or single frames (group 1); groups of nearest neighbours "
                "(grouping neighbours) are made of any scan, but the encoder learns little from them"
            )
        return found


@lru_cache(maxsize=4)
def _arranged(points: bytes, size: int) -> "_Arranged | None":
    """What is asked of the same scan several times."""
    places = np.frombuffer(points).reshape(-1, 2)
    # By position, so that of places equally near the same one is taken whatever the numbers of the frames.
    order = np.lexsort((places[:, 1], places[:, 0]))
    found = _Arranged.of(places[order], size)
    return None if found is None else found.numbered(order)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Arranged:
    """All groups of a scan that are arranged as `places` says, well or badly."""

    places: np.ndarray
    """(member, 2): the arrangement, about its middle."""
    groups: np.ndarray
    """(group, member): frames, each near its place; by row, then column of the first of them."""
    beside: np.ndarray
    """(group): how far the worst member is from its place, in steps."""
    best: np.ndarray
    """(frame): the same of the best group of each frame."""

    @classmethod
    def of(cls, points: np.ndarray, size: int) -> "_Arranged | None":
        steps = scan_steps(points, along_one=_rows(size) == 1)
        if steps is None:
            return None
        rows, columns = np.divmod(np.arange(size), size // _rows(size))
        tree, order = KDTree(points), _order(points, steps)
        step = float(np.linalg.norm(steps, axis=1).min())
        found = cls._with(tree, np.stack([rows, columns], axis=1) @ steps, order, step)
        for _ in range(ROUNDS):
            # Jitter blurs the steps; the groups that fit best tell the arrangement better.
            fits = points[found.groups[found.beside <= np.median(found.best)]]
            if not len(fits) or np.abs(moved := _about_middle(fits).mean(axis=0) - found.places).max() < 1e-3 * step:
                break
            found = cls._with(tree, found.places + moved, order, step)
        return found._with_strays(tree, order, step)

    @classmethod
    def _with(cls, tree: KDTree, places: np.ndarray, order: np.ndarray, step: float) -> "_Arranged":
        """Every frame as the first of a group."""
        places = places - places.mean(axis=0)
        groups = _around(tree, places, order, 0, of=1)
        members = np.sort(groups, axis=1)
        return cls._judged(tree, places, groups[(np.diff(members, axis=1) > 0).all(axis=1)], step)

    def _with_strays(self, tree: KDTree, order: np.ndarray, step: float) -> "_Arranged":
        """Frames that stand in no such group in every place of one, too, so that each is in a group."""
        strays = order[self.best[order] > LOOSE]
        if not 0 < len(strays) <= STRAYS * len(order):
            return self
        size = len(self.places)
        more = [_around(tree, self.places, strays, member, of=size) for member in range(size)]
        return self._judged(tree, self.places, np.concatenate([self.groups, *more]), step)

    @classmethod
    def _judged(cls, tree: KDTree, places: np.ndarray, groups: np.ndarray, step: float) -> "_Arranged":
        _, first = np.unique(np.sort(groups, axis=1), axis=0, return_index=True)
        groups = groups[np.sort(first)]
        beside = np.linalg.norm(_about_middle(tree.data[groups]) - places, axis=2).max(axis=1) / step
        best = np.full(len(tree.data), np.inf)
        np.minimum.at(best, groups, np.broadcast_to(beside.round(6)[:, None], groups.shape))
        return cls(places=places, groups=groups, beside=beside.round(6), best=best)

    def numbered(self, numbers: np.ndarray) -> "_Arranged":
        """The same with other numbers of the frames."""
        return replace(self, groups=numbers[self.groups], best=self.best[np.argsort(numbers)])

    @property
    def strays(self) -> float:
        """Share of the frames that stand in no group of this arrangement."""
        return float((self.best > LOOSE).mean())

    @property
    def fitting(self) -> np.ndarray:
        """Whether a group fits about as well as nearly all frames can have it."""
        # In a scan of clusters, groups made of parts of several fit worse, and no frame needs them.
        return self.beside <= min(1.5 * float(np.quantile(self.best, 0.95)), LOOSE)

    def cover(self) -> np.ndarray:
        """Numbers of groups that hold every frame, few of them twice."""
        taken: list[int] = []
        free = np.ones(len(self.best), dtype=bool)
        for number in np.flatnonzero(self.fitting):
            if free[self.groups[number]].all():
                taken.append(int(number))
                free[self.groups[number]] = False
        for number in np.argsort(self.beside, kind="stable"):
            members = self.groups[number]
            if (free[members] & (self.best[members] == self.beside[number])).any():
                taken.append(int(number))
                free[members] = False
        return np.sort(np.array(taken, dtype=np.int64))


def _about_middle(groups: np.ndarray) -> np.ndarray:
    return groups - groups.mean(axis=1, keepdims=True)


def _around(tree: KDTree, places: np.ndarray, frames: np.ndarray, member: int, *, of: int) -> np.ndarray:
    """Groups in which these frames are this member, the others each nearest to its place; out of `of`, so that none comes twice."""
    _, found = tree.query(tree.data[frames][:, None] + places - places[member], k=of)
    near = np.asarray(found).reshape(len(frames), len(places), of)
    groups = near[..., 0]
    groups[:, member] = frames
    for other in range(len(places)) if of > 1 else ():
        if other != member:
            groups[:, other] = -1
            known = (near[:, other, :, None] == groups[:, None]).any(axis=2)
            groups[:, other] = near[np.arange(len(frames)), other, known.argmin(axis=1)]
    return groups


def _order(points: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Frames by row, then column of the scan, jittered or not: counted from where most of them stand."""
    index = points @ np.linalg.inv(steps)
    index -= np.angle(np.exp(2j * np.pi * index).mean(axis=0)) / (2 * np.pi)
    row, column = index.round().T
    return np.lexsort((points[:, 1], points[:, 0], column, row))


def _rows(size: int) -> int:
    """Rows of the squarest block of so many frames."""
    return max(n for n in range(1, math.isqrt(size) + 1) if size % n == 0)
