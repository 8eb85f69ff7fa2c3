"""Made measurements are what the physics says, spoiled only as asked."""

import json
import sys
from dataclasses import fields

import numpy as np
import pytest
import torch

from exitwave.data.errors import InputError
from exitwave.data.estimate import Estimate
from exitwave.data.geometry import Geometry
from exitwave.physics.ptychography import Ptychography
from exitwave.simulation.detection import Detection
from exitwave.simulation.measure import Simulated, measure, simulate
from exitwave.simulation.objects import OBJECTS, textured
from exitwave.simulation.probes import PROBES, coherent_modes, zone_plate
from exitwave.simulation.trajectories import TRAJECTORIES, jittered_raster, raster

FAR = Geometry.from_energy(8000.0, 2.0, (75e-6, 75e-6))
NEAR = Geometry.from_energy(8000.0, 2.0, (75e-6, 75e-6), focus_distance_m=0.03)
PERFECT = Detection(noise="none")
FRAME = (32, 40)


def scanned(detection: Detection = PERFECT, geometry: Geometry = FAR, *, modes: int = 1, seed: int = 0) -> Simulated:
    """A small scan with frames that are not square, at sub-pixel positions."""
    probe = coherent_modes(zone_plate(FRAME, diameter_px=16, aperture=0.5), modes)
    positions = jittered_raster((4, 5), 6.0, seed=1) + 3
    return measure(textured((64, 80), seed=2), probe, positions, geometry, detection=detection, seed=seed)


def frames_of(simulated: Simulated) -> torch.Tensor:
    return simulated.scan.frames(slice(None))


@pytest.mark.parametrize("geometry", [FAR, NEAR])
def test_a_transparent_sample_sends_every_photon_to_the_detector(geometry: Geometry):
    probe = zone_plate((32, 32), diameter_px=16, aperture=0.5)
    clear = torch.ones(60, 60, dtype=torch.complex64)
    made = measure(
        clear, probe, raster((3, 3), 7.25), geometry, detection=Detection(noise="none", photons_per_frame=5e4)
    )
    torch.testing.assert_close(frames_of(made).sum(dim=(1, 2)), torch.full((9,), 5e4), rtol=1e-5, atol=0)
    assert float(made.truth.probe.abs().square().sum()) == pytest.approx(5e4, rel=1e-5)


def test_far_field_frames_are_centred_transforms_of_the_windows():
    probe, obj = zone_plate(FRAME, diameter_px=16, aperture=0.5, photons=300.0), textured((64, 80))
    corners = torch.tensor([[0, 0], [3, 17], [32, 40]], dtype=torch.float64)
    detection = Detection(noise="none", photons_per_frame=None)
    made = measure(obj, probe, corners, FAR, detection=detection)
    for frame, (row, column) in zip(frames_of(made).numpy(), corners.int().tolist(), strict=True):
        wave = obj.numpy()[row : row + 32, column : column + 40] * probe.numpy()
        expected = np.abs(np.fft.fftshift(np.fft.fft2(wave, norm="ortho"))) ** 2
        np.testing.assert_allclose(frame, expected, atol=1e-4 * expected.max())


@pytest.mark.parametrize("geometry", [FAR, NEAR])
def test_the_truth_explains_the_frames_exactly(geometry: Geometry):
    made = scanned(geometry=geometry, modes=2)
    model = Ptychography.of(geometry, FRAME)
    predicted = model.intensity(made.truth, torch.arange(20))
    measured = model.to_detector_order(frames_of(made))
    torch.testing.assert_close(predicted, measured, rtol=1e-3, atol=1e-6 * float(measured.max()))


def test_photons_per_frame_are_the_mean_over_the_data_set():
    sums = frames_of(scanned(Detection(photons_per_frame=2e5, noise="none"))).double().sum(dim=(1, 2))
    assert float(sums.mean()) == pytest.approx(2e5, rel=1e-5)
    assert float(sums.std()) > 1000


def test_counts_follow_poisson_statistics():
    exact, counts = frames_of(scanned()).double(), frames_of(scanned(Detection())).double()
    assert torch.equal(counts, counts.round())
    deviation = ((counts - exact) / exact.sqrt())[exact > 20]
    assert len(deviation) > 5000
    assert float(deviation.mean()) == pytest.approx(0, abs=0.05)
    assert float(deviation.std()) == pytest.approx(1, abs=0.03)


def test_pseudo_poisson_counts_in_quanta_of_the_brightest_pixel():
    exact, counts = frames_of(scanned()), frames_of(scanned(Detection(peak_counts=10)))
    quanta = counts / (exact.max() / 10)
    torch.testing.assert_close(quanta, quanta.round(), atol=1e-3, rtol=0)
    assert float(counts.sum() / exact.sum()) == pytest.approx(1, abs=0.05)
    assert 5 < float(quanta.max()) < 30


