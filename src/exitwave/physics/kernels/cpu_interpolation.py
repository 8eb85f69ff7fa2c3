"""The kernels that move a probe by fractions of a pixel, compiled for processors; `reference` defines what they compute."""

# Types are those of the numpy arrays that come in; numba infers them.
# pyright: reportMissingParameterType=false, reportUntypedFunctionDecorator=false

import numba as nb
import numpy as np
import torch

from exitwave.physics.kernels.compiling import FAST, compiled


@nb.njit(nogil=True, fastmath=FAST, inline="always")
def _weigh(width, weights, a, b, c, d, e, f, g, h, out):
    """out = weighted sum of eight rows; all in one go, so that they stay in registers."""
    s, t, u, v = weights[0], weights[1], weights[2], weights[3]
    w, x, y, z = weights[4], weights[5], weights[6], weights[7]
    for i in range(width):
        out[i] = s * a[i] + t * b[i] + u * c[i] + v * d[i] + w * e[i] + x * f[i] + y * g[i] + z * h[i]


@nb.njit(nogil=True, fastmath=FAST, inline="always")
def _close(width, line):
    """The neighbours at both ends of a row that begins at 8: from across the edge."""
    for x in range(8):
        line[x] = line[8 + (width - 8 + x) % width]
        line[8 + width + x] = line[8 + x % width]


@compiled
def _interpolate(probe, weights, frames, out):
    """out[b] = probe with its neighbours weighted; a complex row is seen as twice as many numbers."""
    batch, modes, n, width = out.shape
    line = np.empty(width + 16, np.float32)
    a, b, c, d = line[0:], line[2:], line[4:], line[6:]
    e, f, g, h = line[8:], line[10:], line[12:], line[14:]
    for i in range(batch):
        down, across = weights[frames[i], 0], weights[frames[i], 1]
        for m in range(modes):
            p = probe[m]
            for y in range(n):
                _weigh(
                    width, down, p[(y - 4) % n], p[(y - 3) % n], p[(y - 2) % n], p[(y - 1) % n],
                    p[y], p[(y + 1) % n], p[(y + 2) % n], p[(y + 3) % n], e,
                )  # fmt: skip
                _close(width, line)
                _weigh(width, across, a, b, c, d, e, f, g, h, out[i, m, y])


def interpolate(probe, weights, frames, out=None):
    if out is None:
        out = torch.empty(len(frames), *probe.shape, dtype=probe.dtype)
    _interpolate(_as_real(probe), weights, frames, _as_real(out))
    return out


@compiled
def _interpolate_adjoint_add_(change, weights, frames, total):
    """total += the sum over frames of changes moved back."""
    batch, modes, n, width = change.shape
    line, moved = np.empty(width + 16, np.float32), np.empty(width, np.float32)
    a, b, c, d = line[16:], line[14:], line[12:], line[10:]
    e, f, g, h = line[8:], line[6:], line[4:], line[2:]
    for i in range(batch):
        down, across = weights[frames[i], 0], weights[frames[i], 1]
        for m in range(modes):
            p = change[i, m]
            for y in range(n):
                _weigh(
                    width, down, p[(y + 4) % n], p[(y + 3) % n], p[(y + 2) % n], p[(y + 1) % n],
                    p[y], p[(y - 1) % n], p[(y - 2) % n], p[(y - 3) % n], e,
                )  # fmt: skip
                _close(width, line)
                _weigh(width, across, a, b, c, d, e, f, g, h, moved)
                sums = total[m, y]
                for x in range(width):
                    sums[x] += moved[x]


def interpolate_adjoint_add_(change, weights, frames, total):
    _interpolate_adjoint_add_(_as_real(change), weights, frames, _as_real(total))


def _as_real(waves):
    return torch.view_as_real(waves).flatten(-2)
