"""The kernels of the inner loop: adjoint pairs, the modulus imposed exactly, compiled loops equal to their definition."""

import pytest
import torch

from exitwave.physics.kernels import dispatch as kernels, reference

CORNERS = torch.tensor([[0, 0], [3, 2], [4, 5], [3, 2]])
SHAPE = (4, 5)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))


def test_scatter_is_the_adjoint_of_gather():
    canvas, patches = random(2, 9, 11), random(4, 2, *SHAPE, seed=1)
    spread = torch.zeros_like(canvas)
    reference.scatter_add_(spread, patches, CORNERS)
    gathered = reference.gather(canvas, CORNERS, SHAPE)
    assert torch.allclose(
        torch.vdot(gathered.flatten(), patches.flatten()), torch.vdot(canvas.flatten(), spread.flatten()), rtol=1e-5
    )


def test_gather_cuts_the_window_that_the_corner_names():
    canvas = torch.arange(99.0).reshape(1, 9, 11)
    assert torch.equal(reference.gather(canvas, CORNERS, SHAPE)[1, 0], canvas[0, 3:7, 2:7])


def test_gradients_through_gather_and_through_its_gradient_are_exact():
    canvas = torch.randn(1, 9, 11, dtype=torch.complex128, requires_grad=True)
    assert torch.autograd.gradcheck(lambda c: reference.gather(c, CORNERS, SHAPE), canvas)
    assert torch.autograd.gradgradcheck(lambda c: reference.gather(c, CORNERS, SHAPE).abs().square(), canvas)


IMPOSE = pytest.mark.parametrize("impose", [reference.impose_modulus_, kernels.impose_modulus_])
NOTHING = torch.zeros(4, 5)


@IMPOSE
@pytest.mark.parametrize("modes", [1, 2])
def test_modulus_change_gives_the_measured_modulus_and_keeps_phases_and_mode_shares(impose, modes):
    waves = random(3, modes, 4, 5)
    stack = torch.rand(5, 4, 5, generator=torch.Generator().manual_seed(1))
    index = torch.tensor([4, 0, 2])
    change = waves.clone()
    misfit = impose(change, stack, index, torch.ones(4, 5), NOTHING)
    revised = waves + change
    assert torch.allclose(reference.intensity(revised).sqrt(), stack[index], atol=1e-5)
    ratio = revised / waves
    assert float(ratio.imag.abs().max()) < 1e-4
    assert torch.allclose(ratio[:, 0].real, ratio[:, -1].real, atol=1e-4)
    expected = (reference.intensity(waves).sqrt() - stack[index]).square().sum(dim=(1, 2))
    assert torch.allclose(misfit, expected.double(), rtol=1e-5)


@IMPOSE
def test_waves_that_explain_the_data_together_with_the_background_do_not_change(impose):
    waves, background = random(3, 2, 4, 5), torch.rand(4, 5, generator=torch.Generator().manual_seed(2))
    stack = (reference.intensity(waves) + background).sqrt()
    change = waves.clone()
    misfit = impose(change, stack, torch.arange(3), torch.ones(4, 5), background)
    assert float(change.abs().max()) < 1e-6
    assert float(misfit.max()) < 1e-10


@IMPOSE
def test_untrusted_pixels_do_not_change_and_do_not_count(impose):
    waves = random(1, 1, 4, 5)
    trusted = torch.ones(4, 5)
    trusted[1, 2] = 0
    stack, index = torch.full((1, 4, 5), 1e6), torch.arange(1)
    change = waves.clone()
    lone = impose(change, stack, index, trusted, NOTHING)
    assert change[0, 0, 1, 2] == 0
    assert float(lone) < float(impose(waves.clone(), stack, index, torch.ones(4, 5), NOTHING))


@IMPOSE
def test_zero_waves_and_zero_counts_stay_finite_and_nan_stays_nan(impose):
    waves = torch.zeros(1, 1, 4, 5, dtype=torch.complex64)
    misfit = impose(waves, torch.ones(1, 4, 5), torch.arange(1), torch.ones(4, 5), NOTHING)
    assert bool(torch.isfinite(torch.view_as_real(waves)).all())
    assert float(misfit) == pytest.approx(20)
    waves[0, 0, 1, 1] = float("nan")
    assert not bool(impose(waves, torch.ones(1, 4, 5), torch.arange(1), torch.ones(4, 5), NOTHING).isfinite())


