"""Frames left out and predicted: what their neighbours alone know of the sample must explain them, too.

A finished object remembers every frame that it was made from, so that a low residual proves nothing. Here the patch of the
object behind some frames is emptied and found anew from the other frames, with the probe held; then the frames that were
left out are predicted. An image of noise cannot do that, however well it fits.
"""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Complex, Float, Int
from torch import Tensor

from exitwave.data.estimate import PtychoEstimate
from exitwave.evaluation.verdict.fit import Fit
from exitwave.physics.interaction import split_positions
from exitwave.physics.photon_noise import amplitude_variance
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.problems.sweep import Sweep
from exitwave.problems.window_updates import pie_update

MOST_SAMPLES = 8
"""Frames that are left out together, at most."""
ROUNDS = 3
"""Times that frames are left out, others each time."""
PASSES = 8
"""Epochs over their neighbours."""
BATCH = 8
ALPHA = 0.1
"""Regularisation of the object, as in rPIE."""
SHARE = 0.5
"""Of all frames that may take part: the cost stays below a tenth of a run of 40 epochs."""
HELD = 0.97
"""Share of the probe's photons within the patch that is emptied."""
TOUCHING = 0.05
"""Frames that share less light with one that is left out know nothing of it."""
CANDIDATES = 256
"""Frames among which those are chosen that are left out."""
APART = 0.2
"""Two frames that are left out share no more light than this."""


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """Frames that were left out and predicted. Misfits are sums of (M - A)^2 over their trusted pixels."""

    frames: int
    covered: float
    """Share of their light that fell where neighbouring frames lit the sample, too."""
    power: float
    """Their photons."""
    predicted: float
    fitted: float
    """Misfit with the finished estimate."""
    emptied: float
    """Misfit with the emptied patch: what an empty object explains, its surroundings known."""
    alike: float
    """Misfit when every frame is said to look like the mean of all."""
    noise: float
    """Misfit that photon counting leaves of a perfect prediction."""
    varies: float
    foreseen: float
    foreseen_rightly: float
    remembered: float
    remembered_rightly: float
    patch_difference: float
    """Relative difference of the patches found anew from those of the finished object, their means taken off."""


@torch.no_grad()
def left_out(problem: PtychographyProblem, x: PtychoEstimate, fit: Fit) -> LeftOut | None:
    """Leave some frames out and predict them; None where none has neighbours that lit its place. `x` stays as it is."""
    seen = _Seen.of(x)
    taken: list[int] = []
    found: list[LeftOut] = []
    for number in range(ROUNDS):
        chosen = _chosen(seen, taken)
        near = _neighbours(seen, chosen)
        if not len(chosen) or not len(near):
            break
        taken += chosen.tolist()
        found.append(_round(problem, x, fit, seen, chosen, _shuffled(near, problem.seed + number)))
    return _together(found) if found else None


@dataclass(frozen=True, eq=False)
class _Seen:
    """Where the beam of each frame fell, on the CPU."""

    corners: Int[Tensor, "frame 2"]
    beam: Float[Tensor, "y x"]
    """Photons in a frame."""
    light: Float[Tensor, "Y X"]
    """Photons of all frames."""
    shared: Float[Tensor, "y2 x2"]

    @classmethod
    def of(cls, x: PtychoEstimate) -> "_Seen":
        beam = x.probe.detach().cpu().abs().double().square().sum(dim=0)
        return cls(split_positions(x.positions_px)[0].cpu(), beam, x.light(), shared_light(beam))

    def window(self, frame: int) -> tuple[slice, slice]:
        """The part of the object that a frame sees."""
        (row, column), (height, width) = self.corners[frame].tolist(), self.beam.shape
        return slice(row, row + height), slice(column, column + width)

    def known(self, frame: int) -> Bool[Tensor, "y x"]:
        """Where the other frames together shine at least half as brightly as this one."""
        return self.light[self.window(frame)] - self.beam >= 0.5 * self.beam

    def cover(self, frame: int) -> float:
        """Share of a frame's light that falls there."""
        return float((self.beam * self.known(frame)).sum() / self.beam.sum().clamp(min=1e-30))


