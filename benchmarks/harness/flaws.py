"""Healthy made scans of many kinds, and what can go wrong with one: wrong geometry, order, positions, pixels, too little data."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor

import exitwave as ew
from exitwave.data import prepare
from exitwave.data.patterns import ArrayPatterns
from exitwave.simulation.objects import OBJECTS
from exitwave.simulation.probes import PROBES

Flaw = Callable[[ew.Scan, ew.PtychoEstimate], tuple[ew.Scan, ew.PtychoEstimate]]
"""Spoils a scan; the truth that comes with it is that of the frames that are left."""
NEAR: Mapping[str, Any] = {
    "energy_ev": 12_650.0,
    "distance_m": 1.12,
    "detector_pixel_m": 55e-6,
    "focus_distance_m": 3.65e-3,
}
"""Geometry of a magnified near-field scan."""
FRAME_PX = 48


@dataclass(frozen=True)
class Recipe:
    """A scan to be made."""

    name: str
    options: Mapping[str, Any]
    """Of `ew.simulate`."""
    modes: int = 1

    def made(self, seed: int) -> ew.Simulated[ew.Scan, ew.PtychoEstimate]:
        return ew.simulate(**self.options, modes=self.modes, frame_px=FRAME_PX, seed=seed)


def healthy() -> list[Recipe]:
    """Every sample under every probe, 1e4 to 1e7 photons a frame, three kinds of scan, some with two modes; and near field."""
    recipes: list[Recipe] = []
    for n, (sample, probe) in enumerate(product(OBJECTS, PROBES)):
        photons = (1e4, 1e5, 1e6, 1e7)[(n + n // 6) % 4]
        options = {
            "object_name": sample,
            "probe_name": probe,
            "trajectory": ("jittered", "fermat", "concentric")[n % 3],
            "frames": (64, 81, 49)[n // 3 % 3],
            "overlap": (0.7, 0.65, 0.75)[n % 3],
            "photons_per_frame": photons,
        }
        modes = 2 if n % 6 == n // 6 % 6 else 1
        recipes.append(Recipe(f"{sample}, {probe}, {photons:.0e}{_modes(modes)}", options, modes))
    for n, sample in enumerate([*OBJECTS, "siemens", "cells", "natural", "grf"]):
        photons = (1e5, 1e6, 1e7)[n % 3]
        probe = ("zone_plate", "disc")[n % 2]
        options = {
            "object_name": sample,
            "probe_name": probe,
            "trajectory": ("jittered", "fermat", "concentric")[n % 3],
            "frames": 64,
            "overlap": 0.75,
            "photons_per_frame": photons,
            **NEAR,
        }
        modes = 2 if n >= 10 else 1
        recipes.append(Recipe(f"near field: {sample}, {probe}, {photons:.0e}{_modes(modes)}", options, modes))
    return recipes


def _modes(modes: int) -> str:
    return f", {modes} modes" if modes > 1 else ""


def _base(sample: str, probe: str, photons: float, **further: Any) -> Recipe:
    options = {"object_name": sample, "probe_name": probe, "photons_per_frame": photons, "frames": 64, "overlap": 0.7}
    return Recipe(f"{sample}, {probe}, {photons:.0e}", options | further)


BASES = (
    _base("grf", "zone_plate", 1e6),
    _base("cells", "multilayer_laue", 1e5, trajectory="fermat"),
    _base("circuit", "zone_plate", 1e5, overlap=0.75),
    _base("natural", "kb", 1e6),
    _base("features", "zone_plate", 1e7),
)
"""Scans that are spoilt, in turn."""
RASTERS = (
    _base("grf", "zone_plate", 1e6, trajectory="raster", frames=100),
    _base("cells", "kb", 1e5, trajectory="raster", frames=225),
)
"""Scans in even rows."""
NEAR_BASES = (
    _base("siemens", "zone_plate", 1e6, overlap=0.75, **NEAR),
    _base("natural", "disc", 1e5, overlap=0.75, **NEAR),
)


def counts(scan: ew.Scan) -> Tensor:
    return scan.frames(slice(None))


def counted(scan: ew.Scan, frames: Tensor) -> ew.Scan:
    return replace(scan, patterns=ArrayPatterns(frames))


def geometry(**factors: float) -> Flaw:
    """Wavelength, distance, ... stated so many times too large."""

    def spoil(scan: ew.Scan, truth: ew.PtychoEstimate) -> tuple[ew.Scan, ew.PtychoEstimate]:
        wrong = {name: factor * getattr(scan.geometry, name) for name, factor in factors.items()}
        return replace(scan, geometry=replace(scan.geometry, **wrong)), truth

    return spoil


def regime(focus_distance_m: float | None) -> Flaw:
    """Near field taken for far field, or the other way round."""
    return lambda scan, truth: (
        replace(scan, geometry=replace(scan.geometry, focus_distance_m=focus_distance_m)),
        truth,
    )


def mapped(*rows: tuple[float, float]) -> Flaw:
    """Positions (y, x) multiplied by a matrix."""
    matrix = torch.tensor(rows, dtype=torch.float64)
    return lambda scan, truth: (replace(scan, positions_m=scan.positions_m @ matrix.T), truth)


def turned(degrees: float) -> Flaw:
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return mapped((c, -s), (s, c))


def moved(offsets_px: Callable[[int], np.ndarray]) -> Flaw:
    """Positions off by so many object pixels."""

    def spoil(scan: ew.Scan, truth: ew.PtychoEstimate) -> tuple[ew.Scan, ew.PtychoEstimate]:
        off = torch.from_numpy(offsets_px(len(scan))) * torch.tensor(scan.object_pixel_m, dtype=torch.float64)
        return replace(scan, positions_m=scan.positions_m + off), truth

    return spoil


def drift_px(px: float) -> Flaw:
    return moved(lambda n: np.linspace(0, 1, n)[:, None] * np.array([0.6, 0.8]) * px)


def wander_px(px: float) -> Flaw:
    def path(n: int) -> np.ndarray:
        walk = np.cumsum(np.random.default_rng(5).normal(size=(n, 2)), axis=0)
        return walk / walk.std() * px

    return moved(path)


def random_px(px: float) -> Flaw:
    return moved(lambda n: np.random.default_rng(6).normal(size=(n, 2)) * px)


def reordered(order: Callable[[int], list[int]]) -> Flaw:
    """Frames in another order than their positions."""
    return lambda scan, truth: (counted(scan, counts(scan)[order(len(scan))]), truth)


def selected(chosen: slice) -> Flaw:
    """Only some of the frames."""

    def spoil(scan: ew.Scan, truth: ew.PtychoEstimate) -> tuple[ew.Scan, ew.PtychoEstimate]:
        kept = torch.arange(len(scan))[chosen]
        return prepare.select(scan, kept), replace(truth, positions_px=truth.positions_px[kept])

    return spoil


def frames_changed(change: Callable[[Tensor, np.random.Generator], Tensor]) -> Flaw:
    """Other counts."""
    return lambda scan, truth: (
        counted(scan, change(counts(scan).clone(), np.random.default_rng(3)).float()),
        truth,
    )


def gap(value: float) -> Flaw:
    """Two gaps between modules that read a value and are not masked."""

    def change(frames: Tensor, _: np.random.Generator) -> Tensor:
        half = frames.shape[-1] // 2
        frames[:, half - 12 : half - 9] = value
        frames[:, :, half + 8 : half + 11] = value
        return frames

    return frames_changed(change)


def stuck(value: float) -> Flaw:
    """One pixel that reads a value."""

    def change(frames: Tensor, _: np.random.Generator) -> Tensor:
        frames[:, 20, 31] = value
        return frames

    return frames_changed(change)


def wild(frames: Tensor, _: np.random.Generator) -> Tensor:
    """One frame far too bright, one flat."""
    frames[len(frames) // 2] *= 40
    frames[len(frames) // 3] = frames[len(frames) // 3].mean()
    return frames


def mean_only(frames: Tensor, rng: np.random.Generator) -> Tensor:
    """Every frame the mean of all, with its own noise: no sample in it."""
    return torch.from_numpy(rng.poisson(frames.mean(dim=0).numpy(), tuple(frames.shape)))


def noise_only(frames: Tensor, rng: np.random.Generator) -> Tensor:
    return torch.from_numpy(rng.poisson(20.0, tuple(frames.shape)))


def background(share: float) -> Flaw:
    """A sloping background of so many times the mean count."""

    def change(frames: Tensor, rng: np.random.Generator) -> Tensor:
        slope = torch.linspace(0.2, 1.8, frames.shape[1])[:, None] * float(frames.mean()) * share
        return frames + torch.from_numpy(rng.poisson(slope.expand(frames.shape).numpy()))

    return frames_changed(change)


def starved(photons: float) -> Flaw:
    """So few photons in a frame."""

    def change(frames: Tensor, rng: np.random.Generator) -> Tensor:
        share = photons / float(frames.sum(dim=(1, 2)).mean())
        return torch.from_numpy(rng.binomial(frames.numpy().astype(np.int64), min(share, 1.0)))

    return frames_changed(change)


def _flipped(frames: Tensor, _: np.random.Generator) -> Tensor:
    return frames.flip(2).roll(1, 2)


FLAWS: Mapping[str, Flaw] = {
    "energy +2 %": geometry(wavelength_m=1 / 1.02),
    "energy -2 %": geometry(wavelength_m=1 / 0.98),
    "energy +10 %": geometry(wavelength_m=1 / 1.1),
    "energy -10 %": geometry(wavelength_m=1 / 0.9),
    "energy twice": geometry(wavelength_m=0.5),
    "energy half": geometry(wavelength_m=2.0),
    "distance +5 %": geometry(distance_m=1.05),
    "distance +30 %": geometry(distance_m=1.3),
    "distance twice": geometry(distance_m=2.0),
    "distance half": geometry(distance_m=0.5),
    "axes of the positions swapped": mapped((0.0, 1.0), (1.0, 0.0)),
    "y flipped": mapped((-1.0, 0.0), (0.0, 1.0)),
    "x flipped": mapped((1.0, 0.0), (0.0, -1.0)),
    "both flipped (the twin, a good image)": mapped((-1.0, 0.0), (0.0, -1.0)),
    "frames transposed": frames_changed(lambda frames, _: frames.transpose(1, 2).contiguous()),
    "frames mirrored": frames_changed(_flipped),
    "turned by 3 degrees": turned(3.0),
    "turned by 10 degrees": turned(10.0),
    "turned by 25 degrees": turned(25.0),
    "turned by 90 degrees": turned(90.0),
    "sheared by 10 %": mapped((1.0, 0.1), (0.0, 1.0)),
    "stretched by 6 %": mapped((1.06, 0.0), (0.0, 1.0)),
    "frames off by one": reordered(lambda n: [*range(1, n), 0]),
    "frames off by three": reordered(lambda n: [*range(3, n), 0, 1, 2]),
    "frames in lexical order": reordered(lambda n: sorted(range(n), key=lambda k: str(k + 1))),
    "frames shuffled": reordered(lambda n: np.random.default_rng(1).permutation(n).tolist()),
    "drift of 5 px": drift_px(5.0),
    "drift of 15 px": drift_px(15.0),
    "wandering by 3 px": wander_px(3.0),
    "positions off by 1 px": random_px(1.0),
    "positions off by 3 px": random_px(3.0),
    "gaps at 2^32 - 1": gap(4294967295.0),
    "gaps at 65535": gap(65535.0),
    "gaps at zero": gap(0.0),
    "a pixel stuck at 1e9": stuck(1e9),
    "a pixel stuck at 1e6": stuck(1e6),
    "beam in the corner": frames_changed(lambda frames, _: torch.fft.fftshift(frames, dim=(1, 2))),
    "beam 6 px off": frames_changed(lambda frames, _: frames.roll((6, -6), (1, 2))),
    "saturated at a tenth": frames_changed(lambda frames, _: frames.clamp(max=0.1 * float(frames.max()))),
    "background as bright": background(1.0),
    "background of a tenth": background(0.1),
    "4 frames": selected(slice(27, 31)),
    "9 frames far apart": selected(slice(0, None, 8)),
    "12 frames": selected(slice(24, 36)),
    "every frame alike": frames_changed(mean_only),
    "noise alone": frames_changed(noise_only),
    "300 photons a frame": starved(300.0),
    "3000 photons a frame": starved(3000.0),
    "two wild frames": frames_changed(wild),
    "far field read as near field": regime(3e-3),
}
OFF_BY_ONE: Mapping[str, Flaw] = {
    "frames one too late, in rows": reordered(lambda n: [*range(1, n), 0]),
    "frames one too early, in rows": reordered(lambda n: [n - 1, *range(n - 1)]),
}
NEAR_FLAWS: Mapping[str, Flaw] = {
    "near field read as far field": regime(None),
    "focus distance +10 %": geometry(focus_distance_m=1.1),
    "focus distance twice": geometry(focus_distance_m=2.0),
    "energy +10 %": geometry(wavelength_m=1 / 1.1),
    "energy twice": geometry(wavelength_m=0.5),
    "axes of the positions swapped": mapped((0.0, 1.0), (1.0, 0.0)),
    "both flipped": mapped((-1.0, 0.0), (0.0, -1.0)),
    "turned by 25 degrees": turned(25.0),
    "frames off by one": reordered(lambda n: [*range(1, n), 0]),
    "drift of 5 px": drift_px(5.0),
}
