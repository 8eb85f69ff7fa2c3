"""The kernels of the inner loop in plain torch: any device, differentiable, and the definition that faster ones must match."""

from typing import Any

import torch
from jaxtyping import Bool, Complex, Float, Inexact, Int
from torch import Tensor

Corners = Int[Tensor, "batch 2"]
"""(y, x) of the first row and column of each window, whole pixels, all windows inside the canvas; kept on the CPU."""
FrameWaves = Complex[Tensor, "batch mode y x"]
"""A wave for each frame of a batch and each mode."""
FrameProbes = Complex[Tensor, "#batch mode y x"]
"""The probe in each frame of a batch, or one for all."""
Canvas = Complex[Tensor, "Y X"]
"""A slice of the object, or sums over windows of it."""
CanvasLight = Float[Tensor, "Y X"]
"""Illumination of a canvas: the sum of |probe|^2 over windows."""
TAPS = 8
"""Neighbours along each axis from which a value between pixels is interpolated."""
Weights = Float[Tensor, "frame 2 tap"]
"""Of the neighbours -TAPS // 2 ... TAPS // 2 - 1 pixels away along y and along x, for every frame of a scan."""


def scatter_add_(
    canvas: Inexact[Tensor, "slice Y X"], patches: Inexact[Tensor, "batch slice y x"], corners: Corners
) -> None:
    """Add each patch to its window of the canvas, in place; the adjoint of `gather`."""
    height, width = patches.shape[-2:]
    # Slices, not index_put: no races where windows overlap, and many times faster on a CPU.
    for patch, (row, column) in zip(patches, corners.tolist(), strict=True):
        canvas[:, row : row + height, column : column + width] += patch


