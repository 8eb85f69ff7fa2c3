"""PtychoPINN: a network that learns phase retrieval from diffraction alone."""

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field

from exitwave.data.estimate import PtychoEstimate
from exitwave.problems.groups.canvases import Images
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.solvers.neural.losses import Loss
from exitwave.solvers.neural.network_solver import NetworkSolver
from exitwave.solvers.neural.training_data import SelfSupervised, TrainingScan, TrainingScans, thinned
from exitwave.solvers.registry import solver


@solver
class PtychoPINN(NetworkSolver):
    """A network trained on patterns alone, without labels; then an image in one pass: single shots with a curved probe.

    Hoidn, Mishra & Mehta, Sci. Rep. 13, 22789 (2023). The network sees groups of neighbouring frames and is judged by the
    patterns that its image would give. With known probe; refine with an iterative solver: chain(pinn, LSQML(epochs=30)).
    Where frames overlap well, newton is better in less time.
    """

    name: ClassVar[str] = "ptychopinn"
    renamed: ClassVar[Mapping[str, str]] = {**NetworkSolver.renamed, "thinning": "judge_photons"}
    loss: Loss = "amplitude"
    """amplitude: mean error of the amplitudes, that of the published tables; poisson: likelihood of the counts, better
    below some 1e5 photons a frame."""
    judge_photons: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the photons kept from the network while training, to judge it: 0.2 below some 1e5 photons a frame, so that it
    does not learn their noise; 0 above."""

    def training_task(self, data: TrainingScans, seed: int) -> SelfSupervised:
        return SelfSupervised(self.group_samples(data, seed), loss=self.loss)

    def training_scan(
        self, problem: PtychographyProblem, x: PtychoEstimate, *, label: Images | None = None, seed: int = 0
    ) -> TrainingScan:
        if not self.judge_photons:
            return TrainingScan(problem=problem, x=self.warm_started(problem, x))
        seen, judge = thinned(problem, self.judge_photons, seed)
        return TrainingScan(problem=seen, x=self.warm_started(seen, x), judge=judge)