def _round(
    problem: PtychographyProblem, x: PtychoEstimate, fit: Fit, seen: _Seen, chosen: Tensor, near: Tensor
) -> LeftOut:
    """Leave these frames out, with so many neighbours."""
    emptied, region = _emptied(x, seen, chosen)
    anew = replace(x, object=emptied.clone())
    sweep = Sweep(problem, anew)
    for _ in range(PASSES):
        for batch in near.split(BATCH):
            pie_update(sweep, batch, alpha=ALPHA, beta=1.0, gains=(1.0, 0.0), with_probe=False)
        anew.object.copy_(torch.where(region, anew.object, x.object))
    measured = problem.amplitudes(chosen)
    mean = problem.model.to_detector_order(problem.statistics.mean_pattern).to(measured.device).clamp(min=0).sqrt()
    expected = problem.model.intensity(anew, chosen)

    differs = measured - fit.measured_mean
    foreseen, remembered = (
        problem.model.intensity(replace(x, object=obj), chosen).sqrt() - fit.modelled_mean
        for obj in (anew.object, x.object)
    )

    def total(pixels: Tensor) -> float:
        return float((pixels * problem.trusted).sum(dtype=torch.float64))

    return LeftOut(
        frames=len(chosen),
        covered=sum(map(seen.cover, chosen.tolist())) / len(chosen),
        power=total(measured.square()),
        predicted=total((expected.sqrt() - measured).square()),
        fitted=total((problem.model.intensity(x, chosen).sqrt() - measured).square()),
        emptied=total((problem.model.intensity(replace(x, object=emptied), chosen).sqrt() - measured).square()),
        alike=total((mean - measured).square()),
        noise=total(amplitude_variance(expected)),
        patch_difference=_difference(x.object, anew.object, region),
        varies=total(differs.square()),
        foreseen=total(foreseen.square()),
        foreseen_rightly=total(foreseen * differs),
        remembered=total(remembered.square()),
        remembered_rightly=total(remembered * differs),
    )


def _together(rounds: list[LeftOut]) -> LeftOut:
    frames = sum(each.frames for each in rounds)
    added = {
        name: sum(getattr(each, name) for each in rounds)
        for name in ("power", "predicted", "fitted", "emptied", "alike", "noise", "varies", "foreseen", "foreseen_rightly", "remembered", "remembered_rightly")
    }
    mean = {
        name: sum(getattr(each, name) * each.frames for each in rounds) / frames
        for name in ("covered", "patch_difference")
    }
    return LeftOut(frames=frames, **added, **mean)


def _shuffled(frames: Tensor, seed: int) -> Tensor:
    return frames[torch.randperm(len(frames), generator=torch.Generator().manual_seed(seed))]


def shared_light(beam: Float[Tensor, "y x"]) -> Float[Tensor, "y x"]:
    """How much two frames at a distance (y, x) light the same place, 1 at no distance; negative distances from the end."""
    root = beam.double().cpu()
    padded = torch.nn.functional.pad(root, (0, root.shape[1], 0, root.shape[0]))
    found = torch.fft.ifft2(torch.fft.fft2(padded).abs().square()).real
    return found / found[0, 0].clamp(min=1e-30)


def patch_of(beam: Float[Tensor, "y x"]) -> Bool[Tensor, "y x"]:
    """The brightest pixels of the beam that together hold 97 % of its photons."""
    values, _ = beam.flatten().double().sort(descending=True)
    count = int((values.cumsum(dim=0) < HELD * values.sum()).sum())
    return beam >= values[min(count, len(values) - 1)].to(beam.dtype)


def _between(distances: Int[Tensor, "*pair 2"], shared: Float[Tensor, "y x"]) -> Float[Tensor, "*pair"]:
    """Light that frames at these distances share."""
    height, width = shared.shape
    inside = (distances[..., 0].abs() < height // 2) & (distances[..., 1].abs() < width // 2)
    found = shared[distances[..., 0] % height, distances[..., 1] % width]
    return torch.where(inside, found, 0.0)


def _chosen(seen: _Seen, taken: list[int]) -> Int[Tensor, " sample"]:
    """Well covered frames, far from each other: each time the one furthest from those chosen and those `taken` before."""
    corners, count = seen.corners, len(seen.corners)
    looked_at = torch.linspace(0, count - 1, min(count, CANDIDATES)).round().to(torch.int64).unique()
    cover = torch.tensor([seen.cover(frame) for frame in looked_at.tolist()])
    inner = looked_at[cover >= cover.median()]
    middle = corners.double().mean(dim=0, keepdim=True)
    chosen: list[int] = []
    while len(chosen) < MOST_SAMPLES:
        others = torch.cat([corners[[*taken, *chosen]].double(), middle[: 0 if taken or chosen else 1]])
        nearest = (corners[inner].double()[:, None] - others[None]).square().sum(dim=2).amin(dim=1)
        best = int(inner[int(nearest.argmax() if taken or chosen else nearest.argmin())])
        if best in taken or best in chosen:
            break
        if chosen and float(_between(corners[best] - corners[chosen], seen.shared).max()) > APART:
            break
        if chosen and len(_neighbours(seen, torch.tensor([*chosen, best]))) > SHARE * count:
            break
        chosen.append(best)
    return torch.tensor(sorted(chosen), dtype=torch.int64)


def _neighbours(seen: _Seen, chosen: Tensor) -> Int[Tensor, " near"]:
    """Frames that share light with those left out, these themselves not."""
    if not len(chosen):
        return chosen
    touching = _between(seen.corners[:, None] - seen.corners[chosen][None], seen.shared).amax(dim=1) >= TOUCHING
    touching[chosen] = False
    return touching.nonzero().flatten()


def _emptied(
    x: PtychoEstimate, seen: _Seen, chosen: Tensor
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
