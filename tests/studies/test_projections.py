"""Projection methods, WASP and APG from the data alone, over samples, probes and coherence; minutes, by `make studies`."""

import pytest

from exitwave.evaluation.evaluate import evaluate
from exitwave.problems.setup import Setup
from exitwave.running.reconstruct import reconstruct
from exitwave.simulation.measure import simulate
from exitwave.solvers.ptychography.projections import DM, RAAR
from exitwave.solvers.ptychography.proximal import APG
from exitwave.solvers.ptychography.wasp import WASP

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("solver", [DM(), RAAR(), WASP(epochs=150), APG(epochs=200)], ids=lambda solver: solver.name)
@pytest.mark.parametrize(
    ("sample", "probe", "modes"), [("textured", "zone_plate", 1), ("siemens", "zone_plate", 2), ("cells", "disc", 1)]
)
def test_unknown_probe_and_object_are_found_from_the_data_alone(solver, sample, probe, modes):
    made = simulate(sample, probe_name=probe, frame_px=48, frames=100, modes=modes, seed=31)
    found = evaluate(reconstruct(made.scan, solver, setup=Setup(modes=modes)), truth=made.truth).metrics
    assert found["M-NRMSE"] < 0.08
