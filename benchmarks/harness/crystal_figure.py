"""Crystals side by side: central cuts of truth and reconstructions, amplitude and phase."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import exitwave as ew
from exitwave.evaluation.cdi_alignment import register_twin
from harness.made_crystals import VISIBLE, Case, scored


def draw(cases: Sequence[Case], found: Mapping[str, Sequence[ew.SupportEstimate]], path: Path) -> None:
    """A row for each crystal: amplitude and phase of the truth, then of each method, laid onto it."""
    figure = Figure(figsize=(2.1 * 2 * (1 + len(found)), 2.3 * len(cases)), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(cases), 2 * (1 + len(found)), squeeze=False)
    for row, case in zip(range(len(cases)), cases, strict=True):
        truth = (case.truth / case.truth.abs().max()).to(torch.complex128)
        _pair(grid[row, :2], truth, "truth")
        for place, (name, estimates) in enumerate(found.items(), start=1):
            score = scored(case, estimates[row])
            laid = register_twin(estimates[row].object.cpu().to(torch.complex128), truth).image
            laid = laid * float((laid.abs() * truth.abs()).sum() / laid.abs().square().sum())
            _pair(grid[row, 2 * place : 2 * place + 2], laid, f"{name}: {score.chi2:.4f}, {score.ssim:.2f}")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80)


def _pair(axes: np.ndarray, volume: torch.Tensor, title: str) -> None:
    n = volume.shape[0]
    cut = volume[n // 2, n // 4 : 3 * n // 4, n // 4 : 3 * n // 4].numpy()
    phase = np.where(np.abs(cut) > VISIBLE, np.angle(cut), np.nan)
    axes[0].imshow(np.abs(cut), vmin=0, vmax=1.1, cmap="gray")
    axes[1].imshow(phase, vmin=-np.pi, vmax=np.pi, cmap="twilight")
    axes[0].set_title(title, fontsize=7, loc="left")
    for each in axes:
        each.set_axis_off()
