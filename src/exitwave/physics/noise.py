"""Noise models: negative log likelihoods of counts around the expected intensity, one small value each."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class Noise(Protocol):
    """A statistical model of the detector."""

    def loss(
        self, expected: Float[Tensor, "batch y x"], measured: Float[Tensor, "batch y x"], trusted: Float[Tensor, "y x"]
    ) -> Float[Tensor, ""]:
        """Mean negative log likelihood of a trusted pixel, up to a constant that does not depend on `expected`."""
        ...

    def pull(
        self,
        expected: Float[Tensor, "batch y x"],
        amplitudes: Float[Tensor, "batch y x"],
        trusted: Float[Tensor, "y x"],
    ) -> tuple[Float[Tensor, "batch y x"], Float[Tensor, " batch"]]:
        """Factor on the waves at the detector that makes them the descent direction, and the loss of each frame.

        The factor is -d loss / d expected, zero in untrusted pixels: times the wave F it is the negative Wirtinger
        gradient -d loss / d conj(F). The loss is summed over trusted pixels. `amplitudes` are roots of measured photons.
        """
        ...


def _per_frame(values: Tensor, trusted: Tensor) -> Tensor:
    return (values * trusted).sum(dim=(1, 2), dtype=torch.float64)


def _mean(values: Tensor, trusted: Tensor) -> Tensor:
    return (values * trusted).sum() / (trusted.sum() * len(values))


@dataclass(frozen=True, kw_only=True)
class Poisson:
    """Photon counting: expected - measured log(expected). Zero counts are allowed."""

    floor: float = 1e-6
    """Photons added to both, so that the logarithm and its slope stay finite where the model is dark."""

    def loss(
        self, expected: Float[Tensor, "batch y x"], measured: Float[Tensor, "batch y x"], trusted: Float[Tensor, "y x"]
    ) -> Float[Tensor, ""]:
        expected = expected + self.floor
        return _mean(expected - (measured + self.floor) * expected.log(), trusted)

    def pull(
        self,
        expected: Float[Tensor, "batch y x"],
        amplitudes: Float[Tensor, "batch y x"],
        trusted: Float[Tensor, "y x"],
    ) -> tuple[Float[Tensor, "batch y x"], Float[Tensor, " batch"]]:
        expected, measured = expected + self.floor, amplitudes.square() + self.floor
        factor = (measured / expected - 1) * trusted
        # Less the loss of a perfect fit, a constant: sums of single precision then keep their digits.
        excess = (expected - measured) / measured
        return factor, _per_frame(measured * (excess - excess.log1p()), trusted)


@dataclass(frozen=True, kw_only=True)
class Gaussian:
    """Read-out noise of known standard deviation: (expected - measured)^2 / (2 sigma^2)."""

    sigma: float = 1.0
    """Photons."""

    def loss(
        self, expected: Float[Tensor, "batch y x"], measured: Float[Tensor, "batch y x"], trusted: Float[Tensor, "y x"]
    ) -> Float[Tensor, ""]:
        return _mean((expected - measured).square() / (2 * self.sigma**2), trusted)

    def pull(
        self,
        expected: Float[Tensor, "batch y x"],
        amplitudes: Float[Tensor, "batch y x"],
        trusted: Float[Tensor, "y x"],
    ) -> tuple[Float[Tensor, "batch y x"], Float[Tensor, " batch"]]:
        missing = amplitudes.square() - expected
        return missing * trusted / self.sigma**2, _per_frame(missing.square() / (2 * self.sigma**2), trusted)


@dataclass(frozen=True, kw_only=True)
class Amplitude:
    """Square roots of counts scatter with variance 1/4 whatever their mean: 2 (sqrt(expected) - sqrt(measured))^2.

    The variance-stabilised Poisson model that modulus projections minimise (Thibault & Guizar-Sicairos, New J. Phys. 14, 063004, 2012).
    """

    floor: float = 1e-12
    """Added under the square root, photons; keeps its gradient finite at zero."""

    def loss(
        self, expected: Float[Tensor, "batch y x"], measured: Float[Tensor, "batch y x"], trusted: Float[Tensor, "y x"]
    ) -> Float[Tensor, ""]:
        return _mean(2 * (torch.sqrt(expected + self.floor) - measured.clamp(min=0).sqrt()).square(), trusted)

    def pull(
        self,
        expected: Float[Tensor, "batch y x"],
        amplitudes: Float[Tensor, "batch y x"],
        trusted: Float[Tensor, "y x"],
    ) -> tuple[Float[Tensor, "batch y x"], Float[Tensor, " batch"]]:
        modulus = (expected + self.floor).sqrt()
        missing = amplitudes - modulus
        return 2 * missing / modulus * trusted, _per_frame(2 * missing.square(), trusted)


@dataclass(frozen=True, kw_only=True)
class SmoothL1:
    """`Amplitude` for deviations up to `bend`, beyond it linear: wrong pixels and frames pull less (Huber 1964)."""

    bend: float = 1.0
    """Deviation of the amplitude, roots of photons; counting noise has a standard deviation of 0.5."""
    floor: float = 1e-12
    """Added under the square root, photons."""

    def loss(
        self, expected: Float[Tensor, "batch y x"], measured: Float[Tensor, "batch y x"], trusted: Float[Tensor, "y x"]
    ) -> Float[Tensor, ""]:
        return _mean(self._of(torch.sqrt(expected + self.floor) - measured.clamp(min=0).sqrt()), trusted)

    def pull(
        self,
        expected: Float[Tensor, "batch y x"],
        amplitudes: Float[Tensor, "batch y x"],
        trusted: Float[Tensor, "y x"],
    ) -> tuple[Float[Tensor, "batch y x"], Float[Tensor, " batch"]]:
        modulus = (expected + self.floor).sqrt()
        missing = amplitudes - modulus
        slope = missing.clamp(-self.bend, self.bend)
        return 2 * slope / modulus * trusted, _per_frame(self._of(missing), trusted)

    def _of(self, deviation: Tensor) -> Tensor:
        within = deviation.abs().clamp(max=self.bend)
        return 2 * within * (2 * deviation.abs() - within)
