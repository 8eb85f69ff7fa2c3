from dataclasses import replace

import pytest
import torch

from exitwave.problems.groups.neighbours import neighbour_groups
from exitwave.solvers.neural.losses import amplitude_loss
from exitwave.solvers.neural.patch_encoder import PatchEncoder
from exitwave.solvers.neural.reconstruction_network import GroupBatch, ReconstructionNetwork
from exitwave.solvers.neural.training_data import group_batch
from exitwave.solvers.neural.unrolled_unet import UnrolledUNet


def scene(lesson, group):
    groups = neighbour_groups(lesson.problem.positions_px, group)
    return group_batch(lesson.problem, lesson.x, groups, begun=False)


def network_of(kind, group, *, seed=0, learned_scale=False):
    network = UnrolledUNet(width=0.5) if kind == "unet" else PatchEncoder(width=0.25, translation="bilinear")
    return ReconstructionNetwork(network, network.parts((32, 32), group, seed), learned_scale=learned_scale)


@pytest.mark.parametrize("kind", ["unet", "encoder"])
@pytest.mark.parametrize("group", [1, 4])
def test_images_do_not_change_when_data_and_probe_grow_alike(lesson_like, kind, group):
    network = network_of(kind, group)
    # Counts, because the floor under the square root is absolute: a millionth of a photon.
    images = [network([scene(lesson_like(photons=1e5, brighter=b), group)])[0].image for b in (1.0, 1e4)]
    assert float((images[0] - images[1]).detach().abs().max()) < (1e-5 if kind == "encoder" else 1e-3)


@pytest.mark.parametrize("kind", ["unet", "encoder"])
def test_every_weight_learns(lesson, kind):
    network = network_of(kind, 4, learned_scale=True)
    at = scene(lesson, 4)
    amplitude_loss(at.canvases, network([at])[0].image).backward()
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in network.parameters())


def test_gradients_of_learned_steps_are_those_of_finite_differences(lesson_like):
    """The adjoint's own backward pass is written by hand."""
    at = scene(lesson_like(photons=1e5), 4)
    # In double precision, where differences keep their digits; the verbs then run in plain torch.
    exact = replace(
        at.canvases,
        probes=at.canvases.probes.to(torch.complex128),
        amplitudes=at.canvases.amplitudes.double(),
        trusted=at.canvases.trusted.double(),
        background=at.canvases.background.double(),
        illumination=at.canvases.illumination.double(),
    )
    start = at.start.to(torch.complex128)
    random = torch.Generator().manual_seed(0)
    weight, direction = (torch.randn(start.shape, generator=random, dtype=torch.complex128) for _ in range(2))

    def value(images):
        return (exact.gradient_step(images).conj() * weight).real.sum()

    images = start.clone().requires_grad_()
    (slope,) = torch.autograd.grad(value(images), images)
    told = float((slope.conj() * direction).real.sum())
    small = 1e-6
    with torch.no_grad():
        ends = [float(value((start + sign * small * direction).requires_grad_())) for sign in (1, -1)]
    assert (ends[0] - ends[1]) / (2 * small) == pytest.approx(told, rel=1e-4)


def test_steps_are_the_same_with_and_without_gradients(lesson):
    at = scene(lesson, 4)
    with torch.no_grad():
        fast = at.canvases.gradient_step(at.start)
    slow = at.canvases.gradient_step(at.start.clone().requires_grad_())
    assert torch.allclose(fast, slow, atol=1e-4)


def test_without_corrections_learned_steps_are_plain_descent(lesson):
    network = network_of("unet", 4)
    for part in network.parts:
        torch.nn.init.zeros_(part.tail.weight)
    at = scene(lesson, 4)
    with torch.no_grad():
        expected = at.start
        for _ in network.parts:
            expected = expected + at.canvases.gradient_step(expected)
        assert torch.allclose(network([at])[0].image, expected, atol=1e-5)
        before = amplitude_loss(at.canvases, at.start)
        assert amplitude_loss(at.canvases, expected) < before


@pytest.mark.parametrize("kind", ["unet", "encoder"])
def test_a_group_is_seen_the_same_alone_and_among_others(lesson, kind):
    network, problem = network_of(kind, 4), lesson.problem
    groups = neighbour_groups(problem.positions_px, 4)[:3]

    def seen(members):
        at = group_batch(problem, lesson.x, members, begun=False)
        with torch.no_grad():
            return at.canvases, network([at])[0].image

    together, images = seen(groups)
    canvases, (alone,) = seen(groups[1:2])
    (y, x), (y0, x0) = together.origins[1].tolist(), canvases.origins[0].tolist()
    height = min(images.shape[1] - (y0 - y), alone.shape[0])
    width = min(images.shape[2] - (x0 - x), alone.shape[1])
    assert (y, x) == (y0, x0)
    lit = (canvases.illumination[0] > 1e-2 * canvases.illumination.max())[:height, :width]
    difference = (images[1, :height, :width] - alone[:height, :width])[lit]
    # Canvases have a common size; what lies beyond the frames reaches a little way in.
    assert float(difference.abs().max()) < (0.05 if kind == "unet" else 1e-4)


def test_the_encoder_sees_its_patterns_with_the_beam_in_the_middle(lesson):
    network = network_of("encoder", 1)
    seen = []
    network.parts[0].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    network([scene(lesson, 1)])
    mean = seen[0].mean(dim=(0, 1))
    assert float(mean[12:20, 12:20].mean()) > 5 * float(mean[:4, :4].mean())


def test_a_near_field_pattern_is_seen_as_it_lies(lesson):
    network = network_of("encoder", 1)
    seen = []
    network.parts[0].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    at = scene(lesson, 1)
    network([GroupBatch(at.canvases, at.start, near_field=True)])
    gain = network.scaling.input_gain / at.probe_photons.sqrt()
    assert torch.allclose(seen[0][:, 0], at.canvases.amplitudes * gain)


def test_a_learned_scale_multiplies_the_image(lesson):
    network, at = network_of("unet", 4, learned_scale=True), scene(lesson, 4)
    with torch.no_grad():
        plain = network([at])[0].image
        network.scaling.log_scale.fill_(0.5)
        assert torch.allclose(network([at])[0].image, plain * torch.e**0.5, rtol=1e-4)
