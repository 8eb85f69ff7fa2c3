"""Simulated 4D-STEM: a focused electron probe over a thick sample that absorbs nothing, recorded at each place of a raster."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import torch
from jaxtyping import Complex, Float
from torch import Tensor

from exitwave.data.errors import InputError
from exitwave.data.estimate import PtychoEstimate
from exitwave.data.geometry import Geometry, electron_wavelength_m
from exitwave.data.optics import Aberration, ProbeOptics
from exitwave.data.scan import Scan
from exitwave.io.raster import RasterShape, raster_shape
from exitwave.physics.probe_forming import formed_probe, round_aperture
from exitwave.simulation.detection import Detection
from exitwave.simulation.measure import MARGIN_PX, Simulated, check_seed, measure
from exitwave.simulation.trajectories import raster

ATOM_M = 0.4e-10
"""Standard deviation of an atom's projected potential."""
ATOM_RAD = 0.35
"""Its phase in the middle."""


@dataclass(frozen=True, kw_only=True)
class Microscope:
    """The electron microscope of a made 4D-STEM scan. Raises InputError for values that cannot be."""

    kv: float = 300.0
    """Acceleration voltage, kV."""
    semi_angle_mrad: float = 20.0
    """Semi-angle of convergence, mrad."""
    defocus_nm: float = 20.0
    """Defocus, nm; positive (underfocus) where the focus lies behind the top of the sample."""
    aberrations: tuple[str, ...] = ()
    """Further aberrations, such as C30=1.2mm or C12=5nm,30deg."""
    mrad_per_px: float = 1.25
    """Angle of a detector pixel, mrad."""
    scan: RasterShape = "40x40"
    """Rows and columns of the raster."""
    step_pm: float = 80.0
    """Step of the raster, pm."""
    slice_spacing_nm: float = 10.0
    """Distance between the two layers of the sample, nm."""

    def __post_init__(self) -> None:
        for name in ("kv", "semi_angle_mrad", "mrad_per_px", "step_pm", "slice_spacing_nm"):
            if not (math.isfinite(value := getattr(self, name)) and value > 0):
                raise InputError(f"{name} is {value}; expected a positive number")

    @property
    def optics(self) -> ProbeOptics:
        """What forms the probe."""
        return ProbeOptics(
            semi_angle_rad=1e-3 * self.semi_angle_mrad,
            defocus_m=1e-9 * self.defocus_nm,
            aberrations=tuple(Aberration.parsed(text) for text in self.aberrations),
        )

    @property
    def geometry(self) -> Geometry:
        """As the file of such a scan knows it: angles, and nothing of the probe."""
        angle = 1e-3 * self.mrad_per_px
        return Geometry(
            wavelength_m=electron_wavelength_m(1e3 * self.kv),
            distance_m=1.0,
            detector_pixel_m=(angle, angle),
            particle="electron",
            angles_only=True,
        )


def lattices(shape: tuple[int, int], pixel_m: tuple[float, float], *, seed: int = 0) -> Complex[Tensor, "slice y x"]:
    """Two crystals on top of each other: a square lattice (0.39 nm), under it a turned hexagonal one (0.29 nm). The seed moves them."""
    generator = np.random.default_rng(seed)
    square = np.array([[0.39e-9, 0.0], [0.0, 0.39e-9]])
    turn = math.radians(17.0)
    turned = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    hexagonal = 0.29e-9 * np.array([[1.0, 0.0], [0.5, math.sqrt(0.75)]]) @ turned
    layers = [_atoms(shape, pixel_m, basis, generator.uniform(0, 1, 2) @ basis) for basis in (square, hexagonal)]
    return torch.polar(torch.ones(len(layers), *shape, dtype=torch.float64), torch.stack(layers)).to(torch.complex64)


STEM: dict[str, Callable[..., Complex[Tensor, "slice y x"]]] = {"lattices": lattices}
"""Samples of 4D-STEM by the names used on the command line."""


def simulate_stem(
    sample: str,
    *,
    microscope: Microscope | None = None,
    frame_px: int = 64,
    detection: Detection | None = None,
    seed: int = 0,
) -> Simulated[Scan, PtychoEstimate]:
    """A made 4D-STEM scan of a sample of `STEM`; frames hold counts of electrons, 1e6 in the mean unless `detection` says otherwise.

    Raises InputError where the probe does not fit its frames.
    """
    check_seed(seed)
    microscope = microscope or Microscope()
    geometry, optics = microscope.geometry, microscope.optics
    shape = frame_px, frame_px
    pixel_m = geometry.object_pixel_m(shape)
    half_mrad = microscope.mrad_per_px * frame_px / 2
    if microscope.semi_angle_mrad > 0.9 * half_mrad:
        raise InputError(
            f"a semi-angle of {microscope.semi_angle_mrad:g} mrad does not fit frames that reach {half_mrad:g} mrad; raise "
            "frame_px or mrad_per_px"
        )
    probe = formed_probe(round_aperture(1e-3 * microscope.semi_angle_mrad, geometry, shape), optics, geometry)
    positions = raster(raster_shape(microscope.scan), microscope.step_pm * 1e-12 / pixel_m[0]) + MARGIN_PX
    height, width = (math.ceil(float(last)) + frame_px + MARGIN_PX for last in positions.amax(dim=0))
    obj = STEM[sample]((height, width), pixel_m, seed=seed)
    return measure(
        obj,
        probe,
        positions,
        geometry,
        detection=detection,
        seed=seed,
        slice_spacing_m=(microscope.slice_spacing_nm * 1e-9,) * (len(obj) - 1),
        provenance={
            "object": sample,
            "microscope": {**asdict(microscope), "aberrations": list(microscope.aberrations)},
        },
    )


def _atoms(
    shape: tuple[int, int], pixel_m: tuple[float, float], basis: np.ndarray, origin: np.ndarray
) -> Float[Tensor, "y x"]:
    """Phase of atoms on a lattice: a Gaussian at each of its points, by its sum over the reciprocal lattice."""
    y, x = (np.arange(n) * p for n, p in zip(shape, pixel_m, strict=True))
    reciprocal = np.linalg.inv(basis).T
    phase = np.zeros(shape)
    for h in range(-8, 9):
        for k in range(-8, 9):
            g = h * reciprocal[0] + k * reciprocal[1]
            # Transform of a Gaussian; no frequency above that of the grid, so that atoms lie between pixels exactly.
            if max(abs(g[0]) * pixel_m[0], abs(g[1]) * pixel_m[1]) >= 0.5:
                continue
            weight = math.exp(-2 * math.pi**2 * ATOM_M**2 * float(g @ g))
            phase += weight * np.cos(2 * math.pi * (g[0] * (y[:, None] - origin[0]) + g[1] * (x[None, :] - origin[1])))
    # Of a lattice's cell the sum over g is the area of the cell times the density of the Gaussian.
    density = 2 * math.pi * ATOM_M**2 / abs(np.linalg.det(basis))
    return torch.from_numpy(ATOM_RAD * density * phase)
