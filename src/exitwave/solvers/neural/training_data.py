"""Training data: groups of frames of one or several scans, judged by their patterns or by known images (labels)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from exitwave.data.errors import InputError
from exitwave.data.estimate import PtychoEstimate
from exitwave.data.scan import ArrayPatterns
from exitwave.problems.groups.canvases import Canvases, Images
from exitwave.problems.groups.neighbours import Grouping
from exitwave.problems.ptychography import Problem
from exitwave.solvers.neural.losses import LOSSES, Loss, labelled_loss
from exitwave.solvers.neural.reconstruction_network import GroupBatch

HELD_OUT = 0.05
"""Share of the frames that judge a training and are never trained on."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingScan:
    """A scan to learn from: its frames, and an estimate with their probe and positions."""

    problem: Problem
    """What the network sees."""
    x: PtychoEstimate
    """Its object is where the network starts; empty where it starts from the back-projection of each group."""
    judge: Problem | None = None
    """The same frames with other photons, which judge; None where they are the same."""
    label: Images | None = None
    """The known object ("1 Y X") on the canvas of the problem, for networks that learn from labels."""


class Groups:
    """The frames of a lesson in groups, some of which hold frames that no other group has: those judge."""

    def __init__(self, lesson: TrainingScan, grouping: Grouping, seed: int) -> None:
        positions = lesson.problem.positions_px
        if len(positions) < grouping.size:
            raise InputError(
                f"a scan of {len(positions)} frames is less than one group of {grouping.size}; lower group, or leave the scan out"
            )
        cover = grouping.covering(positions)
        # Rounded up or down at random, so that of many small scans as large a share judges as of one large scan.
        drawn = np.random.default_rng([seed, 3])
        count = int(HELD_OUT * len(cover) + drawn.random()) if len(cover) > 2 else 0
        chosen = np.sort(drawn.permutation(len(cover))[:count])
        self.judging: Int[Tensor, "group member"] = cover[torch.from_numpy(chosen)]
        every = grouping.training(positions, seed)
        apart = ~torch.isin(every, self.judging.flatten()).any(dim=1)
        self.training: Int[Tensor, "group member"] = every[apart] if bool(apart.any()) else every

    def part(self, *, held_out: bool) -> Int[Tensor, "group member"]:
        """Those that judge, or those that are trained on."""
        return self.judging if held_out else self.training


class GroupDataset:
    """Data set of groups of frames of several scans, numbered through, made into batches as they are asked for."""

    def __init__(self, lessons: Sequence[TrainingScan], grouping: Grouping, *, begun: bool, seed: int) -> None:
        """`begun` says that the objects of the lessons are where the network starts."""
        self.lessons = lessons
        self._begun = begun
        self._groups = [Groups(lesson, grouping, seed + number) for number, lesson in enumerate(lessons)]

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

    def scene(self, number: int, members: Int[Tensor, "group member"]) -> GroupBatch:
        """What the network sees of groups of a lesson."""
        lesson = self.lessons[number]
        return group_batch(lesson.problem, lesson.x, members, begun=self._begun)

    def judge(self, number: int, members: Int[Tensor, "group member"], seen: GroupBatch) -> Canvases:
        """What judges the images of these groups."""
        judge = self.lessons[number].judge
        return (
            seen.canvases if judge is None else replace(seen.canvases, amplitudes=judge.amplitudes(members.flatten()))
        )


class _Groupwise:
    """Lessons whose samples are the groups of some scenes."""

    def __init__(self, scenes: GroupDataset) -> None:
        self._scenes = scenes

    def __len__(self) -> int:
        return len(self._scenes)

    @property
    def held_out(self) -> int:
        """Groups that judge."""
        return self._scenes.held_out


class SelfSupervised(_Groupwise):
    """Self-supervised training, without labels: an image is as good as the patterns it gives. Hoidn, Mishra & Mehta (2023)."""

    def __init__(self, scenes: GroupDataset, *, loss: Loss) -> None:
        super().__init__(scenes)
        self._loss = LOSSES[loss]

    def loss(
        self, network: nn.Module, samples: Int[Tensor, " sample"], *, held_out: bool, seed: tuple[int, ...]
    ) -> tuple[Float[Tensor, ""], Images]:
        """Mean loss over the groups, and their images."""
        scenes: list[GroupBatch] = []
        judges: list[Canvases] = []
        for number, members in self._scenes.parts(samples, held_out=held_out):
            scenes.append(self._scenes.scene(number, members))
            judges.append(self._scenes.judge(number, members, scenes[-1]))
        images = network(scenes)
        losses = [self._loss(judge, image) * len(image) for judge, image in zip(judges, images, strict=True)]
        return torch.stack(losses).sum() / len(samples), shown(images)


