"""Quasi-Newton reconstruction: object and probe together, their curvature learnt on the way, slow phase found at once."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from jaxtyping import Float
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor

from exitwave.data.estimate import PtychoEstimate
from exitwave.problems.coarse_phase import SlowPhase, ramp_sensitivity, slope_noise
from exitwave.problems.frame_pulls import FramePulls
from exitwave.problems.memory_estimate import OBJECTS
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.problems.regional_phase import RegionalPhase, slow_phase
from exitwave.problems.sweep import Sweep
from exitwave.problems.window_updates import pie_update
from exitwave.solvers.base import Solver, Step
from exitwave.solvers.changes import Change
from exitwave.solvers.options import Fraction, ProbeStart, UpdateProbe, WhenDiverging
from exitwave.solvers.ptychography.coarse_start import coarse_start, wants_coarse_start
from exitwave.solvers.ptychography.limited_memory import Blocks, inverse_curvature, plus
from exitwave.solvers.ptychography.momentum import Momentum
from exitwave.solvers.registry import solver
from exitwave.solvers.requirements import require_supported

GAIN, FRICTION, FEEDBACK, KICKS = 0.5, 0.9, 0.5, 8
"""Of the warm start: step length, and momentum with its steps per epoch; as in mpie."""
NEWTON_SLOW = 0.3
"""Share of the slow phase's Newton step in the preconditioner; the rest follows from the history."""
SHORTEST = 1e-3
"""Step below which a direction is given up."""


