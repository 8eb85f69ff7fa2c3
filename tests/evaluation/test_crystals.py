"""Crystals judged: what a rocking curve cannot know is taken off, what is wrong is measured."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import exitwave as ew
import made_crystals as made
from exitwave.evaluation.cdi_alignment import shifted
from exitwave.evaluation.comparison import align_estimate
from exitwave.evaluation.gauge import same_gauge
from exitwave.physics.crystal.phase import sloped
from exitwave.physics.fourier import conjugate_inverse

CURVE = made.curve()
ALONG = CURVE.scattering_vector / np.linalg.norm(CURVE.scattering_vector)
ACROSS = np.cross(ALONG, [0.0, 1.0, 0.0])


def crystal(bend: float = 3e4) -> ew.BraggEstimate:
    """Without any symmetry that a twin would have, too."""
    shape = made.box((140e-9, 110e-9, 90e-9), np.eye(3), 9e-9)
    return made.sampled(
        CURVE,
        lambda r: shape(r) * (1 - 0.3 * (r[..., 0] > 20e-9)),
        lambda r: bend * (r @ ALONG) * (r @ ACROSS) + 2e11 * (r @ ALONG) ** 3,
    )


def in_other_gauge(x: ew.BraggEstimate, *, twin: bool = True, slope=(0.21, -0.13, 0.4), shift=(2.3, -1.4, 0.7)):
    """The same crystal as another start on a moved pattern would give it."""
    moved = torch.from_numpy(sloped(shifted(x.object, shift).numpy(), np.array(slope)).astype(np.complex64)) * 2j
    obj = conjugate_inverse(moved).resolve_conj() if twin else moved
    return replace(x, object=obj, support=obj.abs() > 0.04)


def result_of(x: ew.BraggEstimate) -> ew.Result:
    return ew.Result(
        estimate=x, geometry=CURVE.geometry, object_pixel_m=CURVE.object_pixel_m, spec={"name": "none"}, residual=0.02
    )


def test_shift_twin_phase_slope_and_scale_are_nobodys_error():
    truth = crystal()
    found = ew.evaluate(result_of(in_other_gauge(truth)), truth=truth)
    for name in ("M-NRMSE", "phase-error", "strain-error"):
        assert found.metrics[name] < 0.01, name
    for name in ("M-SSIM3D", "amplitude-correlation", "FSC-half-bit"):
        assert found.metrics[name] > 0.999, name
    assert found.metrics["support-IoU"] > 0.9
    assert found.metrics["M-chi2"] < 1e-4
    assert found.alignment["twin"] is True
    assert found.alignment["scale"] == pytest.approx(0.5, rel=1e-3)
    np.testing.assert_allclose(found.alignment["ramp_rad_px"], (0.21, -0.13, 0.4), atol=1e-3)
    np.testing.assert_allclose(found.alignment["shift_px"], (-2.3, 1.4, -0.7), atol=0.03)
    assert "ramp" in found.alignment["removed"]
    json.dumps(found.to_json(), allow_nan=False)


def test_errors_of_shape_phase_and_strain_are_told_apart():
    truth = crystal()
    bent = ew.evaluate(result_of(crystal(bend=6e4)), truth=truth).metrics
    r = made.places_m(CURVE)
    expected = np.sqrt(np.mean(((3e4 * (r @ ACROSS))[truth.object.abs().numpy() > 0.3]) ** 2))
    assert bent["strain-error"] == pytest.approx(expected, rel=0.1)
    assert bent["phase-error"] > 0.3
    assert bent["amplitude-correlation"] > 0.99
    assert bent["support-IoU"] > 0.99
    cut = replace(truth, object=truth.object * (torch.arange(32) < 17), support=truth.support & (torch.arange(32) < 17))
    half = ew.evaluate(result_of(cut), truth=truth).metrics
    assert half["support-IoU"] < 0.7
    assert half["amplitude-correlation"] < 0.8
    assert half["M-chi2"] > 0.05


def test_noise_ends_the_shells_where_it_outweighs_the_crystal():
    truth = crystal()
    noise = torch.randn(truth.object.shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(2))
    figures = [
        ew.evaluate(result_of(replace(truth, object=truth.object + sigma * noise * truth.support)), truth=truth).metrics
        for sigma in (0.05, 0.5, 3.0)
    ]
    resolved = [each["FSC-half-bit"] for each in figures]
    assert 1 >= resolved[0] > resolved[1] > resolved[2]
    assert figures[0]["M-NRMSE"] < figures[1]["M-NRMSE"]


def test_starts_that_agree_and_one_that_does_not():
    first = crystal()
    alike = ew.compare_crystals([first, in_other_gauge(first, slope=(0.0, 0.0, 0.0)), first])
    assert alike.metrics["amplitude-correlation-starts"] > 0.999
    assert alike.metrics["PRTF-1/e"] == 1
    # The rim of a support that was moved by parts of a voxel costs a little, where the pattern is faintest.
    assert alike.curves["PRTF"].correlation.min() > 0.85
    odd = ew.compare_crystals([first, first, crystal(bend=-6e4)])
    assert odd.metrics["strain-error-starts"] > 1e-3
    assert odd.curves["FSC-starts"].correlation.min() < 0.9 < alike.curves["FSC-starts"].correlation.min()
    assert odd.curves["PRTF"].correlation.min() < 0.8


def test_crystals_of_other_measurements_are_refused():
    first = crystal()
    with pytest.raises(ew.InputError, match="two or more"):
        ew.compare_crystals([first])
    with pytest.raises(ew.InputError, match="not the same step"):
        ew.compare_crystals([first, replace(first, basis_m=1.1 * first.basis_m)])
    smaller = replace(first, object=first.object[1:], support=first.support[1:])
    with pytest.raises(ew.InputError, match="expected the same"):
        ew.evaluate(result_of(smaller), truth=first)


def test_members_of_an_ensemble_and_pictures_of_a_comparison_come_into_one_gauge():
    truth = crystal()
    other = in_other_gauge(truth)
    level = in_other_gauge(truth, slope=(0.0, 0.0, 0.0))
    common = same_gauge(level, truth)
    assert isinstance(common, ew.BraggEstimate)
    assert float((common.object / 2 - truth.object).norm() / truth.object.norm()) < 0.02
    shown = align_estimate(other, truth).object
    assert float((shown - truth.plane()).norm() / truth.plane().norm()) < 0.02
