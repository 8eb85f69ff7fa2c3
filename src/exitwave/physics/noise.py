"""Noise models: negative log likelihoods of counts around the expected intensity, one small value each."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

NoiseName = Literal["amplitude", "poisson", "gaussian", "smooth_l1"]
Photons = Float[Tensor, "batch y x"]
"""Of every pixel of a batch of frames, or their square roots."""
POISSON_FLOOR = 0.01
"""Photons added to counts and model: a pixel where the model is still dark would else pull without bound."""


@runtime_checkable
class Noise(Protocol):
    """A statistical model of the detector."""

    def loss(self, expected: Photons, measured: Photons, trusted: Float[Tensor, "y x"]) -> Float[Tensor, ""]:
        """Mean negative log likelihood of a trusted pixel, up to a constant that does not depend on `expected`."""
        ...

    def pull(
        self, expected: Photons, amplitudes: Photons, trusted: Float[Tensor, "y x"]
    ) -> tuple[Photons, Float[Tensor, " batch"]]:
        """Factor on the waves at the detector that makes them the descent direction, and the loss of each frame.

        The factor is -d loss / d expected, zero in untrusted pixels: times the wave F it is the negative Wirtinger
        gradient -d loss / d conj(F). The loss is summed over trusted pixels. `amplitudes` are roots of measured photons.
        """
        ...


class _Likelihood(ABC):
    """Sums over trusted pixels, of what each model says of a single one."""

    def loss(self, expected: Photons, measured: Photons, trusted: Float[Tensor, "y x"]) -> Float[Tensor, ""]:
        return (self._loss(expected, measured) * trusted).sum() / (trusted.sum() * len(expected))

    def pull(
        self, expected: Photons, amplitudes: Photons, trusted: Float[Tensor, "y x"]
    ) -> tuple[Photons, Float[Tensor, " batch"]]:
        factor, loss = self._pull(expected, amplitudes)
        return factor * trusted, (loss * trusted).sum(dim=(1, 2), dtype=torch.float64)

    @abstractmethod
    def _loss(self, expected: Tensor, measured: Tensor) -> Tensor: ...

    @abstractmethod
    def _pull(self, expected: Tensor, amplitudes: Tensor) -> tuple[Tensor, Tensor]:
        """Factor and loss."""


@dataclass(frozen=True, kw_only=True)
class Poisson(_Likelihood):
    """Photon counting: expected - measured log(expected). Zero counts are allowed."""

    floor: float = 1e-6
    """Photons added to both, so that the logarithm and its slope stay finite where the model is dark."""

    def _loss(self, expected: Tensor, measured: Tensor) -> Tensor:
        expected = expected + self.floor
        return expected - (measured + self.floor) * expected.log()

    def _pull(self, expected: Tensor, amplitudes: Tensor) -> tuple[Tensor, Tensor]:
        expected, measured = expected + self.floor, amplitudes.square() + self.floor
        # Less the loss of a perfect fit, a constant: sums of single precision then keep their digits.
        excess = (expected - measured) / measured
        return measured / expected - 1, measured * (excess - excess.log1p())


@dataclass(frozen=True, kw_only=True)
class Gaussian(_Likelihood):
    """Read-out noise of known standard deviation: (expected - measured)^2 / (2 sigma^2)."""

    sigma: float = 1.0
    """Photons."""

    def _loss(self, expected: Tensor, measured: Tensor) -> Tensor:
        return (expected - measured).square() / (2 * self.sigma**2)

    def _pull(self, expected: Tensor, amplitudes: Tensor) -> tuple[Tensor, Tensor]:
        missing = amplitudes.square() - expected
        return missing / self.sigma**2, missing.square() / (2 * self.sigma**2)


@dataclass(frozen=True, kw_only=True)
class Amplitude(_Likelihood):
    """Square roots of counts scatter with variance 1/4 whatever their mean: 2 (sqrt(expected) - sqrt(measured))^2.

    The variance-stabilised Poisson model that modulus projections minimise (Thibault & Guizar-Sicairos, New J. Phys. 14, 063004, 2012).
    """

    floor: float = 1e-12
    """Added under the square root, photons; keeps its gradient finite at zero."""

    def _loss(self, expected: Tensor, measured: Tensor) -> Tensor:
        return 2 * (torch.sqrt(expected + self.floor) - measured.clamp(min=0).sqrt()).square()

    def _pull(self, expected: Tensor, amplitudes: Tensor) -> tuple[Tensor, Tensor]:
        modulus = (expected + self.floor).sqrt()
        missing = amplitudes - modulus
        return 2 * missing / modulus, 2 * missing.square()


@dataclass(frozen=True, kw_only=True)
class SmoothL1(_Likelihood):
    """`Amplitude` for deviations up to `bend`, beyond it linear: wrong pixels and frames pull less (Huber 1964)."""

    bend: float = 1.0
    """Deviation of the amplitude, roots of photons; counting noise has a standard deviation of 0.5."""
    floor: float = 1e-12
    """Added under the square root, photons."""

    def _loss(self, expected: Tensor, measured: Tensor) -> Tensor:
        return self._of(torch.sqrt(expected + self.floor) - measured.clamp(min=0).sqrt())

    def _pull(self, expected: Tensor, amplitudes: Tensor) -> tuple[Tensor, Tensor]:
        modulus = (expected + self.floor).sqrt()
        missing = amplitudes - modulus
        return 2 * missing.clamp(-self.bend, self.bend) / modulus, self._of(missing)

    def _of(self, deviation: Tensor) -> Tensor:
        within = deviation.abs().clamp(max=self.bend)
        return 2 * within * (2 * deviation.abs() - within)


def noise_model(name: NoiseName, *, sigma: float = 1.0) -> Noise:
    """The noise model of a name; `sigma` (photons) is the Gaussian's."""
    match name:
        case "amplitude":
            return Amplitude()
        case "poisson":
            return Poisson(floor=POISSON_FLOOR)
        case "gaussian":
            return Gaussian(sigma=sigma)
        case "smooth_l1":
            return SmoothL1()
