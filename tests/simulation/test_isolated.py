"""A made pattern of an isolated object: one frame of an object in empty space, and its truth."""

import pytest
import torch

from exitwave.data.errors import InputError
from exitwave.physics.fourier import fft2, to_centre
from exitwave.simulation.detection import Detection
from exitwave.simulation.isolated import particle, simulate_pattern


def test_the_particle_stands_alone_and_is_complex_throughout():
    obj = particle((96, 96), seed=2)
    there = obj.abs() > 0
    assert 0.05 < float(there.float().mean()) < 0.15
    assert not bool(there[:24].any() or there[-24:].any() or there[:, :24].any() or there[:, -24:].any())
    inside = obj[obj.abs() > 0.3]
    assert float(obj.abs().max()) <= 1
    assert float(inside.angle().max() - inside.angle().min()) > 1.5
    assert float(inside.abs().std()) > 0.05


def test_the_seed_decides():
    assert torch.equal(particle((64, 64), seed=1), particle((64, 64), seed=1))
    assert not torch.equal(particle((64, 64), seed=1), particle((64, 64), seed=2))


def test_the_pattern_is_the_transform_of_the_true_exit_wave():
    made = simulate_pattern(frame_px=48, seed=5, detection=Detection(noise="none", photons_per_frame=3e5))
    wave = made.truth.object * made.truth.beam_photons.sqrt()
    expected = to_centre(fft2(wave)).abs().square()
    assert torch.allclose(made.scan.frames(slice(None))[0], expected, atol=1e-4 * float(expected.max()))
    assert float(expected.sum()) == pytest.approx(3e5, rel=1e-4)
    assert len(made.scan) == 1


def test_what_needs_a_scan_or_does_not_exist_is_refused():
    with pytest.raises(InputError, match="need a scan"):
        simulate_pattern(detection=Detection(drift=0.1))
    with pytest.raises(InputError, match="no isolated object is called 'siemens'; known are isolated"):
        simulate_pattern("siemens")
    with pytest.raises(InputError, match="at least 16"):
        simulate_pattern(frame_px=8)
