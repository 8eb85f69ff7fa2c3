"""Momentum of several methods: steps go on in directions that helped."""

import math
from collections.abc import Mapping

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from exitwave.data.estimate import PtychoEstimate
from exitwave.problems.sweep import Sums
from exitwave.solvers.changes import Change


class Momentum:
    """Every so many frames, object and probe go a further step along their running velocity.

    Maiden, Johnson & Li, Optica 4, 736 (2017), eq. 19.
    """

    def __init__(
        self, x: PtychoEstimate, memory: Mapping[str, Tensor], *, friction: float, feedback: float, every: int
    ) -> None:
        self._friction, self._feedback, self._every = friction, feedback, every
        own = {"object": x.object, "probe": x.probe}
        self._velocity = {
            n: memory.get(f"velocity.{n}", torch.zeros_like(v)).to(v.device).clone() for n, v in own.items()
        }
        self._anchor = {n: memory.get(f"anchor.{n}", v).to(v.device).clone() for n, v in own.items()}
        self.frames = int(memory.get("frames_since", torch.tensor(0)))
        """Frames since the last such step."""

    def after(self, x: PtychoEstimate, frames: int, *, with_probe: bool) -> None:
        """Count the frames of a batch, and take the step when it is time."""
        self.frames += frames
        if self.frames < self._every:
            return
        self.frames = 0
        for name, value in (("object", x.object), ("probe", x.probe)):
            if name == "probe" and not with_probe:
                continue
            self._velocity[name].mul_(self._friction).add_(value - self._anchor[name])
            value.add_(self._velocity[name], alpha=self._feedback)
            self._anchor[name].copy_(value)

    def turn(self, x: PtychoEstimate, turn: Complex[Tensor, "Y X"]) -> None:
        """Multiply the object by phase factors, and the momentum with it: a turn is no velocity."""
        for value in (x.object, self._velocity["object"], self._anchor["object"]):
            value.mul_(turn)

    def state(self) -> dict[str, Tensor]:
        """What an exact resume needs."""
        kept = {f"velocity.{n}": v.clone() for n, v in self._velocity.items()}
        kept |= {f"anchor.{n}": v.clone() for n, v in self._anchor.items()}
        return kept | {"frames_since": torch.tensor(self.frames)}

    @staticmethod
    def transform_state(state: Mapping[str, Tensor], change: Change) -> dict[str, Tensor]:
        """Its part of a state, and the rest as it is, after a change of the estimate from outside."""
        kept = dict(state)
        if "anchor.object" in kept:
            kept |= {key: change.of_directions(kept[key]) for key in ("velocity.object", "velocity.probe")}
            anchor = change.of_anchor((kept["anchor.object"], kept["anchor.probe"]))
            kept |= {"anchor.object": anchor[0], "anchor.probe": anchor[1]}
        return kept


class NesterovMomentum:
    """The last two iterates of object and probe, and the point ahead of them from which to look for the next.

    Nesterov's momentum with shares k / (k + 3), where k counts the epochs since it began; with `restart` it begins anew when
    the misfit rises. Tensors are replaced, never changed, so that steps may hold them.
    """

    def __init__(
        self, x: PtychoEstimate, memory: Mapping[str, Tensor], *, momentum: bool = True, restart: bool = True
    ) -> None:
        self._momentum, self._restart = momentum, restart
        self.object, self.probe = x.object, x.probe
        self._last_object = memory.get("last.object", x.object).to(x.object.device)
        self._last_probe = memory.get("last.probe", x.probe).to(x.probe.device)
        self._age = int(memory.get("age", torch.tensor(0)))
        self._misfit = float(memory.get("misfit", torch.tensor(math.inf)))

    def look_ahead(self, ahead: PtychoEstimate, *, with_probe: bool) -> None:
        """y = x_k + k / (k + 3) (x_k - x_k-1), in place."""
        share = self._age / (self._age + 3) if self._momentum else 0.0
        ahead.object.copy_(self.object + share * (self.object - self._last_object))
        if with_probe:
            ahead.probe.copy_(self.probe + share * (self.probe - self._last_probe))

    def go(
        self,
        ahead: PtychoEstimate,
        sums: Sums,
        floor: Float[Tensor, "slice Y X"],
        *,
        gain: float,
        least: float,
        with_probe: bool,
    ) -> None:
        """On to the next iterate, steps down from the point ahead: over `floor` for the object, over the light that the
        brightest pixel of the probe has seen, or `least`, for the probe where it is retrieved."""
        self._last_object, self.object = self.object, ahead.object + gain * sums.object_descent / floor
        if with_probe:
            brightest = sums.probe_weight.max().clamp(min=least)
            self._last_probe, self.probe = self.probe, ahead.probe + gain * sums.probe_descent / brightest
        self._age = 0 if self._restart and sums.misfit > self._misfit else self._age + 1
        self._misfit = sums.misfit

    def state(self) -> dict[str, Tensor]:
        """What an exact resume needs."""
        numbers = {"age": torch.tensor(self._age), "misfit": torch.tensor(self._misfit, dtype=torch.float64)}
        return {"last.object": self._last_object, "last.probe": self._last_probe, **numbers}

    @staticmethod
    def transform_state(state: Mapping[str, Tensor], change: Change) -> dict[str, Tensor]:
        """Its part of a state, and the rest as it is, after a change of the estimate from outside."""
        kept = dict(state)
        if "last.object" in kept:
            kept["last.object"], kept["last.probe"] = change.of_earlier((kept["last.object"], kept["last.probe"]))
        return kept
