"""Frames left out and predicted: what their neighbours alone know of the sample must explain them, too.

A finished object remembers every frame that it was made from, so that a low residual proves nothing. Here the patch of the
object behind some frames is emptied and found anew from the other frames, with the probe held; then the frames that were
left out are predicted. An image of noise cannot do that, however well it fits.
"""

import math
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Bool, Complex
from torch import Tensor

from exitwave.data.estimate import PtychoEstimate
from exitwave.evaluation.verdict.choice import Illumination, frames_to_leave_out, neighbours_of, patch_of
from exitwave.evaluation.verdict.fit import Fit
from exitwave.physics.photon_noise import amplitude_variance
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.problems.sweep import Sweep
from exitwave.problems.window_updates import pie_update

ENOUGH = 8
"""Frames left out in all after which no more are."""
ROUNDS, BUDGET = 3, 1.2
"""Times that frames are left out, others each time, as long as so many times all frames have taken part together: a tenth of
the work of 40 epochs."""
PASSES = 8
"""Epochs over their neighbours."""
BATCH = 8
ALPHA = 0.1
"""Regularisation of the object, as in rPIE."""


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """Frames that were left out and predicted. All but the first, and the last two, are sums over their trusted pixels.

    A difference is what tells a frame from the mean of all frames: in the measured amplitudes, or in the model's. Whatever
    is wrong alike in all frames, such as the gain of a pixel, is in neither.
    """

    frames: int
    power: float
    """Photons."""
    predicted: float
    """Misfit (M - A)^2 of the prediction."""
    fitted: float
    """Misfit with the finished estimate."""
    emptied: float
    """Misfit with the emptied patch: what an empty object explains, its surroundings known."""
    noise: float
    """Misfit that photon counting leaves of a perfect prediction."""
    measured_squared: float
    """Measured differences, squared."""
    predicted_squared: float
    """Predicted ones, squared."""
    predicted_measured: float
    """Predicted times measured ones."""
    fitted_squared: float
    fitted_measured: float
    covered: float
    """Share of a frame's light that fell where neighbouring frames lit the sample, too."""
    patch_difference: float
    """Relative difference of the patches found anew from those of the finished object, their means taken off."""

    @property
    def correlation(self) -> float:
        """Of predicted with measured differences, photon noise taken off the latter; at most 1."""
        return self._correlation(self.predicted_squared, self.predicted_measured)

    @property
    def fitted_correlation(self) -> float:
        """The same of the finished estimate, which has seen these frames."""
        return self._correlation(self.fitted_squared, self.fitted_measured)

    def _correlation(self, squared: float, times_measured: float) -> float:
        # Counts that were scaled down carry less noise than photons would.
        real = max(self.measured_squared - min(self.noise, self.fitted), 0.0)
        return min(times_measured / math.sqrt(max(squared * real, 1e-30)), 1.0)


@torch.no_grad()
def left_out(problem: PtychographyProblem, x: PtychoEstimate, fit: Fit) -> LeftOut | None:
    """Leave some frames out and predict them; None where none has neighbours that lit its place. `x` stays as it is."""
    seen = Illumination.of(x)
    taken: list[int] = []
    found: list[LeftOut] = []
    spent = 0
    for number in range(ROUNDS):
        chosen = frames_to_leave_out(seen, taken)
        near = neighbours_of(seen, chosen)
        spent += len(near)
        if not len(near) or (found and spent > BUDGET * len(problem)) or len(taken) >= ENOUGH:
            break
        taken += chosen.tolist()
        found.append(_round(problem, x, fit, seen, chosen, _shuffled(near, problem.seed + number)))
    return _together(found) if found else None


