"""Corrections of photon counts: background, noise floor, beam intensity."""

from dataclasses import replace
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from exitwave.data.arrays import as_tensor
from exitwave.data.errors import InputError
from exitwave.data.measurement import M
from exitwave.data.patterns import MappedPatterns
from exitwave.data.prepare.chunks import noted


def subtract_background(scan: M, background: Float[Tensor, "y x"] | None = None) -> M:
    """Take a background off every frame, the scan's own when none is given; results below zero become zero."""
    chosen = scan.background if background is None else as_tensor(background, dtype=torch.float32)
    if chosen is None:
        raise InputError("the scan holds no background; give one, an array (y, x) of mean counts without the sample")
    if tuple(chosen.shape) != scan.frame_shape:
        raise InputError(
            f"background has shape {tuple(chosen.shape)} but frames are {scan.frame_shape}; crop it to them"
        )
    if not bool(torch.isfinite(chosen).all()):
        raise InputError("the background holds NaN or infinite values; mask those pixels and set them to 0")
    return replace(
        scan,
        patterns=MappedPatterns(scan.patterns, partial(_subtracted, background=chosen), scan.frame_shape),
        background=None,
        provenance=noted(scan, f"subtract_background: {float(chosen.mean()):.4g} photons per pixel"),
    )


def _subtracted(
    frames: Float[Tensor, "batch y x"], index: Int[Tensor, " batch"], *, background: Float[Tensor, "y x"]
) -> Float[Tensor, "batch y x"]:
    return (frames - background.to(frames.device)).clamp(min=0)


def threshold(scan: M, below: float) -> M:
    """Set counts below `below` to zero: read-out noise of integrating detectors, or false counts; 0 for negative ones."""
    if not 0 <= below < float("inf"):
        raise InputError(f"threshold is {below:g}; expected a finite number of photons, zero or more")
    return replace(
        scan,
        patterns=MappedPatterns(scan.patterns, partial(_thresholded, below=below), scan.frame_shape),
        provenance=noted(scan, f"threshold: below {below:g}"),
    )


def _thresholded(
    frames: Float[Tensor, "batch y x"], index: Int[Tensor, " batch"], *, below: float
) -> Float[Tensor, "batch y x"]:
    return torch.where(frames < below, 0.0, frames)


def normalise_by_monitor(scan: M, monitor: Float[Tensor, " frame"] | None = None) -> M:
    """Scale each frame to the mean beam intensity; the scan's own monitor when none is given. No frame is dropped."""
    chosen = scan.monitor if monitor is None else as_tensor(monitor, dtype=torch.float32)
    if chosen is None:
        raise InputError("the scan holds no monitor; give one value of beam intensity for each frame")
    if tuple(chosen.shape) != (len(scan),):
        raise InputError(f"monitor has shape {tuple(chosen.shape)}; expected one value for each of {len(scan)} frames")
    dark = ~(torch.isfinite(chosen) & (chosen > 0))
    if bool(dark.any()):
        first = int(dark.nonzero()[0])
        raise InputError(
            f"the monitor of {int(dark.sum())} frames is not a positive number (first: frame {first}, "
            f"{float(chosen[first]):g}); select the frames with beam first"
        )
    scale = chosen.mean() / chosen
    return replace(
        scan,
        patterns=MappedPatterns(scan.patterns, partial(_scaled, scale=scale), scan.frame_shape),
        monitor=None,
        provenance=noted(scan, f"normalise_by_monitor: factors {float(scale.min()):.4g} to {float(scale.max()):.4g}"),
    )


def _scaled(
    frames: Float[Tensor, "batch y x"], index: Int[Tensor, " batch"], *, scale: Float[Tensor, " frame"]
) -> Float[Tensor, "batch y x"]:
    return frames * scale[index].to(frames.device)[:, None, None]
