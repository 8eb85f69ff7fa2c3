"""Conjugate gradients on the images of groups of frames."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from exitwave.problems.groups.canvases import DIM, PRIOR_PHOTONS, Canvases, Images, scaled
from exitwave.problems.groups.sensitivity import Sensitivity, real_product


@dataclass(eq=False)
class ConjugateGradients:
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
        lit = self.canvases.illumination
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
        shown = real_product(self._waves, moved).div_(modulus).mul_(group.trusted)
        curvature = group.per_group(shown.square_()) + PRIOR_PHOTONS * self._dot(direction, direction)
        length = slope / curvature.clamp(min=1e-30)
        self.images = self.images + scaled(direction, length.to(torch.float32)[:, None, None])
        self._waves += scaled(moved, group.each_frame(length))

    def _direction(self, uphill: Images) -> tuple[Images, Float[Tensor, " group"]]:
        """The next search direction, and how fast the misfit (halved) falls along it."""
        better = self._preconditioned(uphill)
        power = self._dot(uphill, better)
        direction, slope = better, power
        if self._before is not None:
            last, last_uphill, last_power = self._before
            kept = ((power - self._dot(last_uphill, better)) / last_power.clamp(min=1e-30)).clamp(min=0)
            direction = better + scaled(last, kept.to(torch.float32)[:, None, None])
            slope = self._dot(uphill, direction)
            lost = slope <= 0
            if bool(lost.any()):
                direction = torch.where(lost[:, None, None], better, direction)
                slope = torch.where(lost, power, slope)
        self._before = direction, uphill, power
        return direction, slope

    def _preconditioned(self, uphill: Images) -> Images:
        turn = self.images / self.images.abs().clamp(min=1e-6)
        own = scaled(uphill * turn.conj(), self._root)
        parts = torch.fft.rfft2(torch.stack([own.real, own.imag], dim=1)) * self._gains
        parts = torch.fft.irfft2(parts, s=(own.shape[1], own.shape[2]))
        return scaled(torch.complex(parts[:, 0], parts[:, 1]) * turn, self._root)

    def _dot(self, one: Images, other: Images) -> Float[Tensor, " group"]:
        return self.canvases.per_group(torch.view_as_real(one) * torch.view_as_real(other))
