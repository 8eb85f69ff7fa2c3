"""One far-field pattern of an isolated object in an even beam: the question, and where to start."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Complex
from scipy import ndimage
from torch import Tensor

from exitwave.data.checks import check_frames
from exitwave.data.errors import InputError
from exitwave.data.estimate import PtychoEstimate
from exitwave.data.geometry import sensible_pixel
from exitwave.data.scan import Scan
from exitwave.data.statistics import scan_statistics
from exitwave.physics.fourier import ifft2, to_centre
from exitwave.physics.noise import Amplitude, Noise
from exitwave.physics.ptychography import Ptychography
from exitwave.physics.support import autocorrelation, extent_px
from exitwave.problems.ptychography import Problem

LEVEL = 0.04
"""Of the autocorrelation's maximum: what lies above is taken for the object. Marchesini et al. (2003)."""
FULL = 0.85
"""An autocorrelation that covers more of the frame than this belongs to an object sampled too coarsely."""
MOST_HIDDEN_SPECKLES = 4.0
"""Diameter of an untrusted centre, in speckles, from which on a pattern is refused. Starts begin to fail at about 2."""
FREE_ISLAND_PX = 3
"""Held-out pixels lie in islands of so many rows and columns: a single one would be told by its neighbours, as a
pattern is sampled more finely than its speckles. Favre-Nicolin, Leake & Chushkin, Sci. Rep. 10, 2664 (2020)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class IsolatedProblem(Problem):
    """One pattern of an isolated object, put to solvers: seen as ptychography, one frame under an even probe."""

    probe: Complex[Tensor, "1 y x"]
    """The same value everywhere, so chosen that the object's amplitude is about 1."""

    def with_modulus(self, obj: Complex[Tensor, "slice y x"]) -> tuple[Complex[Tensor, "slice y x"], float]:
        """The object with the measured modulus in its transform, and the misfit sum (|F| - A)^2 that it had.

        Untrusted and held-out pixels keep the object's own value.
        """
        change, misfit = self.modulus_change(self.probe * obj[None], torch.zeros(1, dtype=torch.int64))
        return obj + change[0] / self.probe, float(misfit.sum())

    def random_start(self, support: Bool[Tensor, "slice y x"]) -> PtychoEstimate:
        """The measured modulus with random phases, drawn from the seed alone, cut to a support."""
        amplitudes = self.amplitudes(torch.zeros(1, dtype=torch.int64))[0]
        drawn = np.random.default_rng([self.seed, 41]).uniform(-math.pi, math.pi, tuple(amplitudes.shape))
        phases = torch.from_numpy(drawn).to(self.device, torch.float32)
        wave = ifft2(torch.polar(amplitudes * self.trusted, phases))
        return PtychoEstimate(
            object=torch.where(support, wave / self.probe, 0.0),
            probe=self.probe.clone(),
            positions_px=self.positions_px.clone(),
            support=support.clone(),
        )

    def started(self, start: PtychoEstimate) -> PtychoEstimate:
        """An earlier estimate, also one of another exposure, as a start; raises InputError where it does not fit.

        Without a support of its own it gets that of the first guess.
        """
        shape = (1, *self.scan.frame_shape)
        if tuple(start.object.shape) != shape or tuple(start.probe.shape[-2:]) != shape[1:]:
            raise InputError(
                f"the start's object is {tuple(start.object.shape)}, its probe {tuple(start.probe.shape)}; expected one "
                f"slice of the size of the pattern, {shape}: prepare it (crop, bin, pad) as it was when the start was made"
            )
        exit_wave = (start.object * start.probe[:1]).to(self.device, torch.complex64)
        if not bool(torch.view_as_real(exit_wave).isfinite().all()):
            raise InputError("the start holds values that are not finite; start from another file")
        support = isolated_guess(self).support if start.support is None else start.support.to(self.device)
        return PtychoEstimate(
            object=exit_wave / self.probe,
            probe=self.probe.clone(),
            positions_px=self.positions_px.clone(),
            support=support,
        )


def isolated_problem(
    scan: Scan,
    *,
    noise: Noise | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
    free_fraction: float = 0.0,
) -> IsolatedProblem:
    """Check one pattern and pose it; `free_fraction` of its pixels, in small islands, is held out.

    Raises InputError where it cannot be phased: no counts, near field, sampled too coarsely, too large a beam stop.
    """
    device = torch.device(device)
    _check_kind(scan)
    seen = scan_statistics(scan)
    check_frames(seen)
    model = Ptychography.of(scan.geometry, scan.frame_shape, device=device)
    free = _islands(scan, free_fraction, seed)
    amplitudes = model.to_detector_order(torch.where(scan.mask, scan.frames(slice(None)), 0.0).clamp(min=0).sqrt())
    region = correlated_region(scan, scan.mask & ~free)
    _check_sampling(scan, region)
    # The autocorrelation of a convex object covers about four times its area.
    area = max(float(region.sum()) / 4, 1.0)
    brightness = math.sqrt(float(seen.photons_per_frame[0]) / area)
    shape = scan.frame_shape
    return IsolatedProblem(
        scan=scan,
        model=model,
        noise=noise or Amplitude(),
        seed=seed,
        device=device,
        statistics=seen,
        positions_px=torch.zeros(1, 2, dtype=torch.float64),
        object_shape=shape,
        trusted=model.to_detector_order(scan.mask & ~free).to(device, torch.float32).contiguous(),
        held_out=model.to_detector_order(free).to(device),
        probe=torch.full((1, *shape), brightness, dtype=torch.complex64, device=device),
        _amplitudes=amplitudes.to(device).contiguous(),
    )


