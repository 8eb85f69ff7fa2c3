"""Overlap constraint on tiles, as a map: images of single frames, moved to where they were seen and averaged on one canvas."""

from typing import Literal

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from exitwave.data.errors import InputError

Kind = Literal["bilinear", "bicubic", "fourier"]
"""How images are moved. Whole pixels are exact, half a pixel is the worst: "bilinear" then passes cos(pi k) of a ripple of k
cycles per pixel, "bicubic" (Keys, IEEE Trans. ASSP 29, 1153, 1981) blurs less, "fourier" passes everything but rings at the
edges of images that do not fall off to zero."""
LEAST_VIEWS = 0.2
"""Pixels that less than a fifth of one view covers are empty."""
LEAST_WEIGHT = 1e-3
"""The same where views are weighted, as a share of the largest weight."""


def merge(
    tiles: Complex[Tensor, "group view t t"],
    places_px: Float[Tensor, "group view 2"],
    *,
    frame_px: int,
    canvas_shape: tuple[int, int],
    kind: Kind = "bilinear",
    weights: Float[Tensor, "#group #view t t"] | None = None,
) -> Complex[Tensor, "group Y X"]:
    """One image of each group: its tiles at their places, averaged where they overlap, zero where there is none.

    `places_px` are the corners (y, x) of the frames' windows on the canvas of the group, sub-pixel; a tile is the centre of
    its frame. `weights`, such as |probe|^2, say how much each pixel of a tile counts; they are moved with the tile. With
    "fourier" they should fall off to zero towards the edges. Hoidn, Mishra & Mehta, Sci. Rep. 13, 22789 (2023), eq. 3.
    Differentiable. Raises InputError where the numbers of tiles and places differ or a frame leaves the canvas.
    """
    _check(tiles, places_px, frame_px, canvas_shape)
    side = tiles.shape[-1]
    weight = (torch.ones_like(tiles.real[:1, :1]) if weights is None else weights).expand(tiles.shape)
    parts = torch.stack([tiles.real * weight, tiles.imag * weight, weight], dim=1)
    corners = places_px + (frame_px // 2 - side // 2)
    rows, columns = (_moves(canvas_shape[i], side, corners[..., i], kind).to(parts.dtype) for i in (0, 1))
    # Moved within their rows, then stacked: the product with the other matrices sums over views as well.
    across = (parts @ columns.mT[:, None]).flatten(2, 3)
    total = rows.transpose(1, 2).flatten(2)[:, None] @ across
    # No small number is added below, as in the paper (1e-3): numerator and denominator see the same weights, so that the
    # quotient is sound wherever there is a tile, and truth comes out as truth.
    least = LEAST_VIEWS if weights is None else LEAST_WEIGHT * float(weights.detach().amax())
    covered = total[:, 2] > least
    share = covered / total[:, 2].where(covered, 1.0)
    return torch.complex(total[:, 0] * share, total[:, 1] * share)


def _moves(outputs: int, inputs: int, shift_px: Float[Tensor, "*batch"], kind: Kind) -> Float[Tensor, "*batch out in"]:
    """Matrices that interpolate rows of `inputs` pixels, moved by the shift, at `outputs` pixels."""
    there = torch.arange(outputs, dtype=torch.float64, device=shift_px.device)
    here = torch.arange(inputs, dtype=torch.float64, device=shift_px.device)
    return _kernel(there[:, None] - here - shift_px.to(torch.float64)[..., None, None], kind)


def _kernel(distance_px: Tensor, kind: Kind) -> Tensor:
    if kind == "fourier":
        return torch.sinc(distance_px)
    t = distance_px.abs()
    if kind == "bilinear":
        return (1 - t).clamp(min=0)
    near, far = (1.5 * t - 2.5) * t**2 + 1, ((2.5 - 0.5 * t) * t - 4) * t + 2
    return torch.where(t < 1, near, torch.where(t < 2, far, 0.0))


def _check(tiles: Tensor, places_px: Tensor, frame_px: int, canvas_shape: tuple[int, int]) -> None:
    if (*tiles.shape[:2], 2) != tuple(places_px.shape):
        raise InputError(
            f"places of shape {tuple(places_px.shape)} for tiles of shape {tuple(tiles.shape)}; each tile needs its own"
        )
    if tiles.shape[-1] > frame_px:
        raise InputError(f"tiles of {tiles.shape[-1]} pixels are larger than their frames of {frame_px}")
    room = torch.tensor(canvas_shape, device=places_px.device) - frame_px
    # Half a pixel over the edge: windows are whole-pixel, places are not.
    if bool(((places_px < -0.5) | (places_px > room + 0.5)).any()):
        raise InputError(
            f"frames of {frame_px} pixels at {places_px.amin().item():.1f} to {places_px.amax().item():.1f} leave their "
            f"canvas of {canvas_shape[0]} x {canvas_shape[1]} pixels; places are counted from the corner of the canvas"
        )
