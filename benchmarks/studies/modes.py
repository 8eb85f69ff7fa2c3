"""Whether the incoherent modes of a partly coherent beam are found with their shares of the light, from the data alone.

196 frames of 64 pixels, 65 % overlap, 1e6 photons a frame, a zone plate's beam of two modes (71 / 29 % of the light) or four
(62 / 25 / 10 / 4 %). Default options; modes begin as `Setup(modes=...)` begins them. Shares are those of orthogonal modes in
percent; `off` is the largest difference from a true share, in points, at the start of the run and at its end. Error: complex
NRMSE against the truth, after removing shift, ramp and one complex scale. How modes begin was chosen on drawings 11 to 13.
Nothing is timed.
"""

from torch import Tensor

import exitwave as ew
from exitwave.evaluation.align import PTYCHOGRAPHY_GAUGE
from exitwave.evaluation.evaluation import judge
from exitwave.physics.constraints import orthogonal_modes
from exitwave.running.pose import pose
from harness import subprocess_run
from harness.command_line import Seeds, Solvers
from harness.solvers import make
from harness.tables import Row, shown

SAMPLES = ("circuit", "textured", "siemens")
MODES = (2, 4)
METHODS = ("newton", "rpie")
KEY = ("sample", "modes", "seed", "solver")
"""What makes a row another one."""
FILE = "iterative_modes"


def run(*, seeds: Seeds = (0, 1, 2), solvers: Solvers = METHODS) -> list[Row]:
    """One row for each sample, number of modes, drawing and method."""
    rows: list[Row] = []
    for sample in SAMPLES:
        for modes in MODES:
            for seed in seeds:
                case = {"sample": sample, "modes": modes, "seed": seed, "solvers": list(solvers)}
                rows += subprocess_run.call("studies.modes:one", case, 1) or []
    return rows


def one(sample: str, modes: int, seed: int, solvers: list[str]) -> list[Row]:
    """All methods on one drawing, in this process."""
    made = ew.simulate(sample, frame_px=64, frames=196, modes=modes, photons_per_frame=1e6, seed=seed)
    setup, true = ew.Setup(device="cpu", modes=modes), shares(made.truth.probe)
    problem = pose(made.scan, setup)
    start = problem.initial(None, setup)
    rows: list[Row] = []
    for name in solvers:
        solver = make(name)
        assert solver is not None
        found = ew.reconstruct(problem, solver, start=start, setup=setup)
        assert isinstance(found.estimate, ew.PtychoEstimate)
        last = shares(found.estimate.probe)
        row: Row = {"sample": sample, "modes": modes, "seed": seed, "solver": name, "true": true, "found": last}
        row |= {"start_off": furthest(shares(start.probe), true), "off": furthest(last, true)}
        row["residual"] = found.residual
        row["error"] = judge(found.estimate, made.truth, (1.0, 1.0), PTYCHOGRAPHY_GAUGE).metrics["M-NRMSE"]
        rows.append(shown(row))
    return rows


def shares(probe: Tensor) -> list[float]:
    """Of orthogonal modes, the strongest first, percent."""
    powers = orthogonal_modes(probe).abs().double().square().sum(dim=(1, 2))
    return [round(100 * float(power), 1) for power in powers / powers.sum()]


def furthest(found: list[float], true: list[float]) -> float:
    """Largest difference, points."""
    return max(abs(a - b) for a, b in zip(found, true, strict=True))
