"""The scale that object and probe have in common: no pattern tells it, so it is a matter of choice, made in one place.

Methods share the misfit of every step between object and probe by their own rules, and noise renews it in every epoch: the
scale wanders, by a factor of five within tens of epochs where frames are many and dark.
"""

import math
from dataclasses import replace

import torch

from exitwave.data.estimate import PtychoEstimate
from exitwave.problems.initial_guess import scale_to_photons
from exitwave.problems.ptychography import PtychographyProblem


def with_common_scale(
    problem: PtychographyProblem, x: PtychoEstimate, spread: PtychoEstimate | None
) -> tuple[PtychoEstimate, PtychoEstimate | None]:
    """The estimate, and its spread, with as many photons in the probe as frames have in the mean: patterns stay as they are.

    The amplitude of a sample that absorbs nothing is then 1 on average; slices of a thick one are alike on average.
    """
    of_probe = _probe_factor(problem, x)
    if not (math.isfinite(of_probe) and of_probe > 0):
        return x, spread
    amplitudes = _slice_amplitudes(x)
    of_slices = (amplitudes.prod() / of_probe) ** (1 / len(amplitudes)) / amplitudes
    of_slices = of_slices.to(x.object.device, torch.float32)[:, None, None]
    made = replace(x, object=x.object * of_slices, probe=x.probe * of_probe)
    if x.weights is not None:
        # The waves that the probe varies by are orthonormal, and stay so.
        made = replace(made, weights=x.weights * of_probe)
    if spread is None or not len(spread.probe):
        return made, spread
    scaled = replace(spread, object=spread.object * of_slices.to(spread.object.device), probe=spread.probe * of_probe)
    return made, scaled


def _probe_factor(problem: PtychographyProblem, x: PtychoEstimate) -> float:
    """What the probe must be multiplied by; photons that did not come through the sample's window are no part of it."""
    had = float(x.probe.abs().square().sum())
    wanted = float(scale_to_photons(x.probe, problem).abs().square().sum())
    if x.background is not None:
        trusted = problem.model.to_detector_order(x.background.to(problem.device)) * problem.trusted
        wanted *= max(1 - float(trusted.sum()) * len(problem) / problem.power, 0.0)
    if x.variations is not None and x.weights is not None:
        had += float(x.variations.abs().square().sum(dim=(1, 2)) @ x.weights.abs().square().mean(dim=0))
    if x.brightness is not None:
        had *= float(x.brightness.square().mean())
    return math.sqrt(wanted / had) if had > 0 else math.nan


def _slice_amplitudes(x: PtychoEstimate) -> torch.Tensor:
    """Amplitude of each slice where the probe was, root of the mean square; 1 for a single slice, which needs none."""
    if len(x.object) == 1:
        return torch.ones(1, dtype=torch.float64)
    light = x.light()
    power = (x.object.detach().cpu().abs().square().double() * light).sum(dim=(1, 2)) / light.sum()
    return power.sqrt().clamp(min=1e-30)
