"""The kernels of the inner loop, compiled for processors: row by row over contiguous memory, no temporaries, no Python lock held.

Plain loops that numba turns into vector instructions; `reference` defines what they compute. They are called with
contiguous tensors and see numpy views of them: waves (batch, mode, y, x), canvases (Y, X), probes (1 or batch, mode, y, x).
"""

# Types are those of the numpy arrays that come in; numba infers them.
# pyright: reportMissingParameterType=false, reportUntypedFunctionDecorator=false

import numba as nb
import numpy as np
import torch

from exitwave.physics.kernels.compiling import FAST, compiled, compiled_exactly
from exitwave.physics.kernels.cpu_interpolation import interpolate, interpolate_adjoint_add_

__all__ = ["interpolate", "interpolate_adjoint_add_"]

_TINY = np.float32(1e-12)


@compiled
def _exit_waves(canvas, probes, corners, out):
    """out = probe x window of the canvas."""
    batch, modes, height, width = out.shape
    for b in range(batch):
        k = 0 if probes.shape[0] == 1 else b
        row, column = corners[b, 0], corners[b, 1]
        for m in range(modes):
            for y in range(height):
                window, probe, wave = canvas[row + y, column : column + width], probes[k, m, y], out[b, m, y]
                for x in range(width):
                    wave[x] = probe[x] * window[x]


def exit_waves(canvas, probes, corners, out=None):
    if out is None:
        out = torch.empty(len(corners), *probes.shape[1:], dtype=canvas.dtype)
    _exit_waves(canvas, probes, corners, out)
    return out


@compiled
def _impose_modulus_(waves, stack, index, trusted, background, misfit):
    """waves <- waves (A / sqrt(|waves|^2 + background) - 1) where trusted, else 0; misfit = sum of (modulus - A)^2."""
    batch, modes, height, width = waves.shape
    modulus_row = np.empty(width, np.float32)
    for b in range(batch):
        total = np.float64(0)
        for y in range(height):
            measured, trust, behind = stack[index[b], y], trusted[y], background[y]
            part = np.float32(0)
            if modes == 1:
                wave = waves[b, 0, y]
                for x in range(width):
                    re, im = wave[x].real, wave[x].imag
                    modulus = np.sqrt(re * re + im * im + behind[x])
                    deviation = (measured[x] - modulus) * trust[x]
                    part += deviation * deviation
                    factor = deviation / max(modulus, _TINY)
                    wave[x] = complex(re * factor, im * factor)
            else:
                for x in range(width):
                    modulus_row[x] = behind[x]
                for m in range(modes):
                    wave = waves[b, m, y]
                    for x in range(width):
                        modulus_row[x] += wave[x].real * wave[x].real + wave[x].imag * wave[x].imag
                for x in range(width):
                    modulus = np.sqrt(modulus_row[x])
                    deviation = (measured[x] - modulus) * trust[x]
                    part += deviation * deviation
                    modulus_row[x] = deviation / max(modulus, _TINY)
                for m in range(modes):
                    wave = waves[b, m, y]
                    for x in range(width):
                        wave[x] = complex(wave[x].real * modulus_row[x], wave[x].imag * modulus_row[x])
            total += part
        misfit[b] = total


def impose_modulus_(waves, stack, index, trusted, background):
    misfit = torch.empty(len(waves), dtype=torch.float64)
    _impose_modulus_(waves, stack, index, trusted, background, misfit)
    return misfit


@compiled_exactly
def _confine_(change, obj, support, kept, returned, after):
    """after = obj + change where there is support, kept obj + returned (obj + change) elsewhere; change = the first, or 0."""
    for x in range(len(obj)):
        within = np.float32(support[x])
        without = np.float32(1) - within
        re, im = obj[x].real + change[x].real, obj[x].imag + change[x].imag
        old, new = without * kept, within + without * returned
        change[x] = complex(within * re, within * im)
        after[x] = complex(old * obj[x].real + new * re, old * obj[x].imag + new * im)


@compiled_exactly
def _cut_off_(change, obj, support):
    """change = obj + change where there is support, 0 elsewhere."""
    for x in range(len(obj)):
        within = np.float32(support[x])
        change[x] = complex(within * (obj[x].real + change[x].real), within * (obj[x].imag + change[x].imag))


def confine_(change, obj, support, kept, returned, after=None):
    if after is None:
        _cut_off_(change, obj, support)
    else:
        _confine_(change, obj, support, np.float32(kept), np.float32(returned), after)


@nb.njit(nogil=True, fastmath=FAST)
def _top(light):
    """Bits of the largest of numbers that are not negative: whole numbers in the same order, which vector instructions compare."""
    bits, top = light.view(np.int32), np.int32(0)
    for x in range(len(bits)):
        top = max(top, bits[x])
    return top


@nb.njit(nogil=True)
def _as_float(bits):
    return np.array([bits], np.int32).view(np.float32)[0]