def require_isolated(name: str, problem: Problem, start: PtychoEstimate) -> IsolatedProblem:
    """The problem as one of a single pattern, for the solver called `name`; InputError with advice where it is another."""
    if not isinstance(problem, IsolatedProblem) or start.support is None:
        found = f"a scan of {len(problem)} frames" if len(problem) > 1 else "a start without a support"
        raise InputError(
            f"{name} phases one pattern of an isolated object and was given {found}; use a method of ptychography (rpie) "
            "for a scan, or take one frame of it with the preparation step select=0:1"
        )
    return problem


def isolated_guess(problem: IsolatedProblem) -> PtychoEstimate:
    """Random phases in the first support: the autocorrelation, as far as it lies in the middle half of the frame.

    The whole middle half where a beam stop hides what the autocorrelation is made of.
    """
    height, width = problem.scan.frame_shape
    support = torch.zeros(1, height, width, dtype=torch.bool)
    support[0, height // 4 : height // 4 + (height + 1) // 2, width // 4 : width // 4 + (width + 1) // 2] = True
    if bool(problem.scan.mask[height // 2, width // 2]):
        known = to_centre(problem.trusted).cpu() > 0
        support &= correlated_region(problem.scan, known)[None]
    return problem.random_start(support.to(problem.device))


def correlated_region(scan: Scan, known: Bool[Tensor, "y x"]) -> Bool[Tensor, "y x"]:
    """Where the autocorrelation of the object is noticeable: about twice as wide as the object, centre at n // 2.

    Pixels that are not `known` are taken from their nearest neighbours.
    """
    pattern = torch.where(known, scan.frames(slice(None))[0], 0.0)
    if not bool(known.all()):
        found = ndimage.distance_transform_edt((~known).numpy(), return_distances=False, return_indices=True)
        assert found is not None
        rows, columns = torch.from_numpy(found)
        pattern = pattern[rows.long(), columns.long()]
    return autocorrelation(pattern) > LEVEL


def _check_kind(scan: Scan) -> None:
    if len(scan) != 1:
        raise InputError(
            f"one pattern of an isolated object is asked for but the scan has {len(scan)} frames; take one of them "
            "(preparation step select=0:1), or use a method of ptychography"
        )
    if scan.geometry.near_field:
        raise InputError(
            "the pattern is near field (focus distance given); phasing of one pattern works on far-field patterns only"
        )
    if not bool(scan.mask.any()):
        raise InputError("the mask trusts no pixel at all; masks are True where the detector is good: invert it")
    if not sensible_pixel(scan.object_pixel_m):
        raise InputError(
            f"the object pixel that follows from the geometry is {scan.object_pixel_m[0]:.3g} x {scan.object_pixel_m[1]:.3g} m; "
            "expected picometres to millimetres: check --energy-ev, --distance-m and --detector-pixel-m"
        )


def _check_sampling(scan: Scan, region: Bool[Tensor, "y x"]) -> None:
    """Refuse what no start can solve: an object too large for the sampling, or too much hidden in the centre."""
    height, width = scan.frame_shape
    covered, size = float(region.float().mean()), extent_px(region)
    hidden = _hidden_centre_px(scan)
    if not hidden and covered > FULL:
        raise InputError(
            f"the autocorrelation covers {covered:.0%} of the frame, so that the object fills more than half of it and the "
            "pattern is sampled too coarsely; expected an isolated object, sampled at least twice as finely as its "
            "speckles: a longer distance, smaller detector pixels, no binning; with few photons or a bright background, "
            "subtract_background first. An extended sample needs ptychography"
        )
    speckle_px = max(2.0, 2 * height / max(size[0], 1), 2 * width / max(size[1], 1))
    if hidden > MOST_HIDDEN_SPECKLES * speckle_px:
        raise InputError(
            f"{hidden:.0f} pixels across are untrusted in the middle of the pattern, {hidden / speckle_px:.1f} speckles; "
            f"at most {MOST_HIDDEN_SPECKLES:g} can be phased: use a smaller beam stop, or fill the centre from a short "
            "exposure without it"
        )


def _hidden_centre_px(scan: Scan) -> float:
    """Diameter of the disc as large as the untrusted patch in the middle of the frame; 0 where the middle is trusted."""
    height, width = scan.frame_shape
    if bool(scan.mask[height // 2, width // 2]):
        return 0.0
    patches, _ = ndimage.label((~scan.mask).numpy())  # pyright: ignore[reportGeneralTypeIssues]
    # Only what is near the middle: a gap between detector modules may join the stop.
    near = np.hypot(*np.ogrid[-(height // 2) : height - height // 2, -(width // 2) : width - width // 2])
    patch = patches == patches[height // 2, width // 2]
    radius = next(
        (r for r in range(1, min(height, width) // 2) if patch[near <= r].mean() < 0.75), min(height, width) // 2
    )
    return 2 * math.sqrt(float(patch[near <= radius].sum()) / math.pi)


def _islands(scan: Scan, fraction: float, seed: int) -> Bool[Tensor, "y x"]:
    """Held-out islands, trusted pixels only; none in the middle, without which nothing can be phased."""
    if not 0 <= fraction < 0.5:
        raise InputError(
            f"free fraction is {fraction}; expected a share of the pixels from 0 to below 0.5, 0.05 is usual"
        )
    height, width = scan.frame_shape
    density = 1 - (1 - fraction) ** (1 / FREE_ISLAND_PX**2)
    middles = np.random.default_rng([seed, 77]).random((height, width)) < density
    drawn = np.asarray(ndimage.binary_dilation(middles, np.ones((FREE_ISLAND_PX, FREE_ISLAND_PX))))
    rows, columns = np.ogrid[:height, :width]
    outside = np.hypot(rows - height // 2, columns - width // 2) >= 0.05 * min(height, width)
    return torch.from_numpy(np.logical_and(drawn, outside)) & scan.mask
