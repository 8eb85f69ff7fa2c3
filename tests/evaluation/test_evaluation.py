"""A whole reconstruction judged: gauge freedoms change no figure, and the figures say what is wrong."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import exitwave as ew
from exitwave.data.errors import InputError
from exitwave.data.estimate import PtychoEstimate
from exitwave.data.geometry import Geometry
from exitwave.data.result import Result
from exitwave.evaluation.align import move
from exitwave.evaluation.evaluate import evaluate
from exitwave.evaluation.evaluation import merge_evaluations
from exitwave.evaluation.ptychography import compare_halves, position_error, probe_error

SIDE = 24
GEOMETRY = Geometry.from_energy(8000.0, 2.0, (75e-6, 75e-6))


def result_of(estimate: PtychoEstimate) -> Result:
    return Result(
        estimate=estimate,
        geometry=GEOMETRY,
        object_pixel_m=GEOMETRY.object_pixel_m((SIDE, SIDE)),
        spec={"name": "none"},
        history=(0.5,),
        residual=0.02,
        provenance={"file": "a"},
    )


def probe_of(modes: int = 1) -> torch.Tensor:
    rows = torch.arange(SIDE, dtype=torch.float64)[:, None] - SIDE // 2
    bell = torch.exp(-(rows**2 + rows.T**2) / 14 + 0.02j * rows**2)
    shapes = [bell, rows / 4 * bell, rows.T / 4 * bell]
    return torch.stack([100 * 0.5**n * shape for n, shape in enumerate(shapes[:modes])]).to(torch.complex128)


def scan_of(view: torch.Tensor, probe: torch.Tensor | None = None) -> PtychoEstimate:
    """An estimate of a spiral scan that stays well inside the view."""
    turn = torch.arange(150, dtype=torch.float64)
    spiral = torch.stack([torch.cos(2.4 * turn), torch.sin(2.4 * turn)], 1) * 2.4 * turn.sqrt()[:, None]
    positions = spiral + view.shape[0] / 2 - SIDE / 2
    return PtychoEstimate(object=view[None], probe=probe_of() if probe is None else probe, positions_px=positions)


def regauged(truth, shift, ramp, factor) -> PtychoEstimate:
    """The estimate that gives the same diffraction as the truth: object and probe change together."""
    rows, columns = (torch.arange(SIDE, dtype=torch.float64) - SIDE // 2 for _ in range(2))
    carried = torch.exp(1j * (ramp[0] * rows[:, None] + ramp[1] * columns[None, :])) * factor
    probe = move(probe_of()[0], (-shift[0], -shift[1])) * carried
    return scan_of(truth.view(shift=shift, ramp=ramp, factor=factor), probe[None])


@pytest.mark.parametrize(
    ("shift", "ramp", "factor"),
    [((0.0, 0.0), (0.0, 0.0), 1.0), ((0.6, -1.3), (0.0, 0.0), 1.0), ((2.2, 0.7), (0.11, -0.2), 3.0j)],
)
def test_no_gauge_freedom_counts_as_an_error(picture, shift, ramp, factor):
    truth = picture(phase_rad=0.4)
    evaluation = evaluate(result_of(regauged(truth, shift, ramp, factor)), truth=scan_of(truth.view()))
    metrics = evaluation.metrics
    assert metrics["M-NRMSE"] < 5e-3
    assert metrics["M-NRMSE-probe"] < 5e-3
    assert metrics["M-SSIM-amplitude"] > 0.999
    assert metrics["M-SSIM-phase"] > 0.999
    assert metrics["FRC-half-bit"] > 0.68
    assert metrics["residual"] == 0.02
    assert evaluation.alignment["shift_px"] == pytest.approx(shift, abs=0.01)
    assert evaluation.alignment["ramp_rad_px"] == pytest.approx(ramp, abs=1e-3)
    assert evaluation.alignment["scale"] == pytest.approx(abs(factor), rel=1e-2)


def test_an_error_of_known_size_is_measured_as_that(picture):
    truth = picture(phase_rad=0.4).view()
    noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(0), dtype=torch.complex128)
    level = 0.1 * float(truth.abs().square().mean().sqrt())
    metrics = evaluate(result_of(scan_of(truth + level * noise)), truth=scan_of(truth)).metrics
    assert metrics["M-NRMSE"] == pytest.approx(0.1, rel=0.1)
    assert metrics["NRMSE-high"] > metrics["NRMSE-low"]


def test_garbage_outside_the_scanned_region_does_not_count(picture):
    truth = scan_of(picture(phase_rad=0.4).view())
    image = truth.object[0].clone()
    rows = torch.arange(image.shape[0])[:, None] - image.shape[0] // 2
    image[(rows**2 + rows.T**2) > 45**2] = 10.0
    assert evaluate(result_of(scan_of(image)), truth=truth).metrics["M-NRMSE"] < 1e-3


def test_a_canvas_of_other_origin_is_found_by_the_positions(picture):
    truth = scan_of(picture((110, 110), phase_rad=0.4).view())
    moved = PtychoEstimate(
        object=truth.object[:, 9:101, 5:99],
        probe=truth.probe,
        positions_px=truth.positions_px - torch.tensor([9.0, 5.0]),
    )
    evaluation = evaluate(result_of(moved), truth=truth)
    assert evaluation.metrics["M-NRMSE"] < 1e-6
    assert evaluation.alignment["shift_px"] == pytest.approx((0, 0), abs=1e-4)


def test_without_truth_only_the_residual_is_known(picture):
    evaluation = evaluate(result_of(scan_of(picture().view())))
    assert evaluation.metrics == {"residual": 0.02}
    assert evaluation.to_json() == {"residual": 0.02, "verdict": None, "alignment": {}, "provenance": {"file": "a"}}


def test_the_json_is_plain_and_finite(picture):
    truth = scan_of(picture(phase_rad=0.4).view())
    text = json.dumps(evaluate(result_of(truth), truth=truth).to_json(), allow_nan=False)
    record = json.loads(text)
    assert record["alignment"]["removed"] == ["phase", "ramp", "scale", "shift"]
    assert {
        "position-error",
        "position-error-median",
        "M-NRMSE",
        "M-SSIM-phase",
        "FRC-half-bit",
        "FRC-0.5",
        "FRC-1/7",
        "M-NRMSE-probe",
    } <= set(record)


def test_halves_with_shared_detail_and_own_noise_agree_up_to_where_the_noise_takes_over(picture):
    truth = picture((160, 160), cutoff=0.5, phase_rad=0.4)
    generator = torch.Generator().manual_seed(0)
    halves = [
        scan_of(view + 0.05 * torch.randn(view.shape, generator=generator, dtype=torch.complex128))
        for view in (truth.view(), truth.view(shift=(0.7, -1.4), ramp=(0.1, 0.05), factor=2j) * 2j)
    ]
    evaluation = compare_halves(*halves)
    assert evaluation.metrics["FRC-half-bit-split"] == pytest.approx(0.5, abs=0.09)
    assert evaluation.metrics["M-NRMSE-split-whole"] == pytest.approx(0.05 * 2**0.5 / 0.7, rel=0.2)
    assert evaluation.metrics["M-NRMSE-split"] > evaluation.metrics["M-NRMSE-split-whole"]
    assert evaluation.alignment["shift_px"] == pytest.approx((0.7, -1.4), abs=0.01)
    assert set(evaluation.curves) == {"FRC-split"}


def test_merged_evaluations_hold_the_figures_of_both(picture):
    truth = scan_of(picture(phase_rad=0.4).view())
    against_truth = evaluate(result_of(truth), truth=truth)
    both = merge_evaluations(against_truth, compare_halves(truth, truth))
    assert {"residual", "M-NRMSE", "FRC-half-bit", "FRC-half-bit-split"} <= set(both.metrics)
    assert set(both.curves) == {"FRC", "FRC-split"}
    assert both.alignment == against_truth.alignment
    assert both.provenance == {"file": "a"}


def test_unrelated_halves_have_no_resolution(picture):
    halves = [
        scan_of(torch.randn(96, 96, generator=torch.Generator().manual_seed(s), dtype=torch.complex128)) for s in (1, 2)
    ]
    assert compare_halves(*halves).metrics["FRC-half-bit-split"] < 0.2


def test_incoherent_modes_may_be_mixed_by_any_unitary_matrix():
    probe = probe_of(3)
    mixture = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.complex128))[0]
    mixed = torch.einsum("ab,byx->ayx", mixture, probe)
    still = ((0.0, 0.0), (0.0, 0.0))
    assert probe_error(2j * mixed, probe, *still)["M-NRMSE-probe"] < 1e-6
    lost = probe_error(probe[:2], probe, *still)["M-NRMSE-probe"]
    expected = math.sqrt(float(probe[2].abs().square().sum() / probe.abs().square().sum()))
    # Dropping a mode that is orthogonal to the others loses its share of the photons.
    assert lost == pytest.approx(expected, rel=0.05)
    assert np.isfinite(lost)


def test_probes_of_other_size_are_refused():
    with pytest.raises(InputError, match="binned and cropped"):
        probe_error(
            torch.ones(1, 8, 8, dtype=torch.complex64), torch.ones(1, 9, 8, dtype=torch.complex64), (0, 0), (0, 0)
        )


def test_position_error_is_the_distance_without_what_all_frames_share():
    truth = ew.simulate("textured", frames=36, frame_px=32).truth
    off = torch.zeros_like(truth.positions_px)
    off[::2, 0], off[1::2, 0] = 3.0, -3.0
    moved = replace(truth, positions_px=truth.positions_px + off + torch.tensor([5.0, -7.0]))
    assert position_error(moved, truth) == pytest.approx({"position-error": 3.0, "position-error-median": 3.0})
