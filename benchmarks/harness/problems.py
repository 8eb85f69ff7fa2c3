"""The problems on which reconstructions are timed and judged: a scan, its truth, and where every program starts.

`small` and `big` are the common problem on which packages are compared, `realistic` (in realistic.py) the same with what a
beamline adds; `smear` the stand-in for the blood smears of
the method papers; `twin` real gold balls, a real partially coherent probe and real positions with photons of our own;
`petra` a real near-field scan without truth.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Complex, Float
from scipy import io, ndimage
from torch import Tensor

import exitwave as ew
from exitwave.simulation.objects import textured
from exitwave.simulation.probes import zone_plate
from exitwave.simulation.trajectories import jittered_raster, raster

DATA = Path(__file__).parents[3] / "shared" / "data"
"""Where the measured data are, beside the checkout; studies that need them are skipped where they are not."""
PETRA = DATA / "PETRAIII_P25_Near_Field_Ptycho.cxi"
GOLD_BALLS = DATA / "objects_probes" / "cdtools_gold_balls_recon.mat"
MARGIN_PX = 4
"""Object pixels around the outermost windows: those of the canvas that exitwave makes."""
APERTURE = 0.7
"""Radius of the annular pupil of the common problem, as a share of half the frame."""
GEOMETRY = ew.Geometry.from_energy(8000.0, 2.0, (75e-6, 75e-6))
Box = tuple[slice, slice]


@dataclass(frozen=True, kw_only=True, eq=False)
class Trial:
    """A made scan, where to start from, and what only the judge may see."""

    name: str
    scan: ew.Scan
    start: ew.PtychoEstimate
    truth: ew.PtychoEstimate
    box: Box
    """The well-lit centre of the true object, where images are compared."""
    modes: int = 1
    """Incoherent modes of the beam, as everybody is told."""
    max_position_error_px: float = 0.0
    """How far recorded positions may be off, as everybody is told; 0 where they are known."""


@dataclass(frozen=True)
class _Raster:
    """One size of the common problem."""

    frame_px: int
    grid: tuple[int, int]
    step_px: float
    diameter_px: float


COMMON = {"small": _Raster(64, (25, 40), 10.5, 30.0), "big": _Raster(128, (20, 20), 20.1, 60.0)}
"""1000 frames of 64 pixels, 65 % overlap; 400 frames of 128 pixels, 66 %."""


def common(name: str, seed: int) -> Trial:
    """`small` or `big`: textured object, defocused annular probe, jittered raster, 1e6 photons a frame, a wrong start.

    Windows lie on whole pixels, so that programs which interpolate and programs which round solve the same problem.
    """
    size = COMMON[name]
    shape = (size.frame_px, size.frame_px)
    positions = jittered_raster(size.grid, size.step_px, jitter=0.15, seed=seed).round()
    positions = positions - positions.amin(dim=0) + MARGIN_PX
    canvas = tuple(int(last) + size.frame_px + MARGIN_PX for last in positions.amax(dim=0))
    probe = zone_plate(shape, diameter_px=size.diameter_px, aperture=APERTURE)
    made = ew.measure(textured((canvas[0], canvas[1]), seed=seed), probe, positions, GEOMETRY, seed=seed)
    start = ew.PtychoEstimate(
        object=torch.ones_like(made.truth.object),
        probe=wrong_probe(made.scan, shape, size.diameter_px, seed)[None],
        positions_px=made.truth.positions_px,
    )
    return Trial(name=name, scan=made.scan, start=start, truth=made.truth, box=well_lit(made.truth))


def wrong_probe(scan: ew.Scan, shape: tuple[int, int], diameter_px: float, seed: int) -> Complex[Tensor, "y x"]:
    """The true optics with 8 % wrong defocus, astigmatism and a smooth complex error of 5 %, as bright as was measured."""
    wrong = zone_plate(shape, diameter_px=1.08 * diameter_px, aperture=APERTURE, aberrations={6: 0.04})
    generator = np.random.default_rng([seed, 5])
    parts = [ndimage.gaussian_filter(generator.standard_normal(shape), shape[0] / 16) for _ in range(2)]
    error = torch.from_numpy(parts[0] + 1j * parts[1])
    error *= 0.05 / float(error.abs().square().mean().sqrt())
    wrong = wrong.to(torch.complex128) * (1 + error)
    photons = float(scan.frames(slice(None)).sum(dim=(1, 2)).double().mean())
    seen = torch.fft.fftshift(torch.fft.fft2(wrong, norm="ortho")).abs().square()
    lit = seen.sum() if scan.mask is None else seen[scan.mask].sum()
    return (wrong * math.sqrt(photons / float(lit))).to(torch.complex64)


def well_lit(truth: ew.PtychoEstimate) -> Box:
    """The rectangle over which the centre of the probe went."""
    middle = torch.tensor(truth.probe.shape[-2:]) // 2
    ends = zip(truth.positions_px.amin(dim=0) + middle, truth.positions_px.amax(dim=0) + middle, strict=True)
    down, across = (slice(int(first), int(last) + 1) for first, last in ends)
    return down, across


def smear(step_px: int, peak_counts: float = 1e5, seed: int = 0) -> Trial:
    """26 soft discs on 128 pixels under a curved probe of radius 11 in frames of 32, known to the solver, on a raster.

    Amplitude 0.2-1, phase over about 2 rad. `box` is the whole object: this problem is judged wherever it was lit.
    """
    n, frame = 128, 32
    generator = np.random.default_rng([seed, 26])
    y, x = np.mgrid[:n, :n].astype(float)
    thickness = np.zeros((n, n))
    for _ in range(26):
        cy, cx = generator.uniform(0, n, 2)
        radius, depth = generator.uniform(7, 14), generator.uniform(0.4, 1.0)
        thickness += depth / (1 + np.exp((np.hypot(y - cy, x - cx) - radius) / 1.2))
    thickness = np.tanh(thickness)
    obj = torch.from_numpy((1 - 0.8 * thickness) * np.exp(2j * thickness)).to(torch.complex64)
    count = (n - frame) // step_px + 1
    positions = raster((count, count), float(step_px))
    ruler = torch.arange(frame, dtype=torch.float64) - frame // 2
    r2 = ruler[:, None].square() + ruler[None, :].square()
    probe = torch.polar(torch.sigmoid((11 - r2.sqrt()) / 0.7), 0.02 * r2).to(torch.complex64)
    bare = ew.measure(obj, probe, positions, GEOMETRY, detection=ew.Detection(photons_per_frame=None, noise="none"))
    brightest = float(bare.scan.frames(slice(None)).max())
    probe = probe * math.sqrt(peak_counts / brightest)
    made = ew.measure(obj, probe, positions, GEOMETRY, detection=ew.Detection(photons_per_frame=None), seed=seed)
    blank = torch.ones(1, n, n, dtype=torch.complex64)
    start = ew.PtychoEstimate(object=blank, probe=made.truth.probe, positions_px=made.truth.positions_px)
    return Trial(name=f"smear, step {step_px}", scan=made.scan, start=start, truth=made.truth, box=np.s_[:, :])


def twin(every: int = 4, position_error_px: float = 2.0, seed: int = 0) -> Trial:
    """Gold balls with their two probe modes and positions as retrieved by cdtools; 1e5 photons a frame from us.

    The recorded positions are off by `position_error_px` (root mean square of y and of x); every `every`-th of the 1595
    frames is taken. The start is the first mode out of focus at the recorded positions, on an empty object; a second mode
    is guessed from it.
    """
    file = io.loadmat(GOLD_BALLS)
    pixel_m = float(np.abs(file["basis"]).max())
    probe = torch.from_numpy(file["probe"]).to(torch.complex64)
    # The basis turns stage coordinates by the signs and axes of the detector; the sample is cut where light fell.
    inverse = np.linalg.pinv(file["basis"].astype(float))
    positions = torch.from_numpy(file["translation"].astype(float) @ inverse.T)[::every]
    positions = positions - positions.amin(dim=0)
    frame = probe.shape[-1]
    margin = MARGIN_PX + math.ceil(5 * position_error_px)
    height, width = (math.ceil(float(last)) + frame + 2 * margin for last in positions.amax(dim=0))
    whole = torch.from_numpy(file["obj"]).to(torch.complex64)
    top, left = (whole.shape[0] - height) // 2, (whole.shape[1] - width) // 2
    obj = whole[top : top + height, left : left + width]
    reach = float(file["wavelength"].ravel()[0]) / (frame * pixel_m)
    geometry = ew.Geometry(
        wavelength_m=float(file["wavelength"].ravel()[0]), distance_m=0.1, detector_pixel_m=(0.1 * reach,) * 2
    )
    detection = ew.Detection(photons_per_frame=1e5, position_error_px=position_error_px)
    made = ew.measure(obj / obj.abs().max(), probe, positions + margin, geometry, detection=detection, seed=seed)
    return Trial(name="twin", scan=made.scan, start=_twin_start(made), truth=made.truth, box=well_lit(made.truth))


def _twin_start(made: ew.Simulated) -> ew.PtychoEstimate:
    """Recorded positions in the frame of the true object, and all photons in a blurred first mode."""
    recorded = made.scan.positions_m / torch.tensor(made.scan.object_pixel_m)
    main = made.truth.probe[0].to(torch.complex128)
    rows, columns = (torch.fft.fftfreq(n, dtype=torch.float64) for n in main.shape)
    bend = torch.exp(-1j * math.pi * 40.0 * (rows[:, None].square() + columns[None, :].square()))
    main = torch.fft.ifft2(torch.fft.fft2(main) * bend)
    photons = float(made.scan.frames(slice(None)).sum(dim=(1, 2)).double().mean())
    main = main * math.sqrt(photons / float(main.abs().square().sum()))
    return ew.PtychoEstimate(
        object=torch.ones_like(made.truth.object), probe=main[None].to(torch.complex64), positions_px=recorded
    )


def petra() -> ew.Scan:
    """200 frames of a Siemens star in the near field of a focus at PETRA III, P25."""
    return ew.read(PETRA, ew.ReadOptions(focus_distance_m=3.65e-3))


def growing(frames: int, seed: int = 1) -> ew.Scan:
    """A scan of so many frames of 64 pixels, for time and memory."""
    return ew.simulate("textured", frame_px=64, frames=frames, overlap=0.65, seed=seed).scan


def modulus_error(probe: Complex[Tensor, "y x"], truth: Complex[Tensor, "y x"]) -> float:
    """Relative error of the normalised modulus, to compare starts."""
    one, other = (p.abs() / p.abs().square().sum().sqrt() for p in (probe, truth))
    return float((one - other).square().sum().sqrt())


def flat_error(trial: Trial) -> float:
    """The error of an empty object: what doing nothing scores."""
    truth: Float[Tensor, "y x"] = trial.truth.object[0][trial.box]
    return float((1 - truth.mean().abs().square() / truth.abs().square().mean()).sqrt())
