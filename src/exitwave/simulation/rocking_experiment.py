"""How the rocking curve of a made crystal is taken: crystal, sampling, geometry, flaws."""

import math
from dataclasses import dataclass

from exitwave.data.bragg_geometry import BraggGeometry
from exitwave.data.errors import InputError
from exitwave.io.diffractometers import load_diffractometer
from exitwave.simulation.crystal_settings import CrystalSettings

DIFFRACTOMETER = "34-ID-C"
FEWEST_ANGLES = 8
GAMMA_RAD = math.radians(12.6)
"""Of the detector's second circle; the first makes up the rest of the Bragg angle."""


@dataclass(frozen=True, kw_only=True)
class RockingExperiment:
    """One made crystal and how its rocking curve is taken. Raises InputError for values that cannot be."""

    facets: int = 14
    """Planes {111}, {100} and {110} that cut the crystal, 4 to 26."""
    phase_span_rad: float = 2.0
    """Largest less smallest phase -Q . u in the crystal, without dislocations and without the plane that fits best."""
    dislocations: int = 0
    """Straight dislocations, screw or edge; each winds the phase by 2 pi."""
    oversampling: float = 3.0
    """Size of the array over that of the crystal along each axis: decides step of the angle and, where no size is given, size."""
    size_m: float | None = None
    """Size of the crystal: the largest distance of two corners."""
    angles: int = 64
    """Frames of the rocking curve."""
    peak_photons: float | None = None
    """Photons in the brightest voxel; left out, the photons per frame decide."""
    coherence_px: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Partial coherence: standard deviation of the Gaussian that blurs the intensity along angle, rows and columns, voxels."""
    aliens: int = 0
    """Peaks of other crystals that cross the detector beside this one's."""
    hot_pixels: int = 0
    """Pixels that count far too much in every frame and are not masked."""
    gap_px: int = 0
    """Width of the gap between modules of the detector, a masked cross beside the peak."""
    missing_angles: int = 0
    """Frames that were lost, at random places."""
    lattice_m: float = 4.0782e-10
    """Lattice parameter; that of gold when left out."""
    reflection: tuple[int, int, int] = (1, 1, 1)
    """Miller indices of the Bragg peak."""

    def __post_init__(self) -> None:
        for name in ("aliens", "hot_pixels", "gap_px", "missing_angles"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} is {getattr(self, name)}; expected 0 or more")
        for name in ("size_m", "peak_photons", "lattice_m"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise InputError(f"{name} is {value}; expected a positive number")
        if self.angles - self.missing_angles < FEWEST_ANGLES:
            raise InputError(
                f"{self.angles} angles, {self.missing_angles} of them missing; expected at least {FEWEST_ANGLES} to remain"
            )
        if not all(math.isfinite(sigma) and sigma >= 0 for sigma in self.coherence_px):
            raise InputError(f"coherence_px is {self.coherence_px}; expected three numbers, 0 or more")
        self.settings()

    def settings(self) -> CrystalSettings:
        """What is said of the crystal."""
        return CrystalSettings(
            facets=(self.facets, self.facets),
            oversampling=(self.oversampling, self.oversampling),
            phase_span_rad=(self.phase_span_rad, self.phase_span_rad),
            dislocations=(self.dislocations, self.dislocations),
            reflection=self.reflection,
            least_amplitude=0.0,
        )

    def posed(self, wavelength_m: float) -> BraggGeometry:
        """The six-circle diffractometer of 34-ID-C with the detector at the Bragg peak.

        Raises InputError where the wavelength is too long for the reflection.
        """
        spacing_m = self.lattice_m / math.hypot(*self.reflection)
        sine = wavelength_m / (2 * spacing_m)
        cosine = (1 - 2 * sine**2) / math.cos(GAMMA_RAD)
        if not -1 < cosine < 1:
            raise InputError(
                f"planes {spacing_m * 1e10:.3g} Å apart reflect {wavelength_m * 1e10:.3g} Å where the detector does not reach; "
                "change --energy-ev or the reflection"
            )
        return BraggGeometry(
            diffractometer=load_diffractometer(DIFFRACTOMETER),
            sample_angles_rad=(0.0, math.pi / 2, 0.0),
            detector_angles_rad=(math.acos(cosine), GAMMA_RAD),
            rocked="theta",
        )
