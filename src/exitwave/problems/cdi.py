"""Coherent diffraction imaging (CDI) as a problem: the far-field pattern of an isolated object in an even beam."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from exitwave.data.checks import check_frames
from exitwave.data.errors import InputError
from exitwave.data.estimate import Estimate, SupportEstimate
from exitwave.data.geometry import sensible_pixel
from exitwave.data.measurement import Measurement
from exitwave.data.pattern import Pattern
from exitwave.data.statistics import scan_statistics
from exitwave.physics.fourier import to_centre
from exitwave.physics.partial_coherence import CoherenceBlur, first_kernel, fitted_kernel
from exitwave.physics.support import extent_px, soft
from exitwave.problems.base import Problem
from exitwave.problems.first_support import correlated, first_support
from exitwave.problems.free_islands import free_islands
from exitwave.problems.hidden_centre import hidden_centre_px
from exitwave.problems.mirror_symmetry import NOT_SYMMETRIC, MirrorSymmetry, mirror_symmetry, opposite
from exitwave.problems.setup import Setup
from exitwave.problems.stated_support import stated_support
from exitwave.problems.support_step import impose_modulus_

S = TypeVar("S", bound="SupportProblem")

FULL = 0.85
"""An autocorrelation that covers more of the frame than this belongs to an object sampled too coarsely."""
MOST_HIDDEN_SPECKLES = 4.0
"""Diameter of an untrusted centre, in speckles, from which on a pattern is refused. Starts begin to fail at about 2."""
MOST_HIDDEN_KNOWN = 8.0
"""The same where the support is stated, or the object real: these tell what the centre does not. Waves that fit both into the
support and behind the stop stay unknown: Thibault et al., Acta Cryst. A 62, 248 (2006)."""
USUAL_FREE = 0.03
"""Share of the pixels held out where they choose the support."""
CENTRED_PX = 0.02
"""A centre of symmetry nearer than this to the frame's is taken for it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SupportProblem(Problem[SupportEstimate]):
    """The pattern of an isolated object put to solvers (coherent diffraction imaging, CDI): far field, any number of axes.

    The object is zero outside a support that is found with it. Made by `exitwave.pose`, or from numbers by
    `SupportProblem.from_intensity`.
    """

    title: ClassVar[str] = "one pattern of an isolated object"
    first_work: ClassVar[str] = "finding the support"
    measures: ClassVar[type[Measurement]] = Pattern
    holds_out: ClassVar[bool] = False
    """Whether some pixels are held out although nobody asks for it."""

    pattern: Measurement
    amplitudes: Float[Tensor, "*axes"]
    """Square roots of the measured photons, zero frequency at index 0; zero where the detector cannot be trusted."""
    trusted: Float[Tensor, "*axes"]
    """1 where solvers may look, 0 elsewhere, in the order of the amplitudes."""
    held_out: Bool[Tensor, "*axes"]
    """Trusted pixels kept from the solvers, to test them with (free residual)."""
    first_support: Bool[Tensor, "*axes"]
    """Where the object may be, as far as the pattern alone tells."""
    photons: float
    """Photons in all trusted pixels."""
    beam_photons: float
    """Photons that fall on a pixel of the even beam, so chosen that the object's amplitude is about 1."""
    symmetry: MirrorSymmetry = NOT_SYMMETRIC
    """How the pattern resembles its own mirror image, and about which point."""
    support_is_known: bool = False
    """Whether the first support was stated: it is then never left."""
    blur_px: float = 0.0
    """Standard deviation of the Gaussian, in detector pixels, that partial coherence convolves the pattern with."""

    @classmethod
    def from_intensity(
        cls: type[S],
        pattern: Measurement,
        intensity: Float[Tensor, "*axes"],
        trusted: Bool[Tensor, "*axes"] | None = None,
        *,
        seed: int = 0,
        device: torch.device | str = "cpu",
        free_fraction: float = 0.0,
        support: Bool[Tensor, "*axes"] | None = None,
        blur_px: float = 0.0,
    ) -> S:
        """Pose counts with the beam in the middle (index n // 2 of every axis); `free_fraction` of them, in islands, is held out.

        Some are held out in any case where they choose the support: with a `support` that is known, and of a real object.
        """
        device = torch.device(device)
        mask = torch.ones_like(intensity, dtype=torch.bool) if trusted is None else trusted
        counts = torch.where(mask, intensity, 0.0).clamp(min=0)
        symmetry = cls.symmetry_of(counts, mask)
        usual = USUAL_FREE if cls.holds_out or symmetry.real or support is not None else 0.0
        free = free_islands(mask, free_fraction or usual, seed)
        if symmetry.real:
            # Else the opposite pixel would tell what was held out.
            free = (free | opposite(free, symmetry.centre_px)) & mask
        known = mask & ~free
        region = correlated(counts, known)
        # The autocorrelation of a convex object covers about two to the number of axes times its area.
        area = max(float(region.sum()) / 2**intensity.ndim, 1.0)
        # In single precision, as every amplitude is.
        photons = float(counts.sum(dtype=torch.float64).float())
        return cls(
            seed=seed,
            device=device,
            pattern=pattern,
            amplitudes=_to_corner(counts.sqrt()).to(device).contiguous(),
            trusted=_to_corner(known).to(device, torch.float32).contiguous(),
            held_out=_to_corner(free).to(device),
            first_support=(first_support(counts, mask, region, symmetry) if support is None else support).to(device),
            photons=photons,
            beam_photons=photons / area,
            symmetry=symmetry,
            support_is_known=support is not None,
            blur_px=blur_px,
        )

    @staticmethod
    def symmetry_of(counts: Float[Tensor, "*axes"], mask: Bool[Tensor, "*axes"]) -> MirrorSymmetry:
        """How counts resemble their own mirror image."""
        return mirror_symmetry(counts, mask)

    @property
    def measurement(self) -> Measurement:
        return self.pattern

    @property
    def has_held_out(self) -> bool:
        return bool(self.held_out.any())

    @cached_property
    def power(self) -> float:
        return float((self.amplitudes.square().double() * self.trusted).sum())

    @cached_property
    def _beam(self) -> Float[Tensor, ""]:
        """Amplitude of the even beam."""
        return torch.tensor(math.sqrt(self.beam_photons), dtype=torch.float32, device=self.device)

    def with_modulus(
        self, obj: Complex[Tensor, "*axes"], blur: CoherenceBlur | None = None
    ) -> tuple[Complex[Tensor, "*axes"], float]:
        """The object with the measured modulus in its transform, and the misfit sum (|F| - A)^2 that it had.

        Untrusted and held-out pixels keep the object's own value. `blur` is what partial coherence makes of its pattern.
        """
        change, misfit = self.change_to_modulus(obj, blur)
        return change.add_(obj), misfit

    def change_to_modulus(
        self, obj: Complex[Tensor, "*axes"], blur: CoherenceBlur | None = None
    ) -> tuple[Complex[Tensor, "*axes"], float]:
        """What must be added to an object to give it the measured modulus, and its misfit: see `with_modulus`."""
        at_detector = torch.fft.fftn(self._lit(obj), norm="ortho")
        if blur or self.blur_px:
            at_detector, misfit = self._blurred_deviation(at_detector, blur)
        else:
            misfit = impose_modulus_(at_detector, self.amplitudes, self.trusted, self._no_background)
        change = torch.fft.ifftn(at_detector, norm="ortho")
        # In place, and as real numbers: a pass over a volume costs as much as a third of its transform.
        torch.view_as_real(change).mul_(1 / self._beam)
        return change if self._tilt is None else change * self._tilt.conj(), misfit

    def _lit(self, obj: Complex[Tensor, "*axes"]) -> Complex[Tensor, "*axes"]:
        """The wave behind the object."""
        wave = torch.view_as_complex(torch.view_as_real(obj.contiguous()) * self._beam)
        return wave if self._tilt is None else wave * self._tilt

    def blur_of(self, x: SupportEstimate) -> CoherenceBlur | None:
        """What partial coherence makes of patterns, as far as an estimate knows."""
        if x.coherence is None:
            return None
        return CoherenceBlur(kernel=x.coherence.to(self.device), shape=tuple(self.amplitudes.shape))

    def refitted_blur(self, x: SupportEstimate, window_px: int) -> Float[Tensor, "*window"]:
        """The kernel of partial coherence that suits an estimate better than its own, or than a first one."""
        kernel = first_kernel(x.object.ndim, window_px) if x.coherence is None else x.coherence
        coherent = torch.fft.fftn(self._lit(x.object), norm="ortho").abs().square()
        return fitted_kernel(kernel.to(self.device), coherent, self.amplitudes.square(), self.trusted)

    @cached_property
    def _no_background(self) -> Float[Tensor, "*axes"]:
        return torch.zeros_like(self.trusted)

    def _blurred_deviation(
        self, at_detector: Complex[Tensor, "*axes"], blur: CoherenceBlur | None
    ) -> tuple[Complex[Tensor, "*axes"], float]:
        """What takes a wave to one whose blurred intensity is the measured one. Clark et al., Nat. Commun. 3, 993 (2012)."""
        seen = self._seen(at_detector, blur)
        misfit = float(((seen - self.amplitudes).square() * self.trusted).sum())
        return at_detector * (self.trusted * (self.amplitudes / seen.clamp(min=1e-6) - 1)), misfit

    def _seen(self, at_detector: Complex[Tensor, "*axes"], blur: CoherenceBlur | None) -> Float[Tensor, "*axes"]:
        """The amplitude that the detector would measure of a wave."""
        if blur is None and not self.blur_px:
            return at_detector.abs()
        coherent = at_detector.abs().square()
        return (blur.of(coherent) if blur else soft(coherent, self.blur_px).clamp(min=0)).sqrt()

    def seen(self, obj: Complex[Tensor, "*axes"], blur: CoherenceBlur | None = None) -> Float[Tensor, "*axes"]:
        """The amplitudes that an object would give on the detector, in the order of `amplitudes`."""
        return self._seen(torch.fft.fftn(self._lit(obj), norm="ortho"), blur)

    @cached_property
    def _tilt(self) -> Complex[Tensor, "*axes"] | None:
        """The slope of the phase by which the pattern's centre of symmetry lies beside the frame's; None where it does not."""
        centre = self.symmetry.centre_px
        if not self.symmetry.real or max(map(abs, centre)) < CENTRED_PX:
            return None
        ruler = torch.zeros((), dtype=torch.float64)
        for axis, (n, offset_px) in enumerate(zip(self.amplitudes.shape, centre, strict=True)):
            shape = [1] * self.amplitudes.ndim
            shape[axis] = n
            ruler = ruler + (torch.arange(n, dtype=torch.float64) - n // 2).reshape(shape) * (offset_px / n)
        return torch.polar(torch.ones_like(ruler), 2 * math.pi * ruler).to(self.device, torch.complex64)

    def misfits(
        self, x: SupportEstimate, *, held_out: bool = False
    ) -> tuple[Float[Tensor, " frame"], Float[Tensor, " frame"]]:
        pixels = self.held_out.to(torch.float32) if held_out else self.trusted
        wave = x.object.to(self.device) * x.beam_photons.to(self.device, torch.float32).sqrt()
        deviation = (self.seen(wave / self._beam, self.blur_of(x)) - self.amplitudes).square()
        misfit, power = ((squares * pixels).sum()[None].cpu() for squares in (deviation, self.amplitudes.square()))
        return misfit, power

    def random_start(self, support: Bool[Tensor, "*axes"]) -> SupportEstimate:
        """The measured modulus with random phases, drawn from the seed alone, cut to a support."""
        shape = tuple(self.amplitudes.shape)
        drawn = np.random.default_rng([self.seed, 41]).uniform(-math.pi, math.pi, shape)
        phases = torch.from_numpy(drawn).to(self.device, torch.float32)
        wave = torch.fft.ifftn(torch.polar(self.amplitudes * self.trusted, phases), norm="ortho")
        return self.estimate(torch.where(support, wave / self._beam, 0.0), support.clone())

    def begun_anew(self, start: SupportEstimate) -> SupportEstimate:
        return self.random_start(start.support.to(self.device))

    def estimate(self, obj: Complex[Tensor, "*axes"], support: Bool[Tensor, "*axes"]) -> SupportEstimate:
        """An estimate in the beam of this pattern."""
        photons = torch.tensor(self.beam_photons, dtype=torch.float64, device=self.device)
        return SupportEstimate(object=obj, support=support, beam_photons=photons)

    def initial(self, start: Estimate | None, setup: Setup, *, probe: Tensor | None = None) -> SupportEstimate:
        known = ("free_fraction", "seed", "device", "memory", "noise", "as_is", "robust", "support", "coherence_px")
        beyond = setup.beyond(*known)
        if beyond or probe is not None:
            asked = ", ".join([*beyond, *(["probe"] if probe is not None else [])])
            raise InputError(f"{self.title} is phased for an even beam at rest and has one slice: leave out {asked}")
        return self.random_start(self.first_support) if start is None else self.started(start)

    def started(self, start: Estimate) -> SupportEstimate:
        """An earlier estimate, also one of another exposure, as a start; raises InputError where it does not fit."""
        x, shape = self.require(start, SupportEstimate), tuple(self.amplitudes.shape)
        if tuple(x.object.shape) != shape:
            raise InputError(
                f"the start's object is {tuple(x.object.shape)}; expected the size of the pattern, {shape}: prepare it (crop, "
                "bin, pad) as it was when the start was made"
            )
        exit_wave = (x.object * x.beam_photons.to(torch.float32).sqrt()).to(self.device, torch.complex64)
        if not bool(torch.view_as_real(exit_wave).isfinite().all()):
            raise InputError("the start holds values that are not finite; start from another file")
        begun = self.estimate(exit_wave / self._beam, x.support.to(self.device))
        return begun if x.coherence is None else replace(begun, coherence=x.coherence.to(self.device))

    def identity(self, x: SupportEstimate, setup: Setup) -> dict[str, Any]:
        known = {"support": setup.support, "coherence_px": setup.coherence_px or None}
        return {**super().identity(x, setup), **{name: value for name, value in known.items() if value is not None}}

    def provenance(self, x: SupportEstimate) -> Mapping[str, Any]:
        if not self.symmetry.real:
            return {}
        found = self.symmetry
        return {"mirror_symmetry": {"correlation": found.correlation, "centre_px": list(found.centre_px)}}

    def fingerprint(self) -> str:
        digest = hashlib.sha256(repr(self.geometry).encode())
        # Where 0.1.0 had the position of its one frame, as read from a file: its checkpoints go on.
        arrays = (
            -np.zeros((1, 2)),
            self.pattern.mask.numpy(),
            np.array([self.photons], np.float32),
            self.trusted.cpu().numpy(),
        )
        for array in arrays:
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]


