"""Small scans with a known truth, for every test that needs one. Made with numpy alone, not with the code under test."""

from dataclasses import dataclass

import numpy as np
import torch

from exitwave.data.estimate import PtychoEstimate
from exitwave.data.geometry import Geometry
from exitwave.data.pattern import Pattern
from exitwave.data.scan import Scan

GEOMETRY = Geometry.from_energy(8000.0, 2.0, (75e-6, 75e-6))


@dataclass(frozen=True, eq=False)
class Known:
    """A scan and what it was made of."""

    scan: Scan
    truth: PtychoEstimate


def smooth_field(shape: tuple[int, int], seed: int, width: float = 3.0) -> np.ndarray:
    """A random field from 0 to 1 whose features are `width` pixels wide."""
    rng = np.random.default_rng(seed)
    rows, columns = np.fft.fftfreq(shape[0])[:, None], np.fft.fftfreq(shape[1])[None, :]
    field = np.fft.ifft2(
        np.fft.fft2(rng.normal(size=shape)) * np.exp(-2 * (np.pi * width) ** 2 * (rows**2 + columns**2) / 4)
    ).real
    return (field - field.min()) / np.ptp(field)


def known_scan(
    *,
    frame: int = 32,
    side: int = 7,
    step: float = 8.0,
    modes: int = 1,
    photons: float | None = None,
    jitter: float = 0.2,
    whole: bool = True,
    seed: int = 0,
) -> Known:
    """A far-field raster scan with a curved probe of 0.7 frame diameter; noise-free unless `photons` a frame are given."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(np.arange(side), np.arange(side), indexing="ij"), -1).reshape(-1, 2) * step
    positions = grid + rng.uniform(-jitter, jitter, grid.shape) * step
    positions -= positions.min(axis=0)
    if whole:
        positions = positions.round()
        positions -= positions.min(axis=0)
    margin = 4
    extent = int(np.ceil(positions.max())) + frame + 2 * margin
    obj = (0.5 + 0.5 * smooth_field((extent, extent), seed + 1)) * np.exp(
        1j * 1.5 * smooth_field((extent, extent), seed + 2)
    )
    axis = np.arange(frame) - frame // 2
    radius = np.hypot(axis[:, None], axis[None, :])
    main = np.exp(-((radius / (0.3 * frame)) ** 4)) * np.exp(0.02j * radius**2)
    higher = [0.4 * main * axis[:, None] / (0.2 * frame), 0.3 * main * axis[None, :] / (0.2 * frame)]
    probe = np.stack([main, *higher[: modes - 1]])
    frequency = np.fft.fftfreq(frame)
    patterns = []
    for y, x in positions + margin:
        row, column = round(y), round(x)
        ramp = np.exp(-2j * np.pi * ((y - row) * frequency[:, None] + (x - column) * frequency[None, :]))
        patch = obj[row : row + frame, column : column + frame]
        moved = np.fft.ifft2(np.fft.fft2(probe) * ramp)
        patterns.append(np.fft.fftshift((np.abs(np.fft.fft2(moved * patch, norm="ortho")) ** 2).sum(axis=0)))
    stack = np.stack(patterns)
    scale = (photons or 1e6) / stack.sum(axis=(1, 2)).mean()
    stack = stack * scale
    if photons is not None:
        stack = rng.poisson(stack)
    truth = PtychoEstimate(
        object=torch.from_numpy(obj)[None].to(torch.complex64),
        probe=torch.from_numpy(probe * np.sqrt(scale)).to(torch.complex64),
        positions_px=torch.from_numpy(positions + margin),
    )
    pixel = np.asarray(GEOMETRY.object_pixel_m((frame, frame)))
    scan = Scan(
        patterns=torch.from_numpy(stack.astype(np.float32)),
        positions_m=torch.from_numpy(positions * pixel),
        geometry=GEOMETRY,
        provenance={"file": "made in a test"},
    )
    return Known(scan, truth)


def object_error(x: PtychoEstimate, truth: PtychoEstimate, border: int = 14) -> float:
    """Relative error of the object inside the scanned region after one complex factor is removed."""
    height, width = (min(a, b) for a, b in zip(x.object.shape[1:], truth.object.shape[1:], strict=True))
    window = (0, slice(border, height - border), slice(border, width - border))
    a, b = x.object[window], truth.object[window]
    factor = torch.vdot(a.flatten(), b.flatten()) / torch.vdot(a.flatten(), a.flatten())
    return float((factor * a - b).norm() / b.norm())


@dataclass(frozen=True, eq=False)
class KnownParticle:
    """The intensity of an isolated particle on any number of axes, beam in the middle, and what it was made of."""

    pattern: Pattern
    """Its geometry; of the intensity it holds the middle cut."""
    intensity: torch.Tensor
    object: torch.Tensor


def known_particle(
    shape: tuple[int, ...], *, photons: float = 1e7, diameter: float = 0.38, seed: int = 0
) -> KnownParticle:
    """An ellipsoid with grains, without symmetry, in empty space; noise-free."""
    rng = np.random.default_rng(seed)
    axes = np.ogrid[tuple(slice(-(n // 2), n - n // 2) for n in shape)]
    radius = np.sqrt(sum((2 * axis / (diameter * n)) ** 2 for axis, n in zip(axes, shape, strict=True)))
    # Heavier and more phase on one side, or it would be its own twin.
    slope = sum((axis + 0.5) * (number + 1) / n for number, (axis, n) in enumerate(zip(axes, shape, strict=True)))
    obj = (radius < 1) * (0.5 + 0.5 * rng.random(shape)) * np.exp(1j * (1.5 * slope + 0.5 * rng.random(shape)))
    waves = np.fft.fftshift(np.fft.fftn(obj, norm="ortho"))
    intensity = torch.from_numpy(np.abs(waves) ** 2 * photons / (np.abs(waves) ** 2).sum()).float()
    middle = intensity
    while middle.ndim > 2:
        middle = middle[len(middle) // 2]
    return KnownParticle(
        pattern=Pattern(patterns=middle, geometry=GEOMETRY), intensity=intensity, object=torch.from_numpy(obj).cfloat()
    )


@dataclass(frozen=True, eq=False)
class KnownPrint:
    """The pattern of a binary object, as a test chart gives it, behind a beam stop with an arm, and what it was made of."""

    pattern: Pattern
    object: torch.Tensor
    centre_px: tuple[float, float]


def known_print(
    *,
    frame: int = 128,
    photons: float = 1e8,
    stop_px: float = 18.0,
    phase: float = 0.0,
    centre_px: tuple[float, float] = (0.0, 0.0),
    blur_px: float = 0.0,
    symmetrised: bool = False,
    seed: int = 0,
) -> KnownPrint:
    """An F, a dot and a bar, 5 times oversampled at 128 pixels; the stop is as many speckles wide as a fifth of its pixels."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:frame, :frame] - frame // 2
    obj = np.hypot(y - 7, x - 6) < 4.5
    obj |= (abs(y + 1) < 12) & (abs(x + 9) < 2.5)
    obj |= ((abs(y + 10) < 2.5) & (abs(x + 2) < 9)) | ((abs(y + 2) < 2) & (abs(x + 4) < 6))
    wave = obj * np.exp(1j * phase * smooth_field((frame, frame), seed, width=8.0))
    tilted = wave * np.exp(2j * np.pi * (centre_px[0] * y + centre_px[1] * x) / frame)
    intensity = np.abs(np.fft.fftshift(np.fft.fft2(tilted))) ** 2
    if blur_px:
        rows, columns = np.fft.fftfreq(frame)[:, None], np.fft.fftfreq(frame)[None, :]
        spread = np.exp(-2 * (np.pi * blur_px) ** 2 * (rows**2 + columns**2))
        intensity = np.fft.ifft2(np.fft.fft2(intensity) * spread).real.clip(0)
    counts = rng.poisson(intensity * photons / intensity.sum()).astype(np.float32)
    if symmetrised:
        counts = (counts + np.roll(counts[::-1, ::-1], (1, 1), (0, 1))) / 2
    mask = (np.hypot(y, x) > stop_px / 2) & ((x < 0) | (abs(y) > 1))
    pattern = Pattern(patterns=torch.from_numpy(counts * mask)[None], geometry=GEOMETRY, mask=torch.from_numpy(mask))
    return KnownPrint(pattern, torch.from_numpy(wave).to(torch.complex64), centre_px)
