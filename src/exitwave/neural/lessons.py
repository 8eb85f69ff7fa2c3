"""What networks learn from: groups of frames of one or several scans, judged by their patterns or by known images."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from exitwave.data.errors import InputError
from exitwave.data.estimate import PtychoEstimate
from exitwave.neural.imaging import Scene
from exitwave.neural.losses import LOSSES, Loss, labelled_loss
from exitwave.physics.canvases import Canvases, Descent, Images, Sensitivity
from exitwave.physics.groups import neighbour_groups, sampled_groups
from exitwave.physics.problem import Problem

HELD_OUT = 0.05
"""Share of the frames that judge a training and are never trained on."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Lesson:
    """A scan to learn from: its frames, with the probe and positions of an estimate whose object is empty."""

    problem: Problem
    x: PtychoEstimate
    label: Images | None = None
    """The known object ("1 Y X") on the canvas of the problem, for networks that learn from labels."""


@dataclass(frozen=True, kw_only=True)
class Grouping:
    """How frames are seen together."""

    size: int
    """Frames of a group,"""
    nearest: int
    """chosen among so many neighbours of each frame,"""
    samples: int
    """so many times."""


class Groups:
    """The frames of a lesson in groups, some of which hold frames that no other group has: those judge."""

    def __init__(self, lesson: Lesson, grouping: Grouping, seed: int) -> None:
        positions = lesson.problem.positions_px
        if len(positions) < grouping.size:
            raise InputError(
                f"a scan of {len(positions)} frames is less than one group of {grouping.size}; lower group, or leave the scan out"
            )
        cover = neighbour_groups(positions, grouping.size)
        # Rounded up or down at random, so that of many small scans as large a share judges as of one large scan.
        drawn = np.random.default_rng([seed, 3])
        count = int(HELD_OUT * len(cover) + drawn.random()) if len(cover) > 2 else 0
        chosen = np.sort(drawn.permutation(len(cover))[:count])
        self.judging: Int[Tensor, "group member"] = cover[torch.from_numpy(chosen)]
        every = sampled_groups(positions, grouping.size, nearest=grouping.nearest, samples=grouping.samples, seed=seed)
        apart = ~torch.isin(every, self.judging.flatten()).any(dim=1)
        self.training: Int[Tensor, "group member"] = every[apart] if bool(apart.any()) else every

    def part(self, *, held_out: bool) -> Int[Tensor, "group member"]:
        """Those that judge, or those that are trained on."""
        return self.judging if held_out else self.training


class Scenes:
    """Groups of frames of several lessons, numbered through, made into scenes as they are asked for."""

    def __init__(self, lessons: Sequence[Lesson], grouping: Grouping, *, iterations: int, seed: int) -> None:
        self._lessons = lessons
        self._iterations = iterations
        self._groups = [Groups(lesson, grouping, seed + number) for number, lesson in enumerate(lessons)]
        self._sensitivity = [
            sensitivity_of(lesson.problem, lesson.x, groups.training, iterations)
            for lesson, groups in zip(lessons, self._groups, strict=True)
        ]

    def __len__(self) -> int:
        return sum(len(groups.training) for groups in self._groups)

    @property
    def held_out(self) -> int:
        """Groups that judge."""
        return sum(len(groups.judging) for groups in self._groups)

    def parts(
        self, samples: Int[Tensor, " sample"], *, held_out: bool
    ) -> Iterator[tuple[int, Int[Tensor, "group member"]]]:
        """The lesson of these samples and their frames, lesson after lesson."""
        first = 0
        for number, groups in enumerate(self._groups):
            members = groups.part(held_out=held_out)
            mine = samples[(samples >= first) & (samples < first + len(members))] - first
            first += len(members)
            if len(mine):
                yield number, members[mine.cpu()]

    def canvases(self, number: int, members: Int[Tensor, "group member"]) -> Canvases:
        """The canvases of groups of a lesson."""
        lesson = self._lessons[number]
        amplitudes = lesson.problem.amplitudes(members.flatten())
        return Canvases.of(lesson.problem.model, lesson.problem.trusted, lesson.x, members, amplitudes)

    def scene(self, number: int, canvases: Canvases) -> Scene:
        """What the network sees of canvases of a lesson."""
        problem = self._lessons[number].problem
        return scene_of(problem, canvases, self._iterations, self._sensitivity[number])


