"""Distortions that all positions share: rotation, stretch and shear of the scan, and slow bends of it."""

import math
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Complex, Float
from torch import Tensor
from torch.nn import functional

from exitwave.data.estimate import PtychoEstimate
from exitwave.physics.fourier import fft2, frequencies, ifft2
from exitwave.physics.interaction import split_positions
from exitwave.physics.kernels import dispatch as kernels
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.problems.refinement.modelled_frames import ModelledFrames, Refinement
from exitwave.problems.refinement.positions import inside

STEEPEST = 0.04
"""No look stretches or turns any place by more."""
USUAL_SLOPE = 0.05
"""Prior standard deviation of stretch, rotation and shear."""
USUAL_CURVATURE, MOST_CURVED = 30.0, 1.0
"""Prior standard deviation of the probe's curvatures, and the most of one look: radians, root mean square across the probe."""
MOST_BENDS = 100
"""Slow waves along each axis that are looked for at most, the slowest first."""
LEAST_MOVE_PX = 0.05
"""An object that would move by less is left as it is."""


@dataclass(frozen=True, eq=False)
class Field:
    """A smooth displacement of the sample's plane: a linear map about a centre, and cosines that bend it."""

    centre: Float[Tensor, "2"]
    """(y, x) that the linear map leaves where it is, object pixels."""
    corner: Float[Tensor, "2"]
    span: Float[Tensor, "2"]
    """Rectangle on which the cosines have whole half-periods."""
    orders: Float[Tensor, "bend 2"]
    """Half-periods of each bend along y and x."""

    @classmethod
    def over(cls, places: Float[Tensor, "frame 2"], shortest_px: float) -> "Field":
        """Over the scan, with all bends whose half-periods are at least `shortest_px`; inf leaves the linear map alone."""
        corner = places.amin(dim=0)
        span = (places.amax(dim=0) - corner).clamp(min=1.0)
        most = [int(float(length) / shortest_px) for length in span]
        pairs = [(i, j) for i in range(most[0] + 1) for j in range(most[1] + 1)]
        # Order 1 alone along its own axis is nearly the linear map; from order 1 on cosines say more than a plane.
        speed = {p: math.hypot(p[0] / float(span[0]), p[1] / float(span[1])) for p in pairs}
        kept = sorted((p for p in pairs if 0 < speed[p] <= 1 / shortest_px), key=lambda p: (speed[p], p))[:MOST_BENDS]
        orders = torch.tensor(kept, dtype=torch.float64).reshape(-1, 2)
        return cls(places.mean(dim=0), corner, span, orders)

    @property
    def unknowns(self) -> int:
        """Coefficients: those of the linear map (yy, yx, xy, xx), then (y, x) of each bend."""
        return 4 + 2 * len(self.orders)

    def gradients(self, places: Float[Tensor, "frame 2"]) -> Float[Tensor, "frame 4 unknown"]:
        """How the gradient (yy, yx, xy, xx) of the displacement at some places grows with each coefficient."""
        found = torch.zeros(len(places), 4, self.unknowns, dtype=torch.float64)
        found[:, range(4), range(4)] = 1.0
        rate = torch.pi * self.orders / self.span
        angle = (places - self.corner)[:, None] * rate
        slopes = -rate * angle.sin() * angle.cos().flip(2)
        for component in range(2):
            found[:, 2 * component : 2 * component + 2, 4 + component :: 2] = slopes.transpose(1, 2)
        return found

    def moves(self, places: Float[Tensor, "*batch 2"], coefficients: Float[Tensor, " unknown"]) -> Tensor:
        """The displacement at these places, pixels."""
        linear = (places - self.centre) @ coefficients[:4].reshape(2, 2).T
        if not len(self.orders):
            return linear
        rate = torch.pi * self.orders / self.span
        waves = ((places - self.corner)[..., None, :] * rate).cos().prod(dim=-1)
        return linear + waves @ coefficients[4:].reshape(-1, 2)

    def moves_of_grid(self, shape: tuple[int, int], coefficients: Float[Tensor, " unknown"]) -> Float[Tensor, "y x 2"]:
        """The displacement at every pixel of an array; the same as `moves`, an axis at a time."""
        rows, columns = (torch.arange(n, dtype=torch.float64) for n in shape)
        linear = coefficients[:4].reshape(2, 2)
        found = (rows - self.centre[0])[:, None, None] * linear[:, 0] + (columns - self.centre[1])[:, None] * linear[
            :, 1
        ]
        if len(self.orders):
            rate = torch.pi * self.orders / self.span
            down, across = (
                ((ruler - self.corner[axis])[:, None] * rate[:, axis]).cos()
                for axis, ruler in enumerate((rows, columns))
            )
            found = found + torch.einsum("ym,xm,mc->yxc", down, across, coefficients[4:].reshape(-1, 2))
        return found


