"""PtychoPINN: a network that learns phase retrieval from diffraction alone."""

from collections.abc import Sequence
from typing import Annotated, ClassVar

from pydantic import Field

from exitwave.data.estimate import PtychoEstimate
from exitwave.neural.lessons import FromPatterns, Lesson, thinned
from exitwave.neural.losses import Loss
from exitwave.neural.trainable import Trainable
from exitwave.physics.canvases import Images
from exitwave.physics.problem import Problem
from exitwave.solver import solver


@solver
class PtychoPINN(Trainable):
    """A network trained on patterns alone, without labels; then an image in one pass: single shots with a curved probe.

    Hoidn, Mishra & Mehta, Sci. Rep. 13, 22789 (2023). The network sees groups of neighbouring frames and is judged by the
    patterns that its image would give. With known probe; refine with an iterative solver: chain(pinn, LSQML(epochs=30)).
    Where frames overlap well, newton is better in less time.
    """

    name: ClassVar[str] = "ptychopinn"
    loss: Loss = "amplitude"
    """amplitude: mean error of the amplitudes, that of the published tables; poisson: likelihood of the counts, better
    below some 1e5 photons a frame."""
    thinning: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the photons kept from the network while training, to judge it: 0.2 below some 1e5 photons a frame, so that it
    does not learn their noise; 0 above."""

    def lessons(self, given: Sequence[Lesson], seed: int) -> FromPatterns:
        return FromPatterns(self.scenes(given, seed), loss=self.loss)

    def lesson(self, problem: Problem, x: PtychoEstimate, *, label: Images | None = None, seed: int = 0) -> Lesson:
        if not self.thinning:
            return Lesson(problem=problem, x=self.begun(problem, x))
        seen, judge = thinned(problem, self.thinning, seed)
        return Lesson(problem=seen, x=self.begun(seen, x), judge=judge)