@pytest.mark.parametrize("modes", [1, 3])
@pytest.mark.parametrize("shared", [True, False])
def test_compiled_loops_equal_their_definition(modes, shared):
    probes = random(1 if shared else 4, modes, *SHAPE)
    canvas, change = random(9, 11, seed=1), random(4, modes, *SHAPE, seed=2)
    assert_close(kernels.exit_waves(canvas, probes, CORNERS), reference.exit_waves(canvas, probes, CORNERS))
    rows, columns, spectrum = random(4, SHAPE[0], seed=3), random(4, SHAPE[1], seed=4), random(modes, *SHAPE, seed=5)
    assert_close(kernels.modulate(spectrum, rows, columns), reference.modulate(spectrum, rows, columns))
    found: list[list[torch.Tensor]] = []
    for of in (kernels, reference):
        total, lit, seen = torch.zeros_like(canvas), torch.zeros(9, 11), torch.zeros(SHAPE)
        probe_total, spread, again = torch.zeros(modes, *SHAPE, dtype=torch.complex64), change.clone(), spectrum.clone()
        top = of.add_object_(change, probes, CORNERS, total, lit)
        of.add_probe_(change, canvas, CORNERS, probe_total, seen)
        of.times_conjugate_window_(spread, canvas, CORNERS, seen)
        of.demodulate_add_(change, rows, columns, again)
        found.append([total.clone(), lit.clone(), torch.tensor(top), probe_total, seen, spread, again])
    for one, other in zip(*found, strict=True):
        assert_close(one, other)


@pytest.mark.parametrize("shape", [(2, 3), (5, 4), (16, 9)])
def test_interpolation_has_an_adjoint_and_equals_its_definition_at_any_size(shape):
    generator = torch.Generator().manual_seed(0)
    weights, frames = torch.randn(5, 2, reference.TAPS, generator=generator), torch.tensor([4, 0, 2])
    probe, change = random(2, *shape), random(3, 2, *shape, seed=1)
    moved = kernels.interpolate(probe, weights, frames)
    assert_close(moved, reference.interpolate(probe, weights, frames))
    totals = []
    for of in (kernels, reference):
        totals.append(torch.zeros_like(probe))
        of.interpolate_adjoint_add_(change, weights, frames, totals[-1])
    assert_close(*totals)
    there, back = torch.vdot(moved.flatten(), change.flatten()), torch.vdot(probe.flatten(), totals[0].flatten())
    assert torch.allclose(there, back, rtol=1e-4)


