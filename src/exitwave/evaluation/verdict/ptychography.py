"""The verdict on a ptychographic image, and the figures on which it rests."""

from collections.abc import Mapping

import torch
from jaxtyping import Complex
from torch import Tensor

from exitwave.data.estimate import PtychoEstimate
from exitwave.data.result import Result
from exitwave.data.verdict import Verdict
from exitwave.evaluation.verdict.fit import Fit, Stage, fit_of, outlying, stage_of
from exitwave.evaluation.verdict.frame_order import frame_order
from exitwave.evaluation.verdict.kinds import verdict_of
from exitwave.evaluation.verdict.left_out import LeftOut, left_out
from exitwave.evaluation.verdict.ptychography_rules import said
from exitwave.evaluation.verdict.rule import verdict
from exitwave.physics.constraints import orthogonal_modes
from exitwave.problems.beam_coherence import beam_modes
from exitwave.problems.ptychography import PtychographyProblem

MORE_MODES = 2
"""So many beyond those of the estimate: light that wants to leave a mode must have where to go."""


@verdict_of.register
def _(problem: PtychographyProblem, result: Result, state: Mapping[str, Tensor]) -> Verdict:
    x = result.estimate.to(problem.device)
    assert isinstance(x, PtychoEstimate)
    fit = fit_of(problem, x)
    stage, predicted = stage_of(fit, x.positions_px), left_out(problem, x, fit)
    figures = evidence(problem, result, x, fit, stage, predicted)
    return verdict(said(figures, near_field=problem.geometry.near_field, particle=problem.geometry.particle), figures)


def evidence(
    problem: PtychographyProblem, result: Result, x: PtychoEstimate, fit: Fit, stage: Stage, left: LeftOut | None
) -> dict[str, float]:
    """The figures on which the verdict rests, by id; what could not be tested is not there."""
    misfit, noise, alike = (float(each.sum()) for each in (fit.misfit, fit.noise, fit.alike))
    power = fit.power.clamp(min=1e-30)
    figures = {
        "frames": len(problem),
        "noise-ratio": misfit / max(noise, 1e-30),
        "signal": alike / max(noise, 1e-30) - 1,
        "moves-rms-px": stage.rms_px,
        "moves-by-chance-px": stage.chance_px,
        "moves-affine": stage.shared,
        "moves-scale": stage.scale,
        "moves-rotation-rad": stage.rotation_rad,
        "moves-slow": stage.slow,
        "moves-mend": fit.mended,
        "probe-border": border(x.probe),
        "unknowns": _unknowns(problem, x, fit),
        "outlying-frames": outlying(fit.misfit / power, fit.noise / power),
    }
    if order := frame_order(problem, x):
        figures |= {"frames-at-place-before": order.before, "frames-at-place-after": order.after}
    if len(result.history) >= 10:
        figures["residual-fall"] = result.history[-1] / max(result.history[-1 - len(result.history) // 5], 1e-30)
    if result.free_residual is not None and result.residual > 0:
        figures["free-ratio"] = result.free_residual / result.residual
    if len(x.probe) > 1 and x.variations is None:
        figures |= _modes(problem, x)
    return figures | ({} if left is None else _predictions(left))


def _modes(problem: PtychographyProblem, x: PtychoEstimate) -> dict[str, float]:
    """Shares of the light in the two strongest modes, and of the strongest where the beam's coherence is fitted anew."""
    refitted = beam_modes(problem, x, len(x.probe) + MORE_MODES, torch.arange(len(problem)))
    found, wanted = (orthogonal_modes(probe).abs().double().square().sum(dim=(1, 2)) for probe in (x.probe, refitted))
    found, wanted = (powers / powers.sum().clamp(min=1e-30) for powers in (found, wanted))
    return {
        "modes-first": float(found[0]),
        "modes-second": float(found[1]),
        "modes-first-refitted": float(wanted[0]),
    }


def _predictions(left: LeftOut) -> dict[str, float]:
    power = max(left.power, 1e-30)
    return {
        "left-out-frames": left.frames,
        "left-out-covered": left.covered,
        "left-out-correlation": left.correlation,
        "fitted-correlation": left.fitted_correlation,
        "left-out-misfit": left.predicted / power,
        "fitted-misfit": left.fitted / power,
        "empty-misfit": left.emptied / power,
        "left-out-patch-difference": left.patch_difference,
    }


def border(probe: Complex[Tensor, "mode y x"]) -> float:
    """Share of the probe's photons in the outer eighth of the frame on each side."""
    power = probe.abs().square().sum(dim=0).double()
    height, width = power.shape
    inner = power[height // 8 : height - height // 8, width // 8 : width - width // 8].sum()
    return 1 - float(inner / power.sum().clamp(min=1e-30))


def _unknowns(problem: PtychographyProblem, x: PtychoEstimate, fit: Fit) -> float:
    """Real unknowns over measured values that hold photons, each counted by how much noise it carries."""
    light = x.light()
    lit = int((light > 0.02 * light.max()).sum()) * len(x.object)
    values = float(fit.noise.mean()) * 4 * len(problem)
    return 2 * (lit + x.probe.numel()) / max(values, 1.0)