@compiled
def add_object_(change, probes, corners, total, lit):
    """total += conj(probe) x change and lit += |probe|^2, each frame in its window; returns the largest lit pixel met."""
    batch, modes, height, width = change.shape
    top = np.int32(0)
    for b in range(batch):
        k = 0 if probes.shape[0] == 1 else b
        row, column = corners[b, 0], corners[b, 1]
        for y in range(height):
            sums = total[row + y, column : column + width]
            light = lit[row + y, column : column + width]
            for m in range(modes):
                probe, wave = probes[k, m, y], change[b, m, y]
                for x in range(width):
                    pr, pi, cr, ci = probe[x].real, probe[x].imag, wave[x].real, wave[x].imag
                    sums[x] += complex(pr * cr + pi * ci, pr * ci - pi * cr)
                    light[x] += pr * pr + pi * pi
            # Sums of squares only grow, so that the largest value ever written is the largest in the end.
            top = max(top, _top(light))
    return _as_float(top)


@compiled
def add_probe_(change, canvas, corners, total, seen):
    """total += conj(window) x change and seen += |window|^2, summed over frames that share one probe."""
    batch, modes, height, width = change.shape
    for b in range(batch):
        row, column = corners[b, 0], corners[b, 1]
        for y in range(height):
            window, light = canvas[row + y, column : column + width], seen[y]
            for m in range(modes):
                wave, sums = change[b, m, y], total[m, y]
                for x in range(width):
                    wr, wi, cr, ci = window[x].real, window[x].imag, wave[x].real, wave[x].imag
                    sums[x] += complex(wr * cr + wi * ci, wr * ci - wi * cr)
            for x in range(width):
                light[x] += window[x].real * window[x].real + window[x].imag * window[x].imag


@compiled
def times_conjugate_window_(change, canvas, corners, seen):
    """change <- conj(window) x change, frame by frame; seen += |window|^2."""
    batch, modes, height, width = change.shape
    for b in range(batch):
        row, column = corners[b, 0], corners[b, 1]
        for y in range(height):
            window, light = canvas[row + y, column : column + width], seen[y]
            for m in range(modes):
                wave = change[b, m, y]
                for x in range(width):
                    wr, wi, cr, ci = window[x].real, window[x].imag, wave[x].real, wave[x].imag
                    wave[x] = complex(wr * cr + wi * ci, wr * ci - wi * cr)
            for x in range(width):
                light[x] += window[x].real * window[x].real + window[x].imag * window[x].imag


@compiled
def _modulate(spectrum, rows, columns, out):
    """out[b] = spectrum x rows[b] x columns[b]: the spectra of a probe moved to each frame's sub-pixel place."""
    batch, modes, height, width = out.shape
    for b in range(batch):
        across = columns[b]
        for m in range(modes):
            for y in range(height):
                down, line, result = rows[b, y], spectrum[m, y], out[b, m, y]
                for x in range(width):
                    result[x] = line[x] * (down * across[x])


def modulate(spectrum, rows, columns, out=None):
    if out is None:
        out = torch.empty(len(rows), *spectrum.shape, dtype=spectrum.dtype)
    _modulate(spectrum, rows, columns, out)
    return out


@compiled
def demodulate_add_(spectra, rows, columns, total):
    """total += the sum over frames of spectra[b] x conj(rows[b] x columns[b]); the adjoint of `modulate`."""
    batch, modes, height, width = spectra.shape
    for b in range(batch):
        across = columns[b]
        for m in range(modes):
            for y in range(height):
                down, line, sums = rows[b, y], spectra[b, m, y], total[m, y]
                for x in range(width):
                    sums[x] += line[x] * (down * across[x]).conjugate()


@compiled
def _phase_pulls(waves, change, rows, columns, out):
    """out = Im(conj(wave) change), summed over modes and over blocks of pixels that `rows` and `columns` weigh."""
    batch, modes, height, width = waves.shape
    line, sums = np.empty(width, np.float32), np.empty((len(rows), width), np.float32)
    for b in range(batch):
        sums[:] = 0
        for y in range(height):
            line[:] = 0
            for m in range(modes):
                wave, pull = waves[b, m, y], change[b, m, y]
                for x in range(width):
                    line[x] += wave[x].real * pull[x].imag - wave[x].imag * pull[x].real
            for p in range(len(rows)):
                weight, part = rows[p, y], sums[p]
                if weight != 0:
                    for x in range(width):
                        part[x] += weight * line[x]
        for p in range(len(rows)):
            for q in range(len(columns)):
                found = np.float32(0)
                for x in range(width):
                    found += sums[p, x] * columns[q, x]
                out[b, p, q] = found


def phase_pulls(waves, change, rows, columns):
    out = torch.empty(len(waves), len(rows), len(columns))
    _phase_pulls(waves, change, rows, columns, out)
    return out


@compiled
def fold_(total, lit, other_total, other_lit, corners, shape):
    """Add another thread's sums to `total` and `lit` inside the windows and empty them; returns the largest lit pixel."""
    height, width = shape
    top = np.int32(0)
    for b in range(len(corners)):
        row, column = corners[b, 0], corners[b, 1]
        for y in range(row, row + height):
            sums, light = total[y, column : column + width], lit[y, column : column + width]
            more, brighter = other_total[y, column : column + width], other_lit[y, column : column + width]
            for x in range(width):
                sums[x] += more[x]
                light[x] += brighter[x]
                more[x] = 0
                brighter[x] = 0
            top = max(top, _top(light))
    return _as_float(top)


