"""Preparation of a rocking curve in three dimensions: cut and bin along the frames, the Bragg peak into the middle, resampling."""

import math
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from scipy import fft
from torch import Tensor

from exitwave.data.errors import InputError
from exitwave.data.patterns import ArrayPatterns
from exitwave.data.prepare.chunks import noted
from exitwave.data.prepare.framing import bins, windowed
from exitwave.data.prepare.rocking_angles import even_angles
from exitwave.data.rocking_curve import RockingCurve
from exitwave.data.volume import bridged, oversampling, peak_voxel, quick_even, volume


def crop_frames(curve: RockingCurve, size: int, centre: int | None = None) -> RockingCurve:
    """Keep `size` frames (angles) of a rocking curve around frame `centre`; around the middle one when left out."""
    at = len(curve) // 2 if centre is None else centre
    first = at - size // 2
    if size < 1 or first < 0 or first + size > len(curve):
        raise InputError(
            f"{size} frames around frame {at} reach beyond a rocking curve of {len(curve)}; keep fewer, or centre_peak"
        )
    kept = curve.some(torch.arange(first, first + size))
    return replace(kept, provenance=noted(curve, f"crop_frames: {size} around {at}"))


def bin_frames(curve: RockingCurve, factor: int) -> RockingCurve:
    """Sum `factor` neighbouring frames of a rocking curve into one: the same photons in larger steps of the angle.

    A voxel is trusted only if all of its frames are; left-over frames at the ends are dropped.
    """
    if factor < 1:
        raise InputError(f"bin_frames is {factor}; expected a whole number of frames, 1 or more")
    # Neighbouring frames are one step apart only where none is missing.
    curve = even_angles(curve)
    first, count, _ = bins(len(curve), factor)
    kept = curve.some(torch.arange(first, first + count * factor))
    frames = kept.frames(slice(None)).unflatten(0, (count, factor)).sum(dim=1)
    voxels = None if kept.voxel_mask is None else kept.voxel_mask.unflatten(0, (count, factor)).all(dim=1)
    return replace(
        kept,
        patterns=ArrayPatterns(frames),
        angles_rad=kept.angles_rad.unflatten(0, (count, factor)).mean(dim=1),
        monitor=None if kept.monitor is None else kept.monitor.unflatten(0, (count, factor)).sum(dim=1),
        voxel_mask=voxels,
        provenance=noted(curve, f"bin_frames: {factor}"),
    )


def centre_peak(curve: RockingCurve, size: int | tuple[int, int, int] | None = None) -> RockingCurve:
    """Bring the Bragg peak to the voxel [n // 2, h // 2, w // 2], in an array of `size` (frames, rows, columns) where given.

    The peak is the brightest voxel of the slightly blurred pattern. What lies beyond the old array is untrusted; scattering
    vectors stay those they were.
    """
    shape = curve.patterns.shape if size is None else (size, size, size) if isinstance(size, int) else size
    if min(shape) < 1:
        raise InputError(f"size is {size}; expected whole numbers (frames, rows, columns) of at least 1")
    return around_voxel(curve, peak_voxel(volume(curve), curve.trusted), shape)


