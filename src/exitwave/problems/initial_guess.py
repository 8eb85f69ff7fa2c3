"""Initial guess: a probe and an object from the data alone."""

import math
from dataclasses import replace

import torch
from jaxtyping import Complex
from scipy import ndimage
from torch import Tensor

from exitwave.data.errors import InputError
from exitwave.data.estimate import Estimate, PtychoEstimate
from exitwave.physics.interaction import split_positions
from exitwave.physics.kernels.reference import scatter_add_
from exitwave.problems.foreign_start import in_measured_photons, require_same_places
from exitwave.problems.mode_guess import guess_modes
from exitwave.problems.probe_guess import guess_probe
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.problems.setup import Setup


@torch.no_grad()
def first_guess(
    problem: PtychographyProblem, *, modes: int = 1, probe: Complex[Tensor, "mode y x"] | None = None
) -> PtychoEstimate:
    """An empty object and a probe made from the mean pattern (or the given one), scaled to the measured photons.

    Raises InputError when a given probe is larger or smaller than the frames.
    """
    shape = problem.scan.frame_shape
    if probe is None:
        probe = guess_probe(problem.scan, problem.statistics.mean_pattern, device=problem.device)[None]
    if tuple(probe.shape[-2:]) != shape:
        raise InputError(
            f"the probe is {tuple(probe.shape[-2:])} pixels but frames are {shape}; object and probe share the pixel that "
            "follows from the geometry, so crop or pad the probe to the frame (or the frames to the probe)"
        )
    x = PtychoEstimate(
        object=torch.ones(1, *problem.object_shape, dtype=torch.complex64, device=problem.device),
        probe=scale_to_photons(probe.to(problem.device, torch.complex64), problem),
        positions_px=problem.positions_px.clone(),
    )
    return with_modes(problem, x, modes)


def first_estimate(
    problem: PtychographyProblem,
    start: Estimate | None = None,
    *,
    probe: Complex[Tensor, "mode y x"] | None = None,
    modes: int = 1,
) -> PtychoEstimate:
    """The estimate to begin with, on the problem's device: `start` or else an empty object, its probe or this one.

    Raises InputError where start or probe do not belong to the frames.
    """
    if probe is not None and not bool(torch.view_as_real(probe).isfinite().all() and probe.abs().any()):
        raise InputError(
            "the probe to start from is empty or holds values that are not finite; start from another file"
        )
    if start is None:
        return first_guess(problem, modes=modes, probe=probe)
    start = problem.left_out.of_start(problem.require(start, PtychoEstimate), len(problem))
    _check_start(problem, start)
    require_same_places(problem, start)
    if probe is None:
        start = in_measured_photons(problem, start.to(problem.device))
    chosen = start.probe if probe is None else scale_to_photons(probe.to(torch.complex64), problem)
    if chosen.shape[-2:] != start.probe.shape[-2:]:
        raise InputError(f"the probe is {tuple(chosen.shape[-2:])} pixels but frames are {problem.scan.frame_shape}")
    return with_modes(problem, replace(start, probe=chosen).to(problem.device), modes)


def with_modes(problem: PtychographyProblem, x: PtychoEstimate, modes: int) -> PtychoEstimate:
    """The estimate with as many probe modes as asked for at least, the new ones from the data as far as these tell them."""
    if len(x.probe) >= modes:
        return x
    found = guess_modes(problem, x, modes)
    return replace(x, probe=found if len(found) >= modes else more_modes(found, modes))


def with_slices(x: PtychoEstimate, setup: Setup) -> PtychoEstimate:
    """The start with as many slices as asked for: what it knows of one slice stands in the first, the others are empty.

    Raises InputError where slices and spacings do not go together.
    """
    slices, spacing_m = setup.slices, setup.slice_spacing_m
    if slices == 1 and spacing_m is None:
        return x
    if slices < 2 or spacing_m is None:
        raise InputError(
            f"slices is {slices} and slice_spacing_m {spacing_m}; a thick sample needs at least 2 slices and their spacing"
        )
    spacings = [spacing_m] * (slices - 1) if isinstance(spacing_m, int | float) else [*spacing_m]
    if len(spacings) != slices - 1:
        raise InputError(
            f"slice_spacing_m is {spacings} for {slices} slices; give one positive length, or {slices - 1}, in metres"
        )
    if len(x.object) not in (1, slices):
        raise InputError(f"the start has {len(x.object)} slices but {slices} are asked for; leave one of them out")
    empty = torch.ones_like(x.object[:1]).expand(slices - len(x.object), -1, -1)
    spaced = torch.tensor(spacings, dtype=torch.float64, device=x.object.device)
    # Together: an estimate of several slices without spacings is none.
    return replace(x, object=torch.cat([x.object, empty]), slice_spacing_m=spaced)


