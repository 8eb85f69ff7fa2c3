"""Small trial reconstructions that tell right positions from wrong ones: a few cut-down frames, a few epochs."""

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from exitwave.data import prepare
from exitwave.data.estimate import PtychoEstimate
from exitwave.data.scan import Scan
from exitwave.data.untrusted_pixels import filled_from_neighbours
from exitwave.physics.fourier import fft2, frequencies, ifft2, to_corner
from exitwave.physics.photon_noise import offset_variance
from exitwave.problems.initial_guess import scale_to_photons
from exitwave.problems.probe_guess import Aperture, bright_part
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.problems.refinement.distortion import Distortion
from exitwave.problems.refinement.modelled_frames import refined
from exitwave.problems.sweep import Sweep
from exitwave.problems.window_updates import pie_update

WINDOW_PX = 64
"""Frames are cut or binned down to about this size."""
MARGIN_PX = 6
BATCH = 8
Mapped = Literal["not", "turned", "freely"]
"""Whether the map of the positions is improved: not at all, by turning it, in any linear way."""
ALPHA, BETA = 0.1, 0.5
"""Regularisation of object and probe, as in rPIE."""
FRICTION = 0.6
"""Share of the last step of the linear map that is taken again."""
PROBE_RESTS, MAPPED_FROM = 2, 3
"""Epochs before the probe moves, and before the map of the positions does."""
REACHES = 18
"""Defoci, up to a probe that fills the frame."""
WIDER = (0.8, 1.2, 1.75, 2.5, 3.5, 4.8)
"""Probes that are tried, in units of the one whose light fluctuates as the patterns do: slow samples make it look small."""


def compact(scan: Scan, count: int, around: Float[Tensor, "2"] | None = None) -> Scan:
    """The `count` frames nearest to a place (the median of all when left out), in the order of the scan, in memory."""
    middle = scan.positions_m.median(dim=0).values if around is None else around
    nearest = (scan.positions_m - middle).square().sum(dim=1).argsort(stable=True)[:count].sort().values
    return prepare.to_memory(prepare.select(scan, nearest))


