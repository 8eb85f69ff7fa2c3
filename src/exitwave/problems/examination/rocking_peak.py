"""What is wrong with a Bragg peak: cut off, at the edge, saturated, not alone, sampled too coarsely, angles that cannot be."""

import math

import torch
from jaxtyping import Bool, Float
from scipy import ndimage
from torch import Tensor

from exitwave.data.aliens import NEAR_FRINGES, NOTICEABLE, RIVAL, Apart
from exitwave.data.finding import Finding
from exitwave.data.rocking_curve import RockingCurve

AXES = ("frames (angles)", "rows", "columns")
CUT_OFF, CUT_SHORT = 0.2, 0.03
"""Light at the end of an axis, over the most along it: the peak itself is cut off; its near fringes are."""
EDGE_PX, NEAR_EDGE = 2, 0.125
"""A peak nearer to the edge is cut in two; within this share of the axis it loses one side of its fringes."""
WIDEST_DEG, NARROWEST_DEG = 20.0, 0.003
"""Rocking curves span a tenth of a degree to a few degrees."""
TWICE = 2.15
"""Measured for twice: the thin ends of a crystal hardly show in its autocorrelation."""
TOP = 0.01
"""How far below the highest count a plateau reaches."""
FEWEST_AT_TOP = 4


def span_findings(curve: RockingCurve) -> list[Finding]:
    """Whether angles span what no rocking curve does."""
    span = math.degrees(float(curve.angles_rad.max() - curve.angles_rad.min()))
    if NARROWEST_DEG <= span <= WIDEST_DEG:
        return []
    unit = (
        f"were degrees read as radians? They would be {math.radians(span):.3g}°"
        if span > WIDEST_DEG
        else f"were radians read as degrees? They would be {math.degrees(span):.3g}°"
    )
    told = f"the angles span {span:.3g}°, but a rocking curve goes over a tenth of a degree to a few degrees: {unit}"
    return [Finding("angle-unit", told, "refused", "check the unit of the angles")]


def peak_findings(
    counts: Float[Tensor, "frame y x"],
    trusted: Bool[Tensor, "frame y x"],
    peak: tuple[int, int, int],
    sampled: tuple[float, float, float],
    apart: list[Apart],
) -> list[Finding]:
    """What is wrong with the peak itself."""
    found: list[Finding] = []
    for axis, (at, name) in enumerate(zip(peak, AXES, strict=True)):
        found += _edge(counts, axis, at, name)
    for rival in [each for each in apart if not each.alien and each.height >= NOTICEABLE][:1]:
        found.append(_rival(rival))
    return found + _saturation(counts, trusted, sampled)


def _edge(counts: Float[Tensor, "frame y x"], axis: int, at: int, name: str) -> list[Finding]:
    """Whether the pattern goes on beyond the array's ends, along one axis."""
    others = [other for other in range(3) if other != axis]
    profile = counts.sum(dim=others, dtype=torch.float64)
    lit = (profile > 0).nonzero().flatten()
    first, last = int(lit[0]), int(lit[-1])
    most = float(profile.max())
    # A mean of three: one dark frame at the end hides nothing.
    ends = float(profile[first : first + 3].mean()) / most, float(profile[max(last - 2, 0) : last + 1].mean()) / most
    away = min(at - first, last - at)
    cure = "measure a longer rocking curve" if axis == 0 else "cut the frames around the peak, or move the detector"
    if away <= EDGE_PX:
        told = (
            f"the peak stands at the edge, {away} voxels from the last of the {name}: one side of it was not measured"
        )
        return [Finding("peak-at-edge", told, "refused", cure)]
    if max(ends) > CUT_OFF:
        told = f"the peak is wider than what was measured along the {name}: {100 * max(ends):.2g} % of its height at the end"
        return [Finding("peak-cut-off", told, "refused", cure)]
    if max(ends) > CUT_SHORT or away < NEAR_EDGE * len(profile):
        told = f"the pattern is cut short along the {name}: {away} voxels from the peak to the nearer end, where there is still "
        return [Finding("cut-short", told + f"{100 * max(ends):.2g} % of its height", "warned", cure)]
    return []


def _rival(rival: Apart) -> Finding:
    """A second peak."""
    told = f"a second maximum of {100 * rival.height:.2g} % of the peak at {rival.place} (frame, row, column), "
    told += f"{rival.fringes_away:.2g} fringes away"
    if rival.fringes_away <= NEAR_FRINGES or not rival.alone or rival.height < RIVAL:
        cure = "several starts may differ; measure a single, less strained crystal where they do"
        return Finding("split-peak", f"{told}: a strongly strained crystal, a twin or two crystals", "warned", cure)
    cure = "cut the array around one of them (--prepare crop_frames=..., crop=...), or measure one crystal alone"
    return Finding("two-peaks", f"{told}: another crystal as strong", "refused", cure)


def _saturation(
    counts: Float[Tensor, "frame y x"], trusted: Bool[Tensor, "frame y x"], sampled: tuple[float, float, float]
) -> list[Finding]:
    """Whether the peak ends in a plateau, which no crystal's peak does."""
    highest = float(counts.max())
    at_top = int((counts >= (1 - TOP) * highest).sum())
    # Near its top a peak falls as 1 - (d / w) ** 2, with w about half a fringe: an ellipsoid of voxels is within a hundredth.
    expected = 4 / 3 * math.pi * math.prod(max(0.55 * s * math.sqrt(TOP), 0.3) for s in sampled)
    plain = highest < 1000 and int((counts == highest).sum()) < FEWEST_AT_TOP
    if at_top < max(FEWEST_AT_TOP, 4 * expected) or plain:
        return []
    # Around voxels that are not trusted any more, such as saturated ones, many are as bright.
    if bool((ndimage.binary_dilation((~trusted).numpy()) & (counts >= (1 - TOP) * highest).numpy()).any()):
        return []
    level = float(f"{(1 - TOP) * highest:.6g}")
    told = f"{at_top} voxels share the highest count {highest:.6g}: the detector was saturated by the peak"
    return [
        Finding("saturated-peak", told, "refused", f"measure with an absorber, or --prepare mask_saturated={level:g}")
    ]


def sampling_findings(sampled: tuple[float, float, float]) -> list[Finding]:
    """Whether fringes are sampled too coarsely for phases to be found."""
    least = min(sampled)
    if least >= TWICE:
        return []
    axis = AXES[sampled.index(least)]
    told = f"oversampling along the {axis} is about {least:.2g}: fringes are hardly sampled twice"
    cure = "rock in finer steps" if least == sampled[0] else "measure with a longer distance to the detector"
    # Together the axes may still hold enough: Miao, Sayre & Chapman, J. Opt. Soc. Am. A 15, 1662 (1998).
    action = "warned" if least > 1.5 and math.prod(sampled) > 6 else "refused"
    return [Finding("undersampled", told, action, cure)]