def test_read_out_noise_is_gaussian_where_light_is_strong_and_never_negative():
    exact, noisy = frames_of(scanned()), frames_of(scanned(Detection(noise="none", readout_sigma=7.0)))
    deviation = (noisy - exact)[exact > 50]
    assert float(deviation.std()) == pytest.approx(7.0, rel=0.05)
    assert float(noisy.min()) == 0


def test_background_adds_to_every_pixel_and_is_told():
    made = scanned(Detection(noise="none", background=3.0))
    torch.testing.assert_close(frames_of(made) - frames_of(scanned()), torch.full((20, *FRAME), 3.0), atol=0.05, rtol=0)
    assert made.scan.background is not None
    assert torch.equal(made.scan.background, torch.full(FRAME, 3.0))


PTYINR_NOISE: dict[str, Detection] = {
    "poisson": Detection(photons_per_frame=None, peak_counts=10),
    "gaussian": Detection(photons_per_frame=None, noise="none", readout_sigma=100),
    "mixed": Detection(photons_per_frame=None, peak_counts=10, readout_sigma=100),
}
"""The three noise models of the PtyINR study: 10 photons in the brightest pixel, sigma 100 in units of its intensities, both."""


@pytest.mark.parametrize("name", sorted(PTYINR_NOISE))
def test_ptyinr_noise_keeps_the_power_of_the_probe(name: str):
    probe = zone_plate(FRAME, diameter_px=16, aperture=0.5, photons=1e8)
    made = measure(textured((64, 80)), probe, raster((2, 2), 5.0), FAR, detection=PTYINR_NOISE[name])
    torch.testing.assert_close(made.truth.probe[0], probe)
    assert bool(torch.isfinite(frames_of(made)).all())