def _gather(canvas: Tensor, corners: Tensor, shape: tuple[int, int]) -> Tensor:
    height, width = shape
    return torch.stack([canvas[:, row : row + height, column : column + width] for row, column in corners.tolist()])


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, canvas: Tensor, corners: Tensor, shape: tuple[int, int]) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.corners, ctx.canvas_shape = corners, canvas.shape
        return _gather(canvas, corners, shape)

    @staticmethod
    def backward(ctx: Any, patches: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return _Scatter.apply(patches, ctx.corners, ctx.canvas_shape), None, None  # pyright: ignore[reportReturnType]


class _Scatter(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, patches: Tensor, corners: Tensor, canvas_shape: tuple[int, ...]) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.corners, ctx.patch_shape = corners, (patches.shape[-2], patches.shape[-1])
        canvas = torch.zeros(canvas_shape, dtype=patches.dtype, device=patches.device)
        scatter_add_(canvas, patches, corners)
        return canvas

    @staticmethod
    def backward(ctx: Any, canvas: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return _Gather.apply(canvas, ctx.corners, ctx.patch_shape), None, None  # pyright: ignore[reportReturnType]


def gather(
    canvas: Inexact[Tensor, "slice Y X"], corners: Corners, shape: tuple[int, int]
) -> Inexact[Tensor, "batch slice y x"]:
    """Cut the window of each frame out of the canvas. Differentiable; its backward pass scatters in place."""
    if not (canvas.requires_grad and torch.is_grad_enabled()):
        return _gather(canvas, corners, shape)
    return _Gather.apply(canvas, corners, shape)  # pyright: ignore[reportReturnType]


def intensity(waves: FrameWaves) -> Float[Tensor, "batch y x"]:
    """Photons at each pixel: incoherent modes add in intensity. Differentiable also where the wave is zero."""
    parts = torch.view_as_real(waves)
    if waves.shape[1] > 1 or (waves.requires_grad and torch.is_grad_enabled()):
        return parts.square().sum(dim=(-1, 1))
    return torch.addcmul(parts[:, 0, ..., 0].square(), parts[:, 0, ..., 1], parts[:, 0, ..., 1])


def exit_waves(canvas: Canvas, probes: FrameProbes, corners: Corners, out: FrameWaves | None = None) -> FrameWaves:
    """Probe times window of the canvas, frame by frame; written to `out` where it is given."""
    return torch.mul(probes, gather(canvas[None], corners, (probes.shape[-2], probes.shape[-1])), out=out)


def impose_modulus_(
    waves: FrameWaves,
    stack: Float[Tensor, "frame y x"],
    index: Int[Tensor, " batch"],
    trusted: Float[Tensor, "y x"],
    background: Float[Tensor, "y x"],
) -> Float[Tensor, " batch"]:
    """Turn waves at the detector, in place, into the *change* that gives them the measured modulus; return the misfit.

    In difference form, F <- F (A / M - 1) with the model's modulus M = sqrt(|F|^2 + background), so that one inverse
    transform gives the change of the exit wave. `stack[index]` are the measured amplitudes. Untrusted pixels
    (trusted = 0) do not change. The misfit of a frame is the sum of (M - A)^2 over trusted pixels.
    """
    modulus = (intensity(waves) + background).sqrt_()
    deviation = torch.sub(stack[index.to(stack.device)], modulus).mul_(trusted)
    misfit = deviation.double().square().sum(dim=(1, 2))
    torch.view_as_real(waves).mul_(deviation.div_(modulus.clamp_(min=1e-12))[:, None, :, :, None])
    return misfit


def confine_(
    change: Complex[Tensor, " pixel"],
    obj: Complex[Tensor, " pixel"],
    support: Bool[Tensor, " pixel"],
    kept: float,
    returned: float,
    after: Complex[Tensor, " pixel"] | None = None,
) -> None:
    """Turn the change that makes an object fit its pattern, o' = obj + change, in place, into o' cut off at its support.

    `after` becomes the next iterate, where it is wanted: o' inside the support, kept obj + returned o' outside.
    """
    fitting = obj + change
    if after is not None:
        after.copy_(torch.where(support, fitting, kept * obj + returned * fitting))
    change.copy_(torch.where(support, fitting, 0.0))


def add_object_(change: FrameWaves, probes: FrameProbes, corners: Corners, total: Canvas, lit: CanvasLight) -> float:
    """total += conj(probe) change and lit += |probe|^2, each frame in its window; returns the largest lit pixel met."""
    scatter_add_(total[None], (probes.conj() * change).sum(dim=1, keepdim=True), corners)
    light = intensity(probes)[:, None].expand(len(corners), -1, -1, -1)
    scatter_add_(lit[None], light, corners)
    return float(gather(lit[None], corners, (probes.shape[-2], probes.shape[-1])).max())


def times_conjugate_window_(change: FrameWaves, canvas: Canvas, corners: Corners, seen: Float[Tensor, "y x"]) -> None:
    """change <- conj(window) change, frame by frame, in place; seen += |window|^2."""
    windows = gather(canvas[None], corners, (change.shape[-2], change.shape[-1]))
    change.mul_(windows.conj())
    seen += windows.abs().square().sum(dim=(0, 1))


def add_probe_(
    change: FrameWaves, canvas: Canvas, corners: Corners, total: Complex[Tensor, "mode y x"], seen: Float[Tensor, "y x"]
) -> None:
    """total += conj(window) change and seen += |window|^2, summed over frames that share one probe."""
    windows = gather(canvas[None], corners, (change.shape[-2], change.shape[-1]))
    total += (windows.conj() * change).sum(dim=0)
    seen += windows.abs().square().sum(dim=(0, 1))


def modulate(
    spectrum: Complex[Tensor, "mode y x"],
    rows: Complex[Tensor, "batch y"],
    columns: Complex[Tensor, "batch x"],
    out: FrameWaves | None = None,
) -> FrameWaves:
    """Spectra of a probe moved to each frame's sub-pixel place: spectrum x rows[b] x columns[b]; written to `out`."""
    return torch.mul(spectrum, rows[:, None, :, None] * columns[:, None, None, :], out=out)


def demodulate_add_(
    spectra: FrameWaves,
    rows: Complex[Tensor, "batch y"],
    columns: Complex[Tensor, "batch x"],
    total: Complex[Tensor, "mode y x"],
) -> None:
    """total += the sum over frames of spectra[b] conj(rows[b] columns[b]); the adjoint of `modulate`."""
    total += (spectra * (rows[:, None, :, None] * columns[:, None, None, :]).conj()).sum(dim=0)


def interpolate(
    probe: Complex[Tensor, "mode y x"], weights: Weights, frames: Int[Tensor, " batch"], out: FrameWaves | None = None
) -> FrameWaves:
    """The probe at the sub-pixel place of each of these frames: its neighbours weighted; written to `out`."""
    mine = weights[frames]
    moved = _weighted(_weighted(probe.expand(len(frames), -1, -1, -1), mine[:, 0], -2, 1), mine[:, 1], -1, 1)
    return moved if out is None else out.copy_(moved)


def interpolate_adjoint_add_(
    change: FrameWaves, weights: Weights, frames: Int[Tensor, " batch"], total: Complex[Tensor, "mode y x"]
) -> None:
    """total += the sum over frames of changes moved back; the adjoint of `interpolate`."""
    mine = weights[frames]
    total += _weighted(_weighted(change, mine[:, 0], -2, -1), mine[:, 1], -1, -1).sum(dim=0)


def _weighted(waves: FrameWaves, weights: Float[Tensor, "batch tap"], axis: int, sign: int) -> FrameWaves:
    """Sum of weights[b, k] x waves[b] at `sign` (k - TAPS // 2) pixels along the axis, wrapped at the edge."""
    moved = (torch.roll(waves, -sign * (k - TAPS // 2), axis) * weights[:, k, None, None, None] for k in range(TAPS))
    return sum(moved, torch.zeros_like(waves))


def phase_pulls(
    waves: FrameWaves, change: FrameWaves, rows: Float[Tensor, "part y"], columns: Float[Tensor, "part x"]
) -> Float[Tensor, "batch part part"]:
    """Im(conj(wave) change) of each frame, summed over modes and over blocks of pixels that `rows` and `columns` weigh."""
    return rows @ (waves.conj() * change).imag.sum(dim=1) @ columns.T


def step_windows_(
    canvas: Canvas,
    total: Canvas,
    lit: CanvasLight,
    corners: Corners,
    shape: tuple[int, int],
    *,
    gain: float,
    share: float,
    floor: float,
) -> None:
    """canvas += gain total / (share lit + floor) inside the windows, each pixel once; empties both sums."""
    height, width = shape
    for row, column in corners.tolist():
        window = (slice(row, row + height), slice(column, column + width))
        canvas[window] += gain * total[window] / (share * lit[window] + floor).clamp(min=1e-12)
        total[window], lit[window] = 0, 0


def nudge_windows_(
    canvas: Canvas,
    total: Canvas,
    lit: CanvasLight,
    wished: Canvas,
    weight: CanvasLight,
    corners: Corners,
    shape: tuple[int, int],
    *,
    floor: float,
) -> None:
    """wished += total + lit canvas and weight += lit; then canvas += total / (lit + floor). Each pixel once; empties both sums."""
    height, width = shape
    for row, column in corners.tolist():
        window = (slice(row, row + height), slice(column, column + width))
        wished[window] += total[window] + lit[window] * canvas[window]
        weight[window] += lit[window]
        canvas[window] += total[window] / (lit[window] + floor).clamp(min=1e-12)
        total[window], lit[window] = 0, 0


def fold_(
    total: Canvas,
    lit: CanvasLight,
    other_total: Canvas,
    other_lit: CanvasLight,
    corners: Corners,
    shape: tuple[int, int],
) -> float:
    """Move another thread's sums into `total` and `lit`, each pixel of the windows once; returns the largest lit pixel met."""
    height, width = shape
    for row, column in corners.tolist():
        window = (slice(row, row + height), slice(column, column + width))
        total[window] += other_total[window]
        lit[window] += other_lit[window]
        other_total[window], other_lit[window] = 0, 0
    return float(gather(lit[None], corners, shape).max())


def direction_(
    total: Canvas,
    lit: CanvasLight,
    canvas: Canvas,
    weight: Complex[Tensor, "y x"],
    corners: Corners,
    *,
    share: float,
    floor: float,
) -> tuple[float, float, float]:
    """total <- D = total / (share lit + floor) in the windows, each pixel once, and lit <- -lit as a mark of it.

    Returns the curvature sum lit |D|^2, the slope sum Re conj(D) total, and how steps of object and probe interact, the
    sum over frames of Re conj(D) canvas weight.
    """
    height, width = shape = (weight.shape[-2], weight.shape[-1])
    curvature, slope = 0.0, 0.0
    for row, column in corners.tolist():
        window = (slice(row, row + height), slice(column, column + width))
        fresh = lit[window] > 0
        sums, light = total[window].clone(), lit[window].clone()
        found = torch.where(fresh, sums / (share * light + floor).clamp(min=1e-12), sums)
        curvature += float((light * found.abs().square())[fresh].double().sum())
        slope += float((found.conj() * sums).real[fresh].double().sum())
        total[window], lit[window] = found, -light.abs()
    both = gather(torch.stack([total, canvas]), corners, shape)
    return curvature, slope, float((both[:, 0].conj() * both[:, 1] * weight).real.double().sum())


def agreement(
    one: Complex[Tensor, "Y1 X1"],
    other: Complex[Tensor, "Y2 X2"],
    light: Float[Tensor, "Y1 X1"],
    brighter: Float[Tensor, "Y2 X2"],
    first: tuple[int, int],
    second: tuple[int, int],
    shape: tuple[int, int],
) -> tuple[float, ...]:
    """Sums over the window that two images share, which begins at `first` in one and at `second` in the other.

    They are those of w, of the real and of the imaginary part of w conj(u) v, of w |u|^2 and of w |v|^2. Noise falls with
    light l and m: the variance of a difference is the sum of both variances, so that w = l m / (l + m).
    """
    here = slice(first[0], first[0] + shape[0]), slice(first[1], first[1] + shape[1])
    there = slice(second[0], second[0] + shape[0]), slice(second[1], second[1] + shape[1])
    weight = light[here] * brighter[there] / (light[here] + brighter[there]).clamp(min=1e-30)
    u, v = one[here], other[there]
    cross = (weight * u.conj() * v).sum()
    own, others = ((weight * w.abs().square()).sum() for w in (u, v))
    return tuple(torch.stack([weight.sum(), cross.real, cross.imag, own, others]).double().tolist())