def _check_start(problem: PtychographyProblem, start: PtychoEstimate) -> None:
    if len(start.positions_px) != len(problem):
        raise InputError(
            f"the start was made from {len(start.positions_px)} frames but the scan has {len(problem)}; start from a result "
            "of the same frames, or take only its probe (--probe)"
        )
    if tuple(start.probe.shape[-2:]) != problem.scan.frame_shape:
        raise InputError(
            f"the start's probe is {tuple(start.probe.shape[-2:])} pixels but frames are {problem.scan.frame_shape}; prepare "
            "the scan (crop, bin, pad) as it was when the start was made"
        )
    for name, values in (("object", start.object), ("probe", start.probe), ("positions", start.positions_px)):
        if not bool((torch.view_as_real(values) if values.is_complex() else values).isfinite().all()):
            raise InputError(f"the start's {name} holds values that are not finite; start from another file")
    # Windows lie on the nearest whole pixel; refined positions may stand up to half a pixel beyond the last one.
    top = start.positions_px.amax(dim=0).round() + torch.tensor(problem.scan.frame_shape)
    if bool((start.positions_px.amin(dim=0) < -0.5).any()) or bool((top > torch.tensor(start.object.shape[-2:])).any()):
        raise InputError("the start's positions lie outside its object array; it is damaged or was edited")


def scale_to_photons(probe: Complex[Tensor, "mode y x"], problem: PtychographyProblem) -> Complex[Tensor, "mode y x"]:
    """Give the probe as many photons as a frame has on average, counting only pixels that can be trusted."""
    at_detector = problem.model.propagate(probe).abs().square().sum(dim=0)
    seen = float((at_detector * problem.trusted).sum())
    return probe * math.sqrt(problem.power / len(problem) / max(seen, 1e-30))


def more_modes(probe: Complex[Tensor, "given y x"], modes: int) -> Complex[Tensor, "mode y x"]:
    """Add weak orthogonal modes: the first mode times low-order polynomials across it, 5 % of its power each.

    Raises InputError when there are not so many.
    """
    main = probe[0]
    height, width = main.shape
    if modes > height * width:
        raise InputError(f"{modes} modes are more than a probe of {height} x {width} pixels can have; 2-4 are usual")
    rows = torch.linspace(-1, 1, height, device=probe.device)[:, None].expand(height, width)
    columns = torch.linspace(-1, 1, width, device=probe.device)[None, :].expand(height, width)
    orders = [(p, total - p) for total in range(1, modes + 1) for p in range(total + 1)][: modes - len(probe)]
    stack = torch.stack([*probe, *(main * rows**p * columns**q for p, q in orders)]).reshape(modes, -1)
    basis = torch.linalg.qr(stack.T)[0].T.reshape(modes, height, width)
    new = basis[len(probe) :] * (0.05 * main.abs().square().sum()).sqrt()
    return torch.cat([probe, new])


@torch.no_grad()
def amplitude_guess(problem: PtychographyProblem, x: PtychoEstimate) -> Complex[Tensor, "slice Y X"]:
    """An object without phase, as transparent in each window as that pattern's brightness over the probe's says.

    Averaged where windows overlap and smoothed by a Gaussian of one pixel; 1 outside. Slices share the absorption.
    Xu et al., arXiv 1806.05546 (2018).
    """
    shape = (x.probe.shape[-2], x.probe.shape[-1])
    corners, _ = split_positions(x.positions_px)
    total, seen = torch.zeros_like(x.object[:1].real), torch.zeros_like(x.object[:1].real)
    bare = problem.model.propagate(x.probe).abs().square().sum(dim=0) * problem.trusted
    for frames in torch.arange(len(problem)).split(256):
        photons = (problem.counts(frames) * problem.trusted).sum(dim=(1, 2))
        ratio = (photons / bare.sum().clamp(min=1e-30)).sqrt()[:, None, None, None]
        scatter_add_(total, ratio.expand(-1, 1, *shape), corners[frames])
        scatter_add_(seen, torch.ones(1, 1, 1, 1, device=seen.device).expand(len(frames), 1, *shape), corners[frames])
    mean = torch.where(seen > 0, total / seen.clamp(min=1), 1.0)[0].cpu().numpy()
    smooth = torch.from_numpy(ndimage.gaussian_filter(mean, 1.0)).to(x.object.device)
    return smooth.pow(1 / len(x.object)).expand_as(x.object).to(x.object.dtype)
