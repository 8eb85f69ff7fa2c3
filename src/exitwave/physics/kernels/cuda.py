"""The kernels of the inner loop for NVIDIA and AMD GPUs, in Triton: one program a row, every sum in a fixed order.

Sums over overlapping windows are gathered, not scattered: the program of a canvas row asks every frame of the chunk
whether its window covers the row. No atomics, so that the same run gives the same image. Complex arrays come in as real
ones with a last axis of 2. `reference` defines what is computed.
"""

# Types inside kernels are Triton's own; they are compiled, not run by Python. Those of what is called stand in `reference`.
# pyright: reportMissingParameterType=false, reportUntypedFunctionDecorator=false, reportArgumentType=false
# pyright: reportUnknownParameterType=false, reportOperatorIssue=false, reportAttributeAccessIssue=false
# pyright: reportIndexIssue=false, reportCallIssue=false, reportPossiblyUnboundVariable=false

import torch
import triton
import triton.language as tl
from torch import Tensor

from exitwave.physics.kernels import reference

PROBE_GROUPS = 8
"""Frames summed for the probe are split into so many groups, so that enough programs run at once."""


@triton.jit
def _load(pointer, offset, mask):
    real = tl.load(pointer + 2 * offset, mask=mask, other=0.0)
    return real, tl.load(pointer + 2 * offset + 1, mask=mask, other=0.0)


@triton.jit
def _store(pointer, offset, real, imaginary, mask):
    tl.store(pointer + 2 * offset, real, mask=mask)
    tl.store(pointer + 2 * offset + 1, imaginary, mask=mask)


@triton.jit
def _exit_waves(canvas, probes, corners, out, wide, shared: tl.constexpr, modes, height, width, block: tl.constexpr):
    frame, line = tl.program_id(0), tl.program_id(1)
    mode, y = line // height, line % height
    row, column = tl.load(corners + 2 * frame), tl.load(corners + 2 * frame + 1)
    x = tl.arange(0, block)
    inside = x < width
    place = (mode * height + y) * width + x
    own = frame.to(tl.int64) * modes * height * width + place
    pr, pi = _load(probes, place if shared else own, inside)
    wr, wi = _load(canvas, (row + y) * wide + column + x, inside)
    _store(out, own, pr * wr - pi * wi, pr * wi + pi * wr, inside)


@triton.jit
def _impose(waves, stack, index, trusted, background, misfit, modes: tl.constexpr, height, width, block: tl.constexpr):
    frame, y = tl.program_id(0), tl.program_id(1)
    x = tl.arange(0, block)
    inside = x < width
    pixel = y * width + x
    measured = tl.load(stack + tl.load(index + frame) * height * width + pixel, mask=inside, other=0.0)
    trust = tl.load(trusted + pixel, mask=inside, other=0.0)
    power = tl.load(background + pixel, mask=inside, other=0.0)
    start = frame.to(tl.int64) * modes * height * width + pixel
    for mode in range(modes):
        re, im = _load(waves, start + mode * height * width, inside)
        power += re * re + im * im
    modulus = tl.sqrt(power)
    deviation = (measured - modulus) * trust
    factor = deviation / tl.maximum(modulus, 1e-12)
    for mode in range(modes):
        re, im = _load(waves, start + mode * height * width, inside)
        _store(waves, start + mode * height * width, re * factor, im * factor, inside)
    tl.store(misfit + frame * height + y, tl.sum(deviation * deviation))


@triton.jit
def _add_object(
    change,
    probes,
    corners,
    total,
    lit,
    frames,
    first_row,
    wide,
    shared: tl.constexpr,
    modes,
    height,
    width,
    block: tl.constexpr,
):
    row, x = first_row + tl.program_id(0), tl.program_id(1) * block + tl.arange(0, block)
    onto = x < wide
    sr, si = _load(total, row * wide + x, onto)
    light = tl.load(lit + row * wide + x, mask=onto, other=0.0)
    for frame in range(frames):
        # As wide as x, so that all parts of the mask are vectors.
        y = row - tl.load(corners + 2 * frame) + 0 * x
        column = x - tl.load(corners + 2 * frame + 1)
        inside = onto & (y >= 0) & (y < height) & (column >= 0) & (column < width)
        for mode in range(modes):
            place = (mode * height + y) * width + column
            own = frame * modes * height * width + place
            pr, pi = _load(probes, place if shared else own, inside)
            cr, ci = _load(change, own, inside)
            sr += pr * cr + pi * ci
            si += pr * ci - pi * cr
            light += pr * pr + pi * pi
    _store(total, row * wide + x, sr, si, onto)
    tl.store(lit + row * wide + x, light, mask=onto)


