"""What `info` tells: figures with known answers, and suspicions that name a cure."""

from dataclasses import replace

import pytest
import torch

from exitwave.data.geometry import Geometry
from exitwave.problems.inspection import inspect, probe_diameter_px
from scans import GEOMETRY, known_scan


@pytest.fixture(scope="module")
def scan():
    return known_scan(frame=48, side=8, step=8.0, jitter=0.0, photons=1e6).scan


def test_figures_of_a_known_scan(scan):
    found = inspect(scan)
    assert (found.frames, found.frame_shape) == (64, (48, 48))
    assert found.step_px == pytest.approx(8.0)
    assert found.overlap_array == pytest.approx(1 - 8 / 48)
    assert found.photons_per_frame[1] == pytest.approx(1e6, rel=0.1)
    assert found.object_pixel_m == GEOMETRY.object_pixel_m((48, 48))
    assert max(map(abs, found.beam_offset_px)) < 0.5
    assert found.suspicious == ()


def test_probe_diameter_holds_nine_tenths_of_the_light():
    rows = torch.arange(65.0)[:, None] - 32
    disc = (torch.hypot(rows, rows.T) <= 20).to(torch.complex64)
    # Nine tenths of a disc's area lie within sqrt(0.9) of its radius.
    assert probe_diameter_px(disc) == pytest.approx(40 * 0.9**0.5, abs=1.0)


def change(scan, spoil):
    frames = scan.frames(slice(None)).clone()
    spoil(frames)
    return replace(scan, patterns=frames)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda f: f[:, 10, 11].fill_(5e5), "1 pixel masked, stuck"),
        (lambda f: f[:, 24, 24].zero_(), "1 pixel masked, dead"),
        (lambda f: f.clamp_(max=2000), "share the highest count 2000.*--prepare mask_saturated=2000"),
        (lambda f: f.copy_(f.roll((5, -3), (1, 2))), r"\+5\.\d, -3\.\d px .*--prepare recentre"),
        (lambda f: f[:8].mul_(9), "--prepare normalise_by_monitor"),
        (lambda f: f.mul_(1e-4), "only 1.*photons in a typical frame"),
        (lambda f: f[3, 0, 0].fill_(float("nan")), "1 frame left out: 3 .pixels without data."),
    ],
)
def test_what_looks_wrong_is_named_with_its_cure(scan, spoil, words):
    import re

    found = inspect(change(scan, spoil))
    text = "\n".join((*(finding.line for finding in found.findings), *found.suspicious))
    assert re.search(words, text), text


def test_a_wrong_energy_is_suspected(scan):
    kilo = replace(scan, geometry=Geometry.from_energy(8.0, 2.0, (75e-6, 75e-6)))
    assert any("keV" in line or "energy" in line for line in inspect(kilo).suspicious)
