"""Positions that cannot be: not a number, or far away from all others. Their frames are left out."""

import math

import numpy as np
import torch
from jaxtyping import Float
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree
from torch import Tensor

FAR_STEPS = 6.0
"""A position so many usual steps away from the next one does not belong to the scan."""
MOST_OUTLYING = 0.05
"""Share of the positions; a larger group is a region of its own."""
FEWEST_POSITIONS = 8
MISSING, OUTLYING = "position is not a number", "position far from all others"


def bad_positions(positions_m: Float[Tensor, "frame 2"], window_m: float) -> dict[int, str]:
    """Frames by number whose position cannot be, with the reason. `window_m` is the length of the probe's window."""
    finite = positions_m.isfinite().all(dim=1)
    reasons = {int(n): MISSING for n in (~finite).nonzero().flatten().tolist()}
    known = finite.nonzero().flatten()
    if len(known) < FEWEST_POSITIONS:
        return reasons
    points = positions_m[known]
    for each in (_alone(points, window_m), _spikes(points)):
        if 0 < int(each.sum()) <= max(1, MOST_OUTLYING * len(points)):
            reasons |= {int(n): OUTLYING for n in known[each].tolist()}
    return reasons


def in_scale(points_m: Float[Tensor, "frame 2"]) -> tuple[Float[np.ndarray, "frame 2"], float]:
    """Points relative to their middle, in units of their usual distance from it (returned, metres), the wildest cut off.

    Distances of positions such as 1e200 still square without overflow.
    """
    middle = np.median(points_m.numpy(), axis=0)
    away = points_m.numpy() / 2 - middle / 2
    scale = float(np.median(np.abs(away))) * 2 or 1.0
    return np.clip(away / (scale / 2), -1e12, 1e12), scale


def _alone(points: Float[Tensor, "frame 2"], window_m: float) -> Tensor:
    """Positions that no chain of steps connects with most of the scan."""
    xy, scale = in_scale(points)
    tree = KDTree(xy)
    step = float(np.median(tree.query(xy, k=2)[0][:, 1]))
    if not step > 0 or not math.isfinite(step):
        return torch.zeros(len(points), dtype=torch.bool)
    pairs = tree.query_pairs(FAR_STEPS * step, output_type="ndarray")
    graph = coo_matrix((np.ones(len(pairs), dtype=bool), (pairs[:, 0], pairs[:, 1])), shape=(len(xy), len(xy)))
    _, label = connected_components(graph, directed=False)
    sizes = np.bincount(label)
    small = sizes[label] <= max(2, MOST_OUTLYING * len(xy) / 2)
    main = label == sizes.argmax()
    if sizes.max() <= len(xy) / 2:
        return torch.zeros(len(points), dtype=torch.bool)
    # In a dense scan several steps are still next to it: half of what the probe sees is not.
    apart = KDTree(xy[main]).query(xy)[0] > max(FAR_STEPS * step, 0.5 * window_m / scale)
    return torch.from_numpy(small & ~main & apart)


def _spikes(points: Float[Tensor, "frame 2"]) -> Tensor:
    """Positions to which an otherwise steady stage jumps for one frame and back."""
    moves = (points[1:] - points[:-1]).norm(dim=1)
    usual = float(moves.median())
    spiked = torch.zeros(len(points), dtype=torch.bool)
    # Only of a stage that goes from neighbour to neighbour can a jump be told.
    if not usual > 0 or float((moves > 3 * usual).double().mean()) > 0.2:
        return spiked
    back = (points[2:] - points[:-2]).norm(dim=1)
    leap = torch.minimum(moves[:-1], moves[1:])
    spiked[1:-1] = (leap > 2 * FAR_STEPS * usual) & (back < 3 * usual)
    return spiked
