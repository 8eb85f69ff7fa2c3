"""The steps of a scan, found from its positions."""

import numpy as np
from scipy.ndimage import uniform_filter
from scipy.spatial import KDTree

SEEN = 24
"""Neighbours of a frame among which the steps are looked for."""


def scan_steps(points: np.ndarray, *, along_one: bool = False) -> np.ndarray | None:
    """From row to row and from column to column: (2, 2), the shortest steps in two directions that many frames have in common.

    None where frames differ in one direction alone, or in none; with `along_one` that one is enough.
    """
    near = KDTree(points).query(points, k=min(SEEN + 1, len(points)))[1].reshape(len(points), -1)
    moves = (points[near] - points[:, None]).reshape(-1, 2)
    lengths = np.linalg.norm(moves, axis=1)
    moves = moves[lengths > 1e-6 * lengths.max()]
    if not len(moves):
        return None
    moves = np.concatenate([moves, -moves])
    common = _common(moves)
    first = _densest(moves, common[0])
    turned = np.array([-first[1], first[0]])
    apart = common[np.abs(common @ turned) > 0.5 * np.linalg.norm(common, axis=1) * np.linalg.norm(first)]
    if not len(apart) and not along_one:
        return None
    second = _densest(moves, apart[0]) if len(apart) else turned
    across, down = sorted((first, second), key=lambda step: -abs(float(step[1])) / float(np.linalg.norm(step)))
    return np.stack([down if down[0] > 0 else -down, across if across[1] > 0 else -across])


def _common(moves: np.ndarray) -> np.ndarray:
    """Moves that many frames have in common, the shortest first; of opposite ones that to the right, or down."""
    lengths = np.linalg.norm(moves, axis=1)
    cell = 0.05 * float(np.quantile(lengths, 1 / SEEN))
    reach = int(min(np.quantile(lengths, 0.9) / cell, 1000)) + 2
    edges = (np.arange(2 * reach + 2) - reach - 0.5) * cell
    counts, _, _ = np.histogram2d(moves[:, 0], moves[:, 1], bins=(edges, edges))
    counts = uniform_filter(counts, 3, mode="constant")
    # Those inside clusters of 2 x 2 frames are half as many as those from cluster to cluster.
    many = (np.argwhere(counts >= counts.max() / 4) - reach) * cell
    many = many[(many[:, 1] > 0) | ((many[:, 1] == 0) & (many[:, 0] > 0))]
    return many[np.lexsort((-many[:, 1], np.linalg.norm(many, axis=1).round(9)))]


def _densest(moves: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Where moves like this one are densest."""
    found, tree, radius = start, KDTree(moves), 0.12 * float(np.linalg.norm(start))
    for _ in range(10):
        if near := tree.query_ball_point(found, radius):
            found = moves[near].mean(axis=0)
    return found
