"""Shells of a crystal's Fourier transform, round in the laboratory: shell correlation (FSC) and phase retrieval transfer (PRTF)."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Complex, Float, Int
from numpy import fft
from torch import Tensor

from exitwave.data.errors import InputError
from exitwave.evaluation.resolution import RingCorrelation, ring_ratio

FAINT = 1e-6
"""Share of the largest modulus below which a voxel of the transform holds nothing but rounding."""


def fourier_shell_correlation(
    a: Complex[Tensor, "*axes"], b: Complex[Tensor, "*others"], basis_m: Float[Tensor, "3 3"]
) -> RingCorrelation:
    """Correlate two aligned crystals in shells of |q|, 1/m in the laboratory, whatever the angles between the array's axes.

    Frequencies are fractions of Nyquist, pi over the longest edge of a voxel: half of that edge's length over the fraction is
    the half period. The crystals must be isolated: zero outside their supports, as no window is laid over them. The array is
    cut to the box around both first, so that oversampling does not count as information. Harauz & van Heel, Optik 73, 146 (1986).
    Raises InputError.
    """
    if a.ndim != 3 or a.shape != b.shape or min(a.shape) < 4:
        raise InputError(
            f"crystals of shape {tuple(a.shape)} and {tuple(b.shape)}; expected two equal ones of 4 x 4 x 4 or more"
        )
    box = _box_around(a, b)
    first, second = (fft.fftn(_numpy(crystal)[box], norm="ortho") for crystal in (a, b))
    index, frequency = shells(first.shape, basis_m.detach().cpu().double().numpy())
    cross, power_a, power_b = (
        _total(values, index, len(frequency))
        for values in (np.real(first * second.conj()), np.abs(first) ** 2, np.abs(second) ** 2)
    )
    samples = np.bincount(index.ravel(), minlength=len(frequency))[: len(frequency)]
    return RingCorrelation(frequency=frequency, correlation=ring_ratio(cross, power_a, power_b), samples=samples)


def phase_retrieval_transfer(
    crystals: Sequence[Complex[Tensor, "frame y x"]],
    basis_m: Float[Tensor, "3 3"],
    *,
    amplitudes: Float[Tensor, "frame y x"] | None = None,
) -> RingCorrelation:
    """How well reconstructions agree on the phase of each voxel of the pattern, as a mean over shells of |q| in the laboratory.

    PRTF = |mean F| / mean |F| of aligned reconstructions F, or |mean F| / A with the measured `amplitudes` A (frequency zero at
    [n // 2], as patterns are; voxels without counts are left out). 1 where all have one phase, 1 / sqrt(number) where chance
    rules; 1 / e is the usual threshold. Chapman et al., J. Opt. Soc. Am. A 23, 1179 (2006). Raises InputError.
    """
    if len(crystals) < 2:
        raise InputError(f"{len(crystals)} reconstructions; a phase retrieval transfer function needs two or more")
    waves = [fft.fftn(_numpy(crystal), norm="ortho") for crystal in crystals]
    mean = np.abs(sum(waves[1:], waves[0])) / len(waves)
    if amplitudes is None:
        whole = sum(np.abs(wave) for wave in waves) / len(waves)
        known = whole > FAINT * np.max(whole)
    else:
        whole = fft.ifftshift(amplitudes.detach().cpu().double().numpy())
        known = whole > 0
        # In the unit of the counts.
        mean = mean * float(np.sum(whole * mean * known) / max(np.sum(mean**2 * known), 1e-300))
    index, frequency = shells(mean.shape, basis_m.detach().cpu().double().numpy())
    count = len(frequency)
    samples = _total(known.astype(np.float64), index, count)
    ratio = _total(np.where(known, mean / np.where(known, whole, 1), 0), index, count)
    transfer = np.where(samples > 0, ratio / np.maximum(samples, 1), 0)
    return RingCorrelation(frequency=frequency, correlation=transfer, samples=samples.astype(np.int64))


def shells(
    shape: tuple[int, ...], basis_m: Float[np.ndarray, "3 3"]
) -> tuple[Int[np.ndarray, "frame y x"], Float[np.ndarray, " shell"]]:
    """Shell number of each sample of a transform, zero frequency first, and the radius of each shell as a fraction of Nyquist.

    Nyquist is the largest sphere that the samples fill, of radius pi / the longest edge of a voxel. Shells are as wide as the
    coarsest step between samples.
    """
    nyquist = np.pi / np.linalg.norm(basis_m, axis=0).max()
    steps = 2 * np.pi * np.linalg.inv(basis_m).T / np.array(shape) / nyquist
    axes = np.meshgrid(*(fft.fftfreq(size, 1 / size) for size in shape), indexing="ij")
    radius = np.linalg.norm(np.tensordot(np.stack(axes, axis=-1), steps.T, axes=1), axis=-1)
    width = float(np.linalg.norm(steps, axis=0).max())
    return np.rint(radius / width).astype(np.int64), width * np.arange(int(np.floor(1 / width + 1e-9)) + 1)


def _total(values: np.ndarray, index: Int[np.ndarray, "frame y x"], count: int) -> Float[np.ndarray, " shell"]:
    return np.bincount(index.ravel(), values.ravel(), minlength=count)[:count]


def _box_around(*crystals: Complex[Tensor, "frame y x"]) -> tuple[slice, ...]:
    """The box around all that is not empty."""
    there = torch.stack([c.detach().cpu().abs() > 0.02 * float(c.abs().max()) for c in crystals]).any(dim=0)
    if not bool(there.any()):
        return tuple(slice(None) for _ in there.shape)
    places = there.nonzero()
    low, high = places.min(dim=0).values.tolist(), places.max(dim=0).values.tolist()
    sizes = [max(4, stop - start + 1) for start, stop in zip(low, high, strict=True)]
    starts = [min(start, n - size) for start, size, n in zip(low, sizes, there.shape, strict=True)]
    return tuple(slice(start, start + size) for start, size in zip(starts, sizes, strict=True))


def _numpy(crystal: Complex[Tensor, "frame y x"]) -> Complex[np.ndarray, "frame y x"]:
    return crystal.detach().cpu().to(torch.complex128).resolve_conj().numpy()
