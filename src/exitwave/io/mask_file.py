"""A detector mask that was kept in a file of its own, and which of its values means a good pixel."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Shaped

from exitwave.data.errors import FormatError
from exitwave.data.patterns import Patterns
from exitwave.io.assemble import Contents, MaskGood, ReadOptions
from exitwave.io.images import read_image

LOOKED_AT = 24
"""Frames that tell where the light is."""


def with_stated_mask(contents: Contents, stated: ReadOptions) -> Contents:
    """The contents of a scan file with the mask that the user named, beside that of the file: both must trust a pixel.

    Raises FormatError where the mask has not the shape of the stored frames, or where nothing tells which value is good.
    """
    if stated.mask is None or contents.patterns is None:
        return contents
    image = _of_one_frame(read_image(stated.mask), contents.patterns.shape[1:], stated.mask)
    marked = np.isnan(image) if image.dtype.kind == "f" else np.zeros(image.shape, dtype=bool)
    nonzero = (image != 0) & ~marked
    good, told = stated.mask_good, "stated"
    if good is None:
        good, told = _found_good(nonzero, marked, contents.patterns, stated.mask), "found"
    trusted = (nonzero if good == "nonzero" else ~nonzero) & ~marked
    if not trusted.any():
        raise FormatError(
            f"the mask {stated.mask} trusts no pixel when {good} is good; state --mask-good the other way"
        )
    notes = {"mask_file": str(stated.mask), "mask_good": f"{good} ({told})"}
    kept = trusted if contents.mask is None else trusted & contents.mask
    return replace(contents, mask=kept, notes={**contents.notes, **notes})


def good_value(nonzero: Bool[np.ndarray, "y x"], lit: Bool[np.ndarray, "y x"]) -> MaskGood | None:
    """Which value of a mask is good: that of most pixels, if it is also that of most pixels that see light; else None.

    `lit` are the pixels whose counts differ from frame to frame, which no gap and no stuck pixel does.
    """
    most_are_nonzero = nonzero.mean() > 0.5
    share = nonzero[lit].mean() if lit.any() else nonzero.mean()
    if share != 0.5 and (share > 0.5) == most_are_nonzero:
        return "nonzero" if most_are_nonzero else "zero"
    return None


def _found_good(
    nonzero: Bool[np.ndarray, "y x"], marked: Bool[np.ndarray, "y x"], patterns: Patterns, path: Path
) -> MaskGood:
    """The value that is good; where it is the same everywhere but for pixels that are marked, that value."""
    rest = nonzero[~marked]
    if marked.any() and rest.size and (rest.all() or not rest.any()):
        return "nonzero" if rest.all() else "zero"
    good = good_value(nonzero, _lit(patterns))
    if good is None or rest.all() or not rest.any():
        raise FormatError(
            f"in the mask {path} {int(nonzero.sum())} of {nonzero.size} pixels are not zero, and neither their number nor the "
            "light tells whether these are good or bad; state --mask-good zero or --mask-good nonzero"
        )
    return good


def _lit(patterns: Patterns) -> Bool[np.ndarray, "y x"]:
    """Pixels that see light, by some frames of the scan."""
    chosen = (
        torch.linspace(0, patterns.shape[0] - 1, min(patterns.shape[0], LOOKED_AT)).round().to(torch.int64).unique()
    )
    frames = patterns.read(chosen).nan_to_num().numpy()
    return np.asarray(frames.max(axis=0) > (frames.min(axis=0) if len(frames) > 1 else 0))


def _of_one_frame(
    image: Shaped[np.ndarray, "*axes"], frame_shape: tuple[int, int], path: Path
) -> Shaped[np.ndarray, "y x"]:
    while image.ndim > 2 and image.shape[0] == 1:
        image = image[0]
    if image.shape != frame_shape:
        raise FormatError(
            f"the mask {path} has shape {' x '.join(map(str, image.shape))} but frames are {frame_shape[0]} x {frame_shape[1]} "
            "as stored in the scan file, before they are turned, cut or binned; give the mask of these frames"
        )
    return image