@dataclass(eq=False)
class Distortion(Refinement):
    """A smooth displacement of all frames, by Gauss-Newton on the modulus, with object and probe taken along.

    Frames moved one by one wait for the object, which holds on to what neighbours have in common. So here the object is
    moved, too: what a pattern then sees of a displacement u is its gradient across the probe alone,
    d psi = -P(r) sum_ab (du_a / dr_b) r_b dO / dr_a, with r from the probe's centre. A stretch of the scan is nearly a
    change of the probe's curvature (defocus, astigmatism), the other way in which shadows get larger; so both are found
    together. Seven propagations a frame give pull and curvature of the four components and of the three of the probe, and
    with them those of every smooth field. A common shift is not looked for.
    """

    shortest_px: float = math.inf
    """Shortest half-period of bends; inf for rotation, stretch and shear alone."""
    usual_px: float = 1.0
    """Prior standard deviation of the amplitude of a bend."""
    rigid: bool = False
    """Whether the linear map only turns."""
    friction: float = 0.0
    """Share of the last step of linear map and curvatures that is taken again: object and probe follow slowly."""
    velocity: Float[Tensor, "7"] | None = None
    """The last step of linear map and curvatures, for the next look."""
    deviation: Float[Tensor, "4"] | None = field(init=False, default=None)
    """Standard deviations of the linear map's coefficients in the last look."""
    _slopes: list[Complex[Tensor, "Y X"]] = field(init=False, default_factory=list[Tensor])
    """Derivatives of the object along y and x."""
    _bent: Complex[Tensor, "3 mode y x"] = field(
        init=False, default_factory=lambda: torch.zeros(0, dtype=torch.complex64)
    )
    """How the probe grows with its curvatures yy, yx, xx."""
    _centre: Float[Tensor, "2"] = field(init=False, default_factory=lambda: torch.zeros(2, dtype=torch.float64))
    """Of the probe's light in its window."""

    def empty(self, problem: PtychographyProblem, x: PtychoEstimate) -> tuple[Tensor, ...]:
        rows, columns = frequencies((x.object.shape[-2], x.object.shape[-1]), device=x.object.device)
        spectrum = fft2(x.object[0])
        self._slopes = [
            ifft2(spectrum * (2j * torch.pi * frequency).to(torch.complex64)).contiguous()
            for frequency in (rows, columns)
        ]
        self._centre = _centre(x.probe)
        self._bent = torch.stack([_curved(problem, x.probe, phase) for phase in _curvatures(problem, x.probe)])
        frames = len(problem)
        return (
            torch.zeros(frames, 7, dtype=torch.float64),
            torch.zeros(frames, 7, 7, dtype=torch.float64),
            torch.zeros(frames, dtype=torch.float64),
        )

    def add_(self, sums: tuple[Tensor, ...], view: ModelledFrames) -> None:
        pulls, curvatures, misfits = sums
        slopes = torch.stack([view.slope(waves) for waves in (*self._stretched(view), *self._curving(view))], dim=1)
        flat, deviation = view.unbiased_slopes(slopes).flatten(2), view.unbiased_deviation
        pulls[view.frames] = (flat @ deviation.flatten(1)[..., None])[..., 0].double().cpu()
        curvatures[view.frames] = (flat @ flat.mT).double().cpu()
        misfits[view.frames] = deviation.double().square().sum(dim=(1, 2)).cpu()

    def _stretched(self, view: ModelledFrames) -> list[Complex[Tensor, "batch mode y x"]]:
        """Waves at the detector of -P r_b dO/dr_a, for ab = yy, yx, xy, xx."""
        _, rest = split_positions(view.x.positions_px[view.frames])
        probes, height, width = view.probes, *view.x.probe.shape[-2:]
        rulers: list[Tensor] = []
        for axis, size in enumerate((height, width)):
            own = self._centre[axis] + (0.0 if rest is None else rest[:, axis, None].cpu())
            ruler = (own - torch.arange(size)).to(probes.device, torch.float32).reshape(-1, size)
            rulers.append(ruler[:, None, :, None] if axis == 0 else ruler[:, None, None, :])
        weighted = [(probes * ruler).contiguous() for ruler in rulers]
        propagate = view.problem.model.propagate
        return [
            propagate(kernels.exit_waves(slope, weighted[b], view.corners)) for slope in self._slopes for b in (0, 1)
        ]

    def _curving(self, view: ModelledFrames) -> list[Complex[Tensor, "batch mode y x"]]:
        """Waves at the detector of what the probe grows by with each of its curvatures."""
        probes = (
            view.problem.model.probes(replace(view.x, probe=bent, variations=None, weights=None), view.frames)
            for bent in self._bent
        )
        return [view.seen_with(probe.contiguous()) for probe in probes]

    def improved(self, problem: PtychographyProblem, x: PtychoEstimate, sums: tuple[Tensor, ...]) -> PtychoEstimate:
        pulls, curvatures, misfits = sums
        places = x.positions_px.cpu() + self._centre
        wave = Field.over(places, self.shortest_px)
        gradients = wave.gradients(places)
        design = torch.zeros(len(places), 7, wave.unknowns + 3, dtype=torch.float64)
        design[:, :4, :-3], design[:, range(4, 7), range(-3, 0)] = gradients, 1.0
        pull = torch.einsum("kau,ka->u", design, pulls)
        curvature = torch.einsum("kau,kab,kbv->uv", design, curvatures, design)
        noise = float(misfits.sum()) / max(len(problem) * float(problem.trusted.sum()), 1.0)
        usual = torch.full((len(pull),), self.usual_px, dtype=torch.float64)
        usual[:4], usual[-3:] = USUAL_SLOPE, USUAL_CURVATURE
        posterior = curvature + torch.diag(noise / usual.square() + 1e-30)
        if self.rigid:
            stiff = 1e6 * posterior[:4, :4].diagonal().max()
            for held in torch.tensor([[1.0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 1]], dtype=torch.float64):
                posterior[:4, :4] += stiff * torch.outer(held, held)
        step = torch.linalg.solve(posterior, pull)
        self.deviation = (noise * torch.linalg.inv(posterior).diagonal()[:4]).clamp(min=0).sqrt()
        shared = [*range(4), -3, -2, -1]
        if self.velocity is not None:
            step[shared] += self.friction * self.velocity
        steepest = float(torch.einsum("kau,u->ka", gradients, step[:-3]).abs().max())
        most = max(steepest / STEEPEST, float(step[-3:].abs().max()) / MOST_CURVED)
        step = step / max(1.0, most)
        self.velocity = step[shared]
        phases = torch.einsum("m,myx->yx", step[-3:], _curvatures(problem, x.probe))
        bent = replace(x, probe=_curved(problem, x.probe, phases, whole=True))
        return distorted(bent, wave, step[:-3], self._centre)


