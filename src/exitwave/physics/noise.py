"""How counts scatter around the expected intensity: negative log likelihoods, one small value each."""

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


def _mean(values: Tensor, trusted: Tensor) -> Tensor:
    return (values * trusted).sum() / (trusted.sum() * len(values))


@dataclass(frozen=True, kw_only=True)
class Poisson:
    """Photon counting: expected - measured log(expected). Zero counts are allowed."""

    floor: float = 1e-6
    """Smallest expected intensity, photons; keeps the logarithm finite."""

    def loss(
        self, expected: Float[Tensor, "batch y x"], measured: Float[Tensor, "batch y x"], trusted: Float[Tensor, "y x"]
    ) -> Float[Tensor, ""]:
        expected = expected.clamp(min=self.floor)
        return _mean(expected - measured * expected.log(), trusted)


@dataclass(frozen=True, kw_only=True)
class Gaussian:
    """Read-out noise of known standard deviation: (expected - measured)^2 / (2 sigma^2)."""

    sigma: float = 1.0
    """Photons."""

    def loss(
        self, expected: Float[Tensor, "batch y x"], measured: Float[Tensor, "batch y x"], trusted: Float[Tensor, "y x"]
    ) -> Float[Tensor, ""]:
        return _mean((expected - measured).square() / (2 * self.sigma**2), trusted)


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