def test_a_seed_repeats_the_measurement_and_another_draws_another():
    detection = Detection(readout_sigma=1.0, dead_fraction=0.01, position_error_px=0.5, drift=0.1)
    first, same, other = (scanned(detection, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(frames_of(first), frames_of(same))
    assert torch.equal(first.scan.positions_m, same.scan.positions_m)
    assert not torch.equal(frames_of(first), frames_of(other))
    assert not torch.equal(first.scan.mask, other.scan.mask)
    assert not torch.equal(first.scan.positions_m, other.scan.positions_m)


def test_one_imperfection_does_not_change_the_draw_of_another():
    plain, with_dead = scanned(Detection()), scanned(Detection(dead_fraction=0.05))
    mask = with_dead.scan.mask
    assert torch.equal(frames_of(plain)[:, mask], frames_of(with_dead)[:, mask])


def test_dead_pixels_read_zero_and_are_masked():
    made = scanned(Detection(noise="none", background=1.0, dead_fraction=0.05))
    assert int((~made.scan.mask).sum()) == round(0.05 * 32 * 40)
    assert float(frames_of(made)[:, ~made.scan.mask].max()) == 0
    assert float(frames_of(made)[:, made.scan.mask].min()) > 0


def test_a_beam_stop_hides_a_disc_around_the_centre():
    mask = scanned(Detection(beam_stop_radius_px=4.0)).scan.mask
    assert not mask[16, 20]
    assert not mask[16, 24]
    assert mask[16, 25]
    assert mask[0, 0]
    assert int((~mask).sum()) == pytest.approx(np.pi * 16, abs=4)


def test_saturated_pixels_are_clipped_and_masked():
    level = float(frames_of(scanned()).max()) / 3
    made = scanned(Detection(noise="none", saturation=level))
    frames, reached = frames_of(made), (frames_of(scanned()) >= level).any(dim=0)
    assert float(frames.max()) == pytest.approx(level)
    assert torch.equal(~made.scan.mask, reached)
    assert 0 < int(reached.sum()) < 400


def test_an_exposure_without_length_is_a_step_scan():
    assert torch.equal(frames_of(scanned(Detection(exposure_px=(0.0, 0.0)))), frames_of(scanned(Detection())))


def test_a_short_exposure_tends_to_a_step_scan_and_a_long_one_does_not():
    still = frames_of(scanned())

    def blurred(length: float) -> float:
        moving = frames_of(scanned(Detection(noise="none", exposure_px=(0.0, length))))
        return float((moving - still).norm() / still.norm())

    assert blurred(0.1) < 0.005
    assert blurred(4.0) > 0.05


def test_fly_scan_frames_are_the_mean_over_the_path():
    detection = Detection(noise="none", photons_per_frame=None, exposure_px=(2.0, 4.0), exposure_samples=2)
    still = Detection(noise="none", photons_per_frame=None)
    probe, obj, middle = zone_plate(FRAME, diameter_px=16, aperture=0.5), textured((64, 80)), raster((2, 3), 8.0) + 2
    flown = frames_of(measure(obj, probe, middle, FAR, detection=detection))
    path = torch.tensor([0.5, 1.0])
    parts = [frames_of(measure(obj, probe, middle + side * path, FAR, detection=still)) for side in (-1, 1)]
    torch.testing.assert_close(flown, (parts[0] + parts[1]) / 2)


def test_recorded_positions_are_the_true_ones_in_metres():
    made = scanned()
    pixel_m = torch.tensor(made.scan.object_pixel_m, dtype=torch.float64)
    torch.testing.assert_close(made.scan.positions_m / pixel_m, made.truth.positions_px)


def test_position_errors_touch_the_record_but_not_the_patterns():
    wrong = scanned(Detection(noise="none", position_error_px=0.8))
    assert torch.equal(frames_of(wrong), frames_of(scanned()))
    assert torch.equal(wrong.truth.positions_px, scanned().truth.positions_px)
    error_px = wrong.scan.positions_m / torch.tensor(wrong.scan.object_pixel_m) - wrong.truth.positions_px
    assert float(error_px.std()) == pytest.approx(0.8, rel=0.3)


def test_intensity_drift_is_what_the_monitor_saw():
    steady, drifting = scanned(), scanned(Detection(noise="none", drift=0.2))
    ratio = frames_of(drifting).sum(dim=(1, 2)) / frames_of(steady).sum(dim=(1, 2))
    assert drifting.scan.monitor is not None
    torch.testing.assert_close(ratio, drifting.scan.monitor, rtol=1e-4, atol=0)
    assert float((ratio - 1).abs().max()) == pytest.approx(0.2, rel=1e-3)
    assert float(ratio.diff().abs().max()) < 0.2
    assert steady.scan.monitor is None


def test_modes_add_as_intensities():
    probe = coherent_modes(zone_plate(FRAME, diameter_px=16, aperture=0.5), 3)
    obj, positions = textured((64, 80)), raster((2, 2), 9.5)
    still = Detection(noise="none", photons_per_frame=None)
    together = frames_of(measure(obj, probe, positions, FAR, detection=still))
    alone = [frames_of(measure(obj, mode, positions, FAR, detection=still)) for mode in probe]
    torch.testing.assert_close(together, torch.stack(alone).sum(dim=0))


def test_two_slices_without_a_gap_are_one_sample():
    front, back, probe = textured((64, 80), seed=1), textured((64, 80), seed=2), zone_plate(FRAME, diameter_px=16)
    positions = raster((2, 2), 9.0)
    thin = frames_of(measure(front * back, probe, positions, FAR, detection=PERFECT))
    joined = measure(torch.stack([front, back]), probe, positions, FAR, detection=PERFECT, slice_spacing_m=(1e-15,))
    torch.testing.assert_close(frames_of(joined), thin, rtol=1e-2, atol=1e-5 * float(thin.max()))
    assert joined.truth.object.shape[0] == 2


def test_the_size_of_the_batches_does_not_matter(monkeypatch: pytest.MonkeyPatch):
    whole = scanned(Detection(readout_sigma=2.0))
    # By way of sys.modules: in the package, the name of the module is that of its function.
    monkeypatch.setattr(sys.modules["exitwave.simulation.measure"], "BATCH_PIXELS", 3 * 32 * 40)
    torch.testing.assert_close(frames_of(scanned(Detection(readout_sigma=2.0))), frames_of(whole))


def test_the_truth_cannot_be_reached_from_the_scan():
    made = scanned(Detection(position_error_px=0.5))
    truth = [made.truth.object, made.truth.probe, made.truth.positions_px]
    storages = {tensor.untyped_storage().data_ptr() for tensor in truth}
    held = [getattr(made.scan, f.name) for f in fields(made.scan)] + [getattr(made.scan.patterns, "array", None)]
    for value in held:
        assert not isinstance(value, Estimate)
        if isinstance(value, torch.Tensor):
            assert not value.is_complex()
            assert value.untyped_storage().data_ptr() not in storages


def test_provenance_says_how_it_was_made_and_survives_json():
    provenance = simulate("cells", frames=4, frame_px=32, seed=7).scan.provenance
    assert json.loads(json.dumps(provenance)) == provenance
    assert provenance["source"] == "simulated"
    assert (provenance["object"], provenance["seed"]) == ("cells", 7)
    assert provenance["detection"]["photons_per_frame"] == 1e6


@pytest.mark.parametrize("corner", [[-1.0, 0.0], [33.0, 0.0], [0.0, 41.0]])
def test_windows_beyond_the_object_are_refused(corner: list[float]):
    probe, positions = zone_plate(FRAME, diameter_px=16), torch.tensor([corner, [0.0, 0.0]])
    with pytest.raises(InputError, match="draw a larger object"):
        measure(textured((64, 80)), probe, positions, FAR)


def test_an_empty_probe_is_refused():
    with pytest.raises(InputError, match="not empty"):
        measure(textured((64, 80)), torch.zeros(FRAME, dtype=torch.complex64), raster((2, 2), 3.0), FAR)


@pytest.mark.parametrize(
    "options",
    [
        {"photons_per_frame": 0.0},
        {"photons_per_frame": float("nan")},
        {"dead_fraction": 1.0},
        {"drift": -0.1},
        {"readout_sigma": -1.0},
        {"exposure_samples": 0},
        {"exposure_px": (float("inf"), 0.0)},
        {"noise": "salt"},
    ],
)
def test_impossible_detectors_are_refused(options: dict[str, object]):
    with pytest.raises(InputError, match=next(iter(options))):
        Detection(**options)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("overlap", [0.5, 0.65, 0.75])
def test_neighbouring_probes_overlap_as_asked(overlap: float):
    made = simulate("textured", probe_name="disc", trajectory="raster", frame_px=64, frames=9, overlap=overlap)
    lit = made.truth.probe[0].abs() > 0.5 * made.truth.probe.abs().max()
    diameter = int(lit.any(dim=0).sum())
    step = float(made.truth.positions_px[1, 1] - made.truth.positions_px[0, 1])
    assert 1 - step / diameter == pytest.approx(overlap, abs=0.02)


def test_the_demonstration_scan_is_as_promised():
    made = simulate("textured")
    assert made.scan.patterns.shape == (400, 128, 128)
    assert float(frames_of(made).sum(dim=(1, 2)).mean()) == pytest.approx(1e6, rel=1e-3)
    corners = made.truth.positions_px
    room = torch.tensor(made.truth.object.shape[1:]) - 128
    assert float(corners.min()) >= 0
    assert bool((corners <= room).all())
    step = torch.cdist(corners, corners).fill_diagonal_(torch.inf).amin(dim=1)
    assert float(step.mean()) == pytest.approx(0.35 * 60, rel=0.15)


@pytest.mark.parametrize("name", sorted(OBJECTS))
def test_every_object_can_be_scanned(name: str):
    assert float(frames_of(simulate(name, frames=4, frame_px=32)).sum(dim=(1, 2)).mean()) == pytest.approx(
        1e6, rel=0.01
    )


@pytest.mark.parametrize("probe_name", sorted(PROBES))
@pytest.mark.parametrize("trajectory", sorted(TRAJECTORIES))
def test_every_probe_can_take_every_path_with_blur_and_modes(probe_name: str, trajectory: str):
    detection = Detection(exposure_px=(0.0, 3.0), exposure_samples=3)
    made = simulate(
        "siemens", probe_name=probe_name, trajectory=trajectory, frames=9, frame_px=32, modes=2, detection=detection
    )
    assert made.truth.probe.shape == (2, 32, 32)
    assert bool(torch.isfinite(frames_of(made)).all())


def test_a_focus_distance_makes_it_a_near_field_scan():
    made = simulate("siemens", frames=4, frame_px=64, focus_distance_m=0.03, photons_per_frame=1e7)
    assert made.scan.geometry.near_field
    assert made.scan.object_pixel_m[0] == pytest.approx(75e-6 * 0.03 / 2.03)
    # In the near field the light stays where the probe is.
    probe = made.truth.probe[0].abs().square()
    mean = frames_of(made).mean(dim=0)
    assert float(mean[16:48, 16:48].sum() / mean.sum()) == pytest.approx(
        float(probe[16:48, 16:48].sum() / probe.sum()), abs=0.05
    )


@pytest.mark.parametrize(
    ("options", "known"),
    [({"object_name": "star"}, "siemens"), ({"probe_name": "laser"}, "zone_plate"), ({"trajectory": "walk"}, "fermat")],
)
def test_unknown_names_are_refused_with_the_known_ones(options: dict[str, str], known: str):
    with pytest.raises(InputError, match=known):
        simulate(**{"object_name": "siemens", **options})  # pyright: ignore[reportArgumentType]


def test_overlap_of_one_and_negative_seeds_are_refused():
    with pytest.raises(InputError, match="overlap"):
        simulate("siemens", overlap=1.0)
    with pytest.raises(InputError, match="seed"):
        simulate("siemens", seed=-1)
