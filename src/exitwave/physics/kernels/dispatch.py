"""The verbs of the inner loop: one call for every device; the fastest version that is there does the work.

Compiled loops on a processor, Triton on a GPU, plain torch elsewhere and where a gradient is asked for. All agree with
`reference`.
"""

from functools import cache
from types import ModuleType
from typing import Any

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from exitwave.physics.kernels import reference
from exitwave.physics.kernels.reference import Corners


@cache
def _cpu() -> ModuleType:
    # Not at the top: importing a compiler costs half a second, which exitwave --help need not pay.
    from exitwave.physics.kernels import cpu

    return cpu


def _compiled(*tensors: Tensor) -> bool:
    """Whether compiled loops can take these tensors: on the processor, single precision, contiguous, without gradient."""
    grad = torch.is_grad_enabled()
    return all(
        t.device.type == "cpu"
        and t.dtype in (torch.complex64, torch.float32)
        and t.is_contiguous()
        and not t.is_conj()
        and not (grad and t.requires_grad)
        for t in tensors
    )


@cache
def _cuda() -> ModuleType | None:
    # Triton comes with the CUDA builds of torch, and only with them.
    try:
        from exitwave.physics.kernels import cuda
    except ImportError:
        return None
    return cuda


def _on_gpu(*tensors: Tensor) -> ModuleType | None:
    """The kernels for a GPU where these tensors are on one."""
    grad = torch.is_grad_enabled()
    fit = all(
        t.device.type == "cuda"
        and t.dtype in (torch.complex64, torch.float32)
        and t.is_contiguous()
        and not (grad and t.requires_grad)
        for t in tensors
    )
    return _cuda() if fit else None


def exit_waves(
    canvas: Complex[Tensor, "Y X"],
    probes: Complex[Tensor, "#batch mode y x"],
    corners: Corners,
    out: Complex[Tensor, "batch mode y x"] | None = None,
) -> Complex[Tensor, "batch mode y x"]:
    """Probe times window of the canvas, frame by frame; written to `out` where it is given and that is possible."""
    if torch.is_grad_enabled() and (canvas.requires_grad or probes.requires_grad):
        return _ExitWaves.apply(canvas, probes, corners)  # pyright: ignore[reportReturnType]
    if gpu := _on_gpu(canvas, probes):
        return gpu.exit_waves(canvas, probes, corners, out)
    if not _compiled(canvas, probes):
        return reference.exit_waves(canvas, probes, corners)
    if out is None:
        out = torch.empty(len(corners), *probes.shape[1:], dtype=canvas.dtype)
    _cpu().exit_waves(canvas.numpy(), probes.numpy(), corners.numpy(), out.numpy())
    return out


def impose_modulus_(
    waves: Complex[Tensor, "batch mode y x"],
    stack: Float[Tensor, "frame y x"],
    index: Int[Tensor, " batch"],
    trusted: Float[Tensor, "y x"],
    background: Float[Tensor, "y x"],
) -> Float[Tensor, " batch"]:
    """Waves at the detector become, in place, the change that gives them the measured modulus; see `reference`."""
    if gpu := _on_gpu(waves, stack, trusted, background):
        return gpu.impose_modulus_(waves, stack, index, trusted, background)
    if not _compiled(waves, stack, trusted, background):
        return reference.impose_modulus_(waves, stack, index, trusted, background)
    misfit = torch.empty(len(waves), dtype=torch.float64)
    _cpu().impose_modulus_(
        waves.numpy(), stack.numpy(), index.numpy(), trusted.numpy(), background.numpy(), misfit.numpy()
    )
    return misfit


def add_object_(
    change: Complex[Tensor, "batch mode y x"],
    probes: Complex[Tensor, "#batch mode y x"],
    corners: Corners,
    total: Complex[Tensor, "Y X"],
    lit: Float[Tensor, "Y X"],
) -> float:
    """total += conj(probe) change, lit += |probe|^2 in each window; returns the largest lit pixel met."""
    if gpu := _on_gpu(change, probes, total, lit):
        return gpu.add_object_(change, probes, corners, total, lit)
    if not _compiled(change, probes, total, lit):
        return reference.add_object_(change, probes, corners, total, lit)
    return float(_cpu().add_object_(change.numpy(), probes.numpy(), corners.numpy(), total.numpy(), lit.numpy()))


