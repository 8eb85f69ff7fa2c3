"""Measured beside calculated diffraction of a crystal: three planes through its Bragg peak, and how much of them is sure."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from exitwave.data.estimate import BraggEstimate
from exitwave.data.frame_fits import FrameFits
from exitwave.data.lengths import number
from exitwave.data.result import Result
from exitwave.reports.axes import curve_figure
from exitwave.reports.panels import BLUE, GREY, finish_curve
from exitwave.reports.patterns import Compared, compared_row
from exitwave.reports.pictures import Picture, Row
from exitwave.reports.svg import inline_svg

SHELLS = 40
FEWEST = 20
"""Voxels with photons of a shell: the mean of fewer says little."""
ACROSS = ("Detector at the peak", "Rocking angle (down) and detector column", "Rocking angle (down) and detector row")


def plane_rows(result: Result) -> list[Row]:
    """Measured, calculated and their difference in the planes through the peak; none where the result holds none."""
    fits, estimate = result.frame_fits, result.estimate
    if fits is None or not fits.planes or not isinstance(estimate, BraggEstimate):
        return []
    steps = _steps(estimate)
    rows: list[Row] = []
    for axis in range(3):
        down, right = (other for other in range(3) if other != axis)
        measured, calculated = _plane(fits, axis)
        height, width = measured.shape
        extent = (-width / 2, width / 2, height / 2, -height / 2)
        sides = (steps[right],) * 2 + (steps[down],) * 2
        pattern = Compared(
            name=fits.names[axis],
            measured=measured,
            calculated=calculated,
            binned=fits.binned,
            extent=tuple(e * side * fits.binned for e, side in zip(extent, sides, strict=True)),  # pyright: ignore[reportArgumentType]
            size=_inverse_length,
            particle=result.geometry.particle,
        )
        rows.append(compared_row(pattern, f"f{axis}", ACROSS[axis], "Calculated from the crystal."))
    return rows


def transfer_pictures(result: Result) -> Iterator[Picture]:
    """Phase retrieval transfer of the mean of several starts, over q; only where the result is such a mean."""
    if result.spread is None or (found := transfer(result)) is None:
        return
    q, share = found
    figure, axes = curve_figure()
    axes.plot(q * 1e-9, share, color=BLUE)
    axes.axhline(1 / math.e, color=GREY, linestyle="--", linewidth=0.8)
    axes.set_ylim(0, max(1.1, min(2.0, 1.1 * float(np.nanmax(share)))))
    finish_curve(axes, "q from the peak (1/nm)", "transfer")
    below = np.flatnonzero(share < 1 / math.e)
    ends = (
        f"below 1/e from a half period of {number(math.pi / float(q[below[0]]) * 1e9)} nm"
        if below.size
        else "above 1/e throughout"
    )
    caption = (
        "Phase retrieval transfer (PRTF): amplitude of the mean over starts, relative to the measured one, in the three planes "
        f"through the peak, where these hold photons; {ends}. Where starts disagree it falls."
    )
    yield Picture(svg=inline_svg(figure, "prtf", f"Phase retrieval transfer over q; {ends}"), caption=caption)


def transfer(result: Result) -> tuple[Float[np.ndarray, " shell"], Float[np.ndarray, " shell"]] | None:
    """q of shells around the peak, 1/m, and calculated over measured amplitude in each, where there are photons to measure.

    Chapman et al., J. Opt. Soc. Am. A 23, 1179 (2006): of a mean over starts this falls where their phases differ.
    """
    fits, estimate = result.frame_fits, result.estimate
    if fits is None or not fits.planes or not isinstance(estimate, BraggEstimate):
        return None
    reciprocal = _reciprocal(estimate)
    found: list[tuple[np.ndarray, ...]] = []
    for axis in range(3):
        measured, calculated = _plane(fits, axis)
        down, right = (other for other in range(3) if other != axis)
        rows, columns = ((np.arange(n) - n // 2) * fits.binned for n in measured.shape)
        q = rows[:, None, None] * reciprocal[:, down] + columns[None, :, None] * reciprocal[:, right]
        known = measured > 0
        found.append((np.linalg.norm(q, axis=-1)[known], measured[known], calculated[known]))
    q, measured, calculated = (np.concatenate(parts) for parts in zip(*found, strict=True))
    shell = np.minimum((q / q.max() * SHELLS).astype(int), SHELLS - 1)
    roots = [np.bincount(shell, np.sqrt(values.clip(min=0)), SHELLS) for values in (measured, calculated)]
    sure = np.bincount(shell, minlength=SHELLS) >= FEWEST
    if sure.sum() < 2:
        return None
    return ((np.arange(SHELLS) + 0.5) * q.max() / SHELLS)[sure], roots[1][sure] / np.maximum(roots[0][sure], 1e-30)


def _plane(fits: FrameFits, axis: int) -> tuple[Float[np.ndarray, "y x"], Float[np.ndarray, "y x"]]:
    """Without the rim by which planes of one result are made alike."""
    there = np.isfinite(fits.calculated[axis].numpy())
    box = np.ix_(there.any(axis=1), there.any(axis=0))
    return fits.measured[axis].numpy()[box], fits.calculated[axis].numpy()[box]


def _reciprocal(estimate: BraggEstimate) -> Float[np.ndarray, "3 3"]:
    """Steps of q per voxel of the pattern along each axis (columns), 1/m: a_i . b_j N_j = 2 pi delta_ij."""
    dual = 2 * math.pi * np.linalg.inv(estimate.numpy()["basis_m"].astype(np.float64)).T
    return dual / np.array(estimate.object.shape)


def _steps(estimate: BraggEstimate) -> list[float]:
    return np.linalg.norm(_reciprocal(estimate), axis=0).tolist()


def _inverse_length(per_m: float) -> str:
    return f"{number(per_m * 1e-9)} nm⁻¹"
