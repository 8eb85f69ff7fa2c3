"""The page of a crystal: whole in itself, with a surface to turn, cuts in the laboratory, profiles and planes of its pattern."""

import base64
import gzip
import hashlib
import html
import json
import math
import re
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
import torch

import exitwave as ew
from exitwave.physics.crystal.profiles import profile
from exitwave.problems.bragg import rocking_problem
from exitwave.problems.frame_fits import frame_fits
from exitwave.reports.compare_pictures import laid_onto
from exitwave.reports.crystal import page_surface, support_words
from exitwave.reports.crystal_diffraction import transfer, transfer_pictures
from exitwave.reports.crystal_surface import Coloured, packed
from exitwave.reports.page import render
from exitwave.reports.viewer import render_view
from exitwave.reports.views import object_views
from made_crystals import box, curve, sampled

SIDES_M = (150e-9, 120e-9, 200e-9)
SOFT_M = 8e-9


@pytest.fixture(scope="module")
def measured() -> ew.RockingCurve:
    """The rocking curve of a strained box without noise."""
    of = curve("34-ID-C", (32, 40, 36))
    density, q = box(SIDES_M, np.eye(3), SOFT_M), of.scattering_vector
    estimate = sampled(of, density, lambda r: 2e-4 * np.abs(r @ q) / np.linalg.norm(q))
    wave = torch.fft.fftshift(torch.fft.fftn(torch.fft.ifftshift(estimate.object), norm="ortho"))
    return replace(of, patterns=1e6 * wave.abs().square())


@pytest.fixture(scope="module")
def result(measured) -> ew.Result:
    density, q = box(SIDES_M, np.eye(3), SOFT_M), measured.scattering_vector
    estimate = sampled(measured, density, lambda r: 2e-4 * np.abs(r @ q) / np.linalg.norm(q))
    problem = rocking_problem(measured)
    estimate = replace(estimate, beam_photons=torch.tensor(1e6, dtype=torch.float64))
    return ew.Result(
        estimate=estimate,
        geometry=measured.geometry,
        object_pixel_m=measured.object_pixel_m,
        spec={"name": "cdi"},
        history=tuple(0.1 * 0.5**epoch + 0.003 for epoch in range(20)),
        residual=0.0042,
        frame_residual=torch.linspace(0.001, 0.5, 32) ** 4,
        frame_fits=frame_fits(problem, estimate, torch.zeros(32)),
        spread=replace(estimate, object=estimate.object.abs().to(torch.complex64) * 0.1),
        provenance={"scan": {"file": "</script><script>alert(1)</script>.h5"}, "epochs": 20, "ending": "finished"},
    )


@pytest.fixture(scope="module")
def page(result) -> str:
    return render(result)


def test_the_page_loads_nothing_and_runs_nothing_but_its_own_scripts(page, result):
    policy = html.unescape(re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1])
    allowed = re.search(r"script-src ([^;]*)", policy)[1].split()
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert len(scripts) == 2
    digests = ["'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'" for text in scripts]
    assert digests == allowed
    assert "default-src 'none'" in policy
    assert not re.search(r"<(link|iframe|object|embed|base)\b|@import", page)
    assert not re.search(r'\b(src|href)="(?!#|data:)', page)
    assert not re.search(r"https?://(?!www\.w3\.org/)", page)
    assert "<script>alert" not in page
    assert len(page.encode()) < 3e6
    surface = page_surface(result.estimate)
    colours = [Coloured(name="strain", values=surface.strain, unit="")]
    assert packed(surface, colours) == packed(surface, colours), "the same result gives the same page"


def test_pages_of_other_kinds_run_nothing(make_result):
    assert "<script" not in render(make_result())


def test_the_licence_of_what_is_built_in_stands_in_the_page(page):
    assert "The MIT License" in page
    assert "three.js authors" in page