class FromPatterns:
    """Lessons without labels: an image is as good as the patterns it gives. Hoidn, Mishra & Mehta (2023).

    With `thinning`, that share of the photons of every pattern is kept back from the network, which sees the rest, and
    judges its image: parts of a Poisson process are independent (binomial thinning), so that noise is not worth learning.
    """

    def __init__(self, scenes: Scenes, *, loss: Loss, thinning: float) -> None:
        self._scenes, self._loss, self._thinning = scenes, LOSSES[loss], thinning

    def __len__(self) -> int:
        return len(self._scenes)

    @property
    def held_out(self) -> int:
        """Groups that judge."""
        return self._scenes.held_out

    def loss(
        self, network: nn.Module, samples: Int[Tensor, " sample"], *, held_out: bool, seed: tuple[int, ...]
    ) -> tuple[Float[Tensor, ""], Images]:
        """Mean loss over the groups, and their images."""
        scenes: list[Scene] = []
        judges: list[Canvases] = []
        for number, members in self._scenes.parts(samples, held_out=held_out):
            seen = judge = self._scenes.canvases(number, members)
            if self._thinning:
                seen, judge = thinned(seen, self._thinning, (*seed, number))
            scenes.append(self._scenes.scene(number, seen))
            judges.append(judge)
        images = network(scenes)
        losses = [self._loss(judge, image) * len(image) for judge, image in zip(judges, images, strict=True)]
        return torch.stack(losses).sum() / len(samples), shown(images)


class FromLabels:
    """Lessons with labels: images of the same frames that are already known, from a result or a simulation."""

    def __init__(self, scenes: Scenes, labels: Sequence[Images]) -> None:
        self._scenes, self._labels = scenes, labels

    def __len__(self) -> int:
        return len(self._scenes)

    @property
    def held_out(self) -> int:
        """Groups that judge."""
        return self._scenes.held_out

    def loss(
        self, network: nn.Module, samples: Int[Tensor, " sample"], *, held_out: bool, seed: tuple[int, ...]
    ) -> tuple[Float[Tensor, ""], Images]:
        """Mean loss over the groups, and their images."""
        canvases: list[Canvases] = []
        wanted: list[Images] = []
        scenes: list[Scene] = []
        for number, members in self._scenes.parts(samples, held_out=held_out):
            canvases.append(self._scenes.canvases(number, members))
            wanted.append(windows(self._labels[number], canvases[-1]))
            scenes.append(self._scenes.scene(number, canvases[-1]))
        images = network(scenes)
        losses = [
            labelled_loss(c, image, label) * len(image)
            for c, image, label in zip(canvases, images, wanted, strict=True)
        ]
        return torch.stack(losses).sum() / len(samples), shown(images)


def windows(label: Images, canvases: Canvases) -> Images:
    """The canvases cut out of a whole object ("1 Y X")."""
    height, width = canvases.lit.shape[1:]
    cut = [label[0, y : y + height, x : x + width] for y, x in canvases.origins.tolist()]
    return torch.stack(cut)


def shown(images: Sequence[Images]) -> Images:
    """Images of several scenes as one stack, of the size they have in common."""
    height = min(image.shape[1] for image in images)
    width = min(image.shape[2] for image in images)
    return torch.cat([image[:, :height, :width].detach() for image in images])


def thinned(canvases: Canvases, share: float, seed: tuple[int, ...]) -> tuple[Canvases, Canvases]:
    """The canvases with their photons dealt out at random: all but `share` of them, and that share; both scaled to all."""
    counts = canvases.amplitudes.cpu().double().square().round()
    drawn = torch.from_numpy(np.random.default_rng(seed).binomial(counts.long().numpy(), 1 - share)).double()
    kept, rest = (drawn / (1 - share)).sqrt(), ((counts - drawn) / share).sqrt()
    like = canvases.amplitudes
    return tuple(replace(canvases, amplitudes=part.to(like.device, like.dtype)) for part in (kept, rest))  # pyright: ignore[reportReturnType]


@torch.no_grad()
def scene_of(problem: Problem, canvases: Canvases, iterations: int, sensitivity: Sensitivity | None) -> Scene:
    """Where the network starts: the merged back-projection of a flat object, or what `iterations` of descent make of it."""
    if sensitivity is None:
        start = canvases.back_projection()
    else:
        flat = torch.ones(canvases.lit.shape, dtype=canvases.probes.dtype, device=canvases.lit.device)
        start = Descent(canvases, flat, sensitivity, flat).advance(iterations)
    return Scene(canvases, start, near_field=problem.scan.geometry.near_field)


def sensitivity_of(
    problem: Problem, x: PtychoEstimate, groups: Int[Tensor, "group member"], iterations: int
) -> Sensitivity | None:
    """What descent needs to know of the probe; None where nothing is iterated."""
    if not iterations:
        return None
    first = groups[:1]
    blank = torch.zeros(first.numel(), *problem.trusted.shape, device=problem.trusted.device)
    return Sensitivity.of(Canvases.of(problem.model, problem.trusted, x, first, blank))
