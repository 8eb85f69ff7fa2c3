"""A tiny asymmetric measurement, computed with nothing but numpy slices and an FFT: the oracle for signs and axes."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from exitwave.data.estimate import PtychoEstimate
from exitwave.data.geometry import Geometry
from exitwave.data.patterns import ArrayPatterns
from exitwave.data.scan import Scan

HEIGHT, WIDTH = 16, 20
ENERGY_EV, DISTANCE_M, DETECTOR_PIXEL_M = 8000.0, 1.5, (75e-6, 55e-6)
# First row and column of each window. No mirror image or transpose of this set is a shift of it.
CORNERS = np.array(
    [(0, 0), (1, 5), (2, 11), (4, 17), (6, 1), (7, 8), (9, 13), (11, 3), (12, 19), (14, 6), (15, 10), (20, 2)]
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Oracle:
    """What was simulated and what a reader must give back."""

    object: np.ndarray
    probe: np.ndarray
    patterns: np.ndarray
    """(12, 16, 20) whole counts, float64."""
    positions_m: np.ndarray
    mask: np.ndarray
    scan: Scan


def pattern(obj: np.ndarray, probe: np.ndarray, row: int, column: int) -> np.ndarray:
    """Counts of the window whose first pixel is (row, column), beam centre at [h // 2, w // 2]."""
    wave = probe * obj[row : row + HEIGHT, column : column + WIDTH]
    far = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(wave), norm="ortho"))
    return np.round(np.abs(far) ** 2)


@pytest.fixture(scope="session")
def oracle() -> Oracle:
    rng = np.random.default_rng(7)
    shape = (HEIGHT + 24, WIDTH + 24)
    obj = rng.uniform(0.4, 1.0, shape) * np.exp(1j * rng.uniform(-1.0, 1.0, shape))
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    bump = np.exp(-(((y - 7) / 3.0) ** 2) - ((x - 11) / 4.5) ** 2)
    probe = 60 * bump * np.exp(1j * (0.05 * (y - 7) ** 2 - 0.03 * x))
    patterns = np.stack([pattern(obj, probe, row, column) for row, column in CORNERS])
    geometry = Geometry.from_energy(ENERGY_EV, DISTANCE_M, DETECTOR_PIXEL_M)
    positions = CORNERS * np.asarray(geometry.object_pixel_m((HEIGHT, WIDTH))) - 3e-7
    mask = np.ones((HEIGHT, WIDTH), dtype=bool)
    mask[2, 3] = mask[5, 17] = mask[11, 4] = False
    scan = Scan(
        patterns=ArrayPatterns(torch.from_numpy(patterns.astype(np.float32))),
        positions_m=torch.from_numpy(positions),
        geometry=geometry,
        mask=torch.from_numpy(mask),
        monitor=torch.linspace(0.9, 1.1, len(CORNERS)),
        provenance={"sample": "oracle"},
    )
    return Oracle(object=obj, probe=probe, patterns=patterns, positions_m=positions, mask=mask, scan=scan)


@pytest.fixture(scope="session")
def truth(oracle: Oracle) -> PtychoEstimate:
    """The true object, probe and positions of the oracle."""
    return PtychoEstimate(
        object=torch.from_numpy(oracle.object.astype(np.complex64))[None],
        probe=torch.from_numpy(oracle.probe.astype(np.complex64))[None],
        positions_px=torch.from_numpy(CORNERS.astype(np.float64)),
    )


@pytest.fixture(scope="session")
def explain(oracle: Oracle) -> Callable[[Scan], None]:
    """Fails unless each frame of a scan is what the object looks like where its position says."""

    def check(scan: Scan) -> None:
        assert scan.object_pixel_m == pytest.approx(oracle.scan.object_pixel_m, rel=1e-5)
        steps = scan.positions_m.numpy() / np.asarray(scan.object_pixel_m)
        corners = np.round(steps - steps.min(axis=0)).astype(int)
        np.testing.assert_allclose(steps - steps.min(axis=0), corners, atol=0.02)
        expected = np.stack([pattern(oracle.object, oracle.probe, row, column) for row, column in corners])
        # Within rounding: some formats store amplitudes.
        found, trusted = scan.frames(slice(None)).numpy(), scan.mask.numpy()
        assert trusted[oracle.mask].all()
        # What stands in pixels that the file distrusts means nothing.
        np.testing.assert_allclose(found[:, trusted], expected[:, trusted].astype(np.float32), rtol=1e-6, atol=1e-3)

    return check
