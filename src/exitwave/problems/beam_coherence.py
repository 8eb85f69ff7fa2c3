"""The partial coherence of a beam, fitted to frames while the object stays: a convex problem, whose minimum is found at once."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from exitwave.data.estimate import PtychoEstimate
from exitwave.physics.fourier import fft2, frequencies, ifft2
from exitwave.physics.interaction import multislice, split_positions
from exitwave.physics.kernels.reference import intensity
from exitwave.problems.ptychography import PtychographyProblem

DEGREE, DERIVATIVES = 3, 2
"""Waves of which the beam is made: its main mode times polynomials across it, up to this degree, which make a beam that shakes
in angle, and its derivatives up to this order, for one that shakes in place."""
FRAMES, PIXELS = 32, 4096
"""At most so many frames and, of each, the brightest pixels of the mean pattern: enough for the few unknowns."""
INDEPENDENT = 0.05
"""A wave is left out of which the others leave less than this share."""
DARK = 1.0
"""Photons added to the variance of a count: the model may be too dark."""
STEPS, PRECISION = 3000, 1e-7
"""Of the least squares: most steps, and the relative move at which they end."""
FAINTEST = 1e-6
"""Power of a mode over that of the strongest, at least."""

Matrix = Complex[Tensor, "basis basis"]


def beam_modes(
    problem: PtychographyProblem, x: PtychoEstimate, modes: int, frames: Int[Tensor, " frame"]
) -> Complex[Tensor, "mode y x"]:
    """The strongest incoherent modes of the beam that, with the object as it is, best explains these frames.

    Intensities are linear in the mutual coherence J of the beam, I = sum_ab J_ab u_a conj(u_b) with u_a the waves at the
    detector that each wave of a small basis gives: weighted least squares over positive J, whose eigenvectors are the modes
    (Thibault & Menzel, Nature 494, 68, 2013). At most as many as the basis has waves. The power of those left out goes to
    the others.
    """
    basis = wave_basis(x.probe[0])
    own = basis.flatten(1).conj().to(torch.complex128) @ x.probe.flatten(1).to(torch.complex128).T
    squares = _squares(problem, x, basis, frames)
    coherence = squares.solved(own @ own.conj().T)
    powers, vectors = torch.linalg.eigh(coherence)
    # Never nothing: whoever wants more light in a mode can scale it.
    powers = powers.clamp(min=FAINTEST * float(powers[-1]))
    powers, vectors = powers.flip(0)[:modes], vectors.flip(1)[:, :modes]
    powers = powers * (coherence.diagonal().real.sum() / powers.sum().clamp(min=1e-30))
    found = (vectors * powers.sqrt()).T.to(basis.dtype).to(basis.device) @ basis.flatten(1)
    return found.reshape(-1, *basis.shape[1:])


def wave_basis(main: Complex[Tensor, "y x"]) -> Complex[Tensor, "basis y x"]:
    """The wave, its products with polynomials and its derivatives, made orthonormal in this order."""
    main = main.to(torch.complex128)
    y, x = (_across(main, axis) for axis in (0, 1))
    spectrum, (fy, fx) = fft2(main), frequencies((main.shape[0], main.shape[1]), device=main.device)
    waves = [main * y**p * x**q for p, q in _powers(0, DEGREE)]
    waves += [ifft2(spectrum * fy**p * fx**q) for p, q in _powers(1, DERIVATIVES)]
    kept: list[Tensor] = []
    for wave in waves:
        rest = wave.flatten() / wave.norm().clamp(min=1e-30)
        # Twice, or rounding would leave some of the others in it.
        for _ in range(2):
            for other in kept:
                rest = rest - torch.vdot(other, rest) * other
        if not kept or float(rest.norm()) > INDEPENDENT:
            kept.append(rest / rest.norm().clamp(min=1e-30))
    return torch.stack(kept).reshape(-1, *main.shape).to(torch.complex64)


def _powers(first: int, last: int) -> list[tuple[int, int]]:
    return [(p, total - p) for total in range(first, last + 1) for p in range(total + 1)]


def _across(wave: Complex[Tensor, "y x"], axis: int) -> Float[Tensor, "#y #x"]:
    """Distance from the centre of the wave's light along an axis, in its root mean square widths."""
    light = wave.abs().square().sum(dim=1 - axis)
    light = light / light.sum().clamp(min=1e-30)
    places = torch.arange(len(light), dtype=torch.float64, device=wave.device)
    places = places - (light * places).sum()
    places = places / (light * places.square()).sum().sqrt().clamp(min=1e-12)
    return places[:, None] if axis == 0 else places[None, :]


