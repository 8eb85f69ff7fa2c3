"""Groups of neighbouring frames, each on a small canvas of its own, solved side by side by conjugate gradients."""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from jaxtyping import Complex, Float, Int
from scipy.fft import next_fast_len
from torch import Tensor

from exitwave.data.estimate import PtychoEstimate
from exitwave.physics.interaction import split_positions
from exitwave.physics.kernels import reference, verbs
from exitwave.physics.kernels.reference import Corners
from exitwave.physics.ptychography import Ptychography
from exitwave.physics.sums import CHUNK_PIXELS, GPU_CHUNK_PIXELS

SOFTNESS = 0.05
"""Least share of light by which a ripple of the object is taken to show: bounds how much the preconditioner amplifies."""
DIM = 0.1
"""Share of the brightest illumination that is added to that of every pixel before dividing by it."""
PRIOR_PHOTONS = 0.5
"""Photons that what is known beforehand counts for in every pixel: it decides where the measured ones say less."""
BANDS = 20
"""Spatial frequencies at which the sensitivity to phase is measured."""

DIMMEST = 0.02
"""Share of the brightest illumination below which a step asked for by the data is held back."""
FAINTEST = 1e-8
"""Of the photons that a pixel would have in an even pattern: below, a model is dark. Keeps slopes finite, and what rounding
leaves in dark pixels from being taken for a wave."""

Images = Complex[Tensor, "group Y X"]


