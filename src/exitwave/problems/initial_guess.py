"""Initial guess: a probe and an object from the data alone."""

import math
from dataclasses import replace

import torch
from jaxtyping import Complex, Float
from scipy import ndimage
from torch import Tensor

from exitwave.data import prepare
from exitwave.data.errors import InputError
from exitwave.data.estimate import Estimate, PtychoEstimate
from exitwave.physics.fourier import frequencies, ifft2, to_centre, to_corner
from exitwave.physics.interaction import split_positions
from exitwave.physics.kernels.reference import gather, scatter_add_
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.problems.setup import Setup
from exitwave.problems.untrusted_pixels import filled_from_neighbours

TRIAL_FRAMES = 48
"""Neighbouring frames on which probes are tried."""
TRIAL_EPOCHS = 12
PROBE_RESTS = 4
"""Epochs of a trial before the probe moves too."""
REACHES = 18
"""Defoci tried on either side of the focus, up to a probe that fills the frame."""


@torch.no_grad()
def first_guess(
    problem: PtychographyProblem, *, modes: int = 1, probe: Complex[Tensor, "mode y x"] | None = None
) -> PtychoEstimate:
    """An empty object and a probe made from the mean pattern (or the given one), scaled to the measured photons.

    Raises InputError when a given probe is larger or smaller than the frames.
    """
    shape = problem.scan.frame_shape
    if probe is None:
        probe = guess_probe(problem)[None]
    if tuple(probe.shape[-2:]) != shape:
        raise InputError(
            f"the probe is {tuple(probe.shape[-2:])} pixels but frames are {shape}; object and probe share the pixel that "
            "follows from the geometry, so crop or pad the probe to the frame (or the frames to the probe)"
        )
    if len(probe) < modes:
        probe = more_modes(probe, modes)
    return PtychoEstimate(
        object=torch.ones(1, *problem.object_shape, dtype=torch.complex64, device=problem.device),
        probe=scale_to_photons(probe.to(problem.device, torch.complex64), problem),
        positions_px=problem.positions_px.clone(),
    )


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
    chosen = start.probe if probe is None else scale_to_photons(probe.to(torch.complex64), problem)
    if chosen.shape[-2:] != start.probe.shape[-2:]:
        raise InputError(f"the probe is {tuple(chosen.shape[-2:])} pixels but frames are {problem.scan.frame_shape}")
    return replace(start, probe=chosen if len(chosen) >= modes else more_modes(chosen, modes)).to(problem.device)


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


def guess_probe(problem: PtychographyProblem) -> Complex[Tensor, "y x"]:
    """The probe behind the mean pattern. Averaged over the scan, the sample's own scattering is mostly washed out.

    Near field: the mean amplitude taken back to the sample with a flat phase. Far field: the mean amplitude is the
    aperture; its defocus is the one of many that best fits some neighbouring frames and predicts others among them.
    """
    measured = problem.model.to_detector_order(_filled_mean_pattern(problem)).to(problem.device).sqrt()
    if problem.scan.geometry.near_field:
        return problem.model.backpropagate(measured.to(torch.complex64))
    aperture = _smoothed(to_centre(measured).cpu())
    trial = _trial_problem(problem, aperture)
    trial_aperture = to_corner(_cut(aperture, trial.scan.frame_shape)).to(problem.device)
    fitted, predicted = _trial_frames(trial)

    def score(reach: float) -> float:
        return _trial(trial, defocused(trial_aperture, reach), fitted, predicted)

    coarse = {reach: score(reach) for reach in _defocus_reaches(trial.scan.frame_shape)}
    best = min(coarse, key=coarse.__getitem__)
    spacing = 0.5 * min(trial.scan.frame_shape) / REACHES
    fine = {best + part * spacing: score(best + part * spacing) for part in (-0.6, -0.3, 0.3, 0.6)}
    fine[best] = coarse[best]
    # The same curvature on the detector: pixels of the larger frame are smaller in the sample.
    scale = problem.scan.frame_shape[0] / trial.scan.frame_shape[0]
    return defocused(to_corner(aperture).to(problem.device), min(fine, key=fine.__getitem__) * scale)


def _trial_problem(problem: PtychographyProblem, aperture: Float[Tensor, "y x"]) -> PtychographyProblem:
    """The middle of the scan, its frames cut down to the aperture and some scattering around it: enough, and much faster."""
    size = max(problem.scan.frame_shape)
    wanted = 16 * math.ceil(1.5 * 2 * _edge_frequency(to_corner(aperture)) * size / 16)
    middle = problem.positions_px.median(dim=0).values
    nearest = (problem.positions_px - middle).square().sum(dim=1).argsort()[:TRIAL_FRAMES]
    part = prepare.select(problem.scan, nearest)
    if problem.scan.frame_shape[0] == problem.scan.frame_shape[1] and 48 <= wanted < size:
        part = prepare.crop(part, wanted)
    return PtychographyProblem.of(part, seed=problem.seed, device=problem.device)