def pattern_problem(
    pattern: Pattern,
    *,
    seed: int = 0,
    device: torch.device | str = "cpu",
    free_fraction: float = 0.0,
    support: str | None = None,
    blur_px: float = 0.0,
) -> SupportProblem:
    """Check one pattern and pose it; `free_fraction` of its pixels, in small islands, is held out.

    `support` is what `stated_support` takes. Raises InputError where it cannot be phased: no counts, near field, sampled too
    coarsely, too large a beam stop.
    """
    check_pattern(pattern)
    known_support = None if support is None else stated_support(support, pattern.frame_shape, pattern.object_pixel_m)
    frames: list[Tensor] = []
    check_frames(scan_statistics(pattern, also=lambda _, read: frames.append(read)))
    problem = SupportProblem.from_intensity(
        pattern,
        frames[0][0],
        pattern.mask,
        seed=seed,
        device=device,
        free_fraction=free_fraction,
        support=known_support,
        blur_px=blur_px,
    )
    _check_sampling(pattern, problem, frames[0][0])
    return problem


def _to_corner(values: Tensor) -> Tensor:
    """Zero frequency from index n // 2 to index 0, all axes."""
    return torch.fft.ifftshift(values)


def correlated_region(pattern: Measurement, known: Bool[Tensor, "y x"]) -> Bool[Tensor, "y x"]:
    """Where the autocorrelation of the object is noticeable: about twice as wide as the object, centre at n // 2.

    Pixels that are not `known` are taken from their nearest neighbours.
    """
    return correlated(pattern.frames(slice(None))[0], known)


