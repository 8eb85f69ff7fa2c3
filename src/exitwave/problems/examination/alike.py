"""Patterns that hardly differ from each other: of them no image can be made, however well they are fitted."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from exitwave.data.finding import Finding

LEAST_CHANGE = 5e-4
"""Share of the light that changes from frame to frame, as squared amplitudes, below which patterns are alike."""
FEWEST_FRAMES = 6
CERTAIN = 2.0
"""Standard deviations by which it must be below that: of few photons nothing is told."""
SEEN = 4.0
"""Standard deviations from which on a change is seen, however small it is."""
ROUNDING = 1e-6
"""A change that is none, where values have no noise."""


def alike_findings(
    frames: Float[Tensor, "few y x"], mask: Bool[Tensor, "y x"], particle: str, of: int
) -> list[Finding]:
    """Whether some frames, from all over a scan `of` so many, are one pattern within counting noise."""
    change = changing_share(frames, mask)
    if change is None:
        return []
    share, deviation = change
    if share > max(SEEN * deviation, ROUNDING) or share + CERTAIN * deviation > LEAST_CHANGE:
        return []
    told = (
        f"patterns hardly differ from each other ({len(frames)} of {of} looked at, within the noise of counting {particle}s): no "
        "image can be made of them"
    )
    cure = (
        "look whether the beam meets the sample, or whether the step of the scan is a period of the sample (a lattice): then "
        "scan with another step"
    )
    return [Finding("alike-patterns", told, "warned", cure)]


def changing_share(frames: Float[Tensor, "few y x"], mask: Bool[Tensor, "y x"]) -> tuple[float, float] | None:
    """The share of the light that changes beyond Poisson noise, and its standard deviation; None where that cannot be told.

    The variance of the counts of a pixel, less their mean, over four times that mean (which is that of the amplitudes), each frame
    scaled to the brightness of all; dark pixels, which tell nothing, count less. What is not in whole numbers is taken as free of
    noise.
    """
    counts = torch.where(mask & frames.isfinite(), frames, 0.0).clamp(min=0).double()
    total = counts.sum(dim=(1, 2))
    if len(frames) < FEWEST_FRAMES or not bool((total > 0).all()):
        return None
    photons = bool(torch.equal(counts, counts.round()))
    scale = (total.mean() / total)[:, None, None]
    scaled = counts * scale
    mean = scaled.mean(dim=0)
    noise = (scale * scaled).mean(dim=0) if photons else torch.zeros_like(mean)
    weight = 1 / (4 * (mean + 0.5)) if photons else 1 / (4 * mean.clamp(min=1e-9 * float(mean.max())))
    change = (weight * (scaled.var(dim=0) - noise)).sum()
    # Of a Poisson variable of mean m the variance is known to 2 m^2 + m over the number of draws.
    deviation = (weight.square() * (2 * noise.square() + noise) / (len(frames) - 1)).sum().sqrt()
    return float(change / total.mean()), float(deviation / total.mean())
