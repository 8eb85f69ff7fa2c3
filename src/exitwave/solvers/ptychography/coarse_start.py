"""A start for beams of flat phase: object and probe from coarse frames, by a method that finds its way past wrong images.

A beam of flat phase (a pinhole, a focus) puts little light where fine detail scatters to, and a frame hardly tells a patch of the
sample from its conjugate. A solver that only goes downhill from an empty object then mixes up phase and absorption. The
middle of the frames, in which scattered and direct light interfere, tells them apart; coarse frames also cost little.
"""

import math
from dataclasses import replace
from typing import Any, cast

import torch
from jaxtyping import Complex
from scipy import ndimage
from torch import Tensor

from exitwave.data import prepare
from exitwave.data.estimate import PtychoEstimate
from exitwave.data.progress import in_parts
from exitwave.physics.fourier import fft2, ifft2, to_centre, to_corner
from exitwave.problems.probe_guess import Aperture
from exitwave.problems.ptychography import MemoryBudget, PtychographyProblem, object_canvas
from exitwave.solvers.base import Step
from exitwave.solvers.ptychography.projections import DM

FLAT = 0.5
"""|sum P^2| / sum |P|^2 of a probe P from which on its phase is flat: 0.7 to 1 in focus, about 0.1 out of it."""
LARGEST_PX = 64
"""Rows and columns of coarse frames, at most two thirds of the frames' own."""
LEAST_FRAMES = 16
"""Fewer hardly hold each other, and the difference map finds one image or another."""
MARGIN_PX = 4


def wants_coarse_start(problem: PtychographyProblem, x: PtychoEstimate) -> bool:
    """Whether far-field frames are to begin with an empty object under a beam of flat phase, and nothing more is asked for."""
    far_and_plain = not problem.scan.geometry.near_field and problem.features(x) <= {"modes"}
    if not far_and_plain or len(problem) < LEAST_FRAMES or len(problem.regions(x)) > 1:
        return False
    main = x.probe[0]
    flat = float(main.square().sum().abs() / main.abs().square().sum().clamp(min=1e-30)) > FLAT
    return flat and bool((x.object == 1).all())


@torch.no_grad()
def coarse_start(problem: PtychographyProblem, x: PtychoEstimate, *, epochs: int) -> PtychoEstimate:
    """Object and probe found by so many epochs of the difference map from the middle of the frames, in pixels of the whole.

    Thibault et al., Ultramicroscopy 109, 338 (2009).
    """
    whole, shape = problem.scan.frame_shape, _coarse_shape(problem, x)
    trusted = replace(problem.scan, mask=to_centre(problem.trusted.cpu()) > 0)
    cut = prepare.crop(trusted, shape)
    coarse = PtychographyProblem.on_canvas(
        cut,
        object_canvas(cut, MARGIN_PX),
        model=None,
        seed=problem.seed,
        device=problem.device,
        free_fraction=0.0,
        memory=MemoryBudget(spare=problem.spare_bytes),
        robust=False,
    )
    empty = torch.ones(1, *coarse.object_shape, dtype=x.object.dtype, device=problem.device)
    begun = PtychoEstimate(object=empty, probe=resized_probe(x.probe, shape), positions_px=coarse.positions_px.clone())
    steps = DM(epochs=epochs).solve(coarse, Step(epoch=0, estimate=begun))
    for _ in in_parts("starting from coarse frames", range(epochs)):
        begun = next(steps).estimate
    return replace(x, object=finer_object(begun, x), probe=resized_probe(begun.probe, whole))


def _coarse_shape(problem: PtychographyProblem, x: PtychoEstimate) -> tuple[int, int]:
    """Two thirds of the frames; less where these are large and the aperture leaves room for scattered light around it."""
    pixel_m = problem.scan.geometry.detector_pixel_m
    radius_px = Aperture(_at_detector(x.probe[0]).abs().cpu(), pixel_m).edge_px()
    largest = (max(LARGEST_PX, 2 * math.ceil(2 * radius_px * pixel_m[0] / pixel)) for pixel in pixel_m)
    height, width = (min(2 * (n // 3), most) for n, most in zip(problem.scan.frame_shape, largest, strict=True))
    return height, width


def _at_detector(probe: Complex[Tensor, "*mode y x"]) -> Complex[Tensor, "*mode y x"]:
    """The wave on a far-field detector, the beam in the middle."""
    return to_centre(fft2(to_corner(probe)))


def resized_probe(probe: Complex[Tensor, "mode y x"], shape: tuple[int, int]) -> Complex[Tensor, "mode h w"]:
    """The probe on frames cut to this shape, or padded with dark pixels to it: the same wave in the middle of the detector."""
    wave = _at_detector(probe)
    found = torch.zeros(len(probe), *shape, dtype=probe.dtype, device=probe.device)
    here, there = ([], [])
    for old, new in zip(probe.shape[-2:], shape, strict=True):
        length = min(old, new)
        here.append(slice(old // 2 - length // 2, old // 2 - length // 2 + length))
        there.append(slice(new // 2 - length // 2, new // 2 - length // 2 + length))
    found[:, there[0], there[1]] = wave[:, here[0], here[1]]
    return to_centre(ifft2(to_corner(found)))


def finer_object(coarse: PtychoEstimate, x: PtychoEstimate) -> Complex[Tensor, "1 Y X"]:
    """The coarse object in pixels of `x`, laid so that the middles of its windows stay where they are; cubic splines."""
    scale = [old / new for old, new in zip(coarse.probe.shape[-2:], x.probe.shape[-2:], strict=True)]
    middles = (
        coarse.positions_px[0] + torch.tensor([n // 2 for n in coarse.probe.shape[-2:]]),
        x.positions_px[0] + torch.tensor([n // 2 for n in x.probe.shape[-2:]]),
    )
    # One for each axis, which its stub does not know.
    offset = cast(Any, [float(middles[0][axis] - scale[axis] * middles[1][axis]) for axis in (0, 1)])
    found = ndimage.affine_transform(
        coarse.object[0].cpu().numpy(), scale, offset, output_shape=tuple(x.object.shape[-2:]), order=3, mode="nearest"
    )
    return torch.from_numpy(found).to(x.object)[None]
