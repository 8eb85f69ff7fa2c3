"""Metrics of image quality against the truth, each under the precise id by which the literature's figures were made.

None of these aligns anything beyond what its definition says; call `align` first. A bare "PSNR" does not exist here:
peak, scaling and phase handling differ between papers by 50 dB.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
from jaxtyping import Bool, Complex, Float
from numpy import ndarray
from scipy import ndimage
from skimage.metrics import structural_similarity
from torch import Tensor

from exitwave.data.errors import InputError
from exitwave.evaluation.resolution import (
    edge_window,
    fourier_ring_correlation,
    radial_frequency,
    ring_ratio,
    windowed_spectrum,
)

Image = Complex[Tensor, "y x"]
SSIM_WINDOW = 7
"""Side of the window in which images are compared; smaller ones have no structural similarity (NaN)."""
BANDS = {"low": (0.0, 0.1), "mid": (0.1, 0.1**0.5), "high": (0.1**0.5, math.inf)}
"""Half-decades of spatial frequency as fractions of Nyquist; the zero frequency belongs to none, the corners to high."""


def psnr_255(estimate: Image, truth: Image, *, revised: bool = False) -> dict[str, float]:
    """M-PSNR255 in dB: 20 log10(255 / RMSE) of images of order one, as PtychoPINN's tables print it.

    Amplitude: estimate scaled by the ratio of means. Phase: mean removed from both; `revised` (2026 code) removes a
    least-squares plane from both. 48.13 dB above the PSNR of peak 1. Hoidn et al., Sci. Rep. 13, 22789 (2023).
    """
    pairs = _pinn_pairs(estimate, truth, revised=revised)
    return {f"M-PSNR255-{part}": _decibel(255.0, a - b) for part, (a, b) in pairs.items()}


def mean_absolute_error(estimate: Image, truth: Image, *, revised: bool = False) -> dict[str, float]:
    """M-MAE: mean absolute difference of amplitude (scaled by the ratio of means) and of phase in radians.

    Phase: mean removed from both, or with `revised` (2026 code) a least-squares plane. Hoidn et al. (2023).
    """
    pairs = _pinn_pairs(estimate, truth, revised=revised)
    return {f"M-MAE-{part}": float(np.abs(a - b).mean()) for part, (a, b) in pairs.items()}


def frc_50(estimate: Image, truth: Image, *, revised: bool = False) -> dict[str, float]:
    """M-FRC50: number of the first Fourier shell (0 is the mean) where amplitudes or phases correlate below 0.5.

    Cycles per field of view of the central square, counted into the corners; the length of the curve when it never
    falls. The curve is smoothed by a Gaussian of one shell; `revised` (2026 code) interpolates between shells instead.
    A flat phase gives spurious shells of 20-26. Hoidn et al. (2023).
    """
    pairs = _pinn_pairs(_central_square(estimate), _central_square(truth), revised=revised)
    return {f"M-FRC50-{part}": _first_below_half(_corner_curve(a, b), revised) for part, (a, b) in pairs.items()}


def psnr_max(estimate: Image, truth: Image) -> dict[str, float]:
    """M-PSNRmax in dB: peak 1 for the amplitude (scaled by the ratio of medians, clipped to 1), peak pi for the phase.

    The global phase is the best of 100 000. The definition of PtyINR.
    """
    (amplitude, true_amplitude), (phase, true_phase) = _inr_pairs(estimate, truth)
    return {
        "M-PSNRmax-amplitude": _decibel(1.0, amplitude - true_amplitude),
        "M-PSNRmax-phase": _decibel(math.pi, phase - true_phase),
    }


def psnr_max_probe(estimate: Image, truth: Image) -> dict[str, float]:
    """M-PSNRmax of a probe mode: both amplitudes divided by their maximum first."""
    scaled = [probe / probe.abs().max() for probe in (estimate, truth)]
    return {key.replace("max-", "max-probe-"): value for key, value in psnr_max(scaled[0], scaled[1]).items()}


def structural_similarity_inr(estimate: Image, truth: Image) -> dict[str, float]:
    """M-SSIM: structural similarity of amplitude (range 1) and phase (range 2 pi), 7 x 7 window, prepared as M-PSNRmax."""
    (amplitude, true_amplitude), (phase, true_phase) = _inr_pairs(estimate, truth)
    return {
        "M-SSIM-amplitude": _ssim(true_amplitude, amplitude, 1.0),
        "M-SSIM-phase": _ssim(true_phase, phase, 2 * math.pi),
    }


def structural_similarity_magnitude(estimate: Image, truth: Image) -> dict[str, float]:
    """M-SSIMabs: structural similarity of magnitudes, 7 x 7 window, range of the truth (largest less smallest)."""
    magnitude, true_magnitude = _numpy(estimate.abs()), _numpy(truth.abs())
    extent = float(np.ptp(true_magnitude))
    if extent == 0:
        return {"M-SSIMabs": math.nan}
    return {"M-SSIMabs": _ssim(true_magnitude, magnitude, extent)}


def nrmse(
    estimate: Complex[Tensor, "*shape"],
    truth: Complex[Tensor, "*shape"],
    *,
    weights: Float[Tensor, "*shape"] | Bool[Tensor, "*shape"] | None = None,
) -> dict[str, float]:
    """M-NRMSE: || c x - t || / || t || of complex images or volumes for the best complex scalar c = <x, t> / <x, x>.

    `weights`: where to look (1 inside the reconstruction window), or a weight for each pixel.
    """
    x, t = _numpy(estimate), _numpy(truth)
    w = np.ones(t.shape) if weights is None else _numpy(weights).astype(float)
    overlap, power = np.sum(w * x.conj() * t), np.sum(w * np.abs(x) ** 2)
    scale = overlap / power if power > 0 else 0.0
    return {"M-NRMSE": _ratio(np.sum(w * np.abs(scale * x - t) ** 2), np.sum(w * np.abs(t) ** 2))}


def nrmse_bands(estimate: Image, truth: Image, *, taper: float = 0.5) -> dict[str, float]:
    """NRMSE-low, -mid, -high: error over signal in three half-decades of spatial frequency, means removed.

    Low is below 0.1 of Nyquist, high above 0.32; tells blur from slow phase errors. Images fade at their edges (Tukey).
    """
    window = edge_window((truth.shape[0], truth.shape[1]), taper)
    spectrum, true_spectrum = windowed_spectrum(estimate, window), windowed_spectrum(truth, window)
    radius = radial_frequency(true_spectrum.shape)
    values: dict[str, float] = {}
    for name, (inner, outer) in BANDS.items():
        band = (radius > inner) & (radius <= outer)
        error = np.sum(np.abs(spectrum - true_spectrum)[band] ** 2)
        values[f"NRMSE-{name}"] = _ratio(error, np.sum(np.abs(true_spectrum)[band] ** 2))
    return values


def chi_squared(
    estimate: Float[Tensor, "*shape"], measured: Float[Tensor, "*shape"], *, mask: Bool[Tensor, "*shape"] | None = None
) -> dict[str, float]:
    """M-chi2: sum (sqrt(I_estimate) - sqrt(I_measured))^2 / sum I_measured of diffraction intensities; mask True = used.

    Yao et al., npj Comput. Mater. 8, 124 (2022).
    """
    trust = np.ones(measured.shape) if mask is None else _numpy(mask).astype(float)
    difference = _amplitude(estimate) - _amplitude(measured)
    return {"M-chi2": float(np.sum(trust * difference**2) / np.sum(trust * _numpy(measured)))}


def mean_amplitude_error(estimate: Float[Tensor, "*shape"], measured: Float[Tensor, "*shape"]) -> dict[str, float]:
    """M-MAE3D: mean |sqrt(I_estimate) - sqrt(I_measured)| over all voxels of a diffraction volume.

    Yao et al. (2022), the training loss of AutoPhaseNN.
    """
    return {"M-MAE3D": float(np.abs(_amplitude(estimate) - _amplitude(measured)).mean())}


def structural_similarity_crystal(
    estimate: Complex[Tensor, "z y x"], truth: Complex[Tensor, "z y x"]
) -> dict[str, float]:
    """M-SSIM3D: structural similarity of crystal amplitudes (of maximum 1), 7 x 7 x 7 window.

    Voxels of amplitude <= 0.1 are emptied and the centres of mass moved to the centre by whole voxels. Yao et al. (2022);
    the window is not stated there.
    """
    crystal, true_crystal = _centred_crystal(estimate), _centred_crystal(truth)
    return {"M-SSIM3D": _ssim(true_crystal, crystal, 1.0)}


def frc_half(first: Image, second: Image) -> dict[str, float]:
    """M-FRChalf: fraction of Nyquist to which the phases of two independent reconstructions agree above half a bit."""
    curve = fourier_ring_correlation(first.angle(), second.angle())
    return {"M-FRChalf": curve.crossing(curve.half_bit)}


Subject = Literal["object", "diffraction", "halves"]
"""What is compared: an object with the true one, diffraction intensities with the measured ones, or two objects, each
reconstructed from one half of the frames."""
Group = Literal["fit", "resolution", "starts", "truth", "further"]
"""Among which figures it is told; `further` is what one paper or another defines, told only when asked for."""
Unit = Literal["", "share", "nyquist", "px", "dB"]
"""share: printed in per cent; nyquist: fraction of Nyquist, printed as a length; px: object pixels."""


@dataclass(frozen=True)
class Metric:
    """One entry of the table of metrics: a function of (estimate, truth), what it means, and to which arrays it applies."""

    function: Callable[..., dict[str, float]]
    description: str
    higher_is_better: bool
    subject: Subject = "object"
    dimensions: tuple[int, ...] = (2,)
    """Numbers of array axes that it can take: 2 for images, 3 for volumes."""
    weighted: bool = False
    """Takes `weights`, so that the region need not be a rectangle."""
    title: str = ""
    """What it is called where people read it; its id where left out."""
    unit: Unit = ""
    group: Group = "further"

    def applies(self, subject: Subject, dimensions: int) -> bool:
        """Whether it can be taken of such arrays."""
        return subject == self.subject and dimensions in self.dimensions


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "M-NRMSE": Metric(
            nrmse,
            "relative complex error after the best complex scale (PMACE)",
            False,
            dimensions=(1, 2, 3),
            weighted=True,
            title="Error of the object",
            unit="share",
            group="truth",
        ),
        "M-PSNR255": Metric(psnr_255, "PSNR of peak 255 on images of order one, dB (PtychoPINN)", True, unit="dB"),
        "M-MAE": Metric(mean_absolute_error, "mean absolute error of amplitude and phase (PtychoPINN)", False),
        "M-FRC50": Metric(frc_50, "first Fourier shell below 0.5, of amplitude and phase (PtychoPINN)", True),
        "M-PSNRmax": Metric(psnr_max, "PSNR of peak 1 (amplitude) and pi (phase), dB (PtyINR)", True, unit="dB"),
        "M-SSIM": Metric(structural_similarity_inr, "structural similarity, ranges 1 and 2 pi (PtyINR)", True),
        "M-SSIMabs": Metric(structural_similarity_magnitude, "structural similarity of magnitudes", True),
        "NRMSE": Metric(nrmse_bands, "relative complex error in three bands of spatial frequency", False),
        "M-SSIM3D": Metric(
            structural_similarity_crystal,
            "structural similarity of crystals in 3D (AutoPhaseNN)",
            True,
            dimensions=(3,),
        ),
        "M-chi2": Metric(
            chi_squared,
            "squared amplitude misfit over intensity, of diffraction (AutoPhaseNN)",
            False,
            subject="diffraction",
            dimensions=(2, 3),
        ),
        "M-MAE3D": Metric(
            mean_amplitude_error,
            "mean amplitude misfit of a diffraction volume (AutoPhaseNN)",
            False,
            subject="diffraction",
            dimensions=(3,),
        ),
        "M-FRChalf": Metric(
            frc_half,
            "half-bit resolution between two reconstructions, of Nyquist (PtyINR)",
            True,
            subject="halves",
            unit="nyquist",
        ),
    }
)
"""Id -> metric. Functions return values under their id, with -amplitude, -phase or a band appended where they have parts."""


def metric_values(
    subject: Subject,
    estimate: Tensor,
    truth: Tensor,
    *,
    weights: Float[Tensor, "*shape"] | Bool[Tensor, "*shape"] | None = None,
    box: tuple[slice, ...] = (),
) -> dict[str, float]:
    """Every metric of the table that applies to these arrays, of one shape and aligned with each other.

    Metrics that take weights see the whole arrays, the others the rectangle `box` of them; empty means everything.
    """
    values: dict[str, float] = {}
    for metric in METRICS.values():
        if not metric.applies(subject, truth.ndim):
            continue
        if metric.weighted:
            values |= metric.function(estimate, truth, weights=weights)
        else:
            values |= metric.function(estimate[box], truth[box])
    return values


def _numpy(tensor: Tensor) -> ndarray:
    array = tensor.detach().cpu().numpy()
    return array.astype(np.result_type(array.dtype, np.float64)) if array.dtype.kind in "fc" else array


def _amplitude(intensity: Tensor) -> Float[ndarray, "*shape"]:
    return np.sqrt(np.maximum(_numpy(intensity), 0.0))


def _ratio(error: float, signal: float) -> float:
    """Root of a ratio of powers; without signal, no ratio."""
    return math.sqrt(error / signal) if signal > 0 else math.nan


def _ssim(truth: Float[ndarray, "*shape"], estimate: Float[ndarray, "*shape"], extent: float) -> float:
    if min(truth.shape) < SSIM_WINDOW:
        return math.nan
    return float(np.asarray(structural_similarity(truth, estimate, data_range=extent, win_size=SSIM_WINDOW)))


def _decibel(peak: float, difference: Float[ndarray, "y x"]) -> float:
    error = math.sqrt(np.mean(difference**2))
    return 20 * math.log10(peak / error) if error > 0 else math.inf


Pair = tuple[Float[ndarray, "y x"], Float[ndarray, "y x"]]


def _pinn_pairs(estimate: Image, truth: Image, *, revised: bool) -> dict[str, Pair]:
    """Amplitudes and phases (estimate, truth) as PtychoPINN compares them."""
    x, t = _numpy(estimate), _numpy(truth)
    amplitude, true_amplitude = np.abs(x), np.abs(t)
    if amplitude.mean() > 0:
        amplitude = amplitude * (true_amplitude.mean() / amplitude.mean())
    level = _without_plane if revised else _without_mean
    return {"amplitude": (amplitude, true_amplitude), "phase": (level(np.angle(x)), level(np.angle(t)))}


def _without_mean(phase: Float[ndarray, "y x"]) -> Float[ndarray, "y x"]:
    return phase - phase.mean()


def _without_plane(phase: Float[ndarray, "y x"]) -> Float[ndarray, "y x"]:
    # On a full grid the centred rulers are orthogonal to each other and to the mean: three projections are the fit.
    level = phase - phase.mean()
    for axis, size in enumerate(phase.shape):
        ruler = np.arange(size) - (size - 1) / 2
        ruler = ruler[:, None] if axis == 0 else ruler[None, :]
        level = level - ruler * np.sum(ruler * level) / max(np.sum(np.broadcast_to(ruler**2, phase.shape)), 1e-30)
    return level


def _central_square(image: Image) -> Complex[Tensor, "n n"]:
    height, width = image.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return image[top : top + side, left : left + side]


def _corner_curve(a: Float[ndarray, "n n"], b: Float[ndarray, "n n"]) -> Float[ndarray, " shell"]:
    """Modulus of the ring correlation in shells of one DFT sample, out to the corner."""
    side = len(a)
    first, second = np.fft.fft2(a), np.fft.fft2(b)
    shell = np.rint(radial_frequency(a.shape) * side / 2).astype(int).ravel()
    cross = first * second.conj()
    modulus = np.hypot(np.bincount(shell, cross.real.ravel()), np.bincount(shell, cross.imag.ravel()))
    powers = [np.bincount(shell, (np.abs(f) ** 2).ravel()) for f in (first, second)]
    return ring_ratio(modulus, powers[0], powers[1])


def _first_below_half(curve: Float[ndarray, " shell"], interpolated: bool) -> float:
    if not interpolated:
        curve = ndimage.gaussian_filter1d(curve, 1.0)
    below = np.flatnonzero(curve < 0.5)
    if len(below) == 0:
        return float(len(curve))
    shell = int(below[0])
    if not interpolated or shell == 0:
        return float(shell)
    return shell - 1 + float((curve[shell - 1] - 0.5) / (curve[shell - 1] - curve[shell]))


def _inr_pairs(estimate: Image, truth: Image) -> tuple[Pair, Pair]:
    """Amplitudes and phases (estimate, truth) as PtyINR compares them."""
    x, t = _numpy(estimate), _numpy(truth)
    median = np.median(np.abs(x))
    scale = np.median(np.abs(t)) / median if median > 0 else 1.0
    amplitude = np.minimum(np.abs(x) * scale, 1.0)
    phase, true_phase = np.angle(x), np.angle(t)
    turned = np.angle(np.exp(1j * (phase + _best_global_phase(phase, true_phase))))
    return (amplitude, np.abs(t)), (turned, true_phase)


def _best_global_phase(phase: Float[ndarray, "y x"], target: Float[ndarray, "y x"], steps: int = 100_000) -> float:
    """The angle, of `steps` around the circle, for which wrap(phase + angle) - target has the least mean square.

    Exactly the brute-force search: pixels that wrap at an angle are those above pi - angle, so sorted sums tell every
    angle's misfit at once.
    """
    order = np.argsort(phase.ravel())[::-1]
    falling = phase.ravel()[order]
    difference = falling - target.ravel()[order]
    sums = np.concatenate([[0.0], np.cumsum(difference)])
    angle = 2 * np.pi * np.arange(steps) / steps
    wrapped = np.searchsorted(-falling, -(np.pi - angle), side="left")
    count = len(falling)
    # sum (d + a - 2 pi H)^2 less the constant sum d^2, where H = 1 for the wrapped pixels.
    misfit = 2 * angle * sums[-1] + count * angle**2
    misfit += -4 * np.pi * (sums[wrapped] + wrapped * angle) + 4 * np.pi**2 * wrapped
    return float(angle[np.argmin(misfit)])


def _centred_crystal(volume: Complex[Tensor, "z y x"]) -> Float[ndarray, "z y x"]:
    amplitude = np.abs(_numpy(volume))
    if not amplitude.max() > 0:
        raise InputError("the crystal is zero everywhere; nothing can be compared with it")
    amplitude = amplitude / amplitude.max()
    amplitude[amplitude <= 0.1] = 0.0
    centre = np.rint(ndimage.center_of_mass(amplitude)).astype(int)
    return np.roll(amplitude, np.array(amplitude.shape) // 2 - centre, axis=(0, 1, 2))
