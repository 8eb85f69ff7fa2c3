"""Band-limited test images, made on a periodic canvas so that every gauge freedom can be applied exactly."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

MARGIN = 24


@dataclass(frozen=True)
class Picture:
    """A periodic complex image; views of it are cut from the inside, so that nothing wraps around."""

    canvas: np.ndarray

    def view(self, *, shift=(0.0, 0.0), ramp=(0.0, 0.0), factor: complex = 1.0) -> Tensor:
        """The inner part after applying the inverse of what `align` reports: aligning it must find these values."""
        height, width = self.canvas.shape
        down, across = np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :]
        wave = np.exp(2j * np.pi * (down * shift[0] + across * shift[1]))
        moved = np.fft.ifft2(np.fft.fft2(self.canvas) * wave)
        rows, columns = np.arange(height)[:, None] - height // 2, np.arange(width)[None, :] - width // 2
        moved = moved * np.exp(-1j * (ramp[0] * rows + ramp[1] * columns)) / factor
        return torch.from_numpy(moved[MARGIN:-MARGIN, MARGIN:-MARGIN].copy())


@pytest.fixture
def picture() -> Callable[..., Picture]:
    """Make a picture whose inner part has a given shape, with detail up to `cutoff` of Nyquist."""

    def make(shape=(96, 96), *, seed: int = 0, cutoff: float = 0.7, phase_rad: float = 0.8) -> Picture:
        rng = np.random.default_rng(seed)
        height, width = shape[0] + 2 * MARGIN, shape[1] + 2 * MARGIN
        radius = 2 * np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :])
        colour = np.where((radius > 0) & (radius < 0.5), 1 / np.maximum(radius, 0.02), 0)
        fields = [np.fft.ifft2(np.fft.fft2(rng.standard_normal((height, width))) * colour).real for _ in range(2)]
        amplitude, phase = (field / field.std() for field in fields)
        image = (0.7 + 0.07 * amplitude) * np.exp(1j * phase_rad * phase)
        return Picture(np.fft.ifft2(np.fft.fft2(image) * (radius < cutoff)))

    return make


@pytest.fixture
def inside() -> Callable[[Tensor], Tensor]:
    """Weights that leave out a border of 14 pixels, where a shift brings in the unknown."""

    def weights(image: Tensor) -> Tensor:
        region = torch.zeros(image.shape, dtype=torch.bool)
        region[14:-14, 14:-14] = True
        return region

    return weights
