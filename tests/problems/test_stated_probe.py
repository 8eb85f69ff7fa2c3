"""The first probe of an electron microscope: as stated, else by the sample's shadow."""

from dataclasses import replace
from functools import cache

import pytest
import torch

from exitwave.data.estimate import PtychoEstimate
from exitwave.data.optics import ProbeOptics
from exitwave.data.scan import Scan
from exitwave.data.statistics import scan_statistics
from exitwave.problems.inspection import ScanInspection, inspect
from exitwave.problems.probe_guess import guess_probe
from exitwave.simulation.detection import Detection
from exitwave.simulation.measure import Simulated
from exitwave.simulation.stem import Microscope, simulate_stem


@cache
def made(defocus_nm: float = 20.0, aberrations: tuple[str, ...] = ()) -> Simulated[Scan, PtychoEstimate]:
    microscope = Microscope(scan="14x14", defocus_nm=defocus_nm, aberrations=aberrations, slice_spacing_nm=1.0)
    return simulate_stem("lattices", microscope=microscope, detection=Detection(photons_per_frame=1e5))


def stating(scan: Scan, optics: ProbeOptics) -> Scan:
    return replace(scan, geometry=replace(scan.geometry, optics=optics))


def likeness(scan: Scan, probe: torch.Tensor) -> float:
    found = guess_probe(scan, scan_statistics(scan).mean_pattern)
    return float((found.conj() * probe).sum().abs() / (found.norm() * probe.norm()))


def test_what_is_stated_makes_the_probe_that_was_there() -> None:
    microscope = Microscope(aberrations=("C12=10nm,40deg", "C30=0.05mm"))
    true = made(aberrations=microscope.aberrations)
    assert likeness(stating(true.scan, microscope.optics), true.truth.probe[0]) > 0.9999
    assert likeness(stating(true.scan, Microscope().optics), true.truth.probe[0]) < 0.8


def test_without_a_semi_angle_the_measured_disc_takes_its_place() -> None:
    true = made()
    assert likeness(stating(true.scan, ProbeOptics(defocus_m=20e-9)), true.truth.probe[0]) > 0.99


@pytest.mark.parametrize("defocus_nm", [20.0, -20.0])
def test_the_shadow_tells_defocus_and_sign(defocus_nm: float) -> None:
    true = made(defocus_nm)
    assert likeness(true.scan, true.truth.probe[0]) > 0.9
    found = inspect(true.scan)
    assert isinstance(found, ScanInspection)
    assert found.shadow_defocus_m == pytest.approx(1e-9 * defocus_nm, rel=0.15)


def test_a_stated_defocus_of_the_other_sign_is_doubted() -> None:
    wrong, right = (inspect(stating(made().scan, ProbeOptics(defocus_m=d * 1e-9))) for d in (-20, 20))
    assert any("as with a defocus of 2" in line and "--position-sign" in line for line in wrong.suspicious)
    assert not any("defocus" in line for line in right.suspicious)


def test_a_stated_semi_angle_that_is_not_that_of_the_disc_is_doubted() -> None:
    wrong, right = (inspect(stating(made().scan, ProbeOptics(semi_angle_rad=a * 1e-3))) for a in (30, 20))
    assert any("30 mrad are stated" in line for line in wrong.suspicious)
    assert not any("stated" in line for line in right.suspicious)
