"""Small groups of neighbouring frames, each solved on its own canvas with what its neighbours already know, then stitched."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor

from exitwave.data.estimate import PtychoEstimate
from exitwave.physics.interaction import split_positions
from exitwave.physics.kernels.reference import intensity, scatter_add_
from exitwave.physics.ptychography import Ptychography
from exitwave.problems.groups.canvases import Canvases, Images
from exitwave.problems.groups.conjugate_gradients import ConjugateGradients
from exitwave.problems.groups.neighbours import Members, neighbour_groups
from exitwave.problems.groups.sensitivity import Sensitivity
from exitwave.problems.groups.stitching import Patchwork
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.problems.threads import Schedule, threads_on
from exitwave.solvers.base import Solver, Step
from exitwave.solvers.options import ProbeGain, UpdateProbe
from exitwave.solvers.registry import solver
from exitwave.solvers.requirements import require_supported

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
    unsupported: ClassVar[frozenset[str]] = frozenset(
        {"slices", "positions", "variations", "brightness", "background", "noise"}
    )
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
    update_probe: UpdateProbe = True
    """Whether to improve the probe, slowly, from all groups; switch off when it is known."""
    probe_gain: ProbeGain = 0.5
    """Share of the probe step that a group asks for; lower it when the residual jumps."""

    def solve(self, problem: PtychographyProblem, start: Step[PtychoEstimate]) -> Iterator[Step[PtychoEstimate]]:
        require_supported(self, problem, start.estimate)
        x = start.estimate.to(problem.device).clone()
        groups = neighbour_groups(problem.positions_px, self.group, shared=self.shared)
        for epoch in range(start.epoch + 1, self.epochs + 1):
            work = LocalWork.begin(self, problem.model, problem.trusted, x, groups, seed=problem.seed, fresh=epoch == 1)
            for members in _in_order(groups, problem.seed, epoch).split(self.batch):
                work.solve(members, problem.amplitudes(members.flatten()))
            x.object[0] = work.image()
            yield Step(epoch=epoch, estimate=x.clone(), residual=problem.residual(x))


def _in_order(groups: Members, seed: int, epoch: int) -> Members:
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
        groups: Members,
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
    def solve(self, members: Members, amplitudes: Float[Tensor, "frame y x"]) -> None:
        """Solve these groups from what their neighbours know and put them into the patchwork."""
        parts = 1 if self.options.update_probe else threads_on(amplitudes.device, len(members))
        small = amplitudes[: members.shape[1]].numel() < SMALL_PIXELS
        by_group = amplitudes.unflatten(0, tuple(members.shape))

        def look(_: int, which: Tensor) -> tuple[Canvases, Images]:
            here = slice(int(which[0]), int(which[-1]) + 1)
            return self._images(members[here], by_group[here].flatten(0, 1))

        schedule = Schedule(parts, chunk=-(-len(members) // parts), few=small)
        for canvases, images in schedule.run(look, torch.arange(len(members))):
            for corner, image, light in zip(canvases.origins.tolist(), images, canvases.illumination, strict=True):
                self.patchwork.add(tuple(corner), image, light)

    def _images(self, members: Members, amplitudes: Float[Tensor, "frame y x"]) -> tuple[Canvases, Images]:
        """What these groups look like, each on its canvas."""
        canvases = Canvases.of(self.model, self.trusted, self.x, members, amplitudes)
        places = zip(canvases.origins.tolist(), canvases.illumination, strict=True)
        prior = torch.stack([self.patchwork.window((row, column), light) for (row, column), light in places])
        if not self.options.update_probe:
            gradients = ConjugateGradients(canvases, prior, self.sensitivity, prior)
            return canvases, gradients.advance(self.options.iterations)
        images = prior
        for done in range(0, self.options.iterations, PROBE_EVERY):
            steps = min(PROBE_EVERY, self.options.iterations - done)
            images = ConjugateGradients(canvases, images, self.sensitivity, prior).advance(steps)
            change = canvases.probe_update(images, self.x, members.flatten())
            self.x.probe.add_(change, alpha=self.options.probe_gain)
            canvases = Canvases.of(self.model, self.trusted, self.x, members, amplitudes)
        return canvases, images

    def image(self) -> Tensor:
        """The object so far, all groups in one phase."""
        return self.patchwork.stitched()


def _illumination(model: Ptychography, x: PtychoEstimate, groups: Members) -> Float[Tensor, "Y X"]:
    lit = torch.zeros_like(x.object.real)
    for members in groups:
        corners, _ = split_positions(x.positions_px[members])
        light = intensity(model.probes(x, members))[:, None]
        scatter_add_(lit, light.expand(len(members), -1, -1, -1), corners)
    return lit[0]
