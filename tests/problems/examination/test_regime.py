"""Near or far field is decided by the frames: what was read in the other regime is refused with the option to type."""

import itertools
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest

from exitwave.data import prepare
from exitwave.data.errors import InputError
from exitwave.data.scan import Scan
from exitwave.data.statistics import scan_statistics
from exitwave.io.assemble import ReadOptions
from exitwave.io.files import read
from exitwave.problems.examination import examine
from exitwave.problems.examination.regime import regime_findings
from exitwave.problems.inspection import ScanInspection, inspect
from exitwave.problems.setup import Setup
from exitwave.problems.shadow_motion import shadow_motion
from exitwave.running.reconstruct import reconstruct
from exitwave.simulation.measure import simulate
from exitwave.simulation.objects import OBJECTS
from exitwave.simulation.probes import PROBES
from exitwave.simulation.trajectories import TRAJECTORIES
from exitwave.solvers.ptychography.pie import RPIE

STAR = Path(__file__).parents[3].parent / "shared/data/PETRAIII_P25_Near_Field_Ptycho.cxi"
PARALLEL = {"energy_ev": 20000.0, "distance_m": 0.1, "detector_pixel_m": 1e-6, "focus_distance_m": math.inf}


def made(**options) -> Scan:
    usual = {"frames": 49, "frame_px": 64, "probe_name": "gaussian", "photons_per_frame": 1e5}
    return simulate("natural", **usual | options).scan


def stated(scan: Scan, focus_distance_m: float | None) -> Scan:
    return replace(scan, geometry=replace(scan.geometry, focus_distance_m=focus_distance_m))


def told(scan: Scan) -> dict[str, tuple[str, str]]:
    names = ("regime", "magnification", "shadow-turned")
    return {f.name: (f.action, f.cure) for f in examine(scan).findings if f.name in names}


@pytest.mark.parametrize("focus", [0.03, 0.01])
def test_a_cone_beam_read_as_far_field_is_refused_with_its_focus_distance(focus):
    action, cure = told(stated(made(focus_distance_m=focus), None))["regime"]
    assert action == "refused"
    assert float(cure.removeprefix("--focus-distance-m ")) == pytest.approx(focus, rel=0.08)


def test_a_parallel_beam_read_as_far_field_is_refused_with_inf():
    assert told(stated(made(**PARALLEL), None))["regime"] == ("refused", "--focus-distance-m inf")


@pytest.mark.parametrize("options", [{"focus_distance_m": 0.03}, PARALLEL, {}, {"probe_name": "multilayer_laue"}])
def test_what_was_read_as_it_was_measured_passes(options):
    assert told(made(**options)) == {}


def test_far_field_read_as_near_field_is_refused():
    action, cure = told(stated(made(), 0.03))["regime"]
    assert (action, cure) == ("refused", "leave out --focus-distance-m")


def test_a_focus_distance_that_is_far_off_is_told():
    scan = made(focus_distance_m=0.03, diameter_px=50, overlap=0.8)
    action, cure = told(stated(scan, 0.01))["magnification"]
    assert action == "warned"
    assert float(cure.removeprefix("--focus-distance-m ")) == pytest.approx(0.03, rel=0.08)


@pytest.mark.parametrize("turn", ["fliplr", "flipud", "transpose", "antitranspose", "rot90_cw", "rot90_ccw"])
def test_turned_frames_of_the_near_field_are_told_with_the_orientation_that_mends_them(turn):
    scan = prepare.orient(made(focus_distance_m=0.03), turn)
    action, cure = told(scan)["shadow-turned"]
    assert action == "warned"
    mended = prepare.orient(scan, cure.removeprefix("--orientation "))
    assert "shadow-turned" not in told(mended)


def test_positions_of_the_wrong_sign_are_told_in_the_near_field():
    scan = made(focus_distance_m=0.03)
    scan = replace(scan, positions_m=-scan.positions_m, provenance={"position_sign": "sample"})
    assert told(scan)["shadow-turned"] == ("warned", "--position-sign probe")


def test_a_run_stops_unless_data_are_taken_as_they_are():
    scan = stated(made(focus_distance_m=0.03, overlap=0.9), None)
    with pytest.raises(InputError, match=r"shadow moves with the stage.*--focus-distance-m 0\.0.*--as-is"):
        reconstruct(scan, RPIE(epochs=1))
    assert reconstruct(scan, RPIE(epochs=1), setup=Setup(as_is=True)).provenance["epochs"] == 1


def test_an_inspection_tells_the_magnification_of_the_motion():
    scan = made(focus_distance_m=0.03)
    found = inspect(scan)
    assert isinstance(found, ScanInspection)
    assert found.moving_magnification == pytest.approx(scan.geometry.magnification, rel=0.05)
    still = inspect(made())
    assert isinstance(still, ScanInspection)
    assert still.moving_magnification is None


@pytest.mark.skipif(not STAR.exists(), reason="the PETRA III near-field scan is not here")
def test_the_petra_star_read_without_options_stops_with_its_focus_distance():
    with pytest.raises(InputError) as refused:
        reconstruct(read(STAR), RPIE(epochs=1))
    focus = re.search(r"--focus-distance-m (\S+)", str(refused.value))
    assert focus is not None
    assert float(focus[1]) == pytest.approx(3.65e-3, rel=0.03)
    assert told(read(STAR, ReadOptions(focus_distance_m=float(focus[1])))) == {}


@pytest.mark.slow
def test_no_healthy_scan_is_told_to_be_of_the_other_regime():
    """Every sample with every probe, near and far, at three doses, on all trajectories: no false alarm."""
    wrong: list[str] = []
    for number, (name, probe, focus, photons) in enumerate(
        itertools.product(OBJECTS, PROBES, (None, 0.03), (300.0, 1e4, 1e6))
    ):
        scan = simulate(
            name,
            probe_name=probe,
            focus_distance_m=focus,
            photons_per_frame=photons,
            trajectory=list(TRAJECTORIES)[number % len(TRAJECTORIES)],
            frames=(25, 64)[number % 2],
            frame_px=64,
            seed=number,
        ).scan
        motion = shadow_motion(scan, scan_statistics(scan).mean_pattern)
        if regime_findings(scan, motion):
            wrong.append(f"{name} {probe} {focus} {photons}")
    assert wrong == []
