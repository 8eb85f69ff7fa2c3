"""What several starts at one pattern have found: the best of them, their mean and spread, and how they are kept for a resume."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from exitwave.data.estimate import Estimate, SupportEstimate
from exitwave.evaluation.cdi_alignment import register_twin
from exitwave.problems.cdi import SupportProblem

AGREES = 0.8
"""Correlation with the best below which another start found something else, which would only blur the mean."""
WORSE = 3.0
"""Times the best's free residual, above which a start is no part of the mean: it has flaws of its own."""


@dataclass(frozen=True, eq=False)
class Found:
    """What the starts that are done have found: the best of them, best first, with their residuals."""

    members: tuple[SupportEstimate, ...] = ()
    residuals: tuple[float, ...] = ()
    tested: bool = False
    """Whether these are free residuals, which tell how good an image is."""

    def with_member(self, x: SupportEstimate, problem: SupportProblem, keep: int) -> "Found":
        residual = problem.residual(x, held_out=problem.has_held_out)
        together = [*zip(self.residuals, self.members, strict=True), (residual, x)]
        best = sorted(together, key=lambda pair: pair[0])[:keep]
        return Found(tuple(member for _, member in best), tuple(value for value, _ in best), problem.has_held_out)

    @cached_property
    def averaged(self) -> tuple[SupportEstimate, Estimate | None]:
        """The mean of those that agree with the best, in its pose, and the standard deviation of each pixel."""
        best = self.members[0]
        objects, supports = [best.object], [best.support]
        for other, residual in zip(self.members[1:], self.residuals[1:], strict=True):
            if self.tested and residual > WORSE * self.residuals[0]:
                continue
            laid = register_twin(other.object, best.object)
            if laid.correlation >= AGREES:
                objects.append(laid.image)
                supports.append(laid.moved(other.support).abs() > 0.5)
        stack = torch.stack(objects)
        support = torch.stack(supports).any(dim=0)
        mean = replace(best, object=torch.where(support, stack.mean(dim=0), 0.0), support=support)
        if len(stack) < 2:
            return mean, None
        deviation = ((stack - stack.mean(dim=0)).abs().square().sum(dim=0) / (len(stack) - 1)).sqrt()
        return mean, Estimate(object=deviation.to(best.object.dtype))

    def state(self) -> dict[str, Tensor]:
        kept = {key: value for i, x in enumerate(self.members) for key, value in packed(f"found.{i}", x).items()}
        return kept | {"found.residuals": torch.tensor(self.residuals, dtype=torch.float64)}

    @staticmethod
    def from_state(own: Mapping[str, Tensor], like: SupportEstimate) -> "Found":
        residuals = tuple(own.get("found.residuals", torch.zeros(0)).tolist())
        members = (unpacked(own, f"found.{i}", like) for i in range(len(residuals)))
        return Found(tuple(x for x in members if x is not None), residuals)


@dataclass(frozen=True, eq=False)
class Generation:
    """Generations of starts: what each start of the last one found, and how far those of the first agreed by themselves."""

    parents: tuple[SupportEstimate, ...] = ()
    best: SupportEstimate | None = None
    """Of the parents."""
    children: tuple[SupportEstimate, ...] = ()
    """What this generation has found so far."""
    first: tuple[tuple[float, float], ...] = ()
    """Of the other starts of the first generation that were kept: correlation with its best, and residual over the best's."""

    def with_child(self, x: SupportEstimate) -> "Generation":
        return replace(self, children=(*self.children, x))

    def next(self, found: "Found") -> "Generation":
        """The same with another generation beginning, guided by the best of what was found."""
        best, least = found.members[0], max(found.residuals[0], 1e-30)
        alike = (register_twin(x.object, best.object).correlation for x in found.members[1:])
        first = self.first or tuple(zip(alike, (each / least for each in found.residuals[1:]), strict=True))
        return Generation(parents=self.children, best=best, first=first)

    def guided_start(self, number: int) -> SupportEstimate:
        """Where a start begins anew: the geometric mean of what it found and the best, which itself goes on as it is.

        Chen et al., Phys. Rev. B 76, 064113 (2007), eq. 4.
        """
        assert self.best is not None
        own, best = self.parents[number], self.best
        laid = register_twin(own.object, best.object)
        directions = laid.image / laid.image.abs().clamp(min=1e-30) + best.object / best.object.abs().clamp(min=1e-30)
        modulus = (laid.image.abs() * best.object.abs()).sqrt()
        mean = modulus * directions / directions.abs().clamp(min=1e-30)
        support = best.support | (laid.moved(own.support).abs() > 0.5)
        return replace(best, object=torch.where(support, mean, 0.0), support=support)

    def state(self) -> dict[str, Tensor]:
        kept = {} if self.best is None else packed("generation.best", self.best)
        for name, several in (("parents", self.parents), ("children", self.children)):
            for i, x in enumerate(several):
                kept |= packed(f"generation.{name}.{i}", x)
        return kept | ({"found.first": torch.tensor(self.first, dtype=torch.float64)} if self.first else {})

    @staticmethod
    def from_state(own: Mapping[str, Tensor], like: SupportEstimate) -> "Generation":
        def several(name: str) -> tuple[SupportEstimate, ...]:
            count = sum(key.startswith(f"generation.{name}.") and key.endswith(".support") for key in own)
            members = (unpacked(own, f"generation.{name}.{i}", like) for i in range(count))
            return tuple(x for x in members if x is not None)

        first = tuple((float(a), float(b)) for a, b in own.get("found.first", torch.zeros(0, 2)).tolist())
        best = unpacked(own, "generation.best", like)
        return Generation(parents=several("parents"), best=best, children=several("children"), first=first)


def packed(name: str, x: SupportEstimate) -> dict[str, Tensor]:
    """An estimate by the names of its parts, for the state of a step."""
    known = {} if x.coherence is None else {f"{name}.coherence": x.coherence}
    return {f"{name}.object": x.object, f"{name}.support": x.support, **known}


def unpacked(own: Mapping[str, Tensor], name: str, like: SupportEstimate) -> SupportEstimate | None:
    """What `packed` made; None where there is nothing of this name."""
    if f"{name}.object" not in own:
        return None
    shape = like.object.shape
    # Files of 0.1.0 have one slice more.
    obj, support = own[f"{name}.object"].reshape(shape), own[f"{name}.support"].reshape(shape)
    return replace(like, object=obj, support=support, coherence=own.get(f"{name}.coherence"))
