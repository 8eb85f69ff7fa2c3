"""The ptychographic iterative engines: ePIE, rPIE and mPIE, with steps that settle at the end."""

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar

from pydantic import Field, PositiveInt
from torch import Tensor

from exitwave.data.estimate import PtychoEstimate
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.problems.sweep import Sweep
from exitwave.problems.window_updates import pie_update
from exitwave.solvers.base import Solver, Step
from exitwave.solvers.changes import Change
from exitwave.solvers.options import Fraction, Gain, ProbeStart, Settle, UpdateProbe, WhenDiverging
from exitwave.solvers.ptychography.momentum import Momentum
from exitwave.solvers.ptychography.step_decay import step_scale
from exitwave.solvers.registry import solver
from exitwave.solvers.requirements import require_supported


@solver
class RPIE(Solver[PtychoEstimate]):
    """Regularised ptychographic iterative engine: the robust first choice. Maiden, Johnson & Li, Optica 4, 736 (2017), table 1."""

    name: ClassVar[str] = "rpie"
    unsupported: ClassVar[frozenset[str]] = frozenset({"noise"})
    epochs: PositiveInt = 100
    """Passes over all diffraction patterns; 50-200 is usual."""
    alpha: Annotated[Fraction, WhenDiverging("raise")] = 0.05
    """Object regularisation; 1 gives ePIE. Raise it when the object rings where the probe is dim, or with few photons."""
    beta: Fraction = 0.5
    """Probe regularisation, as alpha for the object. Lower it when the probe settles slowly."""
    object_gain: Gain = 1.0
    """Step length for the object; lower it when the residual jumps up and down."""
    probe_gain: Gain = 1.0
    """Step length for the probe."""
    probe_start: ProbeStart = 1
    update_probe: UpdateProbe = True
    settle: Settle = 0.25
    batch: PositiveInt = 16
    """Frames updated together; 1 is the published order, larger is faster and needs more epochs."""

    def solve(self, problem: PtychographyProblem, start: Step[PtychoEstimate]) -> Iterator[Step[PtychoEstimate]]:
        yield from _engine(self, problem, start, alpha=self.alpha, beta=self.beta)


@solver
class EPIE(Solver[PtychoEstimate]):
    """Extended ptychographic iterative engine. Maiden & Rodenburg, Ultramicroscopy 109, 1256 (2009), eqs. 3-6."""

    name: ClassVar[str] = "epie"
    unsupported: ClassVar[frozenset[str]] = frozenset({"noise"})
    epochs: PositiveInt = 100
    """Passes over all diffraction patterns; 100-500 is usual."""
    object_gain: Gain = 1.0
    """Step length for the object (alpha of the paper)."""
    probe_gain: Gain = 1.0
    """Step length for the probe (beta of the paper)."""
    probe_start: ProbeStart = 1
    update_probe: UpdateProbe = True
    settle: Settle = 0.25
    batch: PositiveInt = 16
    """Frames updated together; 1 is the published order."""

    def solve(self, problem: PtychographyProblem, start: Step[PtychoEstimate]) -> Iterator[Step[PtychoEstimate]]:
        yield from _engine(self, problem, start, alpha=1.0, beta=1.0)


@solver
class MPIE(Solver[PtychoEstimate]):
    """Momentum-accelerated engine: rPIE that goes on in directions that helped. Maiden, Johnson & Li, Optica 4, 736 (2017), eq. 19."""

    name: ClassVar[str] = "mpie"
    unsupported: ClassVar[frozenset[str]] = frozenset({"noise"})
    epochs: PositiveInt = 100
    """Passes over all diffraction patterns; 30-100 is usual."""
    alpha: Annotated[Fraction, WhenDiverging("raise")] = 0.1
    """Object regularisation, as in rPIE."""
    beta: Fraction = 0.8
    """Probe regularisation, as in rPIE."""
    object_gain: Gain = 0.5
    """Step length for the object; momentum adds to it."""
    probe_gain: Gain = 0.5
    """Step length for the probe."""
    friction: Annotated[float, Field(ge=0, lt=1), WhenDiverging("lower")] = 0.9
    """Share of the velocity that is kept; higher is faster and less stable."""
    feedback: Gain = 0.5
    """Share of the velocity added to the estimate."""
    momentum_every: PositiveInt = 64
    """Frames between two momentum steps."""
    probe_start: ProbeStart = 1
    update_probe: UpdateProbe = True
    settle: Settle = 0.25
    batch: PositiveInt = 16
    """Frames updated together; 1 is the published order."""

    def transform_state(self, state: Mapping[str, Tensor], change: Change) -> Mapping[str, Tensor]:
        return Momentum.transform_state(state, change)

    def solve(self, problem: PtychographyProblem, start: Step[PtychoEstimate]) -> Iterator[Step[PtychoEstimate]]:
        yield from _engine(self, problem, start, alpha=self.alpha, beta=self.beta)


def _engine(
    options: RPIE | EPIE | MPIE, problem: PtychographyProblem, start: Step[PtychoEstimate], *, alpha: float, beta: float
) -> Iterator[Step[PtychoEstimate]]:
    require_supported(options, problem, start.estimate)
    x, momentum = start.estimate.to(problem.device).clone(), None
    if isinstance(options, MPIE):
        every, friction = options.momentum_every, options.friction
        momentum = Momentum(x, start.state, friction=friction, feedback=options.feedback, every=every)
    sweep = Sweep(problem, x)
    for epoch in range(start.epoch + 1, options.epochs + 1):
        with_probe = options.update_probe and epoch > options.probe_start
        gain = step_scale(epoch, options.epochs, options.settle)
        gains = gain * options.object_gain, gain * options.probe_gain
        misfit = 0.0
        for frames in problem.batches(options.batch, epoch):
            misfit += pie_update(sweep, frames, alpha=alpha, beta=beta, gains=gains, with_probe=with_probe)
            if momentum:
                momentum.after(x, len(frames), with_probe=with_probe)
        memory = momentum.state() if momentum else {}
        yield Step(epoch=epoch, estimate=x.clone(), residual=misfit / problem.power, state=memory)
