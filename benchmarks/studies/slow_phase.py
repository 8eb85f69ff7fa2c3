"""Whether images hold slow phase that the photons do not tell: agreement of halves and error, regime by regime.

Every method with its default options, from the data alone. `split`: relative difference of two reconstructions from
disjoint halves of the frames, as a share of what varies in the image; `error`: of the image from all frames against the
truth; both after removing shift, ramp and one complex scale. A method that leaves slow phase alone agrees with itself and
may be wrong: look at both. Options of `newton` were chosen on drawings 11 and 12. Nothing is timed.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch

import exitwave as ew
from exitwave.evaluation.align import PTYCHOGRAPHY_GAUGE
from exitwave.evaluation.evaluation import judge
from exitwave.simulation.objects import OBJECTS
from exitwave.simulation.probes import gaussian, zone_plate
from exitwave.simulation.trajectories import jittered_raster
from harness import problems, subprocess_run
from harness.command_line import Seeds, Solvers
from harness.solvers import make
from harness.tables import Row, shown

METHODS = ("newton", "rpie", "mpie", "lsqml", "lbfgs")
KEY = ("regime", "seed", "solver")
"""What makes a row another one."""
FILE = "iterative_slow_phase"
NEAR = ew.Geometry(wavelength_m=1e-10, distance_m=0.1, detector_pixel_m=(1e-6, 1e-6), focus_distance_m=math.inf)


@dataclass(frozen=True, kw_only=True)
class Regime:
    """A sample, a beam and a scan."""

    grid: tuple[int, int] = (10, 10)
    frame_px: int = 64
    overlap: float = 0.65
    photons: float = 1e6
    contrast: float = 1.0
    """Factor on the logarithm of the sample's transmission."""
    near_field: bool = False


REGIMES = {
    "far field": Regime(),
    "near field": Regime(grid=(12, 12), overlap=0.75, near_field=True),
    "20 frames": Regime(grid=(4, 5), frame_px=128),
    "low dose": Regime(photons=1e4),
    "weak": Regime(contrast=0.1),
    "strong": Regime(grid=(12, 12), overlap=0.75, contrast=3.0),
    "near field, weak": Regime(grid=(12, 12), overlap=0.75, near_field=True, contrast=0.2),
}


def run(*, seeds: Seeds = (0,), solvers: Solvers = METHODS) -> list[Row]:
    """One row for each regime, drawing and method; the real near-field scan last, where it is at hand."""
    rows: list[Row] = []
    cases = [(name, seed) for name in REGIMES for seed in seeds]
    cases += [("PETRA III", 0)] if problems.PETRA.exists() else []
    for name, seed in cases:
        for solver in solvers:
            found = subprocess_run.call("studies.slow_phase:one", {"name": name, "seed": seed, "solver": solver}, 1)
            rows += [shown(found)] if found else []
    return rows


def one(name: str, seed: int, solver: str) -> Row:
    """One method on one drawing, in this process."""
    chosen, setup, truth = make(solver), ew.Setup(device="cpu"), None
    assert chosen is not None
    if name in REGIMES:
        made = measured(REGIMES[name], seed)
        scan, truth = made.scan, made.truth
    else:
        scan = problems.petra()
    whole = ew.reconstruct(scan, chosen, setup=setup)
    first, second = ew.reconstruct_halves(scan, chosen, whole, setup=setup)
    row: dict[str, Any] = {"regime": name, "seed": seed, "solver": solver, "residual": whole.residual}
    row["split"] = ew.compare_halves(first.estimate, second.estimate).metrics["M-NRMSE-split"]
    error = None if truth is None else judge(whole.estimate, truth, (1.0, 1.0), PTYCHOGRAPHY_GAUGE).metrics["M-NRMSE"]
    return row | {"error": error}


def measured(regime: Regime, seed: int) -> ew.Simulated[ew.Scan, ew.PtychoEstimate]:
    """A drawing of a regime: textured sample; a defocused zone plate's beam, or a broad textured one in the near field."""
    shape = (regime.frame_px, regime.frame_px)
    diameter = (0.6 if regime.near_field else 0.47) * regime.frame_px
    probe = zone_plate(shape, diameter_px=diameter)
    if regime.near_field:
        probe = gaussian(shape, diameter_px=diameter) * OBJECTS["grf"](shape, seed=seed + 100)
    step = (1 - regime.overlap) * diameter
    positions = jittered_raster(regime.grid, step, jitter=0.15, seed=seed) + problems.MARGIN_PX
    height, width = (math.ceil(float(last)) + shape[0] + problems.MARGIN_PX for last in positions.amax(dim=0))
    plain = OBJECTS["textured"]((height, width), seed=seed)
    obj = torch.polar(plain.abs() ** regime.contrast, plain.angle() * regime.contrast)
    geometry = NEAR if regime.near_field else problems.GEOMETRY
    detection = ew.Detection(photons_per_frame=regime.photons)
    return ew.measure(obj, probe, positions, geometry, detection=detection, seed=seed)