def _curvatures(problem: PtychographyProblem, probe: Complex[Tensor, "mode y x"]) -> Float[Tensor, "3 y x"]:
    """Phases that curve a probe along yy, yx, xx: across the aperture in the far field, across the sample in the near field.

    Scaled to a root mean square of 1 where the probe has its light.
    """
    shape = (probe.shape[-2], probe.shape[-1])
    if problem.scan.geometry.near_field:
        light, (rows, columns) = probe, (torch.arange(n, dtype=torch.float64) - n // 2 for n in shape)
        rows, columns = rows[:, None], columns[None, :]
    else:
        light, (rows, columns) = fft2(probe), frequencies(shape)
    weight = light.abs().double().square().sum(dim=0).cpu()
    weight = weight / weight.sum().clamp(min=1e-30)
    rows, columns = (ruler - (weight * ruler).sum() for ruler in (rows, columns))
    found = torch.stack([(rows * rows).expand(shape), rows * columns, (columns * columns).expand(shape)])
    found = found - (found * weight).sum(dim=(1, 2), keepdim=True)
    return found / (found.square() * weight).sum(dim=(1, 2), keepdim=True).sqrt().clamp(min=1e-30)


def _curved(
    problem: PtychographyProblem,
    probe: Complex[Tensor, "mode y x"],
    phase: Float[Tensor, "y x"],
    *,
    whole: bool = False,
) -> Complex[Tensor, "mode y x"]:
    """The probe's derivative along such a phase, or the `whole` probe with it."""
    factor = (torch.polar(torch.ones_like(phase), phase) if whole else 1j * phase).to(probe.device, torch.complex64)
    return (probe * factor if problem.scan.geometry.near_field else ifft2(fft2(probe) * factor)).contiguous()


def distorted(
    x: PtychoEstimate, wave: Field, coefficients: Float[Tensor, " unknown"], centre: Float[Tensor, "2"]
) -> PtychoEstimate:
    """Positions, whose probe's `centre` is at those pixels of the window, and the object displaced by one smooth field."""
    places = x.positions_px.cpu() + centre
    moves = wave.moves(places, coefficients)
    common = moves.mean(dim=0)
    shape = (x.object.shape[-2], x.object.shape[-1])
    grid = wave.moves_of_grid(shape, coefficients) - common
    moved = replace(x, positions_px=inside(x, x.positions_px.cpu() + moves - common))
    if float(grid.abs().max()) < LEAST_MOVE_PX:
        return moved
    return replace(moved, object=_resampled(x.object, grid))


def _resampled(obj: Complex[Tensor, "slice Y X"], moves: Float[Tensor, "Y X 2"]) -> Complex[Tensor, "slice Y X"]:
    """The object moved by (y, x) at every pixel, interpolated by cubic convolution (Keys, IEEE Trans. ASSP 29, 1153, 1981)."""
    height, width = obj.shape[-2:]
    rows = torch.arange(height, dtype=torch.float64)[:, None] - moves[..., 0]
    columns = torch.arange(width, dtype=torch.float64) - moves[..., 1]
    # grid_sample wants (x, y), the first and last pixel at -1 and 1.
    where = torch.stack([2 * columns / max(width - 1, 1) - 1, 2 * rows / max(height - 1, 1) - 1], dim=-1)
    parts = torch.view_as_real(obj).movedim(-1, 1).flatten(0, 1)[None]
    found = functional.grid_sample(
        parts, where[None].to(parts), mode="bicubic", padding_mode="border", align_corners=True
    )
    return torch.view_as_complex(found[0].unflatten(0, (-1, 2)).movedim(1, -1).contiguous())


def _centre(probe: Complex[Tensor, "mode y x"]) -> Float[Tensor, "2"]:
    """Centre of mass (y, x) of the probe's light, pixels of its window."""
    light = probe.abs().double().square().sum(dim=0).cpu()
    total = light.sum().clamp(min=1e-30)
    along = [light.sum(dim=1 - axis) @ torch.arange(size, dtype=torch.float64) for axis, size in enumerate(light.shape)]
    return torch.stack(along) / total
