"""How the sample's shadow moves over the detector when the stage moves: tells near from far field, and the magnification."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy import ndimage
from scipy.spatial import KDTree
from torch import Tensor

from exitwave.data.geometry import Geometry
from exitwave.data.progress import in_parts
from exitwave.data.scan import Scan
from exitwave.problems.shadow_correlations import LEAST_PAIRS, Correlations, Matrix, correlate, refine, search

FRAMES_PX = 2**25
"""Pixels read at most, about."""
MOST_FRAMES, LEAST_FRAMES = 192, 24
MOST_PAIRS = 384
SIDE_PX = 96
"""Beams wider than this on the detector are binned: a shadow is seen at any size."""
WINDOW_FILLED = 1.3
"""A beam that is wider on the sample than this many windows of the probe has no far-field image."""
CHANCE_TRIALS = 100
"""Shuffles of the steps among the pairs, against which agreement is judged."""


@dataclass(frozen=True, kw_only=True)
class ShadowMotion:
    """What neighbouring frames tell of the way a shadow moves with the stage."""

    px_per_m: tuple[tuple[float, float], tuple[float, float]]
    """Shift on the detector, pixels (y, x), for a step of the positions, metres (y, x): ((yy, yx), (xy, xx))."""
    certainty: float
    """How much better pairs agree on it than on shuffled steps, in standard deviations of the latter; pairs that were not
    fitted are asked."""
    agreement: float
    """How strongly those pairs agree on the motion, in standard deviations of chance."""
    staying: float
    """How strongly they agree that nothing moves."""
    as_near_field: float
    """How strongly they agree on the motion that a near-field pattern of this geometry would show."""
    rival: float
    """How strongly they agree that it moved by one period of the sample more, over their agreement on the motion; near 0 where the
    sample has no period, near 1 where it is a lattice under a raster and either may be."""
    beam_px: float
    """Diameter of the bright part of the mean frame, detector pixels."""
    pairs: int

    @property
    def metres_per_px(self) -> float:
        """Way on the sample that moves the shadow by one detector pixel."""
        (a, b), (c, d) = self.px_per_m
        return 1 / math.sqrt(max(abs(a * d - b * c), 1e-300))

    @property
    def stretch(self) -> float:
        """Ratio of the largest to the smallest magnification over all directions; 1 is the same in all."""
        large, small = np.linalg.svd(np.array(self.px_per_m), compute_uv=False)
        return float(large / max(small, 1e-300))

    def windows_filled(self, geometry: Geometry) -> float:
        """Width of the beam on the sample, as its shadow tells, over the probe's window in the far field.

        That window is wavelength x distance / detector pixel; up to about 1 a far-field image with a defocused probe is the
        same experiment as a near-field one, above it frames sample the wave too coarsely.
        """
        pixel_m = math.sqrt(math.prod(geometry.detector_pixel_m))
        return self.beam_px * self.metres_per_px / (geometry.wavelength_m * geometry.distance_m / pixel_m)

    def defocus_m(self, geometry: Geometry) -> float | None:
        """The defocus of a far-field probe that this motion tells; None where it tells none, or one too large for the frames.

        The shadow moves with the probe where the focus lies behind the sample (positive), against it where it lies in front;
        where frames are turned or mirrored against positions only the size is known, and told as positive.
        """
        if geometry.near_field or not self.clear or self.windows_filled(geometry) > WINDOW_FILLED:
            return None
        size = self.metres_per_px / math.sqrt(math.prod(geometry.pixel_angle_rad))
        along = float(np.trace(np.array(self.px_per_m))) * self.metres_per_px / 2
        return -size if along < -math.cos(math.radians(30)) else size

    @property
    def clear(self) -> bool:
        """Whether a shadow moves beyond doubt: much better than chance, better than what stays, and like a picture."""
        return self.certainty > 8 and self.agreement > 1.4 * self.staying + 8 and self.stretch < 1.25


def shadow_motion(scan: Scan, mean_pattern: Float[Tensor, "y x"]) -> ShadowMotion | None:
    """Measure the linear map from steps of the stage to shifts of the shadow, from pairs of neighbouring frames.

    Every pair is correlated; the map on which one half of the pairs agrees most, over all scales, angles and mirrors,
    is refined, and the other half is asked what it is worth. At most some hundred frames are read. None where too few
    neighbours, or no light, are there.
    """
    frames = _some_frames(scan)
    if len(frames) < 4 or not bool((mean_pattern > 0).any()):
        return None
    positions = scan.positions_m[frames].numpy()
    pairs = _neighbours(positions)
    if len(pairs) < 2 * LEAST_PAIRS:
        return None
    beam = _Beam.of(torch.where(scan.mask, mean_pattern, 0.0).numpy())
    steps = positions[pairs[:, 1]] - positions[pairs[:, 0]]
    amplitudes = np.concatenate(
        [beam.amplitudes(scan, part) for part in in_parts("looking for a moving shadow", frames.split(16))]
    )
    # A feature of the sample is where it was, seen from a window that has moved on.
    expected = -np.diag([1 / (beam.binning * size) for size in scan.object_pixel_m])
    found = _measured(correlate(amplitudes, beam.trusted(scan), pairs, steps), expected)
    if found is None:
        return None
    matrix, certainty, agreement, staying, as_near_field, rival = found
    (a, b), (c, d) = (beam.binning * matrix).tolist()
    return ShadowMotion(
        px_per_m=((a, b), (c, d)),
        certainty=certainty,
        agreement=agreement,
        staying=staying,
        as_near_field=as_near_field,
        rival=rival,
        beam_px=beam.diameter_px,
        pairs=len(pairs),
    )


def _measured(seen: Correlations, expected: Matrix) -> tuple[Matrix, float, float, float, float, float] | None:
    """The map, and how far it can be trusted: certainty, agreement, agreement that nothing moves or that it is as expected, rival."""
    draw = np.random.default_rng(0)
    fitted = draw.permutation(len(seen.steps)) % 2 == 0
    soft, fine = seen.blurred(1.0), seen.blurred(0.7)
    _, matrix = search(soft.some(fitted))
    if matrix is None:
        return None
    matrix = refine(fine.some(fitted), matrix)
    asked = soft.some(~fitted)
    shifts = asked.steps @ matrix.T
    weights = asked.weights(shifts)
    agreement = float(asked.agreement(shifts, weights))
    staying = float(asked.agreement(np.zeros_like(shifts), weights))
    shuffled = np.stack([shifts[draw.permutation(len(shifts))] for _ in range(CHANCE_TRIALS)])
    chance = asked.agreement(shuffled, asked.weights(shuffled))
    chance = chance[np.isfinite(chance)]
    if not (math.isfinite(agreement) and len(chance)):
        return None
    certainty = (agreement - float(chance.mean())) / max(float(chance.std()), 1.0)
    as_expected = float(asked.of_map(expected))
    return refine(fine, matrix), certainty, agreement, staying, as_expected, asked.rival(matrix)


def _some_frames(scan: Scan) -> Int[Tensor, " frame"]:
    """Frames from all over the scan, with their nearest neighbours."""
    known = torch.isfinite(scan.positions_m).all(dim=1).nonzero().flatten()
    most = max(LEAST_FRAMES, min(MOST_FRAMES, FRAMES_PX // math.prod(scan.frame_shape)))
    if len(known) <= most:
        return known
    positions = scan.positions_m[known].numpy()
    anchors = np.linspace(0, len(known) - 1, most // 4).round().astype(int)
    near = np.asarray(KDTree(positions).query(positions[anchors], k=5)[1])
    # Column by column: every anchor gets its nearest neighbour before any gets its second.
    _, first = np.unique(near.T, return_index=True)
    chosen = near.T.ravel()[np.sort(first)][:most]
    return known[torch.from_numpy(np.sort(chosen))]


def _neighbours(positions: Float[np.ndarray, "frame 2"]) -> Int[np.ndarray, "pair 2"]:
    """Each frame with its eight nearest that stand elsewhere; an even choice of short and long steps where there are too many."""
    distances, near = map(np.asarray, KDTree(positions).query(positions, k=min(len(positions), 9)))
    first = np.repeat(np.arange(len(positions)), near.shape[1])
    pairs = np.sort(np.stack([first, near.ravel()], axis=1), axis=1)[distances.ravel() > 0]
    pairs = np.unique(pairs, axis=0)
    if len(pairs) <= MOST_PAIRS:
        return pairs
    order = np.linalg.norm(positions[pairs[:, 1]] - positions[pairs[:, 0]], axis=1).argsort(kind="stable")
    return pairs[order[np.linspace(0, len(order) - 1, MOST_PAIRS).round().astype(int)]]


@dataclass(frozen=True, eq=False)
class _Beam:
    """Where the light is on the detector, and how its pixels are taken together."""

    rows: slice
    columns: slice
    binning: int
    diameter_px: float

    @classmethod
    def of(cls, mean: Float[np.ndarray, "y x"]) -> "_Beam":
        """The box around what is brighter than a seventh of the brightest part of the mean frame."""
        coarse = max(1, max(mean.shape) // 256)
        soft = ndimage.gaussian_filter(_binned(mean, coarse), max(1.0, max(mean.shape) / coarse / 64))
        # Not the very brightest pixels: a few may be broken.
        level = np.sort(soft, axis=None)[-max(1, min(60, soft.size // 2))]
        bright = soft > 0.15 * level
        spans: list[slice] = []
        for axis in (1, 0):
            lit = np.flatnonzero(bright.any(axis=axis))
            spans.append(slice(coarse * int(lit[0]), coarse * (int(lit[-1]) + 1)))
        longest = max(span.stop - span.start for span in spans)
        diameter_px = 2 * coarse * math.sqrt(float(bright.sum()) / math.pi)
        return cls(spans[0], spans[1], max(1, math.ceil(longest / SIDE_PX)), diameter_px)

    def amplitudes(self, scan: Scan, frames: Int[Tensor, " batch"]) -> Float[np.ndarray, "batch y x"]:
        """Square roots of the counts of these frames within the box."""
        counts = torch.where(scan.mask, scan.frames(frames), 0.0).nan_to_num(0.0, 0.0, 0.0).clamp(min=0).numpy()
        return np.sqrt(_binned(counts[:, self.rows, self.columns], self.binning))

    def trusted(self, scan: Scan) -> Bool[np.ndarray, "y x"]:
        """Where any of the pixels taken together can be trusted."""
        return _binned(scan.mask[self.rows, self.columns].numpy().astype(np.float32), self.binning) > 0


def _binned(images: Float[np.ndarray, "*batch y x"], factor: int) -> Float[np.ndarray, "*batch y2 x2"]:
    if factor == 1:
        return images
    height, width = images.shape[-2] // factor, images.shape[-1] // factor
    kept = images[..., : height * factor, : width * factor]
    return kept.reshape(*images.shape[:-2], height, factor, width, factor).sum(axis=(-3, -1))