def add_probe_(
    change: Complex[Tensor, "batch mode y x"],
    canvas: Complex[Tensor, "Y X"],
    corners: Corners,
    total: Complex[Tensor, "mode y x"],
    seen: Float[Tensor, "y x"],
) -> None:
    """total += conj(window) change, seen += |window|^2, summed over frames that share one probe."""
    if gpu := _on_gpu(change, canvas, total, seen):
        return gpu.add_probe_(change, canvas, corners, total, seen)
    if not _compiled(change, canvas, total, seen):
        return reference.add_probe_(change, canvas, corners, total, seen)
    return _cpu().add_probe_(change.numpy(), canvas.numpy(), corners.numpy(), total.numpy(), seen.numpy())


def times_conjugate_window_(
    change: Complex[Tensor, "batch mode y x"],
    canvas: Complex[Tensor, "Y X"],
    corners: Corners,
    seen: Float[Tensor, "y x"],
) -> None:
    """change <- conj(window) change, frame by frame, in place; seen += |window|^2."""
    if gpu := _on_gpu(change, canvas, seen):
        return gpu.times_conjugate_window_(change, canvas, corners, seen)
    if not _compiled(change, canvas, seen):
        return reference.times_conjugate_window_(change, canvas, corners, seen)
    return _cpu().times_conjugate_window_(change.numpy(), canvas.numpy(), corners.numpy(), seen.numpy())


def modulate(
    spectrum: Complex[Tensor, "mode y x"],
    rows: Complex[Tensor, "batch y"],
    columns: Complex[Tensor, "batch x"],
    out: Complex[Tensor, "batch mode y x"] | None = None,
) -> Complex[Tensor, "batch mode y x"]:
    """Spectra of a probe moved to each frame's sub-pixel place: spectrum x rows[b] x columns[b]."""
    if not _compiled(spectrum, rows, columns):
        return reference.modulate(spectrum, rows, columns)
    if out is None:
        out = torch.empty(len(rows), *spectrum.shape, dtype=spectrum.dtype)
    _cpu().modulate(spectrum.numpy(), rows.numpy(), columns.numpy(), out.numpy())
    return out


def demodulate_add_(
    spectra: Complex[Tensor, "batch mode y x"],
    rows: Complex[Tensor, "batch y"],
    columns: Complex[Tensor, "batch x"],
    total: Complex[Tensor, "mode y x"],
) -> None:
    """total += the sum over frames of spectra[b] conj(rows[b] columns[b]); the adjoint of `modulate`."""
    if not _compiled(spectra, rows, columns, total):
        return reference.demodulate_add_(spectra, rows, columns, total)
    return _cpu().demodulate_add_(spectra.numpy(), rows.numpy(), columns.numpy(), total.numpy())


def step_windows_(
    canvas: Complex[Tensor, "Y X"],
    total: Complex[Tensor, "Y X"],
    lit: Float[Tensor, "Y X"],
    corners: Corners,
    shape: tuple[int, int],
    *,
    gain: float,
    share: float,
    floor: float,
) -> None:
    """canvas += gain total / (share lit + floor) inside the windows, each pixel once; empties both sums."""
    if gpu := _on_gpu(canvas, total, lit):
        return gpu.step_windows_(canvas, total, lit, gain, share, floor)
    if not _compiled(canvas, total, lit):
        return reference.step_windows_(canvas, total, lit, corners, shape, gain, share, floor)
    return _cpu().step_windows_(canvas.numpy(), total.numpy(), lit.numpy(), corners.numpy(), *shape, gain, share, floor)


