"""Estimates of every kind judged against a truth: what their kind cannot know is taken off, what is wrong is measured."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import exitwave as ew
from exitwave.data.errors import InputError
from exitwave.data.estimate import Estimate, PtychoEstimate, SupportEstimate
from exitwave.data.geometry import Geometry
from exitwave.data.result import Result
from exitwave.evaluation.cdi_alignment import shifted
from exitwave.evaluation.evaluate import evaluate
from exitwave.physics.fourier import conjugate_inverse
from exitwave.simulation.isolated import simulate_pattern

PIXEL_M = (1e-8, 1e-8)


def result_of(estimate: Estimate, pixel_m: tuple[float, ...] = PIXEL_M) -> Result:
    return Result(
        estimate=estimate,
        geometry=Geometry.from_energy(8000.0, 2.0, (75e-6, 75e-6)),
        object_pixel_m=pixel_m,
        spec={"name": "none"},
        residual=0.02,
        free_residual=0.03,
        provenance={"file": "a"},
    )


def blob(*shape: int) -> torch.Tensor:
    """A smooth object in the middle of empty space on any number of axes, without symmetry."""
    axes = np.meshgrid(*(np.arange(size) - size // 2 for size in shape), indexing="ij")
    radius = np.sqrt(sum((axis / (0.16 * size)) ** 2 for axis, size in zip(axes, shape, strict=True)))
    lean = sum((n + 1) * axis / size for n, (axis, size) in enumerate(zip(axes, shape, strict=True)))
    wave = (0.8 + 0.4 * lean) * np.exp(1j * (1.5 * lean + 3 * lean**2)) / (1 + np.exp(6 * (radius - 1)))
    return torch.from_numpy(wave)


def isolated(*shape: int) -> SupportEstimate:
    obj = blob(*shape)
    return SupportEstimate(object=obj, support=obj.abs() > 0.05, beam_photons=torch.tensor(100.0))


def noisy(obj: torch.Tensor, level: float) -> torch.Tensor:
    """The object with complex noise where it is, `level` of its power's root."""
    noise = torch.randn(obj.shape, generator=torch.Generator().manual_seed(0), dtype=obj.dtype)
    noise = noise * (obj.abs() > 0.05)
    return obj + level * noise * obj.norm() / noise.norm()


@pytest.mark.parametrize("shape", [(48, 56), (20, 24, 28)])
@pytest.mark.parametrize("twin", [False, True])
def test_of_an_isolated_object_neither_shift_nor_twin_nor_factor_counts(shape, twin):
    truth, shift = isolated(*shape), (1.5, -2.25, 3.0)[: len(shape)]
    obj = shifted(conjugate_inverse(truth.object) if twin else truth.object, shift) * 3j
    judged = evaluate(result_of(replace(truth, object=obj), PIXEL_M + (1e-8,) * (len(shape) - 2)), truth=truth)
    assert judged.metrics["M-NRMSE"] < 0.03
    assert judged.alignment["twin"] == twin
    assert judged.alignment["scale"] == pytest.approx(1 / 3, rel=1e-2)
    assert judged.alignment["removed"] == ["phase", "scale", "shift", "twin"]
    assert np.abs(judged.alignment["shift_px"]) == pytest.approx(np.abs(shift), abs=1.1)
    assert (judged.metrics["residual"], judged.metrics["free-residual"]) == (0.02, 0.03)
    assert judged.provenance == {"file": "a"}


@pytest.mark.parametrize("shape", [(48, 56), (20, 24, 28)])
def test_of_an_isolated_object_an_error_of_known_size_is_measured_as_that(shape):
    truth = isolated(*shape)
    wrong = replace(truth, object=noisy(truth.object, 0.1))
    judged = evaluate(result_of(wrong, PIXEL_M + (1e-8,) * (len(shape) - 2)), truth=truth)
    assert judged.metrics["M-NRMSE"] == pytest.approx(0.1, rel=0.05)


