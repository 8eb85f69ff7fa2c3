"""You will see a new solver, twenty lines long, take part like the built-in ones: checked options, chains, specs, reports.

    python solver.py [frames]

The method: gradient descent with RMSprop on object and probe; automatic differentiation finds the gradient of the likelihood.
"""

import sys
from collections.abc import Iterator
from typing import ClassVar

import torch
from pydantic import PositiveFloat, PositiveInt

import exitwave as ew


@ew.solver
class RMSprop(ew.Solver[ew.PtychoEstimate]):
    """Gradient steps, each pixel in units of its recent gradients. Tieleman & Hinton, Coursera (2012), lecture 6.5."""

    name: ClassVar[str] = "rmsprop"
    epochs: PositiveInt = 40
    """Passes over all frames."""
    rate: PositiveFloat = 0.02
    """Step length; lower it when the residual jumps."""
    batch: PositiveInt = 16
    """Frames in a step."""

    def solve(self, problem, start: ew.Step) -> Iterator[ew.Step]:
        x = start.estimate.clone()
        brightness = float(x.probe.detach().abs().max())
        parts = [(x.object, self.rate), (x.probe, self.rate * brightness)]
        optimiser = torch.optim.RMSprop([{"params": [part.requires_grad_()], "lr": rate} for part, rate in parts])
        for epoch in range(start.epoch + 1, self.epochs + 1):
            for frames in problem.batches(self.batch, epoch):
                optimiser.zero_grad()
                problem.loss(x, frames).backward()
                optimiser.step()
            estimate = x.clone()
            yield ew.Step(epoch=epoch, estimate=estimate, residual=problem.residual(estimate))


frames = int(sys.argv[1]) if len(sys.argv) > 1 else 121
made = ew.simulate("siemens", frames=frames, frame_px=64, overlap=0.7)

for method in (RMSprop(epochs=40), ew.RPIE(epochs=40), ew.chain(ew.RPIE(epochs=20), RMSprop(epochs=20, rate=0.005))):
    result = ew.reconstruct(made.scan, method)
    error = ew.evaluate(result, truth=made.truth).metrics["M-NRMSE"]
    print(f"{method.name:6} residual {result.residual:.4f}, error {error:.3f} (M-NRMSE)")

# A spec is plain names and numbers: what YAML jobs and result files hold.
print(ew.to_spec(RMSprop(rate=0.01)))
assert ew.from_spec({"name": "rmsprop", "rate": 0.01}) == RMSprop(rate=0.01)
# For `exitwave reconstruct scan.cxi rmsprop`, name your module in the entry points `exitwave.solvers` of your package.