def nudge_windows_(
    canvas: Complex[Tensor, "Y X"],
    total: Complex[Tensor, "Y X"],
    lit: Float[Tensor, "Y X"],
    wished: Complex[Tensor, "Y X"],
    weight: Float[Tensor, "Y X"],
    corners: Corners,
    shape: tuple[int, int],
    *,
    floor: float,
) -> None:
    """Remember what is wished of each pixel and with which weight, then step by total / (lit + floor); see `reference`."""
    if gpu := _on_gpu(canvas, total, lit, wished, weight):
        return gpu.nudge_windows_(canvas, total, lit, wished, weight, floor)
    if not _compiled(canvas, total, lit, wished, weight):
        return reference.nudge_windows_(canvas, total, lit, wished, weight, corners, shape, floor)
    arrays = (t.numpy() for t in (canvas, total, lit, wished, weight, corners))
    return _cpu().nudge_windows_(*arrays, *shape, floor)


def fold_(
    total: Complex[Tensor, "Y X"],
    lit: Float[Tensor, "Y X"],
    other_total: Complex[Tensor, "Y X"],
    other_lit: Float[Tensor, "Y X"],
    corners: Corners,
    shape: tuple[int, int],
) -> float:
    """Move another thread's sums into `total` and `lit`, window by window; returns the largest lit pixel met."""
    top = _cpu().fold_(total.numpy(), lit.numpy(), other_total.numpy(), other_lit.numpy(), corners.numpy(), *shape)
    return float(top)


def direction_(
    total: Complex[Tensor, "Y X"],
    lit: Float[Tensor, "Y X"],
    corners: Corners,
    shape: tuple[int, int],
    *,
    share: float,
    floor: float,
) -> tuple[float, float]:
    """total <- D = total / (share lit + floor) in the windows; curvature and slope of the misfit along D; see `reference`."""
    if gpu := _on_gpu(total, lit):
        return gpu.direction_(total, lit, share, floor)
    if not _compiled(total, lit):
        return reference.direction_(total, lit, corners, shape, share, floor)
    return _cpu().direction_(total.numpy(), lit.numpy(), corners.numpy(), *shape, share, floor)


def cross(
    direction: Complex[Tensor, "Y X"], canvas: Complex[Tensor, "Y X"], corners: Corners, weight: Complex[Tensor, "y x"]
) -> float:
    """Real part of the sum over frames of conj(direction) canvas weight: how steps of object and probe interact."""
    if not _compiled(direction, canvas, weight):
        return reference.cross(direction, canvas, corners, weight)
    return _cpu().cross(direction.numpy(), canvas.numpy(), corners.numpy(), weight.numpy())


def agreement(
    one: Complex[Tensor, "Y1 X1"],
    other: Complex[Tensor, "Y2 X2"],
    light: Float[Tensor, "Y1 X1"],
    brighter: Float[Tensor, "Y2 X2"],
    first: tuple[int, int],
    second: tuple[int, int],
    shape: tuple[int, int],
) -> tuple[float, ...]:
    """How well two images agree where they overlap: five sums, see `reference`."""
    if not _compiled(one, other, light, brighter):
        return reference.agreement(one, other, light, brighter, first, second, shape)
    arrays = (t.detach().numpy() for t in (one, other, light, brighter))
    return _cpu().agreement(*arrays, first, second, shape)


class _ExitWaves(torch.autograd.Function):
    """Exit waves whose gradient is the overlap constraint's sums: what makes every solver that differentiates fast, too."""

    @staticmethod
    def forward(ctx: Any, canvas: Tensor, probes: Tensor, corners: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.save_for_backward(canvas, probes, corners)
        return exit_waves(canvas.contiguous(), probes.contiguous(), corners)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, change: Tensor) -> tuple[Tensor | None, Tensor | None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        canvas, probes, corners = ctx.saved_tensors
        canvas, probes, change = canvas.contiguous(), probes.contiguous(), change.resolve_conj().contiguous()
        to_canvas = to_probes = None
        if ctx.needs_input_grad[0]:
            to_canvas = torch.zeros_like(canvas)
            add_object_(change, probes, corners, to_canvas, torch.zeros_like(canvas.real))
        if ctx.needs_input_grad[1]:
            seen = torch.zeros(probes.shape[-2:], device=probes.device)
            if len(probes) == 1:
                to_probes = torch.zeros_like(probes)
                add_probe_(change, canvas, corners, to_probes[0], seen)
            else:
                to_probes = change.clone()
                times_conjugate_window_(to_probes, canvas, corners, seen)
        return to_canvas, to_probes, None
