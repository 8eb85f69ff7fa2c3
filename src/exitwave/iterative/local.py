"""Small groups of neighbouring frames, each solved on its own canvas with what its neighbours already know, then stitched."""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Complex, Float, Int
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor

from exitwave.data.errors import InputError
from exitwave.data.estimate import PtychoEstimate
from exitwave.data.geometry import Geometry
from exitwave.data.scan import ArrayPatterns, Scan
from exitwave.data.survey import check_layout
from exitwave.physics.canvases import Canvases, Descent, Images, Sensitivity
from exitwave.physics.crew import alone, share
from exitwave.physics.groups import neighbour_groups
from exitwave.physics.interaction import split_positions
from exitwave.physics.kernels.reference import intensity, scatter_add_
from exitwave.physics.patchwork import Patchwork
from exitwave.physics.problem import Problem, canvas
from exitwave.physics.ptychography import Ptychography
from exitwave.solver import Solver, Step, require_able, solver

MARGIN_PX = 4
"""Of the object around the windows of a stream, as in other problems."""
PROBE_EVERY = 5
"""Iterations on a group between two steps of the probe."""
SMALL_PIXELS = 2**19
"""Of all frames of a group: below, its transforms are faster on one thread."""


@solver
class Local(Solver[PtychoEstimate]):
    """Groups of neighbouring frames, each finished on its own small canvas, then stitched: for streams and a fast first image.

    Best with a known probe. Each group starts from what its solved neighbours say of its canvas; preconditioned conjugate
    gradients on sum (|F| - A)^2 (curvature as in Carlsson et al., arXiv 2502.10755), then alignment of all canvases over
    their overlaps at once (Singer, Appl. Comput. Harmon. Anal. 30, 20, 2011).
    """

    name: ClassVar[str] = "local"
    cannot: ClassVar[frozenset[str]] = frozenset({"slices", "positions", "variations", "brightness", "background"})
    epochs: PositiveInt = 1
    """Sweeps over all groups. One is enough when the probe is known; 5-20 to find the probe, too."""
    iterations: PositiveInt = 20
    """Conjugate gradient steps on each group, two transforms a frame each: 20 is usual, 60 for the last
    details; 5 for a preview, or below some ten thousand photons a frame, where more only fit noise."""
    group: PositiveInt = 16
    """Frames in a group; 9-16 is usual. More look further and fill the processor better, fewer answer sooner."""
    shared: NonNegativeInt = 0
    """Frames of a group that belong to a neighbour as well, solved twice; raise it where frames overlap little."""
    batch: PositiveInt = 1
    """Groups solved together. They learn nothing from each other, so keep 1 on a processor; 16 or more fill a GPU."""
    update_probe: bool = True
    """Whether to improve the probe, slowly, from all groups; switch off when it is known."""
    probe_gain: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of the probe step that a group asks for; lower it when the residual jumps."""

    def solve(self, problem: Problem, start: Step[PtychoEstimate]) -> Iterator[Step[PtychoEstimate]]:
        require_able(self, problem, start.estimate)
        x = start.estimate.to(problem.device).clone()
        groups = neighbour_groups(problem.positions_px, self.group, shared=self.shared)
        for epoch in range(start.epoch + 1, self.epochs + 1):
            work = LocalWork.begin(self, problem.model, problem.trusted, x, groups, seed=problem.seed, fresh=epoch == 1)
            for members in _in_order(groups, problem.seed, epoch).split(self.batch):
                work.solve(members, problem.amplitudes(members.flatten()))
            x.object[0] = work.image()
            yield Step(epoch=epoch, estimate=x.clone(), residual=problem.residual(x))


def _in_order(groups: Int[Tensor, "group member"], seed: int, epoch: int) -> Int[Tensor, "group member"]:
    """First as a running scan completes them, so that each has solved neighbours to start from; later at random."""
    if epoch == 1:
        return groups
    return groups[torch.from_numpy(np.random.default_rng([seed, epoch]).permutation(len(groups)))]


@dataclass(eq=False)
class LocalWork:
    """One sweep over groups: what is shared between them."""

    options: Local
    model: Ptychography
    trusted: Float[Tensor, "y x"]
    x: PtychoEstimate
    """Its probe is improved in place; its object is only the start."""
    sensitivity: Sensitivity
    patchwork: Patchwork = field(repr=False)

    @classmethod
    def begin(
        cls,
        options: Local,
        model: Ptychography,
        trusted: Float[Tensor, "y x"],
        x: PtychoEstimate,
        groups: Int[Tensor, "group member"],
        *,
        seed: int,
        fresh: bool = True,
    ) -> "LocalWork":
        """A sweep from this estimate; unless it is `fresh`, the estimate counts as an earlier result of these groups."""
        first = groups[:1]
        blank = torch.zeros(first.numel(), *trusted.shape, device=trusted.device)
        sensitivity = Sensitivity.of(Canvases.of(model, trusted, x, first, blank), seed)
        held = None if fresh else _illumination(model, x, groups)
        return cls(options, model, trusted, x, sensitivity, Patchwork(x.object[0].clone(), held))

    @torch.no_grad()
    def solve(self, members: Int[Tensor, "group member"], amplitudes: Float[Tensor, "frame y x"]) -> None:
        """Solve these groups from what their neighbours know and put them into the patchwork."""
        divides = amplitudes.device.type == "cpu" and not self.options.update_probe
        parts = min(torch.get_num_threads(), len(members)) if divides else 1
        pieces = list(zip(members.tensor_split(parts), _by_groups(amplitudes, members, parts), strict=True))
        small = amplitudes[: members.shape[1]].numel() < SMALL_PIXELS
        with alone() if small else nullcontext():
            for canvases, images in share(lambda part: self._images(*pieces[part]), parts):
                for corner, image, light in zip(canvases.origins.tolist(), images, canvases.lit, strict=True):
                    self.patchwork.add(tuple(corner), image, light)

    def _images(
        self, members: Int[Tensor, "group member"], amplitudes: Float[Tensor, "frame y x"]
    ) -> tuple[Canvases, Images]:
        """What these groups look like, each on its canvas."""
        canvases = Canvases.of(self.model, self.trusted, self.x, members, amplitudes)
        prior = torch.stack(
            [
                self.patchwork.window((row, column), light)
                for (row, column), light in zip(canvases.origins.tolist(), canvases.lit, strict=True)
            ]
        )
        if not self.options.update_probe:
            return canvases, Descent(canvases, prior, self.sensitivity, prior).advance(self.options.iterations)
        images = prior
        for steps in _rounds(self.options.iterations):
            images = Descent(canvases, images, self.sensitivity, prior).advance(steps)
            change = canvases.probe_update(images, self.x, members.flatten())
            self.x.probe.add_(change, alpha=self.options.probe_gain)
            canvases = Canvases.of(self.model, self.trusted, self.x, members, amplitudes)
        return canvases, images

    def image(self) -> Tensor:
        """The object so far, all groups in one phase."""
        return self.patchwork.stitched()


def _by_groups(
    amplitudes: Float[Tensor, "frame y x"], members: Int[Tensor, "group member"], parts: int
) -> list[Float[Tensor, "_ y x"]]:
    each = amplitudes.unflatten(0, tuple(members.shape)).tensor_split(parts)
    return [piece.flatten(0, 1) for piece in each]


def _rounds(iterations: int) -> list[int]:
    return [min(PROBE_EVERY, iterations - done) for done in range(0, iterations, PROBE_EVERY)]


def _illumination(model: Ptychography, x: PtychoEstimate, groups: Int[Tensor, "group member"]) -> Float[Tensor, "Y X"]:
    lit = torch.zeros_like(x.object.real)
    for members in groups:
        corners, _ = split_positions(x.positions_px[members])
        light = intensity(model.probes(x, members))[:, None]
        scatter_add_(lit, light.expand(len(members), -1, -1, -1), corners)
    return lit[0]


class LocalStream:
    """Reconstructs while a scan is still running: frames come as they come, and an image of what is done can be had at any time.

    The positions planned for all frames must be known, the probe too, for example from an earlier scan. A frame is told by
    its number in the plan, never by when it arrives. Groups are solved in the order of the plan, each as soon as it and
    all before it are complete: the result is exactly that of the solver on the finished scan, whatever the order of arrival.
    """

    def __init__(
        self,
        positions_m: Float[Tensor, "frame 2"],
        geometry: Geometry,
        probe: Complex[Tensor, "mode y x"],
        *,
        mask: Bool[Tensor, "y x"] | None = None,
        options: Local | None = None,
        in_order: bool = True,
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        """`positions_m` are planned, (y, x); `probe` carries the photons of a frame; `mask` is True where pixels can be trusted.

        Without `in_order` a group is solved as soon as its own frames are there: for scans whose frames get lost or come in
        far from the planned order. The result then depends on the order of arrival, within what the iterations left over.
        Raises InputError where plan, geometry and probe make no sense together, or for more than one epoch.
        """
        options = options or Local()
        if options.epochs > 1:
            raise InputError(
                f"a stream is gone through once, but epochs is {options.epochs}; polish its result instead"
            )
        if probe.ndim != 3 or not bool(torch.view_as_real(probe).isfinite().all()) or not bool(probe.abs().sum() > 0):
            raise InputError(
                f"the probe has shape {tuple(probe.shape)}; expected (mode, y, x), finite and not all zero"
            )
        shape = (probe.shape[-2], probe.shape[-1])
        # A scan whose patterns are still to come: one zero, seen everywhere, takes no memory.
        plan = Scan(
            patterns=ArrayPatterns(torch.zeros(1, 1, 1).expand(len(positions_m), *shape)),
            positions_m=positions_m.to("cpu", torch.float64),
            geometry=geometry,
            mask=torch.ones(shape, dtype=torch.bool) if mask is None else mask,
        )
        check_layout(plan)
        self._plan, self._device = plan, torch.device(device)
        self._model = Ptychography.of(geometry, shape, device=self._device)
        positions_px, object_shape = canvas(plan, MARGIN_PX)
        x = PtychoEstimate(
            object=torch.ones(1, *object_shape, dtype=torch.complex64, device=self._device),
            probe=probe.to(self._device, torch.complex64).clone(),
            positions_px=positions_px,
        )
        self._groups = neighbour_groups(positions_px, options.group, shared=options.shared)
        trusted = self._model.arrange(plan.mask).to(self._device, torch.float32).contiguous()
        self._work = LocalWork.begin(options, self._model, trusted, x, self._groups, seed=seed)
        self._in_order = in_order
        self._waiting: dict[int, Tensor] = {}
        self._here = torch.zeros(len(plan), dtype=torch.bool)
        self._uses = self._groups.flatten().bincount(minlength=len(plan))
        self._solved = torch.zeros(len(self._groups), dtype=torch.bool)

    @property
    def frames_here(self) -> int:
        """Frames absorbed so far."""
        return int(self._here.sum())

    @property
    def groups_solved(self) -> int:
        """Groups whose part of the object is done."""
        return int(self._solved.sum())

    def absorb(self, numbers: Int[Tensor, " batch"], patterns: Float[Tensor, "batch y x"]) -> int:
        """Take in frames (photons, beam at the centre) by their numbers in the plan, from 0; returns the groups solved thereby.

        Raises InputError for numbers outside the plan or seen before, frames of another size and values that are not finite.
        """
        self._check(numbers, patterns)
        photons = torch.where(self._plan.mask, patterns.to("cpu", torch.float32), 0.0)
        amplitudes = self._model.arrange(photons.clamp_(min=0).sqrt_()).to(self._device)
        self._waiting.update(zip(numbers.tolist(), amplitudes, strict=True))
        self._here[numbers] = True
        return self._solve_ready()

    def finish(self) -> int:
        """Solve what is left with the frames that are there, when no more will come; returns the groups solved thereby."""
        left = [int(number) for number in (~self._solved).nonzero()[:, 0]]
        parts = [group[self._here[group]] for group in self._groups[left]]
        for number, members in zip(left, parts, strict=True):
            self._solved[number] = True
            if len(members):
                self._solve(members[None])
        self._waiting.clear()
        return sum(len(members) > 0 for members in parts)

    def estimate(self) -> PtychoEstimate:
        """Object, probe and positions as far as they are known; the object is 1 where nothing was seen yet."""
        x = self._work.x
        return replace(x, object=self._work.image()[None], probe=x.probe.clone())

    def _check(self, numbers: Tensor, patterns: Tensor) -> None:
        if patterns.ndim != 3 or tuple(patterns.shape[1:]) != self._plan.frame_shape or len(patterns) != len(numbers):
            raise InputError(
                f"{len(numbers)} frame numbers came with patterns of shape {tuple(patterns.shape)}; expected "
                f"({len(numbers)}, {self._plan.frame_shape[0]}, {self._plan.frame_shape[1]}), the size of the probe"
            )
        if bool(((numbers < 0) | (numbers >= len(self._plan))).any()):
            raise InputError(
                f"frame numbers run from {int(numbers.min())} to {int(numbers.max())} but the plan has frames 0 to "
                f"{len(self._plan) - 1}; number frames from 0, as in the planned positions"
            )
        if bool(self._here[numbers].any()) or len(numbers.unique()) < len(numbers):
            raise InputError("a frame number came twice; leave out frames that were sent again")
        if not bool(patterns[:, self._plan.mask].isfinite().all()):
            raise InputError("trusted pixels hold values that are not finite; mask them")

    def _solve_ready(self) -> int:
        complete = self._here[self._groups].all(dim=1)
        if self._in_order:
            complete = complete.cummin(dim=0).values
        ready: list[int] = (complete & ~self._solved).nonzero()[:, 0].tolist()
        size = self._work.options.batch
        if self._in_order and not bool(self._here.all()):
            # Whole batches of the plan only, so that groups are solved together as they are offline.
            ready = ready[: len(ready) // size * size]
        for first in range(0, len(ready), size):
            batch = ready[first : first + size]
            self._solved[batch] = True
            self._solve(self._groups[batch])
        return len(ready)

    def _solve(self, members: Int[Tensor, "group member"]) -> None:
        numbers: list[int] = members.flatten().tolist()
        self._work.solve(members, torch.stack([self._waiting[number] for number in numbers]))
        self._uses[members.flatten()] -= 1
        for number in numbers:
            if self._uses[number] <= 0:
                self._waiting.pop(number, None)