@dataclass(frozen=True, eq=False)
class Canvases:
    """Groups of frames with a canvas each. In memory they are one tall canvas, on which frames of different groups never meet."""

    model: Ptychography
    trusted: Float[Tensor, "y x"]
    background: Float[Tensor, "y x"]
    """Photons, detector order."""
    amplitudes: Float[Tensor, "frame y x"]
    """Measured, detector order, group after group."""
    probes: Complex[Tensor, "#frame mode y x"]
    corners: Corners
    """Of each frame's window in the tall canvas."""
    origins: Int[Tensor, "group 2"]
    """Of each canvas in the whole object."""
    lit: Float[Tensor, "group Y X"]
    """Sum of |probe|^2 over the frames of a group."""
    places_px: Float[Tensor, "group member 2"]
    """Of each frame's window on its canvas, sub-pixel."""

    @classmethod
    def of(
        cls,
        model: Ptychography,
        trusted: Float[Tensor, "y x"],
        x: PtychoEstimate,
        groups: Int[Tensor, "group member"],
        amplitudes: Float[Tensor, "frame y x"],
    ) -> "Canvases":
        """Canvases for these frames of the estimate `x`; `amplitudes` are theirs, group after group."""
        corners, _ = split_positions(x.positions_px[groups.flatten()])
        corners = corners.reshape(*groups.shape, 2)
        shape = _common_shape(corners, tuple(x.probe.shape[-2:]), tuple(x.object.shape[-2:]))
        room = torch.tensor(x.object.shape[-2:]) - torch.tensor(shape)
        origins = torch.minimum(corners.amin(dim=1), room)
        inside = corners - origins[:, None]
        inside[..., 0] += shape[0] * torch.arange(len(groups))[:, None]
        inside = inside.flatten(0, 1)
        probes = model.probes(x, groups.flatten())
        lit = torch.zeros(1, len(groups) * shape[0], shape[1], device=x.object.device)
        light = reference.intensity(probes)[:, None]
        reference.scatter_add_(lit, light.expand(len(inside), -1, -1, -1), inside)
        return cls(
            model=model,
            trusted=trusted,
            background=model.background(x),
            amplitudes=amplitudes,
            probes=probes,
            corners=inside,
            origins=origins,
            lit=lit.view(len(groups), *shape),
            places_px=x.positions_px.to("cpu")[groups] - origins[:, None],
        )

    def at_detector(self, images: Images) -> Complex[Tensor, "frame mode y x"]:
        """Waves at the detector; linear in the images."""
        tall = images.reshape(-1, images.shape[-1])
        return self.model.propagate(verbs.exit_waves(tall, self.probes, self.corners))

    def adjoint(self, waves: Complex[Tensor, "frame mode y x"]) -> Images:
        """Adjoint of `at_detector`; differentiable."""
        if waves.requires_grad and torch.is_grad_enabled():
            return _Adjoint.apply(waves, self)  # pyright: ignore[reportReturnType]
        total = torch.zeros(self.lit.shape, dtype=waves.dtype, device=waves.device)
        tall, light = total.view(-1, total.shape[-1]), torch.zeros_like(self.lit).view(-1, total.shape[-1])
        verbs.add_object_(self.model.backpropagate(waves), self.probes, self.corners, tall, light)
        return total

    def asked(self, images: Images) -> Images:
        """The change of the images that the measured moduli ask for: the least-squares step, held back where light is dim.

        Differentiable. From a flat image it is the modulus-projected exit waves, merged over the overlaps.
        """
        if not (images.requires_grad and torch.is_grad_enabled()):
            return self._held_back(self._summed(images))
        waves = self.at_detector(images)
        modulus = (reference.intensity(waves) + self.behind).sqrt()
        return self._held_back(self.adjoint(_times(waves, ((self.amplitudes / modulus - 1) * self.trusted)[:, None])))

    def back_projection(self) -> Images:
        """What one step makes of a flat image: modulus-projected exit waves, taken back through the probe and merged."""
        return self._held_back(self._summed(None)) + 1

    @cached_property
    def behind(self) -> Float[Tensor, "y x"]:
        """The background, and so few photons that they count as none; in proportion to the probe, whatever its strength."""
        photons = self.probes.abs().square().sum() / len(self.probes)
        return self.background + FAINTEST * photons / self.background.numel()

    def _held_back(self, change: Images) -> Images:
        return _times(change, 1 / (self.lit + DIMMEST * self.lit.amax(dim=(1, 2), keepdim=True)))

    def _summed(self, images: Images | None) -> Images:
        """Sum over frames of conj(probe) times the change of the exit wave; of flat images for None. In chunks that stay in cache."""
        total = torch.zeros(self.lit.shape, dtype=self.probes.dtype, device=self.lit.device)
        tall, light = total.view(-1, total.shape[-1]), torch.zeros_like(self.lit).view(-1, total.shape[-1])
        seen = None if images is None else images.reshape(-1, images.shape[-1]).contiguous()
        # Under one probe a flat image gives all frames the same wave.
        flat = self.model.propagate(self.probes) if seen is None and len(self.probes) == 1 else None
        room = torch.empty(2, self._together, *self.probes.shape[1:], dtype=total.dtype, device=total.device)
        for frames in torch.arange(len(self.amplitudes)).split(self._together):
            corners, (first, second) = self.corners[frames], room[:, : len(frames)]
            # A slice: an index would copy them.
            probes = self.probes if len(self.probes) == 1 else self.probes[int(frames[0]) : int(frames[-1]) + 1]
            if flat is not None:
                waves = second.copy_(flat.expand_as(second))
            else:
                leaving = probes if seen is None else verbs.exit_waves(seen, probes, corners, first)
                waves = self.model.propagate(leaving, second)
            verbs.impose_modulus_(waves, self.amplitudes, frames, self.trusted, self.behind)
            verbs.add_object_(self.model.backpropagate(waves, first), probes, corners, tall, light)
        return total

    @property
    def _together(self) -> int:
        """Frames of a chunk."""
        pixels = CHUNK_PIXELS if self.lit.device.type == "cpu" else GPU_CHUNK_PIXELS
        return max(1, min(pixels // self.probes[0].numel(), len(self.amplitudes)))

    def per_group(self, values: Tensor) -> Float[Tensor, " group"]:
        """Sums over everything that belongs to a group, of a real array over frames or over canvases."""
        return values.reshape(len(self.lit), -1).sum(dim=1).double()

    def each_frame(self, values: Float[Tensor, " group"]) -> Float[Tensor, "frame 1 1 1"]:
        """A number of each group for all of its frames."""
        repeated = values.to(torch.float32).repeat_interleave(len(self.amplitudes) // len(self.lit))
        return repeated[:, None, None, None]

    def probe_update(self, images: Images, x: PtychoEstimate, frames: Int[Tensor, " frame"]) -> Tensor:
        """The least-squares step of the probe that all of these frames ask for together."""
        waves = self.at_detector(images)
        _, pull = self.pull(waves)
        change, seen = self.model.backpropagate(pull), torch.zeros_like(self.trusted)
        tall = images.reshape(-1, images.shape[-1])
        verbs.times_conjugate_window_(change, tall, self.corners, seen)
        return self.model.collect(x, frames, change) / (0.5 * seen + 0.5 * seen.max()).clamp(min=1e-12)

    def pull(
        self, waves: Complex[Tensor, "frame mode y x"]
    ) -> tuple[Float[Tensor, "frame y x"], Complex[Tensor, "frame mode y x"]]:
        """Modulus of these waves, and the change of them that would give the measured one."""
        modulus = (reference.intensity(waves) + self.background).sqrt_().clamp_(min=1e-12)
        wanted = (self.amplitudes / modulus).sub_(1).mul_(self.trusted)
        return modulus, _times(waves, wanted[:, None])


class _Adjoint(torch.autograd.Function):
    """The adjoint, whose own adjoint is `at_detector`."""

    @staticmethod
    def forward(ctx: Any, waves: Tensor, canvases: Canvases) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.canvases = canvases
        return canvases.adjoint(waves.detach())

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, images: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return ctx.canvases.at_detector(images.resolve_conj().contiguous()), None


def _common_shape(
    corners: Int[Tensor, "group member 2"], frame: tuple[int, ...], whole: tuple[int, ...]
) -> tuple[int, int]:
    span = (corners.amax(dim=1) - corners.amin(dim=1)).amax(dim=0).tolist()
    fast = [next_fast_len(int(s) + n, real=True) or 0 for s, n in zip(span, frame, strict=True)]
    return min(fast[0], whole[0]), min(fast[1], whole[1])


def _times(waves: Tensor, factor: Tensor) -> Tensor:
    # As pairs of real numbers: torch would make the factor complex first.
    return torch.view_as_complex(torch.view_as_real(waves) * factor[..., None])


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """How much of the light that a phase ripple of the object moves changes the patterns, by spatial frequency.

    The rest of it is invisible: a slow phase under a strongly curved probe moves 1 % of its light where it can be seen, and
    descent needs a hundred times the steps. The share of an amplitude ripple is one less that of phase. For an even
    probe this is the contrast transfer of in-line holography, sin^2 and cos^2 (Guigay, Optik 49, 121, 1977); here it is
    measured with random ripples of a flat object, for any probe, mask and propagation.
    """

    frequency: Float[np.ndarray, " band"]
    """Cycles per object pixel."""
    share: Float[np.ndarray, " band"]

    @classmethod
    def of(cls, canvases: Canvases, seed: int = 0) -> "Sensitivity":
        """Measured on canvases of a few frames; costs about as much as ten iterations on them."""
        shape = canvases.lit.shape
        radius = _radius((shape[1], shape[2]))
        edges = np.concatenate([[-1, 0.5 / max(shape[1:])], np.geomspace(0.75 / max(shape[1:]), 0.72, BANDS)])
        flat = torch.ones(shape, dtype=canvases.probes.dtype, device=canvases.lit.device)
        waves = canvases.at_detector(flat)
        modulus, _ = canvases.pull(waves)
        noise = torch.fft.fft2(torch.randn(shape, generator=torch.Generator().manual_seed(seed)))
        frequency: list[float] = []
        share: list[float] = []
        for low, high in pairwise(edges):
            band = (radius > low) & (radius <= high)
            if not band.any():
                continue
            ripple = torch.fft.ifft2(noise * torch.from_numpy(band)).real.to(flat.device)
            moved = canvases.at_detector(torch.complex(torch.zeros_like(ripple), ripple))
            shown = _along(waves, moved) / modulus * canvases.trusted
            frequency.append(float(radius[band].mean()))
            share.append(float(shown.square().sum() / moved.abs().square().sum().clamp(min=1e-30)))
        return cls(np.array(frequency), np.array(share))

    def gains(self, shape: tuple[int, int]) -> Float[Tensor, "2 Y Xhalf"]:
        """By how much to enlarge amplitude and phase of a search direction, for `rfft2` of a canvas of this shape."""
        phase = np.interp(_radius(shape)[:, : shape[1] // 2 + 1], self.frequency, self.share)
        return torch.from_numpy(1 / (np.stack([1 - phase, phase]).clip(0, 1) + SOFTNESS)).to(torch.float32)


def _radius(shape: tuple[int, int]) -> np.ndarray:
    return np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.fftfreq(shape[1])[None, :])


def _along(waves: Tensor, others: Tensor) -> Float[Tensor, "frame y x"]:
    """Sum over modes of Re(conj(waves) others): how the intensity grows along `others`, halved."""
    one, other = torch.view_as_real(waves), torch.view_as_real(others)
    parts = torch.addcmul(one[..., 0] * other[..., 0], one[..., 1], other[..., 1])
    return parts[:, 0] if parts.shape[1] == 1 else parts.sum(dim=1)


@dataclass(eq=False)
class Descent:
    """Preconditioned conjugate gradients on sum (|F| - A)^2 of each group, with Gauss-Newton step lengths.

    Every pixel is held to `prior` as if half a photon had measured it. Without that, slow phases that few photons do not
    show would be made up from noise, and the next group would build on them.

    The waves at the detector are carried along, so that an iteration costs two transforms a frame, as a step of fixed
    length does. Polak-Ribiere directions, steps from the curvature along the direction as in Carlsson, Wendt, Cloetens &
    Nikitin, arXiv 2502.10755, without the term that may be negative. The preconditioner divides by the illumination
    and by the sensitivity.
    """

    canvases: Canvases
    images: Images
    sensitivity: Sensitivity
    prior: Images

    def __post_init__(self) -> None:
        lit = self.canvases.lit
        self._root = ((1 - DIM) * lit + DIM * lit.amax(dim=(1, 2), keepdim=True) + PRIOR_PHOTONS).rsqrt()
        self._gains = self.sensitivity.gains((lit.shape[1], lit.shape[2])).to(lit.device)
        self._waves = self.canvases.at_detector(self.images)
        self._before: tuple[Tensor, Tensor, Tensor] | None = None

    def advance(self, iterations: int) -> Images:
        """Go on for so many iterations."""
        for _ in range(iterations):
            self._iterate()
        return self.images

    def _iterate(self) -> None:
        group = self.canvases
        modulus, pull = group.pull(self._waves)
        uphill = group.adjoint(pull).add_(self.images - self.prior, alpha=-PRIOR_PHOTONS)
        direction, slope = self._direction(uphill)
        moved = group.at_detector(direction)
        shown = _along(self._waves, moved).div_(modulus).mul_(group.trusted)
        curvature = group.per_group(shown.square_()) + PRIOR_PHOTONS * self._dot(direction, direction)
        length = slope / curvature.clamp(min=1e-30)
        self.images = self.images + _times(direction, length.to(torch.float32)[:, None, None])
        self._waves += _times(moved, group.each_frame(length))

    def _direction(self, uphill: Images) -> tuple[Images, Float[Tensor, " group"]]:
        """The next search direction, and how fast the misfit (halved) falls along it."""
        better = self._preconditioned(uphill)
        power = self._dot(uphill, better)
        direction, slope = better, power
        if self._before is not None:
            last, last_uphill, last_power = self._before
            kept = ((power - self._dot(last_uphill, better)) / last_power.clamp(min=1e-30)).clamp(min=0)
            direction = better + _times(last, kept.to(torch.float32)[:, None, None])
            slope = self._dot(uphill, direction)
            lost = slope <= 0
            if bool(lost.any()):
                direction = torch.where(lost[:, None, None], better, direction)
                slope = torch.where(lost, power, slope)
        self._before = direction, uphill, power
        return direction, slope

    def _preconditioned(self, uphill: Images) -> Images:
        turn = self.images / self.images.abs().clamp(min=1e-6)
        own = _times(uphill * turn.conj(), self._root)
        parts = torch.fft.rfft2(torch.stack([own.real, own.imag], dim=1)) * self._gains
        parts = torch.fft.irfft2(parts, s=(own.shape[1], own.shape[2]))
        return _times(torch.complex(parts[:, 0], parts[:, 1]) * turn, self._root)

    def _dot(self, one: Images, other: Images) -> Float[Tensor, " group"]:
        return self.canvases.per_group(torch.view_as_real(one) * torch.view_as_real(other))
