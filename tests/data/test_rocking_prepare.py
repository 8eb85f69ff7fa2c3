"""Preparation of rocking curves: scattering vectors stay with their voxels, photons stay the same."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from crystals import crystal, curve, pattern, q_of
from exitwave.data import prepare
from exitwave.data.errors import InputError
from exitwave.data.prepare.steps import prepared
from exitwave.data.volume import oversampling, peak_voxel, volume


def test_windows_keep_the_scattering_vector_of_every_voxel():
    measured = curve()
    for step, (frame, row, column) in (
        ({"crop": {"size": [20, 24], "centre": [18, 26]}}, (5, 10 + 8, 12 + 14)),
        ({"pad": [60, 64]}, (5, 20, 24)),
        ({"recentre": {"centre": [17, 29]}}, (5, 20, 24)),
        ({"crop_frames": {"size": 20, "centre": 12}}, (5, 20, 24)),
        ({"centre_peak": [24, 36, 32]}, (5, 18, 22)),
    ):
        found = prepared(measured, (step,))
        at = np.argwhere(np.abs(found.angles_rad.numpy() - float(measured.angles_rad[frame])) < 1e-12)[0, 0]
        marked = replace(measured, patterns=torch.zeros(measured.patterns.shape))
        marked.patterns.array[frame, row, column] = 7.0
        # The peak of an empty curve is nowhere: windows around it are those of the crystal's.
        if "centre_peak" in step:
            marked.patterns.array[15:18, 19:22, 23:26] = 70.0
            marked.patterns.array[16, 20, 24] = 90.0
        moved = prepared(marked, (step,)).frames(slice(None))
        place = (moved == 7.0).nonzero()[0].tolist()
        assert place[0] == at
        np.testing.assert_allclose(q_of(found, place), q_of(measured, (frame, row, column)), rtol=1e-12, atol=1e-3)


@pytest.mark.parametrize("shape", [(32, 40, 48), (33, 41, 47)])
def test_bins_have_the_mean_scattering_vector_and_all_photons(shape):
    measured = curve(pattern(crystal(shape)))
    steps = ({"bin": [2, 3]}, {"bin_frames": 2})
    found = prepared(measured, steps)
    frames, rows, columns = found.patterns.shape
    assert (frames, rows, columns) == (shape[0] // 2, shape[1] // 2, shape[2] // 3)
    # Where the voxels of a bin lie on the whole: their places summed up as photons would be.
    places = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij")).astype(np.float32)
    inside = (4, 5, 6)
    mean = [
        float(prepared(replace(measured, patterns=each), steps).frames(slice(None))[inside]) / 12 for each in places
    ]
    step = np.abs(measured.reciprocal_basis).max()
    assert np.abs(q_of(found, inside) - q_of(measured, mean)).max() < 1e-3 * step
    middle = tuple(n // 2 for n in found.patterns.shape)
    assert np.abs(q_of(found, middle) - q_of(measured, [n // 2 for n in shape])).max() < 1.5 * step
    if shape == (32, 40, 48):
        assert float(volume(found).sum()) == float(volume(measured).sum())


def test_a_bin_is_trusted_only_where_all_of_its_voxels_are():
    measured = curve()
    voxels = torch.ones(measured.patterns.shape, dtype=torch.bool)
    voxels[16, 20, 24] = False
    found = prepared(replace(measured, voxel_mask=voxels), ({"bin": 2}, {"bin_frames": 2}))
    assert int((~found.trusted).sum()) == 1


def test_the_peak_comes_to_the_middle_and_what_lies_beyond_is_untrusted():
    shifted = np.roll(pattern(crystal()), (3, -4, 5), (0, 1, 2))
    shifted[3, 4, 5] = 1e7  # a hot voxel is no peak
    measured = curve(shifted)
    found = prepare.centre_peak(measured)
    assert peak_voxel(volume(found), found.trusted) == (16, 20, 24)
    assert not bool(found.trusted[-3:].any())
    steps = np.diff(found.angles_rad.numpy())
    np.testing.assert_allclose(steps, measured.step_rad, rtol=1e-9)


@pytest.mark.parametrize("form", ["box", "ball", "octahedron"])
def test_oversampling_is_the_array_over_the_crystal(form):
    size = (8.0, 10.0, 12.0)
    made = curve(pattern(crystal(size=size, form=form)))
    sampled = oversampling(volume(made), made.trusted)
    # An even size s covers s + 1 voxels.
    for found, n, s in zip(sampled, (32, 40, 48), size, strict=True):
        assert n / (s + 1) * 0.9 < found < n / (s + 1) * 1.45


def test_undersampling_is_told_from_the_autocorrelations_ends():
    made = curve(pattern(crystal(size=(20.0, 10.0, 12.0), form="box")))
    sampled = oversampling(volume(made), made.trusted)
    assert sampled[0] < 1.8
    assert min(sampled[1:]) > 2.5


@pytest.mark.parametrize("shape", [(32, 40, 48), (33, 40, 47)])
def test_resampling_keeps_photons_object_voxels_and_scattering_vectors(shape):
    measured = curve(pattern(crystal(shape)), seed=None)
    found = prepare.resample(measured, 3.0)
    assert np.isclose(float(volume(found).sum()), float(volume(measured).sum()), rtol=1e-3)
    np.testing.assert_allclose(found.direct_basis_m, measured.direct_basis_m, rtol=1e-9)
    np.testing.assert_allclose(
        q_of(found, [n // 2 for n in found.patterns.shape]),
        q_of(measured, [n // 2 for n in shape]),
        rtol=1e-12,
        atol=1e-3,
    )
    assert all(2.4 < s < 3.8 for s in oversampling(volume(found), found.trusted))
    # What a crystal in an array of the new size scatters, voxel by voxel.
    expected = pattern(crystal(tuple(found.patterns.shape)), float(volume(measured).sum()))
    likeness = np.corrcoef(np.sqrt(expected).ravel(), np.sqrt(volume(found).numpy()).ravel())[0, 1]
    assert likeness > 0.999


def test_angles_are_sorted_averaged_and_filled():
    measured = curve(seed=None)
    order = [0, 1, 2, 3, 3, 4, *range(7, 32), 6]
    found = prepare.even_angles(measured.some(torch.tensor(order)))
    np.testing.assert_allclose(found.angles_rad, measured.angles_rad, atol=1e-12)
    there = [*range(5), *range(6, 32)]
    torch.testing.assert_close(found.frames(slice(None))[there], measured.frames(slice(None))[there])
    assert not bool(found.trusted[5].any())
    assert bool(found.trusted[there].all())


def test_even_angles_stay_the_very_same_up_and_down():
    measured = curve()
    assert prepare.even_angles(measured) is measured
    back = measured.some(torch.arange(31, -1, -1))
    assert prepare.even_angles(back) is back


def test_uneven_angles_are_refused():
    angles = np.radians(0.01 * np.arange(32.0) ** 1.3)
    with pytest.raises(InputError, match="even series"):
        prepare.even_angles(replace(curve(), angles_rad=torch.tensor(np.r_[angles[:20], angles[21:], angles[20]])))


def test_saturated_voxels_are_untrusted_in_their_frames_alone():
    measured = curve()
    top = float(volume(measured).max())
    found = prepare.mask_saturated(measured, top)
    assert int((~found.trusted).sum()) == 1


@pytest.mark.parametrize("step", ["orient=fliplr", "unshift", "drop_duplicates", "map_positions=[[1, 0], [0, 1]]"])
def test_steps_of_other_kinds_are_refused_by_name(step):
    with pytest.raises(InputError, match=step.split("=", maxsplit=1)[0]):
        prepared(curve(), (step,))


@pytest.mark.parametrize(
    "step", ["even_angles", "crop_frames=4", "bin_frames=2", "centre_peak", "mask_aliens", "resample=3"]
)
def test_steps_of_rocking_curves_are_refused_for_scans(step):
    from made_measurements import made_pattern

    with pytest.raises(InputError, match=step.split("=", maxsplit=1)[0]):
        prepared(made_pattern(1e5), (step,))
