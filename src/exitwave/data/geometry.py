"""Geometry of a measurement: wavelength, distances, detector pixel, and the pixel size of the object that follows."""

import math
from dataclasses import dataclass, field
from typing import Literal

from exitwave.data.errors import InputError
from exitwave.data.optics import ProbeOptics

PLANCK_EV_M = 1.239841984332e-6
"""Planck constant times speed of light, eV m (CODATA 2018): wavelength_m = PLANCK_EV_M / energy_eV for photons."""
ELECTRON_REST_EV = 510998.95
"""Electron rest energy in eV (CODATA 2018)."""
JOULE_PER_EV = 1.602176634e-19


def sensible_pixel(object_pixel_m: tuple[float, ...]) -> bool:
    """Whether an object pixel lies between what electrons resolve and what light does; else the geometry is wrong."""
    return all(1e-14 < size < 0.1 for size in object_pixel_m)


Particle = Literal["photon", "electron"]


def noise_of(particle: Particle) -> str:
    """What the scatter of counts is called: that of photons has a name of its own."""
    return "photon noise" if particle == "photon" else "counting noise"


def photon_wavelength_m(energy_ev: float) -> float:
    """Wavelength in metres of a photon of `energy_ev`."""
    _require_positive("photon energy", energy_ev, "eV")
    return PLANCK_EV_M / energy_ev


def electron_wavelength_m(voltage_v: float) -> float:
    """Relativistic de Broglie wavelength in metres of electrons accelerated by `voltage_v`; 300 kV gives 1.9687 pm."""
    _require_positive("acceleration voltage", voltage_v, "V")
    return PLANCK_EV_M / math.sqrt(voltage_v * (voltage_v + 2 * ELECTRON_REST_EV))


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """Wavelength, distances and detector pixel of one measurement; tells the pixel size of the reconstructed object.

    Lengths in metres, pairs in (y, x). Raises InputError for values that are not positive and finite.
    """

    wavelength_m: float
    distance_m: float
    """Sample to detector."""
    detector_pixel_m: tuple[float, float]
    focus_distance_m: float | None = None
    """None: far field (Fraunhofer). Otherwise near field (Fresnel): distance from the focus to the sample behind it;
    `inf` is a parallel beam, a finite value a cone beam that magnifies."""
    particle: Particle = "photon"
    # Not shown: checkpoints know a measurement by what version 0.1.0 showed of its geometry.
    angles_only: bool = field(default=False, repr=False)
    """Only the angles of detector pixels are known: distance and pixel were chosen to give them, and mean nothing alone."""
    optics: ProbeOptics | None = field(default=None, repr=False)
    """How the far-field probe is formed, as far as that is known."""

    def __post_init__(self) -> None:
        _require_positive("wavelength", self.wavelength_m, "m")
        _require_positive("sample-detector distance", self.distance_m, "m")
        if len(self.detector_pixel_m) != 2:
            raise InputError(f"detector pixel is {self.detector_pixel_m}; give (y, x) in metres")
        for axis, size in zip("yx", self.detector_pixel_m, strict=True):
            _require_positive(f"detector pixel {axis}", size, "m")
        if self.focus_distance_m is not None and not self.focus_distance_m > 0:
            raise InputError(
                f"focus-sample distance is {self.focus_distance_m:g} m; give a positive length, inf for a parallel "
                "beam, or leave it out for far-field data"
            )
        if self.near_field and self.optics is not None:
            raise InputError(
                "semi-angle, defocus and aberrations form a far-field probe, but a focus distance makes the data near field; "
                "leave out one of them"
            )

    @classmethod
    def from_energy(
        cls,
        energy_ev: float,
        distance_m: float,
        detector_pixel_m: tuple[float, float],
        focus_distance_m: float | None = None,
    ) -> "Geometry":
        """Geometry of an X-ray measurement from the photon energy in eV."""
        return cls(
            wavelength_m=photon_wavelength_m(energy_ev),
            distance_m=distance_m,
            detector_pixel_m=detector_pixel_m,
            focus_distance_m=focus_distance_m,
        )

    @classmethod
    def from_voltage(cls, voltage_v: float, distance_m: float, detector_pixel_m: tuple[float, float]) -> "Geometry":
        """Geometry of a 4D-STEM measurement from the acceleration voltage in volts and the camera length in metres."""
        return cls(
            wavelength_m=electron_wavelength_m(voltage_v),
            distance_m=distance_m,
            detector_pixel_m=detector_pixel_m,
            particle="electron",
        )

    @property
    def pixel_angle_rad(self) -> tuple[float, float]:
        """Angle (y, x) between the middles of neighbouring detector pixels, as seen from the sample; small angles."""
        return self.detector_pixel_m[0] / self.distance_m, self.detector_pixel_m[1] / self.distance_m

    @property
    def near_field(self) -> bool:
        """True when Fresnel propagation, not a single Fourier transform, leads to the detector."""
        return self.focus_distance_m is not None

    @property
    def magnification(self) -> float:
        """Cone-beam magnification (z1 + z2) / z1; 1 for a parallel beam and in the far field."""
        if self.focus_distance_m is None or math.isinf(self.focus_distance_m):
            return 1.0
        return (self.focus_distance_m + self.distance_m) / self.focus_distance_m

    @property
    def effective_distance_m(self) -> float:
        """Distance that a parallel beam would propagate for the same pattern: z1 z2 / (z1 + z2) (Fresnel scaling)."""
        return self.distance_m / self.magnification

    @property
    def energy_ev(self) -> float:
        """Photon energy, or kinetic energy of an electron, in eV."""
        momentum_ev = PLANCK_EV_M / self.wavelength_m
        if self.particle == "photon":
            return momentum_ev
        return math.hypot(momentum_ev, ELECTRON_REST_EV) - ELECTRON_REST_EV

    def object_pixel_m(self, frame_shape: tuple[int, int]) -> tuple[float, float]:
        """Pixel size (y, x) of object and probe for frames of `frame_shape` pixels.

        Far field: wavelength x distance / (pixels x detector pixel). Near field: detector pixel / magnification.
        """
        height, width = frame_shape
        pixel_y, pixel_x = self.detector_pixel_m
        if self.near_field:
            return pixel_y / self.magnification, pixel_x / self.magnification
        reach = self.wavelength_m * self.distance_m
        return reach / (height * pixel_y), reach / (width * pixel_x)


def _require_positive(name: str, value: float, unit: str) -> None:
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"{name} is {value:g} {unit}; expected a positive, finite number of {unit}")