def test_the_surface_in_the_page_is_the_crystal(page, result):
    held = json.loads(re.search(r'id="held">(.*?)</script>', page, re.DOTALL)[1])
    steps = np.frombuffer(gzip.decompress(base64.b64decode(held["points"])), "<u2").reshape(-1, 3)
    points = (steps / 65535 - held["middle"]) * held["size_m"]
    triangles = np.frombuffer(gzip.decompress(base64.b64decode(held["triangles"])), "<u4").reshape(-1, 3)
    np.testing.assert_allclose(np.ptp(points, axis=0), SIDES_M[::-1], rtol=0.06)
    np.testing.assert_allclose((points.max(axis=0) + points.min(axis=0)) / 2, 0, atol=1e-11)
    a, b, c = (points[triangles[:, corner]] for corner in range(3))
    assert np.einsum("ij,ij->", a, np.cross(b, c)) / 6 == pytest.approx(math.prod(SIDES_M), rel=0.06)
    assert [each["name"] for each in held["colours"]] == ["displacement", "strain"]
    for each in held["colours"]:
        values = np.frombuffer(gzip.decompress(base64.b64decode(each["values"])), "<u2")
        assert len(values) == len(points)
        assert values.std() > 1000
    assert held["reach"] * held["size_m"] > np.linalg.norm(points, axis=1).max()
    q = result.estimate.scattering_vector.numpy()[::-1]
    np.testing.assert_allclose(held["q"], q / np.linalg.norm(q), atol=1e-3)


def test_the_page_has_every_picture_of_a_crystal(page):
    labels = [html.unescape(each) for each in re.findall(r'<svg\b[^>]*aria-label="([^"]*)"', page)]
    cuts = ("cut across the beam (x →, y ↑)", "horizontal cut (x →, z ↓)", "vertical cut (z →, y ↑)")
    expected = [f"{what} of the {where}" for where in cuts for what in ("Amplitude", "Displacement", "Strain")]
    expected += [f"Surface of the crystal, coloured by {what}" for what in ("displacement", "strain")]
    expected += [f"Profile of the amplitude along {axis}" for axis in "zyx"]
    planes = ("detector at the peak", "rocking angle and detector column", "rocking angle and detector row")
    kinds = ("measured", "calculated", "difference")
    expected += [f"Diffraction pattern of {plane}, {kind}" for plane in planes for kind in kinds]
    expected += [f"Standard deviation of the {where}" for where in cuts]
    for label in expected:
        assert labels.count(label) == 1, label
    assert any(label.startswith("Phase retrieval transfer") for label in labels)
    ids = re.findall(r' id="([^"]+)"', re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL))
    assert len(ids) == len(set(ids))
    words = re.sub(r"<(svg|style|script).*?</\1>|<.*?>", " ", page, flags=re.DOTALL)
    assert "nan" not in words.lower().split()
    assert "probe" not in words
    # The outer frames of a rocking curve hold noise alone.
    assert "frames fit" not in words


def test_the_headline_tells_the_size_the_strain_and_the_lattice(page, result):
    headline = re.sub("<.*?>", " ", re.search(r'<dl class="headline">(.*?)</dl>', page, re.DOTALL)[1])
    sides = re.search(r"Crystal\s+([\d.]+) × ([\d.]+) × ([\d.]+) nm", headline)
    np.testing.assert_allclose([float(side) for side in sides.groups()], np.array(SIDES_M) * 1e9, rtol=0.05)
    low, high = map(float, re.search(r"Strain\s+(-?[\d.]+) to (-?[\d.]+) · 10⁻⁴", headline).groups())
    assert low == pytest.approx(-2, abs=0.5)
    assert high == pytest.approx(2, abs=0.5)
    assert f"{result.estimate.spacing_m * 1e10:.4g}"[:4] in headline


def test_a_cut_is_seen_with_y_up_and_x_to_the_right(measured):
    def density(r: np.ndarray) -> np.ndarray:
        # Brightest at +x, +y, +z.
        return box(SIDES_M, np.eye(3), SOFT_M)(r) * (1 + r.sum(axis=-1) / 400e-9)

    x = sampled(measured, density)
    result = ew.Result(
        estimate=x, geometry=measured.geometry, object_pixel_m=measured.object_pixel_m, spec={"name": "cdi"}
    )
    brightest = []
    for _, view in object_views(result):
        places = np.argwhere(view.amplitude > 0.85 * view.amplitude.max()).mean(axis=0)
        brightest.append(tuple(places > (np.array(view.amplitude.shape) - 1) / 2))
    # (down, right): +x right and +y up; +x right and +z down; +z right and +y up.
    assert brightest == [(False, True), (True, True), (False, True)]


def test_a_profile_measures_width_and_edges(result):
    crystal = ew.crystal_in_laboratory(result.estimate, voxel_m=4e-9)
    for axis, side in enumerate(SIDES_M):
        found = profile(crystal, axis)
        assert found.width_m == pytest.approx(side, rel=0.05)
        # From 10 to 90 % of a Gaussian's integral: 2.56 standard deviations, widened by the voxels of the array.
        for edge in found.edges_m:
            assert 2.56 * SOFT_M < edge < 2.56 * SOFT_M + 12e-9


