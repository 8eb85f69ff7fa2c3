"""Groups of neighbouring frames, each on a small canvas of its own, solved side by side by conjugate gradients."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Complex, Float, Int
from scipy.fft import next_fast_len
from torch import Tensor

from exitwave.data.estimate import PtychoEstimate
from exitwave.physics.interaction import split_positions
from exitwave.physics.kernels import dispatch as kernels, reference
from exitwave.physics.kernels.reference import Corners
from exitwave.physics.ptychography import Ptychography
from exitwave.problems.threads import frames_in_cache

SOFTNESS = 0.05
"""Least share of light by which a ripple of the object is taken to show: bounds how much the preconditioner amplifies."""
DIM = 0.1
"""Share of the brightest illumination that is added to that of every pixel before dividing by it."""
PRIOR_PHOTONS = 0.5
"""Photons that what is known beforehand counts for in every pixel: it decides where the measured ones say less."""
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
    illumination: Float[Tensor, "group Y X"]
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
            illumination=lit.view(len(groups), *shape),
            places_px=x.positions_px.to("cpu")[groups] - origins[:, None],
        )

    def at_detector(self, images: Images) -> Complex[Tensor, "frame mode y x"]:
        """Waves at the detector; linear in the images."""
        tall = images.reshape(-1, images.shape[-1])
        return self.model.propagate(kernels.exit_waves(tall, self.probes, self.corners))

    def adjoint(self, waves: Complex[Tensor, "frame mode y x"]) -> Images:
        """Adjoint of `at_detector`; differentiable."""
        if waves.requires_grad and torch.is_grad_enabled():
            return _Adjoint.apply(waves, self)  # pyright: ignore[reportReturnType]
        total = torch.zeros(self.illumination.shape, dtype=waves.dtype, device=waves.device)
        tall, light = total.view(-1, total.shape[-1]), torch.zeros_like(self.illumination).view(-1, total.shape[-1])
        kernels.add_object_(self.model.backpropagate(waves), self.probes, self.corners, tall, light)
        return total

    def gradient_step(self, images: Images) -> Images:
        """The change of the images that the measured moduli ask for: the least-squares step, held back where light is dim.

        Differentiable. From a flat image it is the modulus-projected exit waves, merged over the overlaps.
        """
        if not (images.requires_grad and torch.is_grad_enabled()):
            return self._damped(self._summed(images))
        waves = self.at_detector(images)
        modulus = (reference.intensity(waves) + self.dark_floor).sqrt()
        return self._damped(self.adjoint(scaled(waves, ((self.amplitudes / modulus - 1) * self.trusted)[:, None])))

    def back_projection(self) -> Images:
        """What one step makes of a flat image: modulus-projected exit waves, taken back through the probe and merged."""
        return self._damped(self._summed(None)) + 1

    @cached_property
    def dark_floor(self) -> Float[Tensor, "y x"]:
        """The background, and so few photons that they count as none; in proportion to the probe, whatever its strength."""
        photons = self.probes.abs().square().sum() / len(self.probes)
        return self.background + FAINTEST * photons / self.background.numel()

    def _damped(self, change: Images) -> Images:
        return scaled(change, 1 / (self.illumination + DIMMEST * self.illumination.amax(dim=(1, 2), keepdim=True)))

    def _summed(self, images: Images | None) -> Images:
        """Sum over frames of conj(probe) times the change of the exit wave; of flat images for None. In chunks that stay in cache."""
        total = torch.zeros(self.illumination.shape, dtype=self.probes.dtype, device=self.illumination.device)
        tall, light = total.view(-1, total.shape[-1]), torch.zeros_like(self.illumination).view(-1, total.shape[-1])
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
                leaving = probes if seen is None else kernels.exit_waves(seen, probes, corners, first)
                waves = self.model.propagate(leaving, second)
            kernels.impose_modulus_(waves, self.amplitudes, frames, self.trusted, self.dark_floor)
            kernels.add_object_(self.model.backpropagate(waves, first), probes, corners, tall, light)
        return total

    @property
    def _together(self) -> int:
        """Frames of a chunk."""
        return frames_in_cache(len(self.amplitudes), self.probes[0].numel(), self.illumination.device)

    def per_group(self, values: Tensor) -> Float[Tensor, " group"]:
        """Sums over everything that belongs to a group, of a real array over frames or over canvases."""
        return values.reshape(len(self.illumination), -1).sum(dim=1).double()

    def each_frame(self, values: Float[Tensor, " group"]) -> Float[Tensor, "frame 1 1 1"]:
        """A number of each group for all of its frames."""
        repeated = values.to(torch.float32).repeat_interleave(len(self.amplitudes) // len(self.illumination))
        return repeated[:, None, None, None]

    def probe_update(self, images: Images, x: PtychoEstimate, frames: Int[Tensor, " frame"]) -> Tensor:
        """The least-squares step of the probe that all of these frames ask for together."""
        waves = self.at_detector(images)
        _, pull = self.pull(waves)
        change, seen = self.model.backpropagate(pull), torch.zeros_like(self.trusted)
        tall = images.reshape(-1, images.shape[-1])
        kernels.times_conjugate_window_(change, tall, self.corners, seen)
        return self.model.probes_adjoint(x, frames, change) / (0.5 * seen + 0.5 * seen.max()).clamp(min=1e-12)

    def pull(
        self, waves: Complex[Tensor, "frame mode y x"]
    ) -> tuple[Float[Tensor, "frame y x"], Complex[Tensor, "frame mode y x"]]:
        """Modulus of these waves, and the change of them that would give the measured one."""
        modulus = (reference.intensity(waves) + self.background).sqrt_().clamp_(min=1e-12)
        wanted = (self.amplitudes / modulus).sub_(1).mul_(self.trusted)
        return modulus, scaled(waves, wanted[:, None])


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


def scaled(waves: Tensor, factor: Tensor) -> Tensor:
    # As pairs of real numbers: torch would make the factor complex first.
    return torch.view_as_complex(torch.view_as_real(waves) * factor[..., None])