class Supervised(_Groupwise):
    """Supervised training with labels: images of the same frames that are already known, from a result or a simulation."""

    def __init__(self, scenes: GroupDataset, labels: Sequence[Images]) -> None:
        # A global phase is nothing to learn: that of the label is the one of where the network starts.
        turns = [
            (label.conj() * x.object).sum() for label, x in zip(labels, (le.x for le in scenes.lessons), strict=True)
        ]
        turned = [label * (turn / turn.abs().clamp(min=1e-12)) for label, turn in zip(labels, turns, strict=True)]
        super().__init__(scenes)
        self._labels = turned

    def loss(
        self, network: nn.Module, samples: Int[Tensor, " sample"], *, held_out: bool, seed: tuple[int, ...]
    ) -> tuple[Float[Tensor, ""], Images]:
        """Mean loss over the groups, and their images."""
        canvases: list[Canvases] = []
        wanted: list[Images] = []
        scenes: list[GroupBatch] = []
        for number, members in self._scenes.parts(samples, held_out=held_out):
            scenes.append(self._scenes.scene(number, members))
            canvases.append(scenes[-1].canvases)
            wanted.append(windows(self._labels[number], canvases[-1]))
        images = network(scenes)
        losses = [
            labelled_loss(c, image, label) * len(image)
            for c, image, label in zip(canvases, images, wanted, strict=True)
        ]
        return torch.stack(losses).sum() / len(samples), shown(images)


def windows(label: Images, canvases: Canvases) -> Images:
    """The canvases cut out of a whole object ("1 Y X")."""
    height, width = canvases.illumination.shape[1:]
    cut = [label[0, y : y + height, x : x + width] for y, x in canvases.origins.tolist()]
    return torch.stack(cut)


def shown(images: Sequence[Images]) -> Images:
    """Images of several scenes as one stack, of the size they have in common."""
    height = min(image.shape[1] for image in images)
    width = min(image.shape[2] for image in images)
    return torch.cat([image[:, :height, :width].detach() for image in images])


def thinned(problem: Problem, share: float, seed: int) -> tuple[Problem, Problem]:
    """Binomial thinning, the photons of the frames dealt out at random: all but `share` of them, and that share; both scaled to all.

    Parts of a Poisson process are independent (binomial thinning): what one part shows and the other does not is noise.
    """
    drawn = np.random.default_rng([seed, 5])
    kept, rest = (torch.empty(len(problem), *problem.scan.frame_shape) for _ in range(2))
    for frames in torch.arange(len(problem)).split(256):
        counts = problem.scan.frames(frames).clamp(min=0).round().nan_to_num()
        part = torch.from_numpy(drawn.binomial(counts.long().numpy(), 1 - share)).to(counts.dtype)
        kept[frames], rest[frames] = part / (1 - share), (counts - part) / share
    return _with_patterns(problem, kept), _with_patterns(problem, rest)


def _with_patterns(problem: Problem, patterns: Float[Tensor, "frame y x"]) -> Problem:
    made = Problem.of(
        replace(problem.scan, patterns=ArrayPatterns(patterns)),
        model=problem.model,
        noise=problem.noise,
        seed=problem.seed,
        device=problem.device,
    )
    return replace(
        made,
        positions_px=problem.positions_px,
        object_shape=problem.object_shape,
        trusted=problem.trusted,
        held_out=problem.held_out,
    )


@torch.no_grad()
def group_batch(
    problem: Problem, x: PtychoEstimate, members: Int[Tensor, "group member"], *, begun: bool
) -> GroupBatch:
    """Groups of frames as the network sees them.

    It starts from the object of `x` where that is `begun`, else from the merged back-projection of each group by itself.
    """
    amplitudes = problem.amplitudes(members.flatten())
    canvases = Canvases.of(problem.model, problem.trusted, x, members, amplitudes)
    start = windows(x.object, canvases) if begun else canvases.back_projection()
    return GroupBatch(canvases, start, near_field=problem.scan.geometry.near_field)
