"""Simulated samples: each function draws the complex transmission of something that a microscopist knows, |O| <= 1."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Complex
from torch import Tensor

from exitwave.data.errors import InputError
from exitwave.simulation import textures
from exitwave.simulation.textures import Image

Transmission = Complex[Tensor, "y x"]


def siemens_star(shape: tuple[int, int], *, seed: int = 0, spokes: int = 36) -> Transmission:
    """A gold Siemens star with ring gaps, square marks around it; the usual test of resolution.

    Metal has amplitude 0.7 and phase -1.2 rad (matter advances X-rays: exp(+ikz) fields lose phase). The seed turns it.
    """
    radius_px = 0.47 * min(_checked(shape))
    turn = np.random.default_rng(seed).uniform(0, 2 * np.pi / spokes)
    radius, _ = textures.radius_and_angle(shape)
    gold = textures.star(shape, spokes, radius_px, turn)
    for ring in (0.15, 0.3, 0.5, 0.75):
        gold *= 1 - textures.soft_step(0.012 * radius_px + 0.5 - np.abs(radius - ring * radius_px))
    pitch = max(radius_px / 8, 6.0)
    bars = [textures.soft_step(pitch / np.pi * np.cos(2 * np.pi * (np.arange(n) - n // 2) / pitch) / 2) for n in shape]
    marks = bars[0][:, None] * bars[1][None, :] * textures.soft_step(radius - radius_px - pitch / 4)
    return _absorbing(np.maximum(gold, marks), amplitude=0.7, phase_rad=-1.2)


def lines(shape: tuple[int, int], *, seed: int = 0) -> Transmission:
    """Random straight lines, blurred three ways: the `Lines` set of PtychoPINN; amplitude only, no phase.

    Lines of one pixel on a canvas of twice the size, 400 for 392 pixels and in proportion for others; then
    G1 + 2 G5 + 5 G10 with Gaussian blurs of 1, 5, 10 px. Hoidn, Mishra & Mehta, Sci. Rep. 13, 22789 (2023).
    """
    from skimage import draw  # imported late: scikit-image is slow to load

    height, width = _checked(shape)
    generator = np.random.default_rng(seed)
    canvas = np.zeros((2 * height, 2 * width))
    count = round(1.02 * np.sqrt(height * width))
    for y0, x0, y1, x1 in generator.integers(0, [2 * height, 2 * width] * 2, size=(count, 4)):
        canvas[draw.line(y0, x0, y1, x1)] = 1.0
    image = sum(weight * textures.blur(canvas, sigma) for weight, sigma in ((1, 1.0), (2, 5.0), (5, 10.0)))
    image = np.asarray(image)[height // 2 : height // 2 + height, width // 2 : width // 2 + width]
    return _transmission(image / image.max(), np.zeros(shape))


def gaussian_random_field(shape: tuple[int, int], *, seed: int = 0, exponent: float = 0.4) -> Transmission:
    """A random texture, amplitude and phase tied together: the `GRF` set of PtychoPINN.

    A field of power k^-exponent on a grid of half the size, resized and blurred by 1 px, is the amplitude A;
    the phase is pi tanh((A - max A / 2) / (3 mean A)).
    """
    height, width = _checked(shape)
    half = ((height + 1) // 2, (width + 1) // 2)
    field = textures.power_law_field(half, exponent, np.random.default_rng(seed))
    amplitude = textures.blur(textures.fit(field, shape), 1.0)
    phase = np.pi * np.tanh((amplitude - amplitude.max() / 2) / (3 * amplitude.mean()))
    return _transmission(amplitude, phase)


def large_features(shape: tuple[int, int], *, seed: int = 0, glyph_px: float = 90.0) -> Transmission:
    """Etched metal: letter-like strokes, rings and plates in two thicknesses; amplitude 0.75-1, phase 0 to -1.2 rad.

    Stands in for the etched tungsten of the PtychoNN data (Cherukara et al., Appl. Phys. Lett. 117, 044103 (2020)).
    """
    _checked(shape)
    generator = np.random.default_rng(seed)
    thickness = np.zeros(shape)
    for top in np.arange(-0.3, shape[0] / glyph_px):
        for left in np.arange(-0.3, shape[1] / glyph_px):
            corner = (np.array([top, left]) + generator.uniform(0.0, 0.2, 2)) * glyph_px
            glyph = _glyph(shape, (float(corner[0]), float(corner[1])), 0.8 * glyph_px, generator)
            np.maximum(thickness, generator.choice([0.5, 1.0]) * glyph, out=thickness)
    return _absorbing(textures.blur(thickness, 1.0), amplitude=0.75, phase_rad=-1.2)


def _glyph(shape: tuple[int, int], corner: tuple[float, float], size: float, generator: np.random.Generator) -> Image:
    """One letter-like mark: a ring, a plate with a hole, or a stroke through random points of a 3 x 2 grid."""
    top, left = corner
    kind = generator.integers(6)
    if kind < 2:
        radius, angle = textures.radius_and_angle(shape, (top + size / 2, left + size / 2))
        outer = size * generator.uniform(0.3, 0.45)
        if kind == 0:
            return textures.soft_step(size / 12 - np.abs(radius - outer))
        corners = int(generator.integers(3, 7))
        turned = np.mod(angle + generator.uniform(0, 6), 2 * np.pi / corners) - np.pi / corners
        plate = textures.soft_step(outer * np.cos(np.pi / corners) * 1.2 - radius * np.cos(turned))
        return plate * textures.soft_step(radius - outer / 3)
    nodes = [(top + size * row / 2, left + size * column * 0.6) for row in range(3) for column in range(2)]
    path = [nodes[k] for k in generator.permutation(len(nodes))[:5]]
    strokes = [(*start, *end) for start, end in pairwise(path)]
    return textures.draw_segments(shape, strokes, size / 7)


def blood_smear(
    shape: tuple[int, int], *, seed: int = 0, radius_px: float = 17.0, coverage: float = 0.6
) -> Transmission:
    """Red blood cells on glass in visible light: discs with a pale centre; amplitude 0.5-1, phase 0-2 rad.

    Thickness profile of a red cell from Evans & Fung, Microvasc. Res. 4, 335 (1972). `coverage` is the summed area of
    the cells over the area of the picture; overlapping cells add up.
    """
    height, width = _checked(shape)
    generator = np.random.default_rng(seed)
    margin = radius_px
    area = (height + 2 * margin) * (width + 2 * margin)
    thickness = np.zeros(shape)
    for _ in range(max(round(coverage * area / (np.pi * radius_px**2)), 1)):
        centre = generator.uniform(-margin, np.array([height, width]) + margin)
        _add_cell(thickness, centre, radius_px * generator.uniform(0.85, 1.1), generator)
    plasma = textures.power_law_field(shape, 3.0, generator)
    amplitude = (1 - 0.06 * plasma) * np.exp(-0.5 * np.tanh(0.9 * thickness))
    return _transmission(amplitude, 0.15 * plasma + 1.85 * np.tanh(0.9 * thickness))


def _add_cell(thickness: Image, centre: np.ndarray, radius_px: float, generator: np.random.Generator) -> None:
    """Add one slightly deformed biconcave cell, its thickest ring about 1, where it lies on the canvas."""
    reach = int(1.2 * radius_px) + 1
    top, left = (int(c) - reach for c in centre)
    rows = np.arange(max(top, 0), min(top + 2 * reach, thickness.shape[0]))
    columns = np.arange(max(left, 0), min(left + 2 * reach, thickness.shape[1]))
    y, x = rows[:, None] - centre[0], columns[None, :] - centre[1]
    outline = 1 + 0.05 * np.cos(3 * np.arctan2(y, x) + generator.uniform(0, 6))
    outline += generator.uniform(0, 0.1) * np.cos(2 * np.arctan2(y, x) + generator.uniform(0, 6))
    r2 = np.minimum((y * y + x * x) / (radius_px * outline) ** 2, 1.0)
    profile = np.sqrt(1 - r2) * (0.207 + 2.003 * r2 - 1.123 * r2 * r2)
    thickness[np.ix_(rows, columns)] += profile / 0.82


def integrated_circuit(shape: tuple[int, int], *, seed: int = 0, pitch_px: int = 10) -> Transmission:
    """A chip in projection: two crossing metal layers with vias, power rails and memory blocks.

    Every metal layer takes a quarter radian and a few per cent of the amplitude; wires are half a pitch wide.
    """
    height, width = _checked(shape)
    generator = np.random.default_rng(seed)
    lower = _wires(shape, pitch_px, generator)
    upper = _wires((width, height), round(1.5 * pitch_px), generator).T
    crossing = np.flatnonzero(((lower > 0) & (upper > 0)).ravel())
    vias = np.zeros(shape)
    for place in generator.choice(crossing, min(len(crossing), height * width // (pitch_px**2 * 8)), replace=False):
        y, x = divmod(int(place), width)
        y, x = y // pitch_px * pitch_px, x // pitch_px * pitch_px
        vias[y : y + pitch_px // 2, x : x + pitch_px // 2] = 1.0
    thickness = lower + upper + 1.5 * vias
    cell = (generator.uniform(size=(2 * pitch_px // 3, pitch_px)) < 0.5).astype(float).repeat(3, 0).repeat(2, 1)
    for _ in range(max(round(height * width / (30 * pitch_px) ** 2), 1)):
        top, left = generator.integers(0, [height, width])
        rows, columns = generator.integers(8 * pitch_px, 20 * pitch_px, 2)
        block = thickness[top : top + rows, left : left + columns]
        repeats = (-(-block.shape[0] // cell.shape[0]), -(-block.shape[1] // cell.shape[1]))
        block[:] = np.tile(cell, repeats)[: block.shape[0], : block.shape[1]] + 0.5
    thickness[np.arange(height) % (16 * pitch_px) < 2 * pitch_px] = 3.0
    return _absorbing(textures.blur(thickness, 0.7) / 3.5, amplitude=0.7, phase_rad=-1.2)


def _wires(shape: tuple[int, int], pitch_px: int, generator: np.random.Generator) -> Image:
    """Horizontal wires of random lengths on a fixed pitch, half a pitch wide, value 1."""
    canvas = np.zeros(shape)
    for top in range(0, shape[0], pitch_px):
        left = -int(generator.integers(0, 10 * pitch_px))
        while left < shape[1]:
            length, gap = generator.integers([4, 1], [24, 12]) * pitch_px
            canvas[top : top + pitch_px // 2, max(left, 0) : max(left + length, 0)] = 1.0
            left += length + gap
    return canvas


NATURAL_PAIRS = (
    ("camera", "chelsea"),
    ("moon", "coins"),
    ("astronaut", "brick"),
    ("coffee", "page"),
    ("gravel", "astronaut"),
    ("rocket", "camera"),
    ("chelsea", "grass"),
    ("coins", "text"),
)
"""Photographs that come with scikit-image itself (none is downloaded): for the amplitude and for the phase."""


def natural_image(shape: tuple[int, int], *, seed: int = 0) -> Transmission:
    """One photograph as amplitude (0.4-1) and another as phase (-pi/2 to pi/2): nothing tells the two apart but physics.

    The seed picks the pair, in turn through `NATURAL_PAIRS`.
    """
    _checked(shape)
    names = NATURAL_PAIRS[seed % len(NATURAL_PAIRS)]
    amplitude, phase = (textures.stretch(textures.fit(_photograph(name), shape)) for name in names)
    return _transmission(0.4 + 0.6 * amplitude, np.pi * (phase - 0.5))


def _photograph(name: str) -> Image:
    from skimage import color, data  # imported late: scikit-image is slow to load

    photographs: dict[str, Callable[[], np.ndarray]] = {
        "astronaut": data.astronaut,
        "brick": data.brick,
        "camera": data.camera,
        "chelsea": data.chelsea,
        "coffee": data.coffee,
        "coins": data.coins,
        "grass": data.grass,
        "gravel": data.gravel,
        "moon": data.moon,
        "page": data.page,
        "rocket": data.rocket,
        "text": data.text,
    }
    image = photographs[name]()
    return color.rgb2gray(image) if image.ndim == 3 else image / 255.0


def textured(shape: tuple[int, int], *, seed: int = 0) -> Transmission:
    """The demonstration sample: structure at every scale, amplitude 0.5-1 and phase -1 to 1 rad nowhere alike.

    Amplitude: random field of power k^-2.4 and soft lines (60 on 512 px); phase: field of power k^-2.6 and a star of
    36 spokes. The common problem on which packages are compared.
    """
    height, width = _checked(shape)
    generator = np.random.default_rng(seed)
    count = round(60 * np.sqrt(height * width) / 512)
    strokes = textures.draw_segments(shape, textures.random_segments(shape, count, generator), 2.5)
    amplitude = textures.power_law_field(shape, 2.4, generator) - 0.35 * strokes
    spokes = textures.star(shape, 36, 0.35 * min(shape), generator.uniform(0, 0.17))
    phase = textures.power_law_field(shape, 2.6, generator) + 0.6 * spokes
    return _transmission(0.5 + 0.5 * textures.stretch(amplitude), 2 * textures.stretch(phase) - 1)


OBJECTS: dict[str, Callable[..., Transmission]] = {
    "siemens": siemens_star,
    "lines": lines,
    "grf": gaussian_random_field,
    "features": large_features,
    "cells": blood_smear,
    "circuit": integrated_circuit,
    "natural": natural_image,
    "textured": textured,
}
"""Samples by the names used on the command line."""


def _checked(shape: tuple[int, int]) -> tuple[int, int]:
    if len(shape) != 2 or min(shape) < 16:
        raise InputError(f"object of shape {tuple(shape)}; expected (rows, columns) of at least 16 pixels each")
    return shape


def _absorbing(thickness: Image, *, amplitude: float, phase_rad: float) -> Transmission:
    """Transmission of one material: at thickness 1 it has this amplitude and phase, else in proportion (Beer-Lambert)."""
    return _transmission(amplitude**thickness, phase_rad * thickness)


def _transmission(amplitude: Image, phase_rad: Image) -> Transmission:
    return torch.from_numpy(np.clip(amplitude, 0.0, 1.0) * np.exp(1j * phase_rad)).to(torch.complex64)
