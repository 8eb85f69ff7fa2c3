"""Simulated 4D-STEM against closed forms."""

import pytest
import torch

from exitwave.data.errors import InputError
from exitwave.physics.fourier import fft2, to_centre, to_corner
from exitwave.simulation.detection import Detection
from exitwave.simulation.stem import Microscope, lattices, simulate_stem

EXACT = Detection(photons_per_frame=1e4, noise="none")


def test_the_sample_absorbs_nothing_and_repeats_with_its_lattice() -> None:
    obj = lattices((156, 156), (0.25e-10, 0.25e-10), seed=3)
    torch.testing.assert_close(obj.abs(), torch.ones(obj.shape))
    # 0.39 nm are 15.6 pixels, five of them 78.
    torch.testing.assert_close(obj[0].roll(78, 0), obj[0], atol=1e-4, rtol=0)
    assert float((obj[1].roll(78, 0) - obj[1]).abs().max()) > 0.1
    assert float(obj.angle().max()) == pytest.approx(0.35, abs=0.03)
    assert float(obj.angle().min()) > -1e-3


def test_frames_hold_the_electrons_asked_for_and_the_disc_is_the_aperture() -> None:
    made = simulate_stem("lattices", microscope=Microscope(scan="3x4"), detection=EXACT)
    assert len(made.scan) == 12
    frames = made.scan.frames(slice(None))
    assert float(frames.sum(dim=(1, 2)).mean()) == pytest.approx(1e4, rel=1e-5)
    assert float(made.truth.probe.abs().square().sum()) == pytest.approx(1e4, rel=1e-3)
    on_detector = to_centre(fft2(to_corner(made.truth.probe[0]))).abs()
    # 20 mrad are 16 pixels of 1.25 mrad.
    assert float(on_detector[32, 32 + 15]) == pytest.approx(float(on_detector[32, 32]), rel=1e-3)
    assert float(on_detector[32, 32 + 17]) < 1e-3 * float(on_detector[32, 32])


def test_the_scan_knows_angles_and_steps_but_nothing_of_the_probe() -> None:
    scan = simulate_stem("lattices", microscope=Microscope(scan="3x4"), detection=EXACT).scan
    assert scan.geometry.optics is None
    assert scan.geometry.angles_only
    assert scan.object_pixel_m[0] == pytest.approx(1.96875e-12 / (64 * 1.25e-3), rel=1e-5)
    assert (scan.positions_m[1] - scan.positions_m[0]).tolist() == pytest.approx([0, 80e-12])


@pytest.mark.parametrize("wrong", [{"kv": 0.0}, {"scan": "4"}, {"step_pm": -1.0}, {"semi_angle_mrad": 60.0}])
def test_what_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError):
        simulate_stem("lattices", microscope=Microscope(**wrong))  # pyright: ignore[reportArgumentType]