def test_what_is_measured_goes_with_the_number_of_axes():
    plane = evaluate(result_of(isolated(48, 56)), truth=isolated(48, 56))
    volume = evaluate(result_of(isolated(20, 24, 28), (1e-8,) * 3), truth=isolated(20, 24, 28))
    assert {"M-SSIM-phase", "FRC-half-bit", "NRMSE-low"} <= set(plane.metrics)
    assert set(plane.curves) == {"FRC"}
    assert "M-SSIM3D" in volume.metrics
    assert not {"M-SSIM-phase", "FRC-half-bit"} & set(volume.metrics)
    assert not volume.curves


@pytest.mark.parametrize("shape", [(40,), (32, 36), (16, 18, 20)])
def test_of_an_object_of_no_special_kind_a_complex_factor_alone_is_free(shape):
    truth = Estimate(object=blob(*shape))
    pixel_m = (1e-8,) * len(shape)
    same = evaluate(result_of(Estimate(object=truth.object / 2j), pixel_m), truth=truth)
    assert same.metrics["M-NRMSE"] < 1e-6
    assert same.alignment["removed"] == ["phase", "scale"]
    assert same.alignment["scale"] == pytest.approx(2)
    assert same.alignment["phase_rad"] == pytest.approx(np.pi / 2)
    wrong = evaluate(result_of(Estimate(object=noisy(truth.object, 0.1)), pixel_m), truth=truth)
    assert wrong.metrics["M-NRMSE"] == pytest.approx(0.1, rel=0.05)
    moved = evaluate(result_of(Estimate(object=truth.object.roll(1, 0)), pixel_m), truth=truth)
    assert moved.metrics["M-NRMSE"] > 0.1


def test_a_scan_and_a_pattern_that_were_reconstructed_are_judged_by_their_kind():
    scan = ew.simulate("textured", frames=36, frame_px=32)
    found = ew.evaluate(ew.reconstruct(scan.scan, ew.RPIE(epochs=3)), truth=scan.truth)
    assert {"M-NRMSE", "M-NRMSE-probe", "position-error", "FRC-half-bit", "residual"} <= set(found.metrics)
    pattern = simulate_pattern(frame_px=48)
    found = ew.evaluate(ew.reconstruct(pattern.scan, ew.ER(epochs=3)), truth=pattern.truth)
    assert {"M-NRMSE", "FRC-half-bit", "residual"} <= set(found.metrics)
    assert not {"M-NRMSE-probe", "position-error"} & set(found.metrics)


def test_estimates_of_different_kinds_are_not_compared():
    scan = PtychoEstimate(
        object=torch.ones(1, 24, 24) + 0j, probe=torch.ones(1, 8, 8) + 0j, positions_px=torch.zeros(4, 2).double()
    )
    pattern = isolated(24, 24)
    for estimate, truth, words in (
        (scan, pattern, "ptychography cannot be compared with one of support"),
        (pattern, scan, "support cannot be compared with one of ptychography"),
        (pattern, Estimate(object=pattern.object), "support cannot be compared with one of object"),
    ):
        with pytest.raises(InputError, match=words):
            evaluate(result_of(estimate), truth=truth)


@pytest.mark.parametrize("make", [isolated, lambda *shape: Estimate(object=blob(*shape))])
def test_objects_of_different_size_are_not_compared(make):
    with pytest.raises(InputError, match="expected the same"):
        evaluate(result_of(make(24, 24)), truth=make(24, 28))


@pytest.mark.parametrize("shape", [(6,), (5, 6), (4, 5, 6)])
def test_an_object_of_a_few_pixels_gets_the_figures_that_it_can_have(shape):
    truth = Estimate(object=blob(*shape))
    judged = evaluate(result_of(truth, (1e-8,) * len(shape)), truth=truth)
    assert judged.metrics["M-NRMSE"] < 1e-6
    json.dumps(judged.to_json(), allow_nan=False)