def check_pattern(pattern: Pattern) -> None:
    """What can be refused of one pattern before it is read."""
    if pattern.geometry.near_field:
        raise InputError(
            "the pattern is near field (focus distance given); phasing of one pattern works on far-field patterns only"
        )
    if not bool(pattern.mask.any()):
        raise InputError("the mask trusts no pixel at all; masks are True where the detector is good: invert it")
    if not sensible_pixel(pattern.object_pixel_m):
        raise InputError(
            f"the object pixel that follows from the geometry is {pattern.object_pixel_m[0]:.3g} x "
            f"{pattern.object_pixel_m[1]:.3g} m; expected picometres to millimetres: check --energy-ev, --distance-m and "
            "--detector-pixel-m"
        )


def _check_sampling(pattern: Pattern, problem: SupportProblem, counts: Float[Tensor, "y x"]) -> None:
    """Refuse what no start can solve: an object too large for the sampling, or too much hidden in the centre."""
    height, width = pattern.frame_shape
    region = correlated(counts, to_centre(problem.trusted.cpu()) > 0)
    covered, size = float(region.float().mean()), extent_px(region)
    hidden, told = hidden_centre_px(pattern), problem.support_is_known or problem.symmetry.real
    if not hidden and covered > FULL and not problem.support_is_known:
        raise InputError(
            f"the autocorrelation covers {covered:.0%} of the frame, so that the object fills more than half of it and the "
            "pattern is sampled too coarsely; expected an isolated object, sampled at least twice as finely as its "
            "speckles: a longer distance, smaller detector pixels, no binning; with few photons or a bright background, "
            "subtract_background first. An extended sample needs ptychography"
        )
    if told:
        size = [2 * length for length in extent_px(problem.first_support.cpu())]
    speckle_px = max(2.0, 2 * height / max(size[0], 1), 2 * width / max(size[1], 1))
    most = MOST_HIDDEN_KNOWN if told else MOST_HIDDEN_SPECKLES
    if hidden > most * speckle_px:
        cure = (
            ""
            if problem.support_is_known
            else f", or state the support (--support), with which {MOST_HIDDEN_KNOWN:g} can"
        )
        raise InputError(
            f"{hidden:.0f} pixels across are untrusted in the middle of the pattern, {hidden / speckle_px:.1f} speckles; "
            f"at most {most:g} can be phased: use a smaller beam stop, or fill the centre from a short exposure without "
            f"it{cure}"
        )
