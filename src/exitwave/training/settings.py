"""Settings of a training: epochs, batch, learning rate and its schedule, averaging, precision."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from exitwave.data.errors import InputError

COSINE_END = 0.01
"""Share of the learning rate that is left at the end of the cosine."""
PLATEAU_FACTOR, PLATEAU_PATIENCE, PLATEAU_LEAST, PLATEAU_GAIN = 0.5, 2, 1e-4, 1e-4
"""As trained by Hoidn et al. (2023): halved after 2 epochs without a gain of 1e-4 in loss, down to 1e-4."""


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """Settings of a training, such as learning rate and epochs. Raises InputError for values that make no sense."""

    epochs: int
    """Passes over all training samples."""
    batch: int = 16
    """Samples a step on each device."""
    learning_rate: float = 1e-3
    """Largest step of Adam. Lower it when the loss jumps or is not finite."""
    schedule: Literal["cosine", "plateau"] = "cosine"
    """"cosine" falls to a hundredth; "plateau" halves whenever the held-out loss stalls, as in the PtychoPINN paper."""
    warm_up: float = 0.05
    """Share of all steps in which the learning rate rises from zero."""
    weight_decay: float = 0.0
    """Decoupled decay of all weights (Loshchilov & Hutter, ICLR 2019)."""
    averaging: float = 0.0
    """Decay of the running average of the weights, which then predicts; 0 is off, 0.999 usual for long trainings."""
    clip: float | None = None
    """Largest norm of a gradient; longer ones are shortened."""
    precision: Literal["auto", "32", "bf16"] = "auto"
    """"bf16" computes the network in half the bits; "auto" does where the device is faster so."""
    patience: int | None = None
    """Ends after so many epochs without a lower training loss; 3 in the PtychoPINN paper. None never does."""
    collapse_check_after: int = 200
    """Steps after which the outputs are first looked at for collapse; then after every epoch. 0 never looks."""
    least_output_variation: float = 1e-4
    """Variance of the outputs from sample to sample, relative to their mean square, below which they are all the same,
    unless it rises. Lower it for objects with less than 1 % contrast."""

    def __post_init__(self) -> None:
        wrong = {
            "epochs": self.epochs < 1,
            "batch": self.batch < 1,
            "learning_rate": not 0 < self.learning_rate < math.inf,
            "schedule": self.schedule not in ("cosine", "plateau"),
            "warm_up": not 0 <= self.warm_up <= 1,
            "weight_decay": not 0 <= self.weight_decay < math.inf,
            "averaging": not 0 <= self.averaging < 1,
            "clip": self.clip is not None and not self.clip > 0,
            "precision": self.precision not in ("auto", "32", "bf16"),
            "patience": self.patience is not None and self.patience < 1,
            "collapse_check_after": self.collapse_check_after < 0,
            "least_output_variation": not 0 <= self.least_output_variation < 1,
        }
        for name, refused in wrong.items():
            if refused:
                raise InputError(f"{name} of the training is {getattr(self, name)!r}, which makes no sense")


def learning_rate(recipe: TrainingSettings, step: int, steps: int, watched: Sequence[float]) -> float:
    """The learning rate of `step`, the first being 0, of `steps` in all.

    Linear warm-up, then half a cosine (Loshchilov & Hutter, ICLR 2017), or halved when `watched`, the loss to go by of
    every epoch so far, stalls.
    """
    rising = round(recipe.warm_up * steps)
    if step < rising:
        return recipe.learning_rate * (step + 1) / rising
    if recipe.schedule == "plateau":
        least = min(recipe.learning_rate, PLATEAU_LEAST)
        return max(recipe.learning_rate * PLATEAU_FACTOR ** stalls(watched), least)
    done = min(1.0, (step - rising) / max(1, steps - 1 - rising))
    return recipe.learning_rate * (COSINE_END + (1 - COSINE_END) * (1 + math.cos(math.pi * done)) / 2)


def stalls(losses: Sequence[float]) -> int:
    """How often the loss did not fall for `PLATEAU_PATIENCE` epochs; counted anew after each time."""
    best, waited, times = math.inf, 0, 0
    for loss in losses:
        improved = loss < best - PLATEAU_GAIN
        best, waited = (loss, 0) if improved else (best, waited + 1)
        if waited >= PLATEAU_PATIENCE:
            waited, times = 0, times + 1
    return times


def stalled(losses: Sequence[float], patience: int | None) -> bool:
    """Whether the last `patience` epochs brought no lower loss than those before."""
    if patience is None or len(losses) <= patience:
        return False
    return min(losses[-patience:]) >= min(losses[:-patience])