def _round(
    problem: PtychographyProblem, x: PtychoEstimate, fit: Fit, seen: Illumination, chosen: Tensor, near: Tensor
) -> LeftOut:
    """Leave these frames out, with so many neighbours."""
    emptied, region = _emptied(x, seen, chosen)
    anew = _found_anew(problem, replace(x, object=emptied.clone()), x.object, region, near)
    measured = problem.amplitudes(chosen)
    predicted, fitted, without = (
        problem.model.intensity(one, chosen).sqrt() for one in (anew, x, replace(x, object=emptied))
    )
    differs = measured - fit.measured_mean
    foretold, remembered = predicted - fit.modelled_mean, fitted - fit.modelled_mean

    def total(pixels: Tensor) -> float:
        return float((pixels * problem.trusted).sum(dtype=torch.float64))

    return LeftOut(
        frames=len(chosen),
        power=total(measured.square()),
        predicted=total((predicted - measured).square()),
        fitted=total((fitted - measured).square()),
        emptied=total((without - measured).square()),
        noise=total(amplitude_variance(predicted.square())),
        measured_squared=total(differs.square()),
        predicted_squared=total(foretold.square()),
        predicted_measured=total(foretold * differs),
        fitted_squared=total(remembered.square()),
        fitted_measured=total(remembered * differs),
        covered=sum(map(seen.cover, chosen.tolist())) / len(chosen),
        patch_difference=_difference(x.object, anew.object, region),
    )


def _found_anew(
    problem: PtychographyProblem, x: PtychoEstimate, before: Tensor, region: Bool[Tensor, "Y X"], near: Tensor
) -> PtychoEstimate:
    """The object found anew in this region from these frames, the probe held; outside it stays as it was. Changes `x`."""
    sweep = Sweep(problem, x)
    for _ in range(PASSES):
        for batch in near.split(BATCH):
            pie_update(sweep, batch, alpha=ALPHA, beta=1.0, gains=(1.0, 0.0), with_probe=False)
        x.object.copy_(torch.where(region, x.object, before))
    return x


def _together(rounds: list[LeftOut]) -> LeftOut:
    """Sums over all rounds, and means of what is no sum."""
    frames = sum(each.frames for each in rounds)
    means = {
        name: sum(getattr(each, name) * each.frames for each in rounds) / frames
        for name in ("covered", "patch_difference")
    }
    sums = {
        f.name: sum(getattr(each, f.name) for each in rounds)
        for f in fields(LeftOut)
        if f.name not in ("frames", *means)
    }
    return LeftOut(frames=frames, **sums, **means)


def _shuffled(frames: Tensor, seed: int) -> Tensor:
    return frames[torch.randperm(len(frames), generator=torch.Generator().manual_seed(seed))]


def _emptied(
    x: PtychoEstimate, seen: Illumination, chosen: Tensor
) -> tuple[Complex[Tensor, "slice Y X"], Bool[Tensor, "Y X"]]:
    """The object with a flat patch behind each of these frames, as far as other frames lit it; and where that is."""
    obj = x.object.clone()
    region, lit = torch.zeros(x.object.shape[-2:], dtype=torch.bool), patch_of(seen.beam)
    for frame in chosen.tolist():
        window = seen.window(frame)
        known = lit & seen.known(frame)
        region[window] |= known
        weight = (seen.beam * known).to(obj.device, torch.float32)
        for canvas, whole in zip(obj, x.object, strict=True):
            part, total = whole[window], weight.sum().clamp(min=1e-30)
            flat = torch.polar((part.abs() * weight).sum() / total, (part * weight).sum().angle())
            canvas[window] = torch.where(known.to(obj.device), flat, canvas[window])
    return obj, region.to(obj.device)


def _difference(before: Tensor, after: Tensor, region: Tensor) -> float:
    """|| c after - before || / || before - its mean || over the region, the best complex factor taken off."""
    a, b = before.prod(dim=0)[region].to(torch.complex128), after.prod(dim=0)[region].to(torch.complex128)
    if not len(a):
        return math.nan
    factor = torch.vdot(b, a) / torch.vdot(b, b).real.clamp(min=1e-30)
    varies = (a - a.mean()).norm()
    return float((factor * b - a).norm() / varies.clamp(min=1e-30))
