"""Simulated detector and stage: photon counts, read-out, dead pixels, drift, wrong positions."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from exitwave.data.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Detection:
    """How the patterns of a made scan are recorded. The default is a perfect photon counter at 1e6 photons per frame.

    Raises InputError for values that cannot be.
    """

    photons_per_frame: float | None = 1e6
    """Mean over the data set; None keeps the power of the probe as it is."""
    noise: Literal["poisson", "none"] = "poisson"
    """Photon counting statistics, or exact intensities."""
    peak_counts: float | None = None
    """Pseudo-Poisson: draw as though the brightest pixel of the data set had this many photons, then scale back.
    None draws the photons themselves."""
    readout_sigma: float = 0.0
    """Gaussian read-out noise, photons (standard deviation); counts that fall below zero are set to zero."""
    background: float = 0.0
    """Mean photons in every pixel that do not come from the sample."""
    saturation: float | None = None
    """Most photons that a pixel can count; pixels that reach it in any frame are masked."""
    dead_fraction: float = 0.0
    """Share of the pixels, at random places, that read zero and are masked."""
    beam_stop_radius_px: float = 0.0
    """Radius of a disc in front of the detector's centre that reads zero and is masked."""
    exposure_px: tuple[float, float] = (0.0, 0.0)
    """Fly scan: (y, x) that the stage moves during one exposure, centred on the position, in object pixels."""
    exposure_samples: int = 8
    """Sub-positions of which the intensities of a fly scan are averaged; one a pixel is plenty."""
    position_error_px: float = 0.0
    """Recorded positions are off by a Gaussian of this standard deviation in y and in x, object pixels."""
    drift: float = 0.0
    """Slow change of the beam intensity over the scan: its largest deviation, as a share of the mean."""

    def __post_init__(self) -> None:
        for name in ("readout_sigma", "background", "beam_stop_radius_px", "position_error_px"):
            _require(name, getattr(self, name), at_least=0)
        for name in ("photons_per_frame", "peak_counts", "saturation"):
            if getattr(self, name) is not None:
                _require(name, getattr(self, name), above=0)
        for name in ("dead_fraction", "drift"):
            _require(name, getattr(self, name), at_least=0, below=1)
        for value in self.exposure_px:
            _require("exposure_px", abs(value), at_least=0)
        _require("exposure_samples", self.exposure_samples, at_least=1)
        if self.noise not in ("poisson", "none"):
            raise InputError(f"noise is {self.noise!r}; expected 'poisson' or 'none'")

    def exposure_offsets_px(self) -> Float[Tensor, "sample 2"]:
        """Where the probe stands during one exposure, relative to its position: midpoints of equal parts of the path."""
        travel = torch.tensor(self.exposure_px, dtype=torch.float64)
        samples = self.exposure_samples if float(travel.abs().max()) > 0 else 1
        parts = (torch.arange(samples, dtype=torch.float64) + 0.5) / samples - 0.5
        return parts[:, None] * travel


DRIFT_WAVES = 5
"""Cosines, from half a period per scan upwards, whose random sum is the drift of the beam intensity."""


def generator(seed: int, purpose: int) -> torch.Generator:
    """A random stream for one purpose, so that switching one imperfection on leaves the others as they were."""
    state = np.random.SeedSequence([seed, purpose]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> 1))


def drift_curve(frames: int, largest: float, seed: int) -> Float[Tensor, " frame"]:
    """Beam intensity at each frame, relative to its mean: a smooth random curve that deviates by `largest` at most."""
    if largest == 0 or frames < 2:
        return torch.ones(frames)
    weights = torch.randn(DRIFT_WAVES, generator=generator(seed, 1), dtype=torch.float64)
    progress = torch.linspace(0, math.pi, frames, dtype=torch.float64)[:, None]
    curve = torch.cos(progress * torch.arange(1, DRIFT_WAVES + 1)) @ weights
    curve -= curve.mean()
    return (1 + largest * curve / curve.abs().max()).to(torch.float32)


def misread_positions(
    positions_px: Float[Tensor, "frame 2"], detection: Detection, seed: int
) -> Float[Tensor, "frame 2"]:
    """The positions as an imperfect encoder records them."""
    draw = torch.randn(positions_px.shape, generator=generator(seed, 2), dtype=torch.float64)
    return positions_px + detection.position_error_px * draw


def count_(
    intensities: Float[Tensor, "frame y x"], detection: Detection, seed: int, batch: int
) -> Float[Tensor, "frame y x"]:
    """Replace expected intensities by counts, in place: photon statistics, read-out noise, saturation."""
    intensities += detection.background
    photons, electronics = generator(seed, 3), generator(seed, 4)
    # A pseudo-Poisson draw counts in quanta of this many photons; a real one in single photons.
    quantum = 1.0 if detection.peak_counts is None else float(intensities.max()) / detection.peak_counts
    for frames in intensities.split(batch):
        if detection.noise == "poisson":
            frames.copy_(torch.poisson(frames / quantum, generator=photons) * quantum)
        if detection.readout_sigma:
            frames += detection.readout_sigma * torch.randn(frames.shape, generator=electronics)
        frames.clamp_(min=0, max=detection.saturation)
    return intensities


def hide_(intensities: Float[Tensor, "frame y x"], detection: Detection, seed: int) -> Bool[Tensor, "y x"]:
    """Zero what dead pixels and the beam stop hide, in place; the mask (True = trusted) also lacks saturated pixels."""
    height, width = intensities.shape[1:]
    trusted = torch.ones(height * width, dtype=torch.bool)
    dead = round(detection.dead_fraction * height * width)
    trusted[torch.randperm(height * width, generator=generator(seed, 5))[:dead]] = False
    trusted = trusted.reshape(height, width)
    y, x = torch.arange(height)[:, None] - height // 2, torch.arange(width)[None, :] - width // 2
    if detection.beam_stop_radius_px > 0:
        trusted &= torch.hypot(y.float(), x.float()) > detection.beam_stop_radius_px
    intensities *= trusted
    if detection.saturation is not None:
        trusted &= intensities.amax(dim=0) < detection.saturation
    return trusted


def _require(
    name: str, value: float, *, at_least: float = -math.inf, above: float = -math.inf, below: float = math.inf
) -> None:
    if not (math.isfinite(value) and value >= at_least and value > above and value < below):
        limits = [f"at least {at_least:g}"] if at_least > -math.inf else [f"above {above:g}"]
        limits += [f"below {below:g}"] if below < math.inf else []
        raise InputError(f"{name} is {value:g}; expected a number {' and '.join(limits)}")