@solver
class QuasiNewton(Solver[PtychoEstimate]):
    """Quasi-Newton on object and probe, with a coarse level for slow phase: fewest epochs to a good image.
    Liu & Nocedal, Math. Program. 45, 503 (1989).

    First some epochs frame by frame, as mpie, with the slow phase mended after each; then limited-memory BFGS on all
    frames, preconditioned by the illumination and, for phase slower than the probe is wide, by the curvature of a ramp.
    """

    name: ClassVar[str] = "newton"
    unsupported: ClassVar[frozenset[str]] = frozenset({"noise"})
    renamed: ClassVar[Mapping[str, str]] = {"approach": "warm_start"}
    epochs: PositiveInt = 40
    """Passes over all diffraction patterns; in wide far-field scans 10 give a good image and 20 all that the photons hold,
    with `warm_start` 8."""
    warm_start: NonNegativeInt = 20
    """Epochs at the beginning that go frame by frame with momentum, as mpie does, and mend slow phase after each; at most
    three quarters of all. 8 are enough for a structured probe; many are for probes of flat phase and bad first probes; 0
    goes on from a good start."""
    coarse_start: NonNegativeInt = 100
    """Epochs of the difference map before all others, on frames cut to two thirds (64 pixels at most), where far-field frames
    begin with an empty object under an unknown beam of flat phase (a pinhole, a focus); 0 leaves them out."""
    slow_gain: Annotated[Fraction, WhenDiverging("lower")] = 1.0
    """Share of the slow phase told by an epoch of the approach that is applied; lower it when the residual jumps, 0 to leave
    slow phase to the frames (as mpie)."""
    alpha: Annotated[float, Field(gt=0, le=1), WhenDiverging("raise")] = 0.1
    """Object regularisation in the approach, as in rPIE."""
    beta: Fraction = 0.8
    """Probe regularisation in the approach, as in rPIE."""
    damping: Annotated[float, Field(gt=0, le=1), WhenDiverging("raise")] = 0.03
    """Shortens Newton steps where the light is dim, as a share of the brightest illumination; raise it with few photons."""
    history: PositiveInt = 5
    """Steps from which the curvature is learnt; 3-10, each costs two objects of memory."""
    probe_start: ProbeStart = 0
    update_probe: UpdateProbe = True
    batch: PositiveInt = 16
    """Frames updated together in the warm start; at most an eighth of all, so that few frames make several steps an epoch."""

    @property
    def object_arrays(self) -> int:
        return OBJECTS + 2 * self.history

    @property
    def warm_start_epochs(self) -> int:
        """Epochs of the approach in a run of this length: its last quarter takes all frames together."""
        return min(self.warm_start, self.epochs - self.epochs // 4)

    def transform_state(self, state: Mapping[str, Tensor], change: Change) -> Mapping[str, Tensor]:
        kept = Momentum.transform_state(state, change)
        if change.forgets_curvature:
            return {key: value for key, value in kept.items() if not key.startswith(("move.", "bend.", "history"))}
        return {
            key: change.of_directions(value) if key.startswith(("move.", "bend.")) else value
            for key, value in kept.items()
        }

    def solve(self, problem: PtychographyProblem, start: Step[PtychoEstimate]) -> Iterator[Step[PtychoEstimate]]:
        require_supported(self, problem, start.estimate)
        x = start.estimate.to(problem.device).clone()
        epoch = start.epoch
        if epoch == 0 and self.coarse_start and self.update_probe and wants_coarse_start(problem, x):
            x = coarse_start(problem, x, epochs=self.coarse_start)
        if epoch < self.warm_start_epochs:
            for step in _warm_start(self, problem, x, start):
                yield step
                epoch = step.epoch
        if epoch >= self.epochs:
            return
        memory = start.state if start.epoch == epoch else {}
        descent = Descent.resumed(self, problem, x, memory)
        for number in range(epoch + 1, self.epochs + 1):
            # Its history would say that the probe does not matter.
            if self.update_probe and not descent.with_probe and number > self.probe_start:
                descent = Descent.resumed(self, problem, x, {}, with_probe=True)
            descent.go_on()
            yield Step(
                epoch=number,
                estimate=x.clone(),
                residual=descent.at.misfit / problem.power,
                state=descent.state(),
            )


def _warm_start(
    options: QuasiNewton, problem: PtychographyProblem, x: PtychoEstimate, start: Step[PtychoEstimate]
) -> Iterator[Step[PtychoEstimate]]:
    """Epochs of PIE with momentum, `x` changed in place; after each, the slow phase that its frames asked for."""
    pulls = FramePulls(problem, x)
    sweep = Sweep(problem, x)
    every = -(-len(problem) // KICKS)
    momentum = Momentum(x, start.state, friction=FRICTION, feedback=FEEDBACK, every=every)
    for epoch in range(start.epoch + 1, options.warm_start_epochs + 1):
        with_probe = options.update_probe and epoch > options.probe_start
        misfit, momentum.frames = 0.0, 0
        for frames in problem.batches(min(options.batch, every), epoch):
            misfit += pie_update(
                sweep,
                frames,
                alpha=options.alpha,
                beta=options.beta,
                gains=(GAIN, GAIN),
                with_probe=with_probe,
                observer=pulls,
            )
            momentum.after(x, len(frames), with_probe=with_probe)
        if options.slow_gain:
            slow = slow_phase(problem, x, ramp_sensitivity(problem, x, seed=epoch))
            if with_probe:
                pulls.leave_common_to_probe()
            phase = options.slow_gain / len(x.object) * slow.of_frames(pulls)
            # Given to both, a ramp would grow on the object for ever, while the probe makes up for it.
            phase = slow.without_ramp(phase) if with_probe else phase
            momentum.turn(x, torch.polar(torch.ones_like(phase), phase))
        yield Step(epoch=epoch, estimate=x.clone(), residual=misfit / problem.power, state=momentum.state())


@dataclass(frozen=True, eq=False)
class Point:
    """Misfit and descent direction at an estimate, and how strongly light fixes each pixel."""

    down: Blocks
    """Steepest descent of half the misfit."""
    lit: Float[Tensor, "slice Y X"]
    seen: Float[Tensor, "y x"]
    misfit: float
    told: Float[Tensor, "k l"] | None
    """Share of its Newton step that each slow wave may take, by how far the slopes of frames vary there by noise alone."""


@dataclass(eq=False)
class Descent:
    """Limited-memory BFGS on object and probe; one pass over the frames a step, unless a step has to be shortened."""

    sweep: Sweep
    with_probe: bool
    damping: float
    history: int
    scale: "_SlowScale | None"
    at: Point
    moves: list[Blocks]
    """The last steps."""
    bends: list[Blocks]
    """How the gradient changed along each."""

    @classmethod
    def resumed(
        cls,
        options: QuasiNewton,
        problem: PtychographyProblem,
        x: PtychoEstimate,
        memory: Mapping[str, Tensor],
        *,
        with_probe: bool | None = None,
    ) -> "Descent":
        """From the memory of a step, or afresh where there is none.

        Misfit and gradient are looked at anew: between epochs refinements and constraints may have changed the estimate.
        """
        if with_probe is None:
            with_probe = options.update_probe and (options.probe_start == 0 or "with_probe" in memory)
        sweep = Sweep(problem, x)
        scale = _SlowScale.resumed(problem, x, memory) if options.slow_gain else None
        kept = {k: v.to(problem.device).clone() for k, v in memory.items()}
        count = int(memory.get("history", torch.tensor(0)))
        return cls(
            sweep=sweep,
            with_probe=with_probe,
            damping=options.damping,
            history=options.history,
            scale=scale,
            at=_point(sweep, scale, with_probe=with_probe),
            moves=[(kept[f"move.object.{i}"], kept[f"move.probe.{i}"]) for i in range(count)],
            bends=[(kept[f"bend.object.{i}"], kept[f"bend.probe.{i}"]) for i in range(count)],
        )

    @torch.no_grad()
    def go_on(self) -> None:
        """One step downhill, made shorter until the misfit falls; without a way down, history is forgotten and nothing moves."""
        x, here = self.sweep.x, self.at
        origin = (x.object.clone(), x.probe.clone())
        way = self.newton(here.down)
        slope = dot(way, here.down)
        length = 1.0
        while slope > 0 and length >= SHORTEST:
            _place(x, plus(origin, way, length))
            there = _point(self.sweep, self.scale, with_probe=self.with_probe)
            fall = (here.misfit - there.misfit) / 2
            if fall >= 1e-4 * length * slope:
                self._learn(plus((x.object, x.probe), origin, -1), plus(here.down, there.down, -1))
                self.at = there
                return
            # The parabola through value, slope and the value met.
            parabola = length * slope / (2 * (slope - fall / length))
            length = min(max(parabola, 0.1 * length), 0.5 * length)
        _place(x, origin)
        self.moves, self.bends = [], []

    def newton(self, down: Blocks) -> Blocks:
        """Inverse Hessian times `down`."""
        return inverse_curvature(down, self.moves, self.bends, first=self.conditioned, dot=dot)

    def conditioned(self, down: Blocks) -> Blocks:
        """The first guess of the inverse Hessian: gradient over illumination, and the slow phase's own step."""
        lit, seen = self.at.lit, self.at.seen
        curvature = (lit + self.damping * lit.max()).clamp(min=1e-30)
        told = self.at.told
        if self.scale is None or told is None:
            obj = down[0] / curvature
        else:
            here = self.sweep.x.object
            obj = self.scale.slow.preconditioned(here, down[0], curvature, told, newton=NEWTON_SLOW)
        return obj, down[1] / (seen + self.damping * seen.max()).clamp(min=1e-30)

    def _learn(self, move: Blocks, bend: Blocks) -> None:
        # Only where the misfit curves upwards does the inverse Hessian stay positive.
        if dot(move, bend) > 0:
            self.moves = [*self.moves, move][-self.history :]
            self.bends = [*self.bends, bend][-self.history :]

    def state(self) -> dict[str, Tensor]:
        """Nothing in it is ever changed in place, so nothing is copied."""
        kept = {"history": torch.tensor(len(self.moves))}
        if self.scale is not None:
            kept |= {"ramp": self.scale.ramp, "noise": self.scale.noise}
        if self.with_probe:
            kept["with_probe"] = torch.tensor(1)
        for name, pairs in (("move", self.moves), ("bend", self.bends)):
            for i, pair in enumerate(pairs):
                kept |= {f"{name}.object.{i}": pair[0], f"{name}.probe.{i}": pair[1]}
        return kept


@dataclass(frozen=True, eq=False)
class _SlowScale:
    """Slow phase of a descent, and what tells how far its frames tell it."""

    slow: SlowPhase | RegionalPhase
    ramp: Float[Tensor, "2 2"]
    noise: Float[Tensor, " axis"]
    """The `slope_noise` of the frames where the descent began."""
    pulls: FramePulls
    """Of the last pass."""

    @classmethod
    def resumed(cls, problem: PtychographyProblem, x: PtychoEstimate, memory: Mapping[str, Tensor]) -> "_SlowScale":
        ramp = memory["ramp"] if "ramp" in memory else ramp_sensitivity(problem, x)
        noise = memory["noise"] if "noise" in memory else slope_noise(problem, x)
        return cls(slow_phase(problem, x, ramp), ramp, noise, FramePulls(problem, x))

    def told(self, misfit: float) -> Float[Tensor, "k l"]:
        """Share of its Newton step that each wave may take, by the pulls and the misfit of a pass."""
        return self.slow.told(self.pulls, self.noise * (misfit / len(self.pulls.pulls)))


def _point(sweep: Sweep, scale: _SlowScale | None, *, with_probe: bool) -> Point:
    sums = sweep.everything(with_probe=with_probe, observer=None if scale is None else scale.pulls)
    down = (sums.object_descent.clone(), sums.probe_descent.clone())
    told = None if scale is None else scale.told(sums.misfit)
    return Point(down, sums.illumination.clone(), sums.probe_weight.clone(), sums.misfit, told)


def _place(x: PtychoEstimate, pair: Blocks) -> None:
    x.object.copy_(pair[0])
    x.probe.copy_(pair[1])


def dot(a: Blocks, b: Blocks) -> float:
    """Real inner product of two directions in object and probe."""
    return sum(float(torch.vdot(u.flatten(), v.flatten()).real) for u, v in zip(a, b, strict=True))