@dataclass(frozen=True, eq=False)
class _Squares:
    """Normal equations of the coherence, in the real numbers that make it up: diagonal, real and imaginary parts above it."""

    curvature: Float[Tensor, "unknown unknown"]
    pull: Float[Tensor, " unknown"]
    size: int
    """Waves in the basis."""

    def solved(self, start: Matrix) -> Matrix:
        """The positive matrix of least squares, by projected gradients with momentum that begins anew when it leads uphill.
        Beck & Teboulle, SIAM J. Imaging Sci. 2, 183 (2009); O'Donoghue & Candes, Found. Comput. Math. 15, 715 (2015)."""
        # Elements beside the diagonal stand in the matrix twice.
        scale = torch.ones(len(self.pull), dtype=torch.float64)
        scale[self.size :] = 0.5**0.5
        curvature, pull = self.curvature * scale[:, None] * scale, self.pull * scale
        steepest = torch.linalg.eigvalsh(curvature)[-1].clamp(min=1e-30)
        last = ahead = self.numbers(start.cpu()) / scale
        pace = 1.0
        for _ in range(STEPS):
            matrix = self.matrix((ahead - (curvature @ ahead - pull) / steepest) * scale)
            powers, vectors = torch.linalg.eigh(matrix)
            here = self.numbers((vectors * powers.clamp(min=0)) @ vectors.conj().T) / scale
            move = here - last
            if float((ahead - here) @ move) > 0:
                pace = 1.0
            pace, before = (1 + (1 + 4 * pace * pace) ** 0.5) / 2, pace
            ahead, last = here + (before - 1) / pace * move, here
            if float(move.norm()) < PRECISION * float(here.norm()):
                break
        return self.matrix(last * scale)

    def matrix(self, numbers: Float[Tensor, " unknown"]) -> Matrix:
        rows, columns = torch.triu_indices(self.size, self.size, 1)
        above = torch.complex(*numbers[self.size :].chunk(2))
        found = torch.diag(numbers[: self.size]).to(torch.complex128)
        found[rows, columns], found[columns, rows] = above, above.conj()
        return found

    def numbers(self, matrix: Matrix) -> Float[Tensor, " unknown"]:
        rows, columns = torch.triu_indices(self.size, self.size, 1)
        above = matrix[rows, columns]
        return torch.cat([matrix.diagonal().real, above.real, above.imag])


def _squares(
    problem: PtychographyProblem, x: PtychoEstimate, basis: Complex[Tensor, "basis y x"], frames: Tensor
) -> _Squares:
    size = len(basis)
    curvature = torch.zeros(size * size, size * size, dtype=torch.float64)
    pull = torch.zeros(size * size, dtype=torch.float64)
    mean = problem.model.to_detector_order(problem.statistics.mean_pattern).to(problem.device)
    pixels = (mean.clamp(min=0) * problem.trusted + problem.trusted).flatten().topk(min(PIXELS, mean.numel())).indices
    trusted, background = problem.trusted.flatten()[pixels], problem.model.background(x).flatten()[pixels]
    for frame in frames[torch.linspace(0, len(frames) - 1, min(len(frames), FRAMES)).round().long()].split(1):
        waves = _at_detector(problem, replace(x, probe=basis), frame).flatten(2)[..., pixels]
        now = intensity(_at_detector(problem, x, frame).flatten(0, 1)[None])[0].flatten()[pixels]
        weight = (trusted / (now + background + DARK)).sqrt()
        terms = _terms(waves) * weight
        counts = (problem.counts(frame).flatten()[pixels] - background) * weight
        curvature += (terms @ terms.T).double().cpu()
        pull += (terms @ counts).double().cpu()
    return _Squares(curvature, pull, size)


def _at_detector(
    problem: PtychographyProblem, x: PtychoEstimate, frame: Int[Tensor, " 1"]
) -> Complex[Tensor, "point mode y x"]:
    """Waves at the detector in one frame, at each point of a fly scan's exposure."""
    model = problem.model
    corners = split_positions(x.positions_px[frame.to(x.positions_px.device)])[0]
    probes = model.probes(x, frame).contiguous()
    waves = model.propagate(multislice(x.object, probes, corners, model.gap_transfers(x))[0])[0]
    return waves.reshape(-1, len(x.probe), *waves.shape[-2:])


def _terms(waves: Complex[Tensor, "point basis pixel"]) -> Float[Tensor, "unknown pixel"]:
    """What each real number of the coherence adds to the intensities."""
    rows, columns = torch.triu_indices(waves.shape[1], waves.shape[1], 1)
    crossed = (waves[:, rows] * waves[:, columns].conj()).sum(dim=0)
    return torch.cat([waves.abs().square().sum(dim=0), 2 * crossed.real, -2 * crossed.imag])
