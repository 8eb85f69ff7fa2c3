"""Orthogonal probe relaxation (OPR): a probe that varies from frame to frame."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Complex
from torch import Tensor

from exitwave.data.estimate import PtychoEstimate
from exitwave.physics.interaction import propagate_gap
from exitwave.physics.kernels import dispatch as kernels
from exitwave.physics.kernels.reference import gather
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.problems.refinement.modelled_frames import ModelledFrames, Refinement

FLOOR = 0.5
"""Where the sample is darker than this share of its brightest, what frames ask of their probe counts less."""


@dataclass(eq=False)
class Variations(Refinement):
    """The waves by which the first probe mode varies, and how much of each every frame has.

    Odstrcil et al., Opt. Express 24, 8360 (2016): the probes that the frames ask for lie near a plane of few dimensions.
    Its axes are found by subspace iteration, one step a look, so that no frame's probe need be kept. One propagation back
    a frame.
    """

    def empty(self, problem: PtychographyProblem, x: PtychoEstimate) -> tuple[Tensor, ...]:
        assert x.variations is not None
        assert x.weights is not None
        return torch.zeros_like(x.weights), torch.zeros_like(x.variations)

    def add_(self, sums: tuple[Tensor, ...], view: ModelledFrames) -> None:
        weights, axes = sums
        assert view.x.variations is not None
        assert view.x.weights is not None
        index = view.frames.to(view.x.weights.device)
        asked = torch.einsum("bc,cyx->byx", view.x.weights[index], view.x.variations) + _asked(view)
        found = torch.einsum("cyx,byx->bc", view.x.variations.conj(), asked)
        weights[index] = found
        axes += torch.einsum("bc,byx->cyx", found.conj(), asked)

    def improved(self, problem: PtychographyProblem, x: PtychoEstimate, sums: tuple[Tensor, ...]) -> PtychoEstimate:
        assert x.variations is not None
        weights, axes = sums
        basis = orthonormal(axes)
        turn = torch.einsum("cyx,dyx->cd", x.variations, basis.conj())
        weights = problem.sharing_weights(weights @ turn)
        # What all frames share belongs to the probe itself.
        mean = weights.mean(dim=0)
        probe = x.probe.clone()
        probe[0] += torch.einsum("c,cyx->yx", mean, basis)
        return replace(x, probe=probe, variations=basis, weights=weights - mean)


def _asked(view: ModelledFrames) -> Complex[Tensor, "batch y x"]:
    """How each frame wants its first probe mode to change, by the least squares of its exit wave, softened in the dark."""
    x, model = view.x, view.problem.model
    change = view.change
    if len(x.object) > 1:
        assert view.gaps is not None
        # What follows changes it in place, and the view is shared with other refinements.
        change = change.clone()
        for number in range(len(x.object) - 1, 0, -1):
            unused = torch.zeros_like(x.object[0, : change.shape[-2], : change.shape[-1]].real)
            kernels.times_conjugate_window_(change, x.object[number], view.corners, unused)
            change = propagate_gap(change, view.gaps[number - 1].conj())
    windows = gather(x.object[:1], view.corners, (change.shape[-2], change.shape[-1]))
    light = windows.abs().square()
    light = light + FLOOR * light.amax(dim=(1, 2, 3), keepdim=True)
    return model.unshifted(x, view.frames, change * windows.conj() / light)[:, 0]


def orthonormal(waves: Complex[Tensor, "component y x"]) -> Complex[Tensor, "component y x"]:
    """The same plane of waves with orthogonal axes of length one, the strongest first."""
    flat = waves.flatten(1)
    left, strengths, right = torch.linalg.svd(flat, full_matrices=False)
    del left, strengths
    return right.reshape(waves.shape).contiguous()


def with_variations(problem: PtychographyProblem, x: PtychoEstimate, components: int) -> PtychoEstimate:
    """The estimate with room for variations of the probe, none of which any frame has yet."""
    known = 0 if x.variations is None else len(x.variations)
    if known == components:
        return x
    rng = np.random.default_rng([problem.seed, 83])
    shape = (components, *x.probe.shape[-2:])
    noise = torch.from_numpy(rng.normal(size=shape) + 1j * rng.normal(size=shape)).to(x.probe)
    # Where there is light: what the probe cannot reach, the data cannot tell.
    drawn = noise * x.probe[0].abs()
    weights = torch.zeros(len(problem), components, dtype=x.probe.dtype, device=x.probe.device)
    return replace(x, variations=orthonormal(drawn), weights=weights)
