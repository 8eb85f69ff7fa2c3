"""Preparation of the pixels of each frame: turn, crop, centre, bin and pad.

Far-field frames keep the beam centre at [h // 2, w // 2] through every step, for even and odd sizes alike.
"""

from dataclasses import replace
from functools import partial
from typing import Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from exitwave.data.beam import beam_centre
from exitwave.data.errors import InputError
from exitwave.data.measurement import M, Measurement
from exitwave.data.patterns import MappedPatterns
from exitwave.data.prepare.chunks import mean_pattern, noted, pair

Orientation = Literal["identity", "fliplr", "flipud", "rot180", "transpose", "antitranspose", "rot90_cw", "rot90_ccw"]
"""The eight ways to lay a frame down, seen with row 0 on top; `antitranspose` mirrors at the other diagonal."""
ORIENTATIONS: tuple[Orientation, ...] = get_args(Orientation)
_STEPS: dict[Orientation, tuple[bool, bool, bool]] = {
    # transpose first, then reverse rows, then reverse columns
    "identity": (False, False, False),
    "fliplr": (False, False, True),
    "flipud": (False, True, False),
    "rot180": (False, True, True),
    "transpose": (True, False, False),
    "antitranspose": (True, True, True),
    "rot90_cw": (True, False, True),
    "rot90_ccw": (True, True, False),
}


def orient(scan: M, orientation: Orientation) -> M:
    """Turn or mirror the frames so that their rows and columns run as the positions do; positions stay as they are.

    Mask, background and detector pixel size follow. Far-field frames are mirrored about the beam centre; with an even
    size their first row or column, at the Nyquist frequency, is its own mirror image. Near-field frames are mirrored
    as pictures.
    """
    if orientation not in _STEPS:
        raise InputError(f"orientation is {orientation!r}; expected one of {', '.join(ORIENTATIONS)}")
    _require_free(scan, "orient")
    transposed = _STEPS[orientation][0]
    turn = partial(_oriented, orientation=orientation, about_centre=not scan.geometry.near_field)
    height, width = scan.frame_shape
    pixel_y, pixel_x = scan.geometry.detector_pixel_m
    return replace(
        scan,
        patterns=MappedPatterns(scan.patterns, turn, (width, height) if transposed else (height, width)),
        mask=turn(scan.mask),
        background=None if scan.background is None else turn(scan.background),
        geometry=replace(scan.geometry, detector_pixel_m=(pixel_x, pixel_y) if transposed else (pixel_y, pixel_x)),
        provenance=noted(scan, f"orient: {orientation}"),
    )


def _oriented(frames: Tensor, index: Tensor | None = None, *, orientation: Orientation, about_centre: bool) -> Tensor:
    transposed, rows, columns = _STEPS[orientation]
    frames = frames.transpose(-2, -1) if transposed else frames
    dims = [dim for dim, reverse in ((-2, rows), (-1, columns)) if reverse]
    frames = frames.flip(dims) if dims else frames
    even = [dim for dim in dims if about_centre and frames.shape[dim] % 2 == 0]
    return frames.roll([1] * len(even), even) if even else frames


def laid(orientation: Orientation) -> Float[Tensor, "2 2"]:
    """Where `orient` puts what lies at (y, x) from the middle: the matrix, of zeros and ones, that it is multiplied by."""
    transposed, rows, columns = _STEPS[orientation]
    matrix = torch.eye(2, dtype=torch.float64)
    matrix = matrix.flip(0) if transposed else matrix
    return (
        torch.diag(torch.tensor([-1.0 if reverse else 1.0 for reverse in (rows, columns)], dtype=torch.float64))
        @ matrix
    )


