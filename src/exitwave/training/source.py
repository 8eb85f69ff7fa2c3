"""Training examples that are made when they are needed: more than memory holds, or endlessly many."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Generic, TypeVar

import numpy as np
from jaxtyping import Int

from exitwave.data.errors import InputError

X = TypeVar("X")
JUDGES = 8
"""The first examples of a source judge the training and are never trained on."""
ENDLESS = 2**31
"""Numbers from which an endless source is drawn."""


@dataclass(frozen=True, kw_only=True)
class TrainingSource(Generic[X]):
    """Examples to train on that are made one by one, such as simulated scans: a training holds a few of them at a time.

    Which are drawn depends on the seed of the training alone, so that a training that goes on is the one without a break.
    """

    make: Callable[[int], X]
    """The example of a number from 0 on: the same one whenever it is asked for."""
    examples: int | None = None
    """How many there are; without end when left out."""
    samples_per_epoch: int = 1024
    """Samples, such as groups of frames, that count as one epoch."""
    draws_per_example: int = 64
    """Samples drawn from an example before another takes its place; fewer where making one costs little."""

    def __post_init__(self) -> None:
        if min(self.samples_per_epoch, self.draws_per_example) < 1:
            raise InputError(
                f"samples_per_epoch is {self.samples_per_epoch}, draws_per_example {self.draws_per_example}; expected 1 or more"
            )
        if self.examples is not None and self.examples <= JUDGES:
            raise InputError(
                f"a source of {self.examples} examples is too small, for the first {JUDGES} only judge; give them as a list"
            )

    def drawn(self, place: int, *, seed: int, rank: int) -> int:
        """The number of the example at a place of the order in which device `rank` trains on them."""
        if self.examples is None:
            return JUDGES + int(np.random.default_rng([11, seed, rank, place]).integers(ENDLESS))
        passed, place = divmod(place, self.examples - JUDGES)
        return JUDGES + int(_order(self.examples - JUDGES, seed, rank, passed)[place])


@lru_cache(maxsize=2)
def _order(count: int, *seed: int) -> Int[np.ndarray, " example"]:
    return np.random.default_rng([11, *seed]).permutation(count)