@compiled
def step_windows_(canvas, total, lit, corners, shape, gain, share, floor):
    """canvas += gain x total / max(share x lit + floor, tiny) inside the windows, each pixel once; empties both sums."""
    height, width = shape
    gain, share, floor = np.float32(gain), np.float32(share), np.float32(floor)
    for b in range(len(corners)):
        row, column = corners[b, 0], corners[b, 1]
        for y in range(row, row + height):
            values, sums = canvas[y, column : column + width], total[y, column : column + width]
            light = lit[y, column : column + width]
            for x in range(width):
                # A pixel that an earlier window of this loop has done holds zeros now and is left alone.
                factor = gain / max(share * light[x] + floor, _TINY)
                values[x] += complex(sums[x].real * factor, sums[x].imag * factor)
                sums[x] = 0
                light[x] = 0


@compiled
def nudge_windows_(canvas, total, lit, wished, weight, corners, shape, floor):
    """wished += total + lit x canvas and weight += lit; then as `step_windows_` with gain and share 1."""
    height, width = shape
    floor = np.float32(floor)
    for b in range(len(corners)):
        row, column = corners[b, 0], corners[b, 1]
        for y in range(row, row + height):
            values, sums = canvas[y, column : column + width], total[y, column : column + width]
            light, heavy = lit[y, column : column + width], weight[y, column : column + width]
            mean = wished[y, column : column + width]
            for x in range(width):
                # A pixel that an earlier window of this loop has done holds zeros now and is left alone.
                bright, re, im = light[x], sums[x].real, sums[x].imag
                mean[x] += complex(re + bright * values[x].real, im + bright * values[x].imag)
                heavy[x] += bright
                factor = np.float32(1) / max(bright + floor, _TINY)
                values[x] += complex(re * factor, im * factor)
                sums[x] = 0
                light[x] = 0


@compiled
def direction_(total, lit, canvas, weight, corners, share, floor):
    """total <- D = total / (share x lit + floor) inside the windows, each pixel once.

    Returns sum lit |D|^2, sum Re conj(D) total and the sum over frames of Re conj(D) x canvas x weight.
    """
    height, width = weight.shape
    share, floor = np.float32(share), np.float32(floor)
    curvature, slope, shared = np.float64(0), np.float64(0), np.float64(0)
    for b in range(len(corners)):
        row, column = corners[b, 0], corners[b, 1]
        for y in range(height):
            sums, light = total[row + y, column : column + width], lit[row + y, column : column + width]
            value, line = canvas[row + y, column : column + width], weight[y]
            part, along, both = np.float32(0), np.float32(0), np.float32(0)
            for x in range(width):
                # What an earlier window of this loop has done carries a minus sign and is left alone.
                factor = np.float32(1) / max(share * light[x] + floor, _TINY) if light[x] > 0 else np.float32(1)
                counted = light[x] if light[x] > 0 else np.float32(0)
                re, im = sums[x].real, sums[x].imag
                square = (re * re + im * im) * factor
                part += counted * square * factor
                along += square if light[x] > 0 else np.float32(0)
                re, im = re * factor, im * factor
                sums[x] = complex(re, im)
                light[x] = -abs(light[x])
                vr, vi = value[x].real, value[x].imag
                both += (re * vr + im * vi) * line[x].real - (re * vi - im * vr) * line[x].imag
            curvature += part
            slope += along
            shared += both
    return curvature, slope, shared


@compiled
def agreement(one, other, light, brighter, first, second, shape):
    """Sums over the window that two images share of w, w conj(u) v, w |u|^2 and w |v|^2, with w = l m / (l + m)."""
    height, width = shape
    weights, real, imaginary, own, others = np.float64(0), np.float64(0), np.float64(0), np.float64(0), np.float64(0)
    for y in range(height):
        u = one[first[0] + y, first[1] : first[1] + width]
        v = other[second[0] + y, second[1] : second[1] + width]
        bright = light[first[0] + y, first[1] : first[1] + width]
        bright_too = brighter[second[0] + y, second[1] : second[1] + width]
        a, b, c, d, e = np.float32(0), np.float32(0), np.float32(0), np.float32(0), np.float32(0)
        for x in range(width):
            weight = bright[x] * bright_too[x] / max(bright[x] + bright_too[x], np.float32(1e-30))
            ur, ui, vr, vi = u[x].real, u[x].imag, v[x].real, v[x].imag
            a += weight
            b += weight * (ur * vr + ui * vi)
            c += weight * (ur * vi - ui * vr)
            d += weight * (ur * ur + ui * ui)
            e += weight * (vr * vr + vi * vi)
        weights, real, imaginary, own, others = weights + a, real + b, imaginary + c, own + d, others + e
    return weights, real, imaginary, own, others
