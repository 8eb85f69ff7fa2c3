"""Incoherent modes to begin with, from the data: the object of a coherent beam tells how coherent the beam is."""

from dataclasses import replace

import torch
from jaxtyping import Complex, Int
from torch import Tensor

from exitwave.data.estimate import PtychoEstimate
from exitwave.data.progress import in_parts
from exitwave.problems.beam_coherence import beam_modes
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.problems.sweep import Sweep
from exitwave.problems.window_updates import pie_update

FRAMES = 256
"""Neighbouring frames of which the trial makes an image."""
ROUNDS, EPOCHS = 3, 8
"""Times that modes are fitted, each after so many epochs: a better beam makes a better object, and that a better beam."""
ALPHA, BETA, BATCH = 0.1, 0.5, 16
"""Of these epochs, as in rPIE."""
LEAST = 0.01
"""Share of the power that each mode begins with at least: one without light would never get any."""


@torch.no_grad()
def guess_modes(problem: PtychographyProblem, x: PtychoEstimate, modes: int) -> Complex[Tensor, "mode y x"]:
    """The first `modes` incoherent modes, orthogonal, the strongest first; those of `x` where nothing can be told.

    A few epochs for the middle of the scan make an object, while the beam is that of `x`; then the coherence of the beam
    is fitted with that object; and again. As powerful in all as the probe of `x`; may be fewer than asked for.
    """
    frames = _middle(problem)
    trial = replace(x, probe=x.probe.clone(), object=x.object.clone(), variations=None, weights=None)
    epochs = iter(in_parts("finding the modes", range(1, ROUNDS * EPOCHS + 1)))
    found = trial.probe
    for _ in range(ROUNDS):
        sweep = Sweep(problem, trial)
        for _, epoch in zip(range(EPOCHS), epochs, strict=False):
            order = frames[torch.randperm(len(frames), generator=_generator(problem.seed, epoch))]
            for some in order.split(min(BATCH, -(-len(frames) // 8))):
                pie_update(sweep, some, alpha=ALPHA, beta=BETA, gains=(1.0, 1.0), with_probe=epoch > 1)
        found = beam_modes(problem, trial, modes, frames)
        if not bool(torch.view_as_real(found).isfinite().all()):
            return x.probe
        trial = replace(trial, probe=found)
    powers = found.abs().square().sum(dim=(1, 2))
    raised = powers.clamp(min=LEAST * float(powers.sum()))
    found = found * (raised / powers.clamp(min=1e-30)).sqrt()[:, None, None]
    return found * (x.probe.abs().square().sum() / raised.sum()).sqrt()


def _generator(seed: int, epoch: int) -> torch.Generator:
    return torch.Generator().manual_seed((seed << 8) + epoch)


def _middle(problem: PtychographyProblem) -> Int[Tensor, " frame"]:
    """Frames that stand together."""
    places = problem.positions_px.cpu()
    return (places - places.median(dim=0).values).square().sum(dim=1).argsort()[:FRAMES].sort().values
