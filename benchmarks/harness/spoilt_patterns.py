"""Single patterns of an isolated object, healthy and with one thing wrong."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

import exitwave as ew
from exitwave.data.patterns import ArrayPatterns

FRAME_PX = 64
HEALTHY: Mapping[str, tuple[float, float | None, float]] = {
    "1e5 photons": (1e5, None, 0.0),
    "1e6 photons": (1e6, None, 0.0),
    "1e8 photons": (1e8, None, 0.0),
    "small object": (1e7, 16.0, 0.0),
    "beam stop of 3 px": (1e7, None, 1.5),
}
"""Photons, diameter of the object, radius of the beam stop, pixels."""
TOO_MUCH: Mapping[str, tuple[float, float | None, float]] = {
    "1e3 photons": (1e3, None, 0.0),
    "beam stop of 8 px": (1e7, None, 4.0),
    "object of half the frame": (1e7, 31.0, 0.0),
    "object larger than half the frame": (1e7, 40.0, 0.0),
}


def _scattered(values: Tensor, photons: float) -> Tensor:
    drawn = np.random.default_rng(1).poisson(photons, tuple(values.shape))
    return values + torch.from_numpy(drawn).float()


def _with_stuck(values: Tensor) -> Tensor:
    changed = values.clone()
    changed[:, 20, 41] = 1e7
    return changed


def _shuffled(values: Tensor) -> Tensor:
    order = np.random.default_rng(2).permutation(values.numel())
    return values.flatten()[torch.from_numpy(order)].reshape(values.shape)


FLAWS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "beam off by 3 px": lambda values: values.roll((3, -2), (1, 2)),
    "beam in the corner": lambda values: torch.fft.fftshift(values, dim=(1, 2)),
    "background of a third": lambda values: _scattered(values, 0.3 * float(values.mean())),
    "noise alone": lambda values: _scattered(torch.zeros_like(values), 30.0),
    "blurred by 1 px": lambda values: torch.from_numpy(ndimage.gaussian_filter(values.numpy(), (0, 1, 1))),
    "saturated at 2 %": lambda values: values.clamp(max=0.02 * float(values.max())),
    "a stuck pixel": _with_stuck,
    "pixels shuffled": _shuffled,
}


MOVED: Mapping[str, tuple[int, int]] = {
    "beam off by 3 px": (3, -2),
    "beam in the corner": (FRAME_PX // 2, FRAME_PX // 2),
}
"""Where the beam lies: a moved pattern is that of the object with a phase ramp."""


def _ramp(by_px: tuple[int, int]) -> Tensor:
    rulers = torch.arange(FRAME_PX, dtype=torch.float64) - FRAME_PX // 2
    phase = 2 * torch.pi / FRAME_PX * (by_px[0] * rulers[:, None] + by_px[1] * rulers[None, :])
    return torch.exp(1j * phase).to(torch.complex64)


def cases(seed: int, every: int) -> Iterator[tuple[str, str, ew.Pattern, ew.SupportEstimate]]:
    """What is wrong, how it was made, the pattern, the truth."""
    for drawing in (seed, seed + 1):
        made = {name: _simulated(*options, drawing) for name, options in {**HEALTHY, **TOO_MUCH}.items()}
        for name in list(made)[::every]:
            wrong = "none" if name in HEALTHY else name
            yield wrong, f"{name}, drawing {drawing}", made[name].scan, made[name].truth
        base = _simulated(1e7, None, 0.0, drawing)
        for name in list(FLAWS)[::every]:
            spoilt = replace(base.scan, patterns=ArrayPatterns(FLAWS[name](base.scan.frames(slice(None)))))
            truth = replace(base.truth, object=base.truth.object * _ramp(MOVED.get(name, (0, 0))))
            yield name, f"1e7 photons, drawing {drawing}", spoilt, truth


def _simulated(
    photons: float, diameter_px: float | None, stop_px: float, seed: int
) -> ew.Simulated[ew.Pattern, ew.SupportEstimate]:
    detection = ew.Detection(photons_per_frame=photons, beam_stop_radius_px=stop_px)
    return ew.simulate_pattern(frame_px=FRAME_PX, diameter_px=diameter_px, detection=detection, seed=seed)