@triton.jit
def _add_probe(change, canvas, corners, total, seen, frames, wide, modes, height, width, block: tl.constexpr):
    group, line = tl.program_id(0), tl.program_id(1)
    mode, y = line // height, line % height
    x = tl.arange(0, block)
    inside = x < width
    place = (mode * height + y) * width + x
    sr, si, light = tl.zeros((block,), tl.float32), tl.zeros((block,), tl.float32), tl.zeros((block,), tl.float32)
    for frame in range(group, frames, tl.num_programs(0)):
        row, column = tl.load(corners + 2 * frame), tl.load(corners + 2 * frame + 1)
        wr, wi = _load(canvas, (row + y) * wide + column + x, inside)
        cr, ci = _load(change, frame * modes * height * width + place, inside)
        sr += wr * cr + wi * ci
        si += wr * ci - wi * cr
        light += wr * wr + wi * wi
    _store(total, group * modes * height * width + place, sr, si, inside)
    tl.store(seen + group * height * width + y * width + x, light, mask=inside & (mode + 0 * x == 0))


def exit_waves(canvas, probes, corners, out=None):
    """Probe times window of the canvas, frame by frame."""
    modes, height, width = probes.shape[1:]
    if out is None:
        out = torch.empty(len(corners), modes, height, width, dtype=canvas.dtype, device=canvas.device)
    _exit_waves[(len(corners), modes * height)](
        _real(canvas), _real(probes), _near(corners, canvas), _real(out), canvas.shape[1], len(probes) == 1,
        modes, height, width, triton.next_power_of_2(width),
    )  # fmt: skip
    return out


def impose_modulus_(waves, stack, index, trusted, background):
    """Waves at the detector become, in place, the change that gives them the measured modulus."""
    batch, modes, height, width = waves.shape
    misfit = torch.empty(batch, height, device=waves.device)
    _impose[(batch, height)](
        _real(waves), stack, index.to(waves.device), trusted, background, misfit,
        modes, height, width, triton.next_power_of_2(width),
    )  # fmt: skip
    return misfit.double().sum(dim=1)


def add_object_(change, probes, corners, total, lit):
    """total += conj(probe) change and lit += |probe|^2, each frame in its window; returns the largest lit pixel met."""
    batch, modes, height, width = change.shape
    rows: list[int] = corners[:, 0].tolist()
    first, last = min(rows), max(rows) + height
    block = min(1024, triton.next_power_of_2(total.shape[1]))
    _add_object[(last - first, triton.cdiv(total.shape[1], block))](
        _real(change), _real(probes), _near(corners, change), _real(total), lit, batch, first, total.shape[1],
        len(probes) == 1, modes, height, width, block,
    )  # fmt: skip
    return float(lit[first:last].max())


def add_probe_(change, canvas, corners, total, seen):
    """total += conj(window) change and seen += |window|^2, summed over frames that share one probe."""
    batch, modes, height, width = change.shape
    groups = min(PROBE_GROUPS, batch)
    parts = torch.zeros(groups, *total.shape, dtype=total.dtype, device=total.device)
    light = torch.zeros(groups, height, width, device=total.device)
    _add_probe[(groups, modes * height)](
        _real(change), _real(canvas), _near(corners, change), _real(parts), light, batch, canvas.shape[1],
        modes, height, width, triton.next_power_of_2(width),
    )  # fmt: skip
    total += parts.sum(dim=0)
    seen += light.sum(dim=0)


def times_conjugate_window_(change, canvas, corners, seen):
    """change <- conj(window) change, frame by frame, in place; seen += |window|^2."""
    add_probe_(change, canvas, corners, torch.zeros_like(change[0]), seen)
    exit_waves(canvas.conj().resolve_conj(), change, corners, change)


def step_windows_(canvas, total, lit, corners, shape, *, gain, share, floor):
    """canvas += gain total / (share lit + floor), and both sums emptied: all at once, since outside windows sums are zero."""
    canvas += total * (gain / (share * lit + floor).clamp(min=1e-12))
    total.zero_()
    lit.zero_()


def nudge_windows_(canvas, total, lit, wished, weight, corners, shape, *, floor):
    """wished += total + lit canvas, weight += lit, canvas += total / (lit + floor), and both sums emptied; all at once, too."""
    wished += total + lit * canvas
    weight += lit
    step_windows_(canvas, total, lit, corners, shape, gain=1.0, share=1.0, floor=floor)


def direction_(total, lit, canvas, weight, corners, *, share, floor):
    """total <- D = total / (share lit + floor) wherever there is light; curvature and slope along D, interaction with the probe."""
    found = torch.where(lit > 0, total / (share * lit + floor).clamp(min=1e-12), total)
    curvature = (lit * found.abs().square()).sum(dtype=torch.float64)
    slope = torch.where(lit > 0, (found.conj() * total).real, 0.0).sum(dtype=torch.float64)
    total.copy_(found)
    both = reference.gather(torch.stack([total, canvas]), corners, (weight.shape[-2], weight.shape[-1]))
    shared = (both[:, 0].conj() * both[:, 1] * weight).real.sum(dtype=torch.float64)
    return float(curvature), float(slope), float(shared)


def _real(values: Tensor) -> Tensor:
    return torch.view_as_real(values)


def _near(corners: Tensor, like: Tensor) -> Tensor:
    return corners.to(like.device, non_blocking=True)
