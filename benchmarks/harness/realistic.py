"""The common problem with what a beamline adds: wrong positions, a partly coherent beam, gaps in the detector, few photons."""

import math
from dataclasses import replace

import torch
from jaxtyping import Bool, Complex
from torch import Tensor

import exitwave as ew
from exitwave.data.patterns import ArrayPatterns
from exitwave.physics.constraints import orthogonal_modes
from exitwave.simulation.objects import textured
from exitwave.simulation.probes import zone_plate
from exitwave.simulation.trajectories import jittered_raster
from harness.problems import APERTURE, GEOMETRY, MARGIN_PX, Trial, well_lit, wrong_probe

FRAME_PX = 128
GRID = (15, 15)
STEP_PX = 16.0
DIAMETER_PX = 60.0
SHARES = (0.7, 0.3)
"""Parts of each exposure in which the beam stands where it is recorded, and aside."""
ASIDE_PX = 5
"""Along x. Far enough to matter: a beam that shakes by one pixel is fitted nearly as well with one mode."""
GAPS = ((slice(82, 88), slice(None)), (slice(None), slice(36, 40)))
"""Between modules of the detector: 6 rows and 4 columns, across the bright ring of the pupil."""
POSITION_ERROR_PX = 1.0
"""Recorded positions are off by this, root mean square of y and of x, each frame by itself."""
ROOM_PX = 6
"""More margin than whole positions need: for frames that were recorded, or are believed, outside the true scan."""


def realistic(seed: int, grid: tuple[int, int] = GRID) -> Trial:
    """225 frames of 128 pixels with 73 % overlap at sub-pixel positions, which were recorded wrong; 1e5 photons a frame.

    A beam that shakes, which is two incoherent modes; gaps between detector modules that are masked. Everybody starts from
    the recorded positions, an empty object and one mode, the wrong probe of the other problems; a second mode is for each
    program to begin.
    """
    shape = (FRAME_PX, FRAME_PX)
    positions = jittered_raster(grid, STEP_PX, jitter=0.15, seed=seed) + MARGIN_PX + ROOM_PX
    height, width = (math.ceil(float(last)) + FRAME_PX + MARGIN_PX + ROOM_PX for last in positions.amax(dim=0))
    probe = shaking(zone_plate(shape, diameter_px=DIAMETER_PX, aperture=APERTURE))
    detection = ew.Detection(photons_per_frame=1e5, position_error_px=POSITION_ERROR_PX)
    made = ew.measure(textured((height, width), seed=seed), probe, positions, GEOMETRY, detection=detection, seed=seed)
    trusted = between_gaps()
    scan = replace(made.scan, patterns=ArrayPatterns(made.scan.frames(slice(None)) * trusted), mask=trusted)
    start = ew.PtychoEstimate(
        object=torch.ones_like(made.truth.object),
        probe=wrong_probe(scan, shape, DIAMETER_PX, seed)[None],
        positions_px=scan.positions_m / torch.tensor(scan.object_pixel_m),
    )
    return Trial(
        name="realistic",
        scan=scan,
        start=start,
        truth=made.truth,
        box=well_lit(made.truth),
        modes=2,
        max_position_error_px=3 * POSITION_ERROR_PX,
    )


def shaking(probe: Complex[Tensor, "y x"]) -> Complex[Tensor, "mode y x"]:
    """A beam that stands in two places during each exposure, as two orthogonal modes, the stronger first."""
    places = (probe, probe.roll(ASIDE_PX, dims=1))
    return orthogonal_modes(torch.stack([math.sqrt(share) * at for share, at in zip(SHARES, places, strict=True)]))


def between_gaps() -> Bool[Tensor, "y x"]:
    """True where the detector has pixels."""
    trusted = torch.ones(FRAME_PX, FRAME_PX, dtype=torch.bool)
    for gap in GAPS:
        trusted[gap] = False
    return trusted
