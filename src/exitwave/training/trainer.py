"""The one training loop: every network learns here, whatever it learns from."""

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast, runtime_checkable

import numpy as np
import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor, nn

from exitwave.data.errors import InputError
from exitwave.training.averaging import update_average
from exitwave.training.collapse import Diverged, require_variation, variation
from exitwave.training.interruption import defer_interrupt
from exitwave.training.settings import TrainingSettings, learning_rate, stalled
from exitwave.training.state import restore, stored

if TYPE_CHECKING:
    from lightning_fabric import Fabric

SHOWN = 16
"""Training samples whose images are compared to notice a collapse."""
SMOOTHING = 0.95
"""Of the loss that is shown while training."""

Images = Float[Tensor, "sample ..."] | Complex[Tensor, "sample ..."]


@runtime_checkable
class TrainingTask(Protocol):
    """Training samples and their loss. Its tensors are on the device of the network; nothing is left to chance but by seed."""

    def __len__(self) -> int:
        """Training samples of an epoch."""
        ...

    @property
    def held_out(self) -> int:
        """Samples that judge and never train, numbered from 0 apart from the training samples."""
        ...

    def loss(
        self, network: nn.Module, samples: Int[Tensor, " sample"], *, held_out: bool, seed: tuple[int, ...]
    ) -> tuple[Float[Tensor, ""], Images | None]:
        """The mean loss of these samples, of order 1 and differentiable, and the network's images, one for each sample; None
        where there is nothing in which a collapse would show.

        `seed` is that of the training, the epoch, the step in it and the device; epoch 0 where nothing is learned from it.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Progress of a training after a step, for progress bars."""

    epoch: int
    """The epoch under way, from 1 on."""
    step: int
    """Steps done in it,"""
    steps: int
    """of so many."""
    samples: int
    """Samples of this step, on all devices."""
    loss: float
    """Smoothed over about 20 steps."""
    held_out_loss: float
    """Of the epoch before; not a number where there was none."""
    learning_rate: float


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """Losses of one epoch, and how far the images varied."""

    epoch: int
    """Epochs done."""
    step: int
    """Steps done since the beginning."""
    loss: float
    """Mean over the epoch, as the weights were at each step."""
    held_out_loss: float
    """After the epoch, with the averaged weights where there are such; not a number without held-out samples."""
    learning_rate: float
    """Of its last step."""
    variation: float
    """Variance of the images from sample to sample, relative to their mean square; near 0 the network collapsed."""