def around_voxel(curve: RockingCurve, voxel: tuple[int, int, int], shape: tuple[int, int, int]) -> RockingCurve:
    """The rocking curve in an array of this shape (frames, rows, columns), with one voxel of the old one in its middle."""
    first, top, left = (at - n // 2 for at, n in zip(voxel, shape, strict=True))
    if (first, top, left) == (0, 0, 0) and shape == curve.patterns.shape:
        return curve
    told = f"centre_peak: {' x '.join(map(str, shape))} around voxel {voxel} (frame, row, column)"
    seen = windowed(curve, top, left, (shape[1], shape[2]), told)
    return _of_frames(seen, first, shape[0])


def _of_frames(curve: RockingCurve, first: int, count: int) -> RockingCurve:
    """So many frames from a first one on; untrusted ones, with the angles that they would have, beyond the ends."""
    numbers = torch.arange(first, first + count)
    there = (numbers >= 0) & (numbers < len(curve))
    nearest = numbers.clamp(0, len(curve) - 1)
    kept = curve.some(nearest)
    if bool(there.all()):
        return kept
    beyond = (numbers - nearest).double()
    return replace(
        kept,
        patterns=ArrayPatterns(torch.where(there[:, None, None], kept.frames(slice(None)), 0.0)),
        angles_rad=kept.angles_rad + beyond * curve.step_rad,
        voxel_mask=kept.trusted & there[:, None, None],
    )


def resample(curve: RockingCurve, voxels_per_fringe: float = 3.0) -> RockingCurve:
    """Sample a rocking curve anew, so that the crystal fills 1 / `voxels_per_fringe` of the array along each axis.

    The autocorrelation, which is what the pattern is the transform of, is cut to a smaller box, or laid into a larger one:
    photons stay the same in sum, the object's voxels stay as large, and nothing is blurred as binning would. Untrusted voxels
    are filled from their neighbours first, and what comes mostly of them stays untrusted. AutoPhaseNN expects 3.
    """
    if not 1 <= voxels_per_fringe <= 100:
        raise InputError(f"resample is {voxels_per_fringe:g} voxels per fringe; expected 2 or more, 3 is usual")
    curve = centre_peak(even_angles(curve))
    counts, trusted = volume(curve), curve.trusted
    sampled = oversampling(counts, trusted)
    shape = tuple(quick_even(round(n * voxels_per_fringe / s)) for n, s in zip(counts.shape, sampled, strict=True))
    new = (shape[0], shape[1], shape[2])
    told = f"resample: {' x '.join(map(str, counts.shape))} to {' x '.join(map(str, new))}"
    known = None if bool(trusted.all()) else _resampled(trusted.float(), new) * (math.prod(new) / trusted.numel()) > 0.5
    stretch = [old / n for old, n in zip(counts.shape, new, strict=True)]
    offsets = (torch.arange(new[0], dtype=torch.float64) - new[0] // 2) * stretch[0]
    beam, (pixel_y, pixel_x) = curve.diffraction.direct_beam_px, curve.geometry.detector_pixel_m
    return replace(
        curve,
        patterns=ArrayPatterns(_resampled(bridged(counts, trusted), new).clamp(min=0)),
        geometry=replace(curve.geometry, detector_pixel_m=(pixel_y * stretch[1], pixel_x * stretch[2])),
        diffraction=replace(curve.diffraction, direct_beam_px=(beam[0] / stretch[1], beam[1] / stretch[2])),
        angles_rad=curve.angles_rad[len(curve) // 2] + offsets * curve.step_rad,
        mask=torch.ones(new[1:], dtype=torch.bool),
        voxel_mask=known,
        background=None,
        monitor=None,
        provenance=noted(curve, told),
    )


def _resampled(counts: Float[Tensor, "frame y x"], shape: tuple[int, int, int]) -> Float[Tensor, "frame2 y2 x2"]:
    """An array at other steps around its middle, by its transform cut or padded; the sum stays the same."""
    spread = fft.fftshift(fft.fftn(fft.ifftshift(counts.numpy().astype(np.float32)), workers=1))
    into = np.zeros(shape, dtype=spread.dtype)
    here, there = list[slice](), list[slice]()
    for old, new in zip(counts.shape, shape, strict=True):
        few = min(old, new)
        here.append(slice(old // 2 - few // 2, old // 2 - few // 2 + few))
        there.append(slice(new // 2 - few // 2, new // 2 - few // 2 + few))
    into[tuple(there)] = spread[tuple(here)]
    found = fft.fftshift(fft.ifftn(fft.ifftshift(into), workers=1)).real
    return torch.from_numpy(np.ascontiguousarray(found, dtype=np.float32))