def crop(scan: M, size: int | tuple[int, int], centre: tuple[int, int] | None = None) -> M:
    """Keep `size` pixels around `centre`, the (row, column) of the beam; the middle of the frame when left out."""
    height, width = pair("crop size", size)
    row, column = centre if centre is not None else (scan.frame_shape[0] // 2, scan.frame_shape[1] // 2)
    top, left = row - height // 2, column - width // 2
    if top < 0 or left < 0 or top + height > scan.frame_shape[0] or left + width > scan.frame_shape[1]:
        raise InputError(
            f"a crop to {height} x {width} around ({row}, {column}) reaches beyond frames of {scan.frame_shape[0]} x "
            f"{scan.frame_shape[1]}; crop less, or recentre or pad first"
        )
    return windowed(scan, top, left, (height, width), f"crop: {height} x {width} around ({row}, {column})")


def pad(scan: M, size: int | tuple[int, int]) -> M:
    """Grow frames to `size` with an untrusted margin of zeros; far-field objects get smaller pixels by it."""
    height, width = pair("padded size", size)
    old_height, old_width = scan.frame_shape
    if height < old_height or width < old_width:
        raise InputError(f"padding to {height} x {width} would shrink frames of {old_height} x {old_width}; use crop")
    top, left = old_height // 2 - height // 2, old_width // 2 - width // 2
    return windowed(scan, top, left, (height, width), f"pad: {height} x {width}")


def recentre(scan: M, centre: tuple[int, int] | None = None, *, sample: int = 64) -> M:
    """Shift frames by whole pixels so that the beam, at (row, column) `centre`, stands at [h // 2, w // 2].

    Without `centre` it is the centre of mass of the mean of up to `sample` frames over trusted pixels. The edge that
    comes into view is untrusted. Raises InputError for dark frames or a centre outside the frame.
    """
    height, width = scan.frame_shape
    row, column = centre if centre is not None else _centre_of_mass(scan, sample)
    if not (0 <= row < height and 0 <= column < width):
        raise InputError(f"beam centre ({row}, {column}) lies outside frames of {height} x {width}")
    top, left = row - height // 2, column - width // 2
    return windowed(scan, top, left, (height, width), f"recentre: beam was at ({row}, {column})")


def cut_around_beam(
    scan: M, size: int | tuple[int, int], centre: tuple[int, int] | None = None, *, sample: int = 64
) -> M:
    """Cut or pad frames to `size` around the beam, at (row, column) `centre`, which then stands at [h // 2, w // 2].

    Without `centre` it is the centre of the brighter part of the mean of up to `sample` frames; near-field frames are cut
    around their middle. What lies beyond the old frame is untrusted. Raises InputError for sizes that are not positive.
    """
    height, width = pair("detector size", size)
    if centre is None:
        middle = scan.frame_shape[0] // 2, scan.frame_shape[1] // 2
        near = scan.geometry.near_field
        centre = middle if near else beam_centre(mean_pattern(scan, sample).cpu(), scan.mask)
    row, column = centre
    if (height, width) == scan.frame_shape and (row, column) == (height // 2, width // 2):
        return scan
    step = f"cut around the beam: {height} x {width} around ({row}, {column})"
    return windowed(scan, row - height // 2, column - width // 2, (height, width), step)


def unshift(scan: M, axes: Literal["both", "rows", "columns"] = "both") -> M:
    """Bring the beam from the frame's corner to its middle: for frames as a Fourier transform leaves them (fftshift).

    `rows` and `columns` turn the frames along one axis only, where the beam stands at the middle of an edge. Mask and
    background turn with the frames.
    """
    _require_free(scan, "unshift")
    dims = {"both": (-2, -1), "rows": (-2,), "columns": (-1,)}[axes]
    turn = partial(_half_turned, dims=dims)
    return replace(
        scan,
        patterns=MappedPatterns(scan.patterns, turn, scan.frame_shape),
        mask=turn(scan.mask),
        background=None if scan.background is None else turn(scan.background),
        provenance=noted(scan, "unshift" if axes == "both" else f"unshift: {axes}"),
    )


def _require_free(scan: Measurement, step: str) -> None:
    if scan.keeps_lie:
        raise InputError(f"preparation step {step} is not for {scan.title}: {scan.keeps_lie}; state it there")


def _half_turned(frames: Tensor, index: Tensor | None = None, *, dims: tuple[int, ...]) -> Tensor:
    # What was first of each axis comes to n // 2, where the beam belongs.
    return torch.fft.fftshift(frames, dim=dims)


def _centre_of_mass(scan: Measurement, sample: int) -> tuple[int, int]:
    light = torch.where(scan.mask, mean_pattern(scan, sample).cpu(), 0.0).clamp(min=0).to(torch.float64)
    total = float(light.sum())
    if not total > 0:
        raise InputError("the frames are dark where they can be trusted, so they have no centre; state the centre")
    row = float(light.sum(1) @ torch.arange(light.shape[0], dtype=torch.float64)) / total
    column = float(light.sum(0) @ torch.arange(light.shape[1], dtype=torch.float64)) / total
    return round(row), round(column)


def windowed(scan: M, top: int, left: int, shape: tuple[int, int], step: str) -> M:
    """The window of `shape` whose first pixel is old pixel (top, left); what lies outside is zero and untrusted."""
    look = partial(_window, top=top, left=left, shape=shape)
    old, new = (side // 2 for side in scan.frame_shape), (top + shape[0] // 2, left + shape[1] // 2)
    middle_y, middle_x = (float(there - here) for here, there in zip(old, new, strict=True))
    seen = scan.reframed(look, shape, trust=look, middle_px=(middle_y, middle_x))
    return replace(seen, provenance=noted(scan, step))


def _window(frames: Tensor, index: Tensor | None = None, *, top: int, left: int, shape: tuple[int, int]) -> Tensor:
    height, width = frames.shape[-2:]
    # Negative padding crops.
    return functional.pad(frames, (-left, left + shape[1] - width, -top, top + shape[0] - height))


def bin(scan: M, factor: int | tuple[int, int]) -> M:
    """Sum blocks of `factor` x `factor` pixels into one: fewer data, the same photons.

    A binned pixel is trusted only if all of its pixels are. Left-over pixels at the edge are dropped. The beam stays
    within pixel [h // 2, w // 2]; a fraction of a pixel that remains is a phase ramp which the probe takes up.
    Far-field binning narrows the window of the probe in proportion; the probe must still fit into it.
    """
    factor_y, factor_x = pair("bin factor", factor)
    rows, columns = bins(scan.frame_shape[0], factor_y), bins(scan.frame_shape[1], factor_x)
    total = partial(_binned, rows=rows, columns=columns)
    middle_y, middle_x = (
        start + (count // 2) * factor + (factor - 1) / 2 - side // 2
        for (start, count, factor), side in zip((rows, columns), scan.frame_shape, strict=True)
    )
    seen = scan.reframed(
        total,
        (rows[1], columns[1]),
        trust=lambda trusted: total((~trusted).to(torch.float32)) == 0,
        middle_px=(middle_y, middle_x),
        step_px=(factor_y, factor_x),
    )
    return replace(seen, provenance=noted(scan, f"bin: {factor_y} x {factor_x}"))


def bins(length: int, factor: int) -> tuple[int, int, int]:
    """First pixel, number of bins, factor: pixel length // 2 falls into the middle bin, as centrally as it can."""
    count = length // factor
    if count < 1:
        raise InputError(f"bin factor {factor} exceeds the {length} pixels of a frame; choose a smaller factor")
    start = length // 2 - (count // 2) * factor - (factor - 1) // 2
    return min(max(start, 0), length - count * factor), count, factor


def _binned(
    frames: Tensor,
    index: Int[Tensor, " batch"] | None = None,
    *,
    rows: tuple[int, int, int],
    columns: tuple[int, int, int],
) -> Tensor:
    top, height, factor_y = rows
    left, width, factor_x = columns
    kept = frames[..., top : top + height * factor_y, left : left + width * factor_x]
    return kept.reshape(*frames.shape[:-2], height, factor_y, width, factor_x).sum(dim=(-3, -1))