def test_starts_that_disagree_lower_the_transfer(result):
    fits = result.frame_fits
    q, whole = transfer(result)
    np.testing.assert_allclose(whole, 1, atol=0.02)
    assert (np.diff(q) > 0).all()
    quarter = replace(fits, calculated=fits.calculated / 4)
    np.testing.assert_allclose(transfer(replace(result, frame_fits=quarter))[1], 0.5, atol=0.02)
    assert list(transfer_pictures(result))
    assert not list(transfer_pictures(replace(result, spread=None)))
    assert not list(transfer_pictures(replace(result, frame_fits=None)))


def test_planes_of_the_pattern_survive_their_file(result, tmp_path):
    ew.write(result, tmp_path / "out.h5")
    back = ew.read_result(tmp_path / "out.h5").frame_fits
    assert back.planes
    assert back.names == result.frame_fits.names
    assert torch.equal(torch.nan_to_num(back.measured), torch.nan_to_num(result.frame_fits.measured))
    # Across the angle (row, column), the row (angle, column) and the column (angle, row).
    shapes = [tuple(int(n) for n in (plane.isfinite().any(dim=d).sum() for d in (1, 0))) for plane in back.calculated]
    assert shapes == [(40, 36), (32, 36), (32, 40)]


def test_the_viewer_has_displacement_and_strain(result):
    names = [
        layer["name"] for layer in json.loads(re.search(r'id="held">(.*?)</script>', render_view(result))[1])["layers"]
    ]
    assert names[:4] == [
        f"cut across the beam (x →, y ↑): {what}" for what in ("amplitude", "displacement", "strain", "phase")
    ]


def test_crystals_are_compared_in_one_pose(result):
    x = result.estimate
    twin = replace(
        x,
        object=x.object.conj().flip((0, 1, 2)).roll((3, 2, 2), (0, 1, 2)),
        support=x.support.flip((0, 1, 2)).roll((3, 2, 2), (0, 1, 2)),
    )
    shown = laid_onto(x, "first", [("twin", replace(result, estimate=twin))], result)
    assert [len(sample.cuts) for sample in shown] == [3, 3]
    for first, other in zip(*(sample.cuts for sample in shown), strict=True):
        np.testing.assert_allclose(other.amplitude, first.amplitude, atol=0.05)
        u, v = (next(each.values for each in view.maps if each.name == "displacement") for view in (first, other))
        both = np.isfinite(u) & np.isfinite(v)
        assert both.sum() > 0.9 * np.isfinite(u).sum()
        np.testing.assert_allclose(v[both], u[both], atol=2)


def test_a_large_crystal_is_turned_with_fewer_triangles(result):
    usual = ew.crystal_surface(ew.crystal_in_laboratory(result.estimate))
    most = len(usual.triangles) // 3
    coarse = page_surface(result.estimate, most)
    assert most / 2 < len(coarse.triangles) < 1.2 * most
    assert coarse.volume_m3 == pytest.approx(usual.volume_m3, rel=0.05)
    assert len(page_surface(result.estimate, 10**6).triangles) == len(usual.triangles)


def test_a_support_in_pieces_is_told(result):
    support = result.estimate.support.clone()
    assert support_words(result.estimate).endswith("in one piece")
    support[1, 1, 1] = True
    assert support_words(replace(result.estimate, support=support)).endswith("in 2 pieces")


@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_a_crystal_of_which_nothing_is_left_still_makes_a_page(result, value):
    empty = replace(result.estimate, object=torch.full_like(result.estimate.object, value))
    text = render(replace(result, estimate=empty, spread=None, frame_fits=None))
    assert "Amplitude of the middle cut across z" in text
    assert "<script>" not in text


def test_figures_of_crystals_and_rocking_curves(result, measured):
    titles = [axes.get_title() for axes in ew.plot(result).axes]
    assert {"displacement (pm)", "strain (10⁻⁴)", "residual"} <= set(titles)
    assert "displacement (pm)" in [axes.get_title() for axes in result.estimate.plot().axes]
    assert "photons in each frame" in [axes.get_title() for axes in measured.plot().axes]


@pytest.mark.skipif(shutil.which("node") is None, reason="checks the script with node, which is not here")
def test_the_scripts_of_the_page_are_javascript(page, tmp_path):
    for text in re.findall(r"<script>(.*?)</script>", page, re.DOTALL):
        (tmp_path / "page.js").write_text(text, encoding="utf-8")
        subprocess.run(["node", "--check", str(tmp_path / "page.js")], check=True)