def cut_down(scan: Scan) -> Scan:
    """The same frames with fewer pixels: far-field frames cropped to the aperture and scattering around it, then binned."""
    if not scan.geometry.near_field:
        height, width = scan.frame_shape
        light = aperture_of(scan).square()
        reach = 0.0
        for axis, size in enumerate(light.shape):
            along = light.sum(dim=1 - axis).double()
            held = along.cumsum(dim=0) / along.sum().clamp(min=1e-30)
            first, last = int((held < 0.025).sum()), int((held < 0.975).sum())
            reach = max(reach, abs(first - size // 2), abs(last - size // 2))
        wanted = 16 * math.ceil(3.0 * max(reach, 1.0) / 16)
        size = min(height, width, max(wanted, 48))
        if (size, size) != (height, width):
            scan = prepare.crop(scan, size)
    factor = min(scan.frame_shape) // WINDOW_PX
    return prepare.to_memory(prepare.bin(scan, factor)) if factor > 1 else scan


def aperture_of(scan: Scan) -> Float[Tensor, "y x"]:
    """Mean amplitude of the frames where it is above 5 % of its bright level, beam centre at [h // 2, w // 2]."""
    mean = scan.frames(torch.arange(len(scan))).mean(dim=0).clamp(min=0)
    return bright_part(filled_from_neighbours(mean, scan.mask).sqrt())


def likely_probes(problem: PtychographyProblem) -> list[Complex[Tensor, "mode y x"]]:
    """Probes to try, whatever the positions are.

    Near field: the mean amplitude taken back to the sample. Far field: the aperture out of focus by several amounts; how
    fast the correlation of a pattern's fluctuations dies away tells how wide the probe is. The sign of the defocus is left
    open: it changes with that of the positions.
    """
    scan = problem.scan
    if scan.geometry.near_field:
        mean = filled_from_neighbours(problem.statistics.mean_pattern, scan.mask)
        measured = problem.model.to_detector_order(mean).clamp(min=0).sqrt()
        return [problem.model.backpropagate(measured.to(torch.complex64))[None]]
    aperture = Aperture(aperture_of(scan), scan.geometry.detector_pixel_m)
    seen, widest = fluctuations(problem), 0.5 * min(scan.frame_shape)
    reaches = torch.linspace(0, widest, REACHES + 1)[1:].tolist()
    least = max(reaches, key=lambda reach: _likeness(seen, aperture.defocused(reach)))
    likely = [min(least * wider, widest) for wider in WIDER]
    return [scale_to_photons(aperture.defocused(reach)[None], problem) for reach in dict.fromkeys(likely)]


def fluctuations(problem: PtychographyProblem) -> Float[Tensor, "y x"]:
    """Power of the patterns' deviations from their mean, by distance in the sample; photon noise taken off."""
    patterns = problem.counts(torch.arange(len(problem)))
    off = (patterns - patterns.mean(dim=0)) * problem.trusted
    power = fft2(off.to(torch.complex64)).abs().square().mean(dim=0)
    return (power - patterns.sum(dim=(1, 2)).mean() / patterns[0].numel()).clamp(min=0)


def _likeness(seen: Float[Tensor, "y x"], probe: Complex[Tensor, "y x"]) -> float:
    """How well the fluctuations are those of a probe: of a sample without pattern they are the correlation of its light."""
    light = to_corner(probe.abs().square()).to(torch.complex64)
    expected = ifft2(fft2(light).abs().square().to(torch.complex64)).abs()
    rows, columns = frequencies((seen.shape[0], seen.shape[1]))
    # The middle belongs to changes of the brightness.
    outside = ((rows * seen.shape[0]).square() + (columns * seen.shape[1]).square()) > 2.5
    a, b = (values[outside].double().sqrt() for values in (seen, expected))
    return float((a @ b) / (a.norm() * b.norm()).clamp(min=1e-30))


@dataclass(eq=False)
class PositionTrial:
    """One belief about positions and probe, and how well frames fit with it after some epochs."""

    problem: PtychographyProblem
    x: PtychoEstimate
    epochs: int = 0
    velocity: Float[Tensor, "7"] | None = None
    misfit: float = math.inf
    """Squared relative amplitude residual of the last epoch."""
    deviation: Float[Tensor, "4"] | None = None
    """Standard deviations of the linear map found, (yy, yx, xy, xx)."""

    @classmethod
    def begun(
        cls, problem: PtychographyProblem, positions_px: Float[Tensor, "frame 2"], probe: Complex[Tensor, "mode y x"]
    ) -> "PositionTrial":
        """An empty object, with the windows of these positions."""
        corners = positions_px - positions_px.amin(dim=0) + MARGIN_PX
        shape = [
            math.ceil(float(far)) + n + MARGIN_PX for far, n in zip(corners.amax(dim=0), probe.shape[-2:], strict=True)
        ]
        posed = replace(problem, positions_px=corners, object_shape=(shape[0], shape[1]))
        empty = torch.ones(1, *shape, dtype=torch.complex64, device=problem.device)
        probe = scale_to_photons(probe, problem)
        return cls(posed, PtychoEstimate(object=empty, probe=probe, positions_px=corners))

    @property
    def noise(self) -> float:
        """The misfit that photon noise leaves when object and probe have taken what they can of it; 0 where values are no photons."""
        if self.problem.model.offset_photons < 1:
            return 0.0
        mean = self.problem.model.to_detector_order(self.problem.statistics.mean_pattern).to(self.problem.device)
        variance = float((offset_variance(mean) * self.problem.trusted).sum()) * len(self.problem)
        shone = self.x.probe.abs().square().sum(dim=0)
        lit = torch.zeros(self.x.object.shape[-2:], dtype=shone.dtype, device=shone.device)
        for y, x in self.x.positions_px.round().to(torch.int64).tolist():
            lit[y : y + shone.shape[0], x : x + shone.shape[1]] += shone
        # A bright pixel of a frame is one real number with a variance of a quarter; an unknown takes one away.
        unknowns = 2 * (_pixels_lit(lit) + len(self.x.probe) * _pixels_lit(shone))
        return max(variance - 0.25 * unknowns, 0.0) / self.problem.power

    def go_on(self, epochs: int, *, mapped: Mapped = "not", gain: float = 1.0) -> None:
        """Some epochs of rPIE; before each, once the image stands, the linear map of the positions is improved."""
        for _ in range(epochs):
            if mapped != "not" and self.epochs >= MAPPED_FROM:
                look = Distortion(rigid=mapped == "turned", friction=FRICTION, velocity=self.velocity)
                self.x = refined(self.problem, self.x, [look])
                self.deviation, self.velocity = look.deviation, look.velocity
            sweep = Sweep(self.problem, self.x)
            self.epochs += 1
            misfit = 0.0
            for frames in self.problem.batches(BATCH, self.epochs):
                misfit += pie_update(
                    sweep, frames, alpha=ALPHA, beta=BETA, gains=(gain, gain), with_probe=self.epochs > PROBE_RESTS
                )
            self.misfit = misfit / self.problem.power


def _pixels_lit(light: Float[Tensor, "y x"]) -> float:
    """How many pixels hold the light, were it the same in all of them."""
    return float(light.double().sum().square() / light.double().square().sum().clamp(min=1e-300))


def linear_map(before: Float[Tensor, "frame 2"], after: Float[Tensor, "frame 2"]) -> Float[Tensor, "2 2"]:
    """The matrix that best leads from positions to others, a common shift apart."""
    old, new = before - before.mean(dim=0), after - after.mean(dim=0)
    return torch.linalg.lstsq(old, new).solution.T
