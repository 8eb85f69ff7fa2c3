"""Where the beam stands in the frames, and whether lines or areas of the detector are blind: told, and left to the user."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from exitwave.data.beam import centre_offset
from exitwave.data.dark_pixels import DarkPixels
from exitwave.data.finding import Finding
from exitwave.problems.examination.words import counted

CORNER_RADIUS = 0.25
"""Radius of the disc in which the beam's light is looked for, as a share of the frame."""
MOST_OFF_CENTRE = 0.125
"""Of the frame: a beam further from its centre loses one side of its pattern."""
AXES = {"both": (0, 1), "rows": (0,), "columns": (1,)}
PLACES = {"both": "in the corners of the frame", "rows": "at its top and bottom", "columns": "at its left and right"}


def beam_findings(mean_pattern: Float[Tensor, "y x"], mask: Bool[Tensor, "y x"]) -> list[Finding]:
    """Whether the beam of far-field frames stands in their middle, by the mean pattern."""
    # What a mask hides on one side only would seem to move the beam.
    seen = mask & mask.flip((0, 1)).roll([1 - n % 2 for n in mask.shape], (0, 1))
    light = torch.where(seen, mean_pattern, 0.0).clamp(min=0).double()
    if not float(light.sum()) > 0:
        return []
    if (axes := cut_axes(light)) is not None:
        step = "unshift" if axes == "both" else f"unshift={axes}"
        told = (
            f"the beam stands {PLACES[axes]}, not in the middle: the frames are as a Fourier transform leaves them "
            "(before fftshift)"
        )
        return [Finding("beam-in-corner", told, "refused", f"--prepare {step}")]
    offset, allowed = centre_offset(light), [MOST_OFF_CENTRE * n for n in light.shape]
    if any(abs(part) > limit for part, limit in zip(offset, allowed, strict=True)):
        told = (
            f"the beam is {offset[0]:+.0f}, {offset[1]:+.0f} px (y, x) off the middle of frames of "
            f"{light.shape[0]} x {light.shape[1]}"
        )
        return [Finding("beam-off-centre", told, "refused", "--prepare recentre")]
    return []


def cut_axes(light: Float[Tensor, "y x"]) -> str | None:
    """Along which axes the beam is cut in two by the edge of the frame, so that half a turn of them puts it together."""
    as_it_is = _middle_share(light)
    found = {name: _middle_share(torch.fft.fftshift(light, dim=axes)) for name, axes in AXES.items()}
    best = max(found, key=found.__getitem__)
    # A quarter of the frame, or less, holds the light of a pattern that stands in it.
    return best if found[best] > 0.5 and found[best] > 2 * as_it_is and as_it_is < 0.3 else None


def _middle_share(light: Float[Tensor, "y x"]) -> float:
    """Share of the light within the middle of the frame."""
    height, width = light.shape
    rows = (torch.arange(height, dtype=torch.float64) - height // 2)[:, None] / height
    columns = (torch.arange(width, dtype=torch.float64) - width // 2)[None, :] / width
    return float(light[torch.hypot(rows, columns) <= CORNER_RADIUS].sum() / light.sum())


def gap_findings(dark: DarkPixels) -> list[Finding]:
    """Blind lines and areas that no mask covers; single dead pixels are not meant."""
    found: list[Finding] = []
    lines = [f"{name} {a}" if a == b else f"{name}s {a}-{b}" for name, a, b in _lines(dark)]
    if lines:
        told = f"{', '.join(lines[:4])}{' ...' * (len(lines) > 4)}: straight dark lines across the frames"
        found.append(Finding("straight-gaps", f"{told}, as gaps between detector modules are", "refused", _MASK))
    if bool(dark.areas.any()):
        told = f"{counted(int(dark.areas.sum()), 'pixel')} in the midst of light never count, as behind a beam stop"
        found.append(Finding("dark-area", told, "refused", _MASK))
    return found


_MASK = "give the detector's mask with --mask FILE, or --prepare mask_dead to mask what never counts"


def _lines(dark: DarkPixels) -> list[tuple[str, int, int]]:
    return [("row", *run) for run in dark.rows] + [("column", *run) for run in dark.columns]
