"""What the detector does to counts: the response of each pixel to even light (whitefield), and without light (darkfield)."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from exitwave.data.errors import FormatError
from exitwave.data.patterns import MappedPatterns
from exitwave.io.assemble import Contents
from exitwave.io.images import read_image

LEAST_RESPONSE = 0.2
"""Of the typical response: below, a pixel is not trusted. One count there would be worth more than five, and dead pixels give no
measure at all; on the Timepix of 34-ID-C pixels down to a tenth, once divided, still agree with their neighbours."""
FEW_MARKED = 0.01
"""Share of pixels up to which a darkfield marks hot pixels, instead of being counts that are in all frames."""

Image = Float[np.ndarray, "y x"]


def with_response(contents: Contents, whitefield: Image | None, darkfield: Image | None, path: Path) -> Contents:
    """The contents with frames divided by the whitefield, as they are read, and with fewer trusted pixels.

    Frames are multiplied by typical over own response, the typical one being the median. A darkfield that is zero but for a few
    pixels marks those as hot: they are masked. Any other one is the background, which preparation subtracts. Raises FormatError
    for images of another shape.
    """
    if whitefield is not None:
        contents = _divided(contents, _checked(whitefield, "whitefield", contents, path), path)
    return contents if darkfield is None else _without_hot(contents, _checked(darkfield, "darkfield", contents, path))


def stated_image(stated: Path | None, of_file: Image | None) -> Image | None:
    """The image in a file that the user names, else that of the measurement's own file."""
    return of_file if stated is None else np.squeeze(np.asarray(read_image(stated), dtype=np.float64))


def _checked(image: Image, name: str, contents: Contents, path: Path) -> Image:
    frame = () if contents.patterns is None else contents.patterns.shape[1:]
    if image.shape != frame:
        raise FormatError(
            f"the {name} of {path} has shape {' x '.join(map(str, image.shape))} but its frames are {' x '.join(map(str, frame))}; "
            f"give the {name} of these rows and columns with --{name} FILE"
        )
    return image


def _divided(contents: Contents, whitefield: Image, path: Path) -> Contents:
    lit = np.isfinite(whitefield) & (whitefield > 0)
    if not lit.any():
        raise FormatError(
            f"the whitefield of {path} holds no number above zero; give another one with --whitefield FILE"
        )
    typical = float(np.median(whitefield[lit]))
    good: Bool[np.ndarray, "y x"] = lit & (whitefield >= LEAST_RESPONSE * typical)
    if good.mean() < 0.5:
        raise FormatError(
            f"the whitefield of {path} is below {LEAST_RESPONSE:g} of its median, or no number, in {int((~good).sum())} of "
            f"{good.size} pixels, where the detector would not count; give an image of even light with --whitefield FILE"
        )
    gain = np.where(good, typical / np.where(good, whitefield, 1.0), 0.0).astype(np.float32)
    assert contents.patterns is not None
    told = f"frames divided by it, {int((~good).sum())} pixels below {LEAST_RESPONSE:g} of the median masked"
    return replace(
        contents,
        patterns=MappedPatterns(
            contents.patterns, partial(_times, torch.from_numpy(gain)), contents.patterns.shape[1:]
        ),
        mask=_trusted(contents, good),
        notes={**contents.notes, "whitefield": told},
    )


def _times(
    gain: Float[Tensor, "y x"], frames: Float[Tensor, "batch y x"], index: Int[Tensor, " batch"]
) -> Float[Tensor, "batch y x"]:
    return frames * gain


def _without_hot(contents: Contents, darkfield: Image) -> Contents:
    marked = ~(np.isfinite(darkfield) & (darkfield <= 0))
    if marked.mean() > FEW_MARKED:
        told = "counts without light, kept as the background"
        return replace(contents, background=darkfield, notes={**contents.notes, "darkfield": told})
    told = f"zero but for {int(marked.sum())} hot pixels, which are masked"
    return replace(contents, mask=_trusted(contents, ~marked), notes={**contents.notes, "darkfield": told})


def _trusted(contents: Contents, good: Bool[np.ndarray, "y x"]) -> Bool[np.ndarray, "y x"]:
    return good if contents.mask is None else good & contents.mask
