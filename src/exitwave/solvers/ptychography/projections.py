"""Projection methods: difference map (DM), relaxed averaged alternating reflections (RAAR), alternating projections (AP).

Two constraints on the exit waves psi_j of all frames: the measured modulus (projection M), and the overlap, psi_j = P q_j
with one object and one probe (projection O). All three methods are

    psi <- O psi + b (M - 1) [psi + c (O psi - psi)]

with (b, c) = (1, 1 + alpha) for DM, (beta, 2) for RAAR and (1, 1) for AP.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar

import torch
from jaxtyping import Float, Int
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor

from exitwave.data.estimate import PtychoEstimate
from exitwave.physics.kernels import dispatch as kernels
from exitwave.physics.kernels.reference import FrameWaves
from exitwave.problems.ptychography import CHUNK, PtychographyProblem
from exitwave.problems.sweep import Sweep
from exitwave.solvers.base import Solver, Step
from exitwave.solvers.changes import Change
from exitwave.solvers.options import Fraction, Inertia, ProbeGain, ProbeStart, UpdateProbe, WhenDiverging
from exitwave.solvers.registry import solver
from exitwave.solvers.requirements import require_supported

Relaxation = Annotated[float, Field(ge=0, le=100)]
MOST_ROUNDS = 10
"""Times that object and probe are fitted in turns to the same exit waves,"""
STEADY = 0.05
"""unless the probe changes by less than this share before."""
PROBE_INERTIA = 1e-6
"""Weight of the probe so far, as a share of the brightest pixel."""


class _Reflecting(Solver[PtychoEstimate]):
    """A projection method that goes beyond its constraints, and so keeps exit waves from epoch to epoch."""

    unsupported: ClassVar[frozenset[str]] = frozenset({"slices", "noise"})
    residual_may_rise: ClassVar[bool] = True
    stores_exit_waves: ClassVar[bool] = True
    seeded: ClassVar[bool] = False

    def transform_state(self, state: Mapping[str, Tensor], change: Change) -> Mapping[str, Tensor]:
        return {name: change.of_directions(waves) for name, waves in state.items()}


@solver
class DM(_Reflecting):
    """Difference map: wanders until both constraints meet, so it finds its way from a poor start; finished by alternating
    projections. Thibault et al., Ultramicroscopy 109, 338 (2009).
    """

    name: ClassVar[str] = "dm"
    epochs: PositiveInt = 200
    """Passes over all diffraction patterns, those of the finish among them; 100-500 is usual."""
    alpha: Annotated[Fraction, WhenDiverging("lower")] = 0.95
    """How far beyond the overlap constraint to go: 1 is the difference map as published, 0 alternating projections. Lower
    it to 0.9 or 0.8 when the images of successive epochs keep changing."""
    relax: Relaxation = 0.25
    """Misfit up to which a pattern counts as agreed with, in units of what photon noise makes; 0 asks for the measured
    modulus itself, 0.5-1 suits few photons, more data with other errors than noise."""
    finish: NonNegativeInt = 20
    """Epochs of alternating projections at the end, at most half of all: the difference map itself never comes to rest."""
    inertia: Inertia = 0.1
    probe_start: ProbeStart = 1
    update_probe: UpdateProbe = True

    def solve(self, problem: PtychographyProblem, start: Step[PtychoEstimate]) -> Iterator[Step[PtychoEstimate]]:
        yield from _reflect(self, problem, start, gain=1.0, reach=1.0 + self.alpha)


@solver
class RAAR(_Reflecting):
    """Relaxed averaged alternating reflections: as the difference map, but damped, so that it comes to rest by itself.
    Luke, Inverse Problems 21, 37 (2005).

    This is psi <- beta psi + (1 - 2 beta) O psi + beta M (2 O psi - psi). The mirror form, in which SHARP has it (Marchesini
    et al., J. Appl. Cryst. 49, 1245, 2016), is psi <- beta psi + (1 - 2 beta) M psi + beta O (2 M psi - psi): the same with
    the two projections swapped. It ends at the same images but holds two sets of exit waves.
    """

    name: ClassVar[str] = "raar"
    epochs: PositiveInt = 200
    """Passes over all diffraction patterns, those of the finish among them; 100-500 is usual."""
    beta: Annotated[float, Field(gt=0, le=1)] = 0.75
    """Share of the difference map; 1 is the difference map itself. 0.75 suits good overlap, 0.9-0.95 little overlap."""
    relax: Relaxation = 0.0
    """Misfit up to which a pattern counts as agreed with, in units of what photon noise makes; 0 asks for the measured
    modulus itself, more than 1 suits data with other errors than noise."""
    finish: NonNegativeInt = 10
    """Epochs of alternating projections at the end, at most half of all."""
    inertia: Inertia = 0.1
    probe_start: ProbeStart = 1
    update_probe: UpdateProbe = True

    def solve(self, problem: PtychographyProblem, start: Step[PtychoEstimate]) -> Iterator[Step[PtychoEstimate]]:
        yield from _reflect(self, problem, start, gain=self.beta, reach=2.0)


@solver
class AP(Solver[PtychoEstimate]):
    """Alternating projections: the residual only falls, to the nearest solution; a finish for others, and to compare.
    Marchesini, Tu & Wu, Appl. Comput. Harmon. Anal. 41, 815 (2016).
    """

    name: ClassVar[str] = "ap"
    unsupported: ClassVar[frozenset[str]] = frozenset({"slices", "noise"})
    seeded: ClassVar[bool] = False
    epochs: PositiveInt = 100
    """Passes over all diffraction patterns; 10-50 as a finish, several hundred alone."""
    inertia: Inertia = 0.1
    probe_gain: ProbeGain = 1.0
    """Step length for the probe, which moves together with the object; lower it when the residual jumps up and down."""
    probe_start: ProbeStart = 1
    update_probe: UpdateProbe = True

    def solve(self, problem: PtychographyProblem, start: Step[PtychoEstimate]) -> Iterator[Step[PtychoEstimate]]:
        require_supported(self, problem, start.estimate)
        x = start.estimate.to(problem.device).clone()
        sweep = Sweep(problem, x)
        for epoch in range(start.epoch + 1, self.epochs + 1):
            with_probe = self.update_probe and epoch > self.probe_start
            misfit = _alternate(sweep, self.inertia, self.probe_gain, with_probe=with_probe)
            yield Step(epoch=epoch, estimate=x.clone(), residual=misfit / problem.power)


@torch.no_grad()
def _alternate(sweep: Sweep, inertia: float, probe_gain: float, *, with_probe: bool) -> float:
    """One epoch of alternating projections: object, and probe, that fit all waves with the measured modulus best."""
    sums = sweep.everything(with_probe=with_probe)
    _move_object(sweep, inertia)
    if with_probe:
        _move_probe(sweep, probe_gain)
    return sums.misfit


def _reflect(
    options: "DM | RAAR", problem: PtychographyProblem, start: Step[PtychoEstimate], *, gain: float, reach: float
) -> Iterator[Step[PtychoEstimate]]:
    """Epochs of the projection method, then those of its finish."""
    require_supported(options, problem, start.estimate)
    x = start.estimate.to(problem.device).clone()
    finish = min(options.finish, options.epochs // 2)
    waves = None
    for epoch in range(start.epoch + 1, options.epochs + 1):
        with_probe = options.update_probe and epoch > options.probe_start
        if epoch > options.epochs - finish:
            waves = None
            misfit = _alternate(Sweep(problem, x), options.inertia, 1.0, with_probe=with_probe)
        else:
            waves = waves or _Waves(problem, x, options, gain, reach, start.state)
            misfit = waves.move(with_probe=with_probe)
        memory = waves.store.as_memory() if waves else {}
        yield Step(epoch=epoch, estimate=x.clone(), residual=misfit / problem.power, state=memory)


class _Waves:
    """Exit waves of all frames, and the object and probe that fit them best."""

    def __init__(
        self,
        problem: PtychographyProblem,
        x: PtychoEstimate,
        options: "DM | RAAR",
        gain: float,
        reach: float,
        memory: Mapping[str, Tensor],
    ) -> None:
        self._problem, self._gain, self._reach, self._inertia = problem, gain, reach, options.inertia
        self._sweep = Sweep(problem, x)
        self._background = problem.model.background(x)
        self._tolerated = options.relax * _noise(problem)
        modes = problem.model.probes(x, torch.arange(1)).shape[1]
        self.store = problem.wave_store(modes)
        self._fresh = not self.store.from_state(memory)

    @torch.no_grad()
    def move(self, *, with_probe: bool) -> float:
        """One epoch: new exit waves, then object and probe in turns until they agree on them; returns the misfit met."""
        sweep = self._sweep
        misfit = sweep.everything(with_probe=False, exit_wave_update=self._moved).misfit
        self._fresh = False
        _move_object(sweep, self._inertia)
        for _ in range(MOST_ROUNDS if with_probe else 0):
            sweep.everything(with_object=False, exit_wave_update=self._disagreement, measured=False)
            if _move_probe(sweep, 1.0) < STEADY:
                break
            sweep.everything(with_probe=False, exit_wave_update=self._disagreement, measured=False)
            _move_object(sweep, self._inertia)
        return misfit

    def _moved(self, waves: FrameWaves, frames: Int[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """The step of the method; what comes in is O psi, what goes out how the new psi differs from it."""
        model = self._problem.model
        before = waves.clone() if self._fresh else self.store.read(frames)
        reached = torch.lerp(before, waves, self._reach)
        at_detector = model.propagate(reached, before)
        stack, index = self._problem.amplitude_stack(frames)
        misfit = kernels.impose_modulus_(at_detector, stack, index, self._problem.trusted, self._background)
        gain = self._gain * (1 - (self._tolerated[frames.to(misfit.device)] / misfit.clamp(min=1e-30)).sqrt()).clamp(
            min=0
        )
        at_detector *= gain.to(torch.float32)[:, None, None, None]
        change = model.backpropagate(at_detector, reached)
        self.store.write(frames, waves + change)
        waves.copy_(change)
        return misfit

    def _disagreement(self, waves: FrameWaves, frames: Int[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        waves.neg_().add_(self.store.read(frames))
        return waves.new_zeros(len(waves), dtype=torch.float64)


def _move_object(sweep: Sweep, inertia: float) -> None:
    """The object that fits best for this probe; dim pixels keep what they have."""
    sums = sweep.sums
    sweep.x.object.addcdiv_(
        sums.object_descent, (sums.illumination + inertia * sums.max_illumination).to(sums.object_descent.dtype)
    )


def _move_probe(sweep: Sweep, gain: float) -> float:
    """The probe that fits best for this object; returns its relative change."""
    sums, probe = sweep.sums, sweep.x.probe
    change = sums.probe_descent / (sums.probe_weight + PROBE_INERTIA * sums.probe_weight.max()).clamp(min=1e-30)
    probe.add_(change, alpha=gain)
    return float(change.norm() / probe.norm().clamp(min=1e-30))


def _noise(problem: PtychographyProblem) -> Float[Tensor, " frame"]:
    """The misfit that photon noise makes in each frame: a quarter for every pixel that counted, whatever it counted."""
    parts: list[Tensor] = []
    for frames in problem.prefetch(torch.arange(len(problem)).split(CHUNK)):
        photons = problem.counts(frames)
        parts.append((photons.clamp(max=0.25) * problem.trusted).sum(dim=(1, 2)))
    return torch.cat(parts)