def test_one_weight_of_one_moves_by_whole_pixels():
    weights = torch.zeros(1, 2, reference.TAPS)
    weights[0, 0, reference.TAPS // 2 + 1] = weights[0, 1, reference.TAPS // 2 - 2] = 1
    probe = random(1, 6, 5)
    assert torch.equal(kernels.interpolate(probe, weights, torch.tensor([0]))[0], probe.roll((-1, 2), dims=(-2, -1)))


@pytest.mark.parametrize("size", [16, 21])
def test_pulls_of_blocks_equal_their_definition(size):
    waves, change = random(3, 2, size, 16), random(3, 2, size, 16, seed=1)
    rows, columns = torch.rand(8, size, generator=torch.Generator().manual_seed(0)), torch.eye(16)[:8]
    assert_close(kernels.phase_pulls(waves, change, rows, columns), reference.phase_pulls(waves, change, rows, columns))


def test_the_largest_light_is_nan_where_some_light_is():
    probes = random(1, 1, *SHAPE)
    probes[0, 0, 1, 1] = complex("nan")
    total, lit = torch.zeros(9, 11, dtype=torch.complex64), torch.zeros(9, 11)
    top = kernels.add_object_(random(4, 1, *SHAPE), probes, CORNERS, total, lit)
    assert top != top


def assert_close(one: torch.Tensor, other: torch.Tensor) -> None:
    assert float((one - other).abs().max()) <= 1e-5 * float(other.abs().max())


def test_a_nudge_remembers_the_full_step_and_takes_a_damped_one_once_in_every_pixel():
    for of in (kernels, reference):
        canvas, total, wished = random(9, 11), random(9, 11, seed=1), random(9, 11, seed=2)
        generator = torch.Generator().manual_seed(0)
        lit, weight = torch.rand(9, 11, generator=generator) + 0.1, torch.rand(9, 11, generator=generator)
        inside = torch.zeros(1, 9, 11)
        reference.scatter_add_(inside, torch.ones(4, 1, *SHAPE), CORNERS)
        inside = inside[0] > 0
        full = torch.where(inside, wished + lit * (canvas + total / lit), wished)
        heavier = torch.where(inside, weight + lit, weight)
        stepped = torch.where(inside, canvas + total / (lit + 0.2), canvas)
        of.nudge_windows_(canvas, total, lit, wished, weight, CORNERS, SHAPE, floor=0.2)
        assert_close(wished, full)
        assert_close(weight, heavier)
        assert_close(canvas, stepped)
        assert float(total[inside].abs().max()) == 0 == float(lit[inside].max())


def test_a_step_is_taken_once_in_every_pixel_however_often_windows_overlap():
    for step in (
        lambda c, t, lit: kernels.step_windows_(c, t, lit, CORNERS, SHAPE, gain=0.5, share=0.9, floor=0.2),
        lambda c, t, lit: reference.step_windows_(c, t, lit, CORNERS, SHAPE, gain=0.5, share=0.9, floor=0.2),
    ):
        canvas, total = random(9, 11), random(9, 11, seed=1)
        lit = torch.rand(9, 11, generator=torch.Generator().manual_seed(0))
        inside = torch.zeros(1, 9, 11)
        reference.scatter_add_(inside, torch.ones(4, 1, *SHAPE), CORNERS)
        inside = inside[0] > 0
        expected = torch.where(inside, canvas + 0.5 * total / (0.9 * lit + 0.2), canvas)
        step(canvas, total, lit)
        assert_close(canvas, expected)
        assert float(total[inside].abs().max()) == 0 == float(lit[inside].max())


def test_a_direction_is_made_once_in_every_pixel_and_tells_its_curvature_slope_and_interaction():
    lit0 = torch.zeros(9, 11)
    reference.scatter_add_(lit0[None], torch.rand(4, 1, *SHAPE, generator=torch.Generator().manual_seed(3)), CORNERS)
    inside, total0 = lit0 > 0, random(9, 11, seed=1)
    expected = torch.where(inside, total0 / (0.9 * lit0 + 0.2), total0)
    curvature = float((lit0 * expected.abs().square())[inside].sum())
    slope = float((expected.conj() * total0).real[inside].sum())
    canvas, weight = random(9, 11, seed=4), random(*SHAPE, seed=2)
    shared = 0.0
    for row, column in CORNERS.tolist():
        window = (slice(row, row + SHAPE[0]), slice(column, column + SHAPE[1]))
        shared += float((expected[window].conj() * canvas[window] * weight).real.sum())
    for of in (kernels, reference):
        total, lit = total0.clone(), lit0.clone()
        found = of.direction_(total, lit, canvas, weight, CORNERS, share=0.9, floor=0.2)
        assert found == pytest.approx((curvature, slope, shared), rel=1e-5)
        assert_close(total, expected)


@pytest.mark.parametrize("of", [kernels, reference], ids=["fastest", "reference"])
def test_folding_moves_the_sums_of_one_thread_into_those_of_another_each_pixel_once(of):
    total, lit = random(9, 11), torch.rand(9, 11, generator=torch.Generator().manual_seed(0))
    more, brighter = (torch.zeros_like(total), torch.zeros_like(lit))
    reference.add_object_(random(4, 1, *SHAPE, seed=3), random(1, 1, *SHAPE, seed=4), CORNERS, more, brighter)
    expected, inside = (total + more, lit + brighter), brighter > 0
    # A dark pixel in a window counts for the largest as well, one outside does not.
    lit[8, 10] = expected[1][8, 10] = 1e3
    top = of.fold_(total, lit, more, brighter, CORNERS, SHAPE)
    assert_close(total, expected[0])
    assert_close(lit, expected[1])
    assert float(more.abs().max()) == 0 == float(brighter.max())
    assert top == pytest.approx(float(expected[1][inside].max()), rel=1e-6)


@pytest.mark.parametrize("name", ["double", "transposed", "conjugate"])
def test_arrays_that_compiled_loops_cannot_take_go_to_the_definition(name):
    canvas, probes = random(9, 11), random(1, 2, *SHAPE, seed=1)
    canvas = {"double": canvas.to(torch.complex128), "transposed": random(11, 9).T, "conjugate": canvas.conj()}[name]
    assert torch.equal(kernels.exit_waves(canvas, probes, CORNERS), reference.exit_waves(canvas, probes, CORNERS))


@pytest.mark.parametrize("of", [kernels, reference], ids=["fastest", "reference"])
def test_waves_are_written_where_the_caller_has_room(of):
    rows, columns, room = random(4, SHAPE[0]), random(4, SHAPE[1], seed=1), random(4, 2, *SHAPE)
    assert of.exit_waves(random(9, 11), random(1, 2, *SHAPE), CORNERS, room).data_ptr() == room.data_ptr()
    assert of.modulate(random(2, *SHAPE), rows, columns, room).data_ptr() == room.data_ptr()
    weights = torch.rand(4, 2, reference.TAPS)
    assert of.interpolate(random(2, *SHAPE), weights, torch.arange(4), room).data_ptr() == room.data_ptr()


@pytest.mark.parametrize("shared", [True, False])
def test_the_gradient_through_exit_waves_is_that_of_plain_torch(shared):
    probes, canvas, wish = random(1 if shared else 4, 2, *SHAPE), random(9, 11, seed=1), random(4, 2, *SHAPE, seed=2)
    gradients = []
    for waves in (kernels.exit_waves, reference.exit_waves):
        c, p = canvas.clone().requires_grad_(), probes.clone().requires_grad_()
        (waves(c, p, CORNERS) - wish).abs().square().sum().backward()
        gradients.append((c.grad, p.grad))
    assert_close(gradients[0][0], gradients[1][0])
    assert_close(gradients[0][1], gradients[1][1])


@pytest.mark.parametrize("modes", [1, 3])
def test_intensity_adds_modes_and_agrees_with_its_differentiable_form(modes):
    waves = random(2, modes, 4, 5)
    fast = reference.intensity(waves)
    slow = reference.intensity(waves.clone().requires_grad_())
    assert torch.allclose(fast, waves.abs().square().sum(dim=1), rtol=1e-5)
    assert torch.allclose(fast, slow.detach(), rtol=1e-6)


def test_agreement_is_summed_over_the_shared_window_as_defined():
    generator = torch.Generator().manual_seed(5)
    shapes = ((9, 11), (12, 8))
    one, other = (torch.randn(shape, dtype=torch.complex64, generator=generator) for shape in shapes)
    light, brighter = (torch.rand(shape, generator=generator) for shape in shapes)
    light[3], brighter[4] = 0, 0
    place = ((2, 4), (3, 1), (6, 7))
    found = kernels.agreement(one, other, light, brighter, *place)
    wanted = reference.agreement(
        *(t.to(torch.promote_types(t.dtype, torch.float64)) for t in (one, other, light, brighter)), *place
    )
    assert found == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize(("kept", "returned"), [(0.0, 0.0), (1.0, -0.9), (0.95, -0.9)])
def test_the_compiled_feedback_is_its_definition_to_the_bit(kept, returned):
    obj, change = random(90, seed=3), random(90, seed=4)
    support = torch.rand(90, generator=torch.Generator().manual_seed(5)) > 0.5
    found = []
    for confine in (reference.confine_, kernels.confine_):
        inside, after = change.clone(), torch.empty_like(obj)
        confine(inside, obj, support, kept, returned, after)
        alone = change.clone()
        confine(alone, obj, support, kept, returned)
        assert torch.equal(alone, inside)
        found.append((inside, after))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])
    assert torch.equal(inside, torch.where(support, obj + change, 0.0))