def _cut(image: Float[Tensor, "y x"], shape: tuple[int, int]) -> Float[Tensor, "y2 x2"]:
    top, left = (whole // 2 - part // 2 for whole, part in zip(image.shape, shape, strict=True))
    return image[top : top + shape[0], left : left + shape[1]]


def defocused(aperture: Float[Tensor, "y x"], reach_px: float) -> Complex[Tensor, "y x"]:
    """The focus of an aperture (zero frequency at index 0) after defocus that moves its outermost rays by `reach_px`."""
    rows, columns = frequencies((aperture.shape[0], aperture.shape[1]), device=aperture.device)
    edge = _edge_frequency(aperture)
    # phase pi c f^2 moves the ray at frequency f by c f pixels; at the edge of the aperture by the reach.
    phase = math.pi * reach_px / edge * (rows.square() + columns.square())
    wave = torch.polar(aperture.to(torch.float64), phase).to(torch.complex64)
    return to_centre(ifft2(wave))


def _edge_frequency(aperture: Tensor) -> float:
    """Frequency within which the aperture holds 95 % of its photons, cycles per pixel."""
    rows, columns = frequencies((aperture.shape[0], aperture.shape[1]), device=aperture.device)
    radius = (rows.square() + columns.square()).sqrt().flatten()
    order = radius.argsort()
    held = aperture.square().flatten()[order].double().cumsum(dim=0)
    return float(radius[order][int((held < 0.95 * held[-1]).sum().clamp(max=len(order) - 1))].clamp(min=1e-3))


def _defocus_reaches(shape: tuple[int, int]) -> list[float]:
    sizes = torch.linspace(0, 0.5 * min(shape), REACHES + 1)[1:].tolist()
    return [0.0, 1.5, -1.5, *sizes, *(-size for size in sizes)]


def _trial_frames(problem: PtychographyProblem) -> tuple[Tensor, Tensor]:
    """Frames to fit, and frames in the midst of them to predict."""
    count = len(problem)
    inner = torch.zeros(count, dtype=torch.bool)
    # The trial's frames are sorted by their distance from its middle.
    inner[: max(count // 2, 1) : 3] = True
    frames = torch.arange(count)
    return frames[~inner], frames[inner]


def _trial(problem: PtychographyProblem, probe: Tensor, fitted: Tensor, predicted: Tensor) -> float:
    """Cost of a probe on a patch of the scan: misfit of fitted frames times misfit of predicted ones.

    Object, then probe come from a few gradient steps on the fitted frames. The fit alone would favour small probes, whose
    frames do not overlap and can be fitted one by one; the prediction alone favours wide ones, which cover the places
    between the frames. The right probe does well in both, and the further it is let go the more it stands out.
    """
    probe = scale_to_photons(probe[None], problem)
    corners, _ = split_positions(problem.positions_px[torch.cat([fitted, predicted])].round())
    corners = corners - corners.amin(dim=0)
    shape = problem.scan.frame_shape
    extent = (corners.amax(dim=0) + torch.tensor(shape)).tolist()
    obj = torch.ones(1, *extent, dtype=torch.complex64, device=problem.device)
    misfit = torch.zeros(1)
    for epoch in range(TRIAL_EPOCHS):
        patches = gather(obj, corners[: len(fitted)], shape)
        change, misfit = problem.modulus_change(patches * probe, fitted)
        lit, update = torch.zeros_like(obj.real), torch.zeros_like(obj)
        scatter_add_(lit, probe.abs().square().expand(len(fitted), 1, -1, -1), corners[: len(fitted)])
        scatter_add_(update, probe.conj() * change, corners[: len(fitted)])
        obj = obj + update / (lit + 0.02 * lit.max())
        if epoch >= PROBE_RESTS:
            probe = probe + (patches.conj() * change).sum(dim=0) / patches.abs().square().sum(dim=0).max()
    _, unseen = problem.modulus_change(gather(obj, corners[len(fitted) :], shape) * probe, predicted)
    return float(misfit.mean()) * float(unseen.mean())


def _filled_mean_pattern(problem: PtychographyProblem) -> Float[Tensor, "y x"]:
    """The mean pattern with untrusted pixels taken from their nearest trusted neighbours."""
    return filled_from_neighbours(problem.statistics.mean_pattern, problem.scan.mask)


def _smoothed(amplitude: Float[Tensor, "y x"]) -> Float[Tensor, "y x"]:
    """Suppress the sample's scattering around the aperture: what is below 5 % of the bright level is set to zero."""
    soft = torch.from_numpy(ndimage.gaussian_filter(amplitude.numpy(), 1.0))
    bright = soft.flatten().quantile(0.995) if soft.numel() < 2**24 else soft.max()
    return torch.where(soft > 0.05 * bright, amplitude, 0.0)


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
        photons = (problem.amplitudes(frames).square() * problem.trusted).sum(dim=(1, 2))
        ratio = (photons / bare.sum().clamp(min=1e-30)).sqrt()[:, None, None, None]
        scatter_add_(total, ratio.expand(-1, 1, *shape), corners[frames])
        scatter_add_(seen, torch.ones(1, 1, 1, 1, device=seen.device).expand(len(frames), 1, *shape), corners[frames])
    mean = torch.where(seen > 0, total / seen.clamp(min=1), 1.0)[0].cpu().numpy()
    smooth = torch.from_numpy(ndimage.gaussian_filter(mean, 1.0)).to(x.object.device)
    return smooth.pow(1 / len(x.object)).expand_as(x.object).to(x.object.dtype)
