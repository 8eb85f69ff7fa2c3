"""Training data: groups of frames of one or several scans, judged by their patterns or by known images (labels)."""

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor, nn

from exitwave.data.errors import InputError
from exitwave.data.estimate import PtychoEstimate
from exitwave.data.patterns import ArrayPatterns
from exitwave.problems.groups.canvases import Canvases, Images
from exitwave.problems.groups.neighbours import Grouping, Members
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.solvers.neural.losses import LOSSES, Loss, labelled_loss
from exitwave.solvers.neural.reconstruction_network import GroupBatch
from exitwave.training.source import JUDGES, TrainingSource

Samples = Int[Tensor, " sample"]
"""Numbers of groups."""
Judge = Callable[[Images], Float[Tensor, ""]]
"""The loss of some images."""
HELD_OUT = 0.05
"""Share of the frames that judge a training and are never trained on."""
JUDGED = 8
"""Groups of each scan of a source that judges;"""
AT_A_TIME = 8
"""scans of a source among which the groups of a step are drawn;"""
KEPT = 2 * AT_A_TIME
"""scans of a source that are held in memory."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingScan:
    """A scan to learn from: its frames, and an estimate with their probe and positions."""

    problem: PtychographyProblem
    """What the network sees."""
    x: PtychoEstimate
    """Its object is where the network starts; empty where it starts from the back-projection of each group."""
    judge: PtychographyProblem | None = None
    """The same frames with other photons, which judge; None where they are the same."""
    label: Images | None = None
    """The known object ("1 Y X") on the canvas of the problem, for networks that learn from labels."""

    @cached_property
    def phased_label(self) -> Images:
        """The label with the global phase of where the network starts: that is nothing to learn. InputError without a label."""
        if self.label is None:
            raise InputError("a scan to learn from has no label; give each scan a known image")
        turn = (self.label.conj() * self.x.object).sum()
        return self.label * (turn / turn.abs().clamp(min=1e-12))


class SourceScans:
    """Scans of a source, made ready when they are asked for; the last few are kept."""

    def __init__(self, source: TrainingSource[Any], make: Callable[[int], TrainingScan]) -> None:
        self.source = source
        self.known = [make(number) for number in range(JUDGES)]
        """Those that judge; they stand for all in what is kept with the weights."""
        self._made = lru_cache(maxsize=KEPT)(make)
        self._groups = lru_cache(maxsize=KEPT)(self._found)

    def __getitem__(self, number: int) -> TrainingScan:
        return self._made(number)

    def groups(self, number: int, grouping: Grouping) -> Members:
        """The groups of a scan to learn from."""
        return self._groups(number, grouping)

    def _found(self, number: int, grouping: Grouping) -> Members:
        return grouping.training(self[number].problem.positions_px, number % 2**32)


TrainingScans = Sequence[TrainingScan] | SourceScans


def known_scans(data: TrainingScans) -> Sequence[TrainingScan]:
    """The scans trained on, or those of a source that stand for all."""
    return data.known if isinstance(data, SourceScans) else data


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
        self.judging: Members = cover[torch.from_numpy(chosen)]
        every = grouping.training(positions, seed)
        apart = ~torch.isin(every, self.judging.flatten()).any(dim=1)
        self.training: Members = every[apart] if bool(apart.any()) else every


class GroupSamples(ABC):
    """Groups of frames of scans, numbered through, made into batches as they are asked for."""

    def __init__(self, *, begun: bool) -> None:
        """`begun` says that the objects of the scans are where the network starts."""
        self._begun = begun

    @abstractmethod
    def __len__(self) -> int:
        """Groups of an epoch."""

    @property
    @abstractmethod
    def held_out(self) -> int:
        """Groups that judge."""

    @abstractmethod
    def parts(
        self, samples: Samples, *, held_out: bool, seed: tuple[int, ...]
    ) -> Iterator[tuple[TrainingScan, Members]]:
        """The scan of these samples and their frames, scan after scan."""

    def scene(self, lesson: TrainingScan, members: Members) -> GroupBatch:
        """What the network sees of groups of a scan."""
        return group_batch(lesson.problem, lesson.x, members, begun=self._begun)

    def judge(self, lesson: TrainingScan, members: Members, seen: GroupBatch) -> Canvases:
        """What judges the images of these groups."""
        if lesson.judge is None:
            return seen.canvases
        return replace(seen.canvases, amplitudes=lesson.judge.amplitudes(members.flatten()))


class GroupDataset(GroupSamples):
    """All groups of scans that are there."""

    def __init__(self, lessons: Sequence[TrainingScan], grouping: Grouping, *, begun: bool, seed: int) -> None:
        super().__init__(begun=begun)
        self.lessons = lessons
        self._groups = [Groups(lesson, grouping, seed + number) for number, lesson in enumerate(lessons)]

    def __len__(self) -> int:
        return sum(len(groups.training) for groups in self._groups)

    @property
    def held_out(self) -> int:
        return sum(len(groups.judging) for groups in self._groups)

    def parts(
        self, samples: Samples, *, held_out: bool, seed: tuple[int, ...]
    ) -> Iterator[tuple[TrainingScan, Members]]:
        first = 0
        for lesson, groups in zip(self.lessons, self._groups, strict=True):
            members = groups.judging if held_out else groups.training
            mine = samples[(samples >= first) & (samples < first + len(members))] - first
            first += len(members)
            if len(mine):
                yield lesson, members[mine.cpu()]


class SourceDataset(GroupSamples):
    """Groups of scans that are made when they are needed: each is drawn from a few scans, which others replace one by one."""

    def __init__(self, scans: SourceScans, grouping: Grouping, *, begun: bool) -> None:
        super().__init__(begun=begun)
        self._scans, self._grouping = scans, grouping
        self._judging = [grouping.covering(lesson.problem.positions_px) for lesson in scans.known]

    def __len__(self) -> int:
        return self._scans.source.samples_per_epoch

    @property
    def held_out(self) -> int:
        return JUDGED * len(self._judging)

    def parts(
        self, samples: Samples, *, held_out: bool, seed: tuple[int, ...]
    ) -> Iterator[tuple[TrainingScan, Members]]:
        # In epoch 0 the network is only looked at: by scans that are there.
        judged = held_out or seed[1] == 0
        chosen: defaultdict[int, list[Tensor]] = defaultdict(list)
        for number, group in self._judged(samples) if judged else self._drawn(len(samples), seed):
            chosen[number].append(group)
        for number, groups in sorted(chosen.items()):
            yield self._scans.known[number] if judged else self._scans[number], torch.stack(groups)

    def _judged(self, samples: Samples) -> Iterator[tuple[int, Int[Tensor, " member"]]]:
        for sample in samples.tolist():
            number = sample % len(self._judging)
            cover = self._judging[number]
            yield number, cover[np.random.default_rng([13, sample]).integers(len(cover))]

    def _drawn(self, count: int, seed: tuple[int, ...]) -> Iterator[tuple[int, Int[Tensor, " member"]]]:
        """Groups of a step: whatever came before, the same."""
        first, epoch, place, rank = seed
        chance = np.random.default_rng([17, *seed])
        source = self._scans.source
        replaced = ((epoch - 1) * len(self) + place * count) // source.draws_per_example
        for _ in range(count):
            number = source.drawn(replaced + int(chance.integers(AT_A_TIME)), seed=first, rank=rank)
            groups = self._scans.groups(number, self._grouping)
            yield number, groups[chance.integers(len(groups))]


class _Groupwise(ABC):
    """Lessons whose samples are groups of frames."""

    def __init__(self, scenes: GroupSamples) -> None:
        self._scenes = scenes

    def __len__(self) -> int:
        return len(self._scenes)

    @property
    def held_out(self) -> int:
        """Groups that judge."""
        return self._scenes.held_out

    def loss(
        self, network: nn.Module, samples: Samples, *, held_out: bool, seed: tuple[int, ...]
    ) -> tuple[Float[Tensor, ""], Images]:
        """Mean loss over the groups, and their images."""
        scenes: list[GroupBatch] = []
        judges: list[Judge] = []
        for lesson, members in self._scenes.parts(samples, held_out=held_out, seed=seed):
            scenes.append(self._scenes.scene(lesson, members))
            judges.append(self._judge(lesson, members, scenes[-1]))
        images = [found.image for found in network(scenes)]
        losses = [judge(image) * len(image) for judge, image in zip(judges, images, strict=True)]
        return torch.stack(losses).sum() / len(samples), shown(images)

    @abstractmethod
    def _judge(self, lesson: TrainingScan, members: Members, seen: GroupBatch) -> Judge:
        """The loss of the images of these groups."""


class SelfSupervised(_Groupwise):
    """Self-supervised training, without labels: an image is as good as the patterns it gives. Hoidn, Mishra & Mehta (2023)."""

    def __init__(self, scenes: GroupSamples, *, loss: Loss) -> None:
        super().__init__(scenes)
        self._loss = LOSSES[loss]

    def _judge(self, lesson: TrainingScan, members: Members, seen: GroupBatch) -> Judge:
        return partial(self._loss, self._scenes.judge(lesson, members, seen))


class Supervised(_Groupwise):
    """Supervised training with labels: images of the same frames that are already known, from a result or a simulation."""

    def _judge(self, lesson: TrainingScan, members: Members, seen: GroupBatch) -> Judge:
        return partial(labelled_loss, seen.canvases, labels=windows(lesson.phased_label, seen.canvases))


def windows(label: Complex[Tensor, "1 whole_Y whole_X"], canvases: Canvases) -> Images:
    """The canvases cut out of a whole object."""
    height, width = canvases.illumination.shape[1:]
    cut = [label[0, y : y + height, x : x + width] for y, x in canvases.origins.tolist()]
    return torch.stack(cut)


def shown(images: Sequence[Tensor]) -> Complex[Tensor, "group common_Y common_X"]:
    """Images of several scenes as one stack, of the size they have in common."""
    height = min(image.shape[1] for image in images)
    width = min(image.shape[2] for image in images)
    return torch.cat([image[:, :height, :width].detach() for image in images])


def thinned(problem: PtychographyProblem, share: float, seed: int) -> tuple[PtychographyProblem, PtychographyProblem]:
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


def _with_patterns(problem: PtychographyProblem, patterns: Float[Tensor, "frame y x"]) -> PtychographyProblem:
    made = PtychographyProblem.of(
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
def group_batch(problem: PtychographyProblem, x: PtychoEstimate, members: Members, *, begun: bool) -> GroupBatch:
    """Groups of frames as the network sees them.

    It starts from the object of `x` where that is `begun`, else from the merged back-projection of each group by itself.
    """
    amplitudes = problem.amplitudes(members.flatten())
    canvases = Canvases.of(problem.model, problem.trusted, x, members, amplitudes)
    start = windows(x.object, canvases) if begun else canvases.back_projection()
    return GroupBatch(canvases, start, near_field=problem.scan.geometry.near_field)
