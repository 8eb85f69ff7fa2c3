"""A rocking curve as a figure: how the pattern of a crystal lies on its three axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from exitwave.data.lengths import number
from exitwave.data.rocking_curve import RockingCurve
from exitwave.reports import panels
from exitwave.reports.axes import grid_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def rocking_figure(curve: RockingCurve) -> Figure:
    """The sum over all angles, the sum over the detector's rows at each angle, and the photons of each frame."""
    photons, by_angle, pattern = _sums(curve)
    grid = grid_figure(1, 3, (float(curve.frame_shape[0]), float(curve.frame_shape[1])), right_in=0.5, below_in=0.4)
    panels.draw_counts(grid.place(0, 0, "all angles, photons"), np.where(curve.mask.numpy(), pattern, np.nan))
    panels.draw_counts(grid.place(0, 1, "angle ↓, column →"), by_angle)
    axes = grid.place(0, 2, "photons in each frame", shift_in=0.5)
    angles = np.degrees(curve.angles_rad.numpy())
    axes.plot(angles, photons, color=panels.BLUE, linewidth=0.8, marker="." if len(photons) < 60 else "")
    name = curve.diffraction.rocked
    axes.set(xlabel=f"{name} (°), step {number(np.degrees(curve.step_rad))}°", ylim=(0, 1.1 * max(photons.max(), 1e-9)))
    return grid.figure


def _sums(curve: RockingCurve) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Photons of each frame, of each frame and column, and of each pixel, of what can be trusted."""
    pattern = torch.zeros(curve.frame_shape, dtype=torch.float64)
    parts: list[torch.Tensor] = []
    trusted = curve.trusted
    for index in torch.arange(len(curve)).split(32):
        frames = torch.where(trusted[index], curve.frames(index), 0.0).double()
        pattern += frames.sum(dim=0)
        parts.append(frames.sum(dim=1))
    by_angle = torch.cat(parts)
    return by_angle.sum(dim=1).numpy(), by_angle.numpy(), pattern.numpy()