class Trainer:
    """A network's training, step by step: `run` it, look at its `weights`, keep its `state` to go on exactly.

    The given network stays as it is. Going on from a state gives the same bits as never having stopped, on the same
    machine with the same number of threads, provided that the network draws no random numbers of its own.
    """

    def __init__(
        self,
        network: nn.Module,
        lessons: TrainingTask,
        recipe: TrainingSettings,
        *,
        fabric: "Fabric",
        seed: int,
        state: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Raises InputError where there is nothing to learn from, or `state` belongs to another training."""
        if len(lessons) < 1:
            raise InputError("there are no training samples; hold fewer of them out, or give more scans")
        self._lessons, self._recipe, self._fabric, self._seed = lessons, recipe, fabric, seed
        self._network = copy.deepcopy(network).to(fabric.device).requires_grad_()
        self._average = copy.deepcopy(self._network) if recipe.averaging else None
        self._optimizer = torch.optim.AdamW(
            self._network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
        )
        ranks = fabric.world_size
        # Every rank takes equally many, so that the mean of their gradients is the gradient of the mean.
        self._batch = ranks * min(recipe.batch, math.ceil(len(lessons) / ranks))
        self._per_epoch = math.ceil(len(lessons) / self._batch)
        self._step, self._loss, self._history = 0, 0.0, torch.zeros(0, 2, dtype=torch.float64)
        self._varied = math.nan
        if state is not None:
            self._restore(state)
        # Wrapped last: with several devices the first one's weights go to all of them here.
        self._learning, self._updating = fabric.setup(self._network, self._optimizer)
        self._judged = self._learning if self._average is None else fabric.setup(self._average)

    @property
    def epochs_done(self) -> int:
        """Epochs that are complete, their held-out loss included."""
        return len(self._history)

    @property
    def steps(self) -> int:
        """Steps of the whole course."""
        return self._recipe.epochs * self._per_epoch

    def run(self, watch: Callable[[Progress], None] | None = None) -> Iterator[Epoch]:
        """Train, yielding after every epoch. `watch` is called after every step and changes nothing.

        Raises Diverged when loss or gradient are not finite, Collapsed when all outputs are the same. Also then, and
        after Ctrl-C at any moment, `state` and `weights` are those after the last step that was completed.
        """
        smooth = _Smooth()
        while self.epochs_done < self._recipe.epochs and not stalled(
            self._history[:, 0].tolist(), self._recipe.patience
        ):
            order = self._order(self.epochs_done + 1)
            while self._step < (self.epochs_done + 1) * self._per_epoch:
                loss = self._learn(order)
                if watch is not None:
                    watch(self._progress(smooth.with_value(loss)))
            yield self._closed()

    def weights(self) -> dict[str, Tensor]:
        """The weights to predict with, averaged where the recipe says so, by name on the CPU."""
        return stored((self._average or self._network).state_dict())

    def state(self) -> dict[str, Tensor]:
        """All that going on exactly needs, after the last completed step: network, optimiser, average and history."""
        held = {f"network.{name}": value for name, value in self._network.state_dict().items()}
        if self._average is not None:
            held |= {f"average.{name}": value for name, value in self._average.state_dict().items()}
        for name, parameter in self._network.named_parameters():
            held |= {f"adam.{name}.{key}": value for key, value in self._optimizer.state[parameter].items()}
        numbers = torch.tensor([self._step, self._per_epoch, self._batch], dtype=torch.int64)
        lately, varied = torch.tensor([self._loss, self._varied], dtype=torch.float64)
        held |= {"course.numbers": numbers, "course.loss": lately, "course.history": self._history}
        return stored({**held, "course.variation": varied})

    def _restore(self, state: Mapping[str, Tensor]) -> None:
        restore(state, self._network, self._average, self._optimizer)
        step, per_epoch, batch = state["course.numbers"].tolist()
        if (per_epoch, batch) != (self._per_epoch, self._batch):
            raise InputError(
                f"the training to go on with had {per_epoch} steps of {batch} samples an epoch, this one has "
                f"{self._per_epoch} of {self._batch}: give the same scans, batch and devices, or start anew"
            )
        self._step, self._loss = step, float(state["course.loss"])
        self._history = state["course.history"].cpu().clone()
        self._varied = float(state.get("course.variation", math.nan))

    def _order(self, epoch: int) -> Int[Tensor, " sample"]:
        """The samples of an epoch in their order; the last step is filled up with the first ones."""
        order = np.random.default_rng([self._seed, epoch]).permutation(len(self._lessons))
        return torch.from_numpy(np.resize(order, self._per_epoch * self._batch)).to(self._fabric.device)

    def _learn(self, order: Int[Tensor, " sample"]) -> float:
        """One step: the loss before it, over all devices."""
        epoch, rank = self.epochs_done + 1, self._fabric.global_rank
        place = self._step - self.epochs_done * self._per_epoch
        samples = order[place * self._batch : (place + 1) * self._batch][rank :: self._fabric.world_size]
        self._learning.train()
        self._optimizer.zero_grad()
        seed = (self._seed, epoch, place, rank)
        loss, _ = self._lessons.loss(self._learning, samples, held_out=False, seed=seed)
        self._fabric.backward(loss)
        value = float(self._mean(loss.detach()))
        self._tame(value)
        for group in self._optimizer.param_groups:
            group["lr"] = self._learning_rate(self._step)
        with defer_interrupt():
            self._updating.step()
            if self._average is not None:
                update_average(self._average, self._network, self._recipe.averaging, self._step)
            self._loss += value
            self._step += 1
        if self._step == self._recipe.collapse_check_after:
            self._look()
        return value

    def _tame(self, loss: float) -> None:
        """Shorten gradients that are too long; refuse those that are not finite."""
        gradients = [p.grad for p in self._network.parameters() if p.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        if not (math.isfinite(loss) and bool(norm.isfinite())):
            what = "its gradient" if math.isfinite(loss) else "the loss"
            raise Diverged(
                f"{what} is not finite at step {self._step + 1} (loss {loss:g}); lower learning_rate (it was "
                f"{self._learning_rate(self._step):.3g}), set clip, or look for frames without photons"
            )
        if self._recipe.clip is not None:
            nn.utils.clip_grads_with_norm_(list(self._network.parameters()), self._recipe.clip, norm)

    def _closed(self) -> Epoch:
        """End an epoch: judge by the held-out samples, look for a collapse."""
        judged, rate = self._held_out_loss(), self._learning_rate(self._step - 1)
        done = torch.tensor([[self._loss / self._per_epoch, judged]], dtype=torch.float64)
        with defer_interrupt():
            self._history, self._loss = torch.cat([self._history, done]), 0.0
        found = self._look() if self._step >= self._recipe.collapse_check_after else self._variation()
        return Epoch(
            epoch=self.epochs_done,
            step=self._step,
            loss=float(done[0, 0]),
            held_out_loss=judged,
            learning_rate=rate,
            variation=found,
        )

    @torch.no_grad()
    def _held_out_loss(self) -> float:
        """Mean loss of the held-out samples; the same seed every time, so that epochs can be compared."""
        rank, ranks, size = self._fabric.global_rank, self._fabric.world_size, self._recipe.batch
        mine = torch.arange(self._lessons.held_out, device=self._fabric.device)[rank::ranks]
        self._judged.eval()
        total = torch.zeros((), dtype=torch.float64, device=self._fabric.device)
        for place, samples in enumerate(mine.split(size) if len(mine) else ()):
            seed = (self._seed, 0, place, rank)
            loss, _ = self._lessons.loss(self._judged, samples, held_out=True, seed=seed)
            total += loss.double() * len(samples)
        # The mean over ranks times their number is the sum.
        return float(self._mean(total) * ranks / self._lessons.held_out) if self._lessons.held_out else math.nan

    @torch.no_grad()
    def _variation(self) -> float:
        """How much the images differ between training samples from all over, with the weights as they are now."""
        count = len(self._lessons)
        if not self._recipe.collapse_check_after:
            return math.nan
        shown = torch.arange(min(count, SHOWN), device=self._fabric.device) * max(1, count // SHOWN)
        self._learning.eval()
        images: list[Tensor] = []
        for place, samples in enumerate(shown.split(self._recipe.batch)):
            seed = (self._seed, 0, place, 0)
            _, found = self._lessons.loss(self._learning, samples, held_out=False, seed=seed)
            if found is None:
                return math.nan
            images.append(found)
        # Samples of several scans may give images of several sizes.
        alike = torch.cat([some for some in images if some.shape[1:] == images[0].shape[1:]])
        return float(self._mean(torch.tensor(variation(alike), device=self._fabric.device)))

    def _look(self) -> float:
        found = self._variation()
        require_variation(found, self._varied, self._recipe.least_output_variation, self._step)
        self._varied = found
        return found

    def _mean(self, value: Tensor) -> Tensor:
        """Over all devices."""
        return (
            value if self._fabric.world_size == 1 else cast("Tensor", self._fabric.all_reduce(value, reduce_op="mean"))
        )

    def _learning_rate(self, step: int) -> float:
        watched = self._history[:, 1 if self._lessons.held_out else 0].tolist()
        return learning_rate(self._recipe, step, self.steps, watched)

    def _progress(self, loss: float) -> Progress:
        return Progress(
            epoch=self.epochs_done + 1,
            step=self._step - self.epochs_done * self._per_epoch,
            steps=self._per_epoch,
            samples=self._batch,
            loss=loss,
            held_out_loss=float(self._history[-1, 1]) if self.epochs_done else math.nan,
            learning_rate=self._learning_rate(self._step - 1),
        )


class _Smooth:
    """A running mean that counts its first values in full (Kingma & Ba, ICLR 2015, section 3)."""

    def __init__(self) -> None:
        self._sum, self._weight = 0.0, 0.0

    def with_value(self, value: float) -> float:
        self._sum = SMOOTHING * self._sum + (1 - SMOOTHING) * value
        self._weight = SMOOTHING * self._weight + (1 - SMOOTHING)
        return self._sum / self._weight
