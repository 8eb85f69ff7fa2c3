"""What spoils a rocking curve: partial coherence, light of other crystals, and a detector that is not perfect."""

import math
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from exitwave.data.patterns import ArrayPatterns
from exitwave.data.rocking_curve import RockingCurve
from exitwave.simulation.crystals import drawn_crystal
from exitwave.simulation.detection import Detection, count_, drift_curve, generator, hide_
from exitwave.simulation.rocking_experiment import RockingExperiment

BATCH = 16
"""Frames of which noise is drawn at once."""
ALIEN_APART = 0.22
"""Nearest that the peak of another crystal comes, as a share of the frame, along the axis on which it is farthest."""
ALIEN_WIDTH = 0.12
"""How far its light is followed, as a share of the frame (standard deviation of a Gaussian)."""


def diffracted(obj: Complex[Tensor, "frame y x"]) -> Float[Tensor, "frame y x"]:
    """Far-field intensity around the Bragg peak, which stands at n // 2 of each axis; unitary."""
    return torch.fft.fftshift(torch.fft.fftn(torch.fft.ifftshift(obj), norm="ortho")).abs().square()


def blurred(intensity: Float[Tensor, "frame y x"], sigma_px: tuple[float, float, float]) -> Float[Tensor, "frame y x"]:
    """Partially coherent: intensity blurred by a Gaussian, each axis by its own standard deviation, wrapping at the edges."""
    if not any(sigma_px):
        return intensity
    spectrum = torch.fft.fftn(intensity)
    for axis, (size, sigma) in enumerate(zip(intensity.shape, sigma_px, strict=True)):
        row = [1, 1, 1]
        row[axis] = size
        spectrum *= torch.exp(-2 * (math.pi * sigma * torch.fft.fftfreq(size)).square()).reshape(row)
    return torch.fft.ifftn(spectrum).real.clamp(min=0)


def recorded(ideal: RockingCurve, experiment: RockingExperiment, detection: Detection, seed: int) -> RockingCurve:
    """An exact rocking curve as an imperfect detector counts it."""
    patterns = ideal.frames(slice(None)).clone()
    drift = drift_curve(len(patterns), detection.drift, seed)
    patterns *= drift[:, None, None]
    count_(patterns, detection, seed, BATCH)
    # A peak saturates in few frames: its pixels are good in all others.
    unsaturated = None if detection.saturation is None else patterns < detection.saturation
    mask = hide_(patterns, replace(detection, saturation=None), seed)
    if experiment.gap_px:
        mask &= ~_gap(ideal.frame_shape, experiment.gap_px)
        patterns *= mask
    hot = torch.randperm(mask.numel(), generator=generator(seed, 11))[: experiment.hot_pixels]
    patterns.view(len(patterns), -1)[:, hot] = detection.saturation or 10 * float(patterns.max())
    curve = replace(
        ideal,
        patterns=ArrayPatterns(patterns),
        mask=mask,
        voxel_mask=unsaturated,
        background=torch.full(ideal.frame_shape, detection.background) if detection.background else None,
        monitor=drift if detection.drift else None,
    )
    if not experiment.missing_angles:
        return curve
    lost = torch.randperm(len(curve), generator=generator(seed, 12))[: experiment.missing_angles]
    kept = torch.ones(len(curve), dtype=torch.bool)
    kept[lost] = False
    return curve.some(kept.nonzero().squeeze(1))


def alien(
    shape: tuple[int, int, int], experiment: RockingExperiment, seed: int, number: int
) -> Float[Tensor, "frame y x"]:
    """The pattern of another crystal elsewhere on the detector, in some of the frames; relative to this one's peak."""
    draw = np.random.default_rng([seed, 13, number])
    sampling = np.array(shape) / draw.uniform(2.0, 4.0, 3)
    other = drawn_crystal(experiment.settings(), draw)
    intensity = diffracted(other.sampled(shape, np.diag(other.extent(np.eye(3)) / sampling)))
    away = draw.uniform(-0.45, 0.45, 3)
    away[draw.integers(3)] = draw.choice((-1, 1)) * draw.uniform(ALIEN_APART, 0.45)
    for axis, (size, share) in enumerate(zip(shape, away, strict=True)):
        row = [1, 1, 1]
        row[axis] = size
        far = (torch.arange(size) - size // 2) / (ALIEN_WIDTH * size)
        intensity *= torch.exp(-far.square() / 2).reshape(row)
        # What would come in again on the other side is not there.
        intensity = _moved(intensity, round(share * size), axis)
    return intensity / intensity.max() * math.exp(draw.uniform(math.log(0.02), math.log(0.3)))


def _moved(values: Float[Tensor, "frame y x"], by: int, axis: int) -> Float[Tensor, "frame y x"]:
    """Shifted along an axis, zero where nothing comes from."""
    moved = torch.roll(values, by, axis)
    size = values.shape[axis]
    moved.narrow(axis, 0 if by >= 0 else size + by, abs(by)).zero_()
    return moved


def _gap(shape: tuple[int, int], width_px: int) -> Bool[Tensor, "y x"]:
    """Where modules of the detector do not meet: a row and a column of pixels, a fifth of the frame beside its middle."""
    gap = torch.zeros(shape, dtype=torch.bool)
    for axis, size in enumerate(shape):
        gap.narrow(axis, size // 2 + size // 5, min(width_px, size - size // 2 - size // 5)).fill_(True)
    return gap
