"""The kernels of the inner loop: one call for every device; the fastest version that is there does the work.

Compiled loops on a processor, Triton on a GPU, plain torch elsewhere and where a gradient is asked for. All agree with
`reference`, which says what each does.
"""

from collections.abc import Callable
from functools import cache, wraps
from types import ModuleType
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

from exitwave.physics.kernels import reference
from exitwave.physics.kernels.reference import Canvas, Corners, FrameProbes, FrameWaves

P = ParamSpec("P")
R = TypeVar("R")


@cache
def _cpu() -> ModuleType:
    # Not at the top: importing a compiler costs half a second, which exitwave --help need not pay.
    from exitwave.physics.kernels import cpu

    return cpu


@cache
def _cuda() -> ModuleType:
    # Triton comes with the CUDA builds of torch, and only with them.
    try:
        from exitwave.physics.kernels import cuda
    except ImportError:
        return reference
    return cuda


def _version(arguments: tuple[object, ...]) -> ModuleType:
    """The kernels for these arrays. Fast ones take them on one device, in single precision, contiguous, without gradient.

    Whole numbers say where frames are, and may be anywhere; truth values choose pixels.
    """
    on_gpu = on_cpu = False
    for t in arguments:
        if isinstance(t, Tensor) and (dtype := t.dtype) is not torch.int64 and dtype is not torch.bool:
            if (dtype is not torch.complex64 and dtype is not torch.float32) or not t.is_contiguous() or t.is_conj():
                return reference
            if t.requires_grad and torch.is_grad_enabled():
                return reference
            if t.is_cpu:
                on_cpu = True
            elif t.is_cuda:
                on_gpu = True
            else:
                return reference
    if on_gpu:
        return reference if on_cpu else _cuda()
    return _cpu()


def _fastest(kernel: Callable[P, R]) -> Callable[P, R]:
    """The kernel of this name that is made for the arrays of a call; its definition where there is none."""
    name = kernel.__name__

    @wraps(kernel)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        return getattr(_version(args), name, kernel)(*args, **kwargs)

    return call


impose_modulus_ = _fastest(reference.impose_modulus_)
confine_ = _fastest(reference.confine_)
add_object_ = _fastest(reference.add_object_)
add_probe_ = _fastest(reference.add_probe_)
times_conjugate_window_ = _fastest(reference.times_conjugate_window_)
modulate = _fastest(reference.modulate)
demodulate_add_ = _fastest(reference.demodulate_add_)
phase_pulls = _fastest(reference.phase_pulls)
interpolate = _fastest(reference.interpolate)
interpolate_adjoint_add_ = _fastest(reference.interpolate_adjoint_add_)
step_windows_ = _fastest(reference.step_windows_)
nudge_windows_ = _fastest(reference.nudge_windows_)
fold_ = _fastest(reference.fold_)
direction_ = _fastest(reference.direction_)
agreement = _fastest(reference.agreement)


def exit_waves(canvas: Canvas, probes: FrameProbes, corners: Corners, out: FrameWaves | None = None) -> FrameWaves:
    """Probe times window of the canvas, frame by frame; written to `out` where it is given and no gradient asked for."""
    if torch.is_grad_enabled() and (canvas.requires_grad or probes.requires_grad):
        return _ExitWaves.apply(canvas, probes, corners)  # pyright: ignore[reportReturnType]
    return _version((canvas, probes, out)).exit_waves(canvas, probes, corners, out)


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
