"""What a file and its user know of the geometry, put together: whatever follows is worked out, whatever lacks is named."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Bool
from torch import Tensor

from exitwave.data.bright_disc import disc_pixels
from exitwave.data.errors import FormatError, InputError
from exitwave.data.geometry import PLANCK_EV_M, Geometry, electron_wavelength_m, photon_wavelength_m
from exitwave.data.optics import Aberration, ProbeOptics
from exitwave.data.patterns import Patterns

Particle = Literal["photon", "electron"]
Pair = tuple[float, float]
DISC_FRAMES = 64
"""Frames in whose mean the bright disc is looked for."""


@dataclass(frozen=True, kw_only=True)
class KnownGeometry:
    """What is known, lengths in metres; None for what is not."""

    particle: Particle
    wavelength_m: float | None
    distance_m: float | None
    detector_pixel_m: Pair | None
    pixel_angle_rad: Pair | None = None
    """Of a detector pixel; takes the place of distance and detector pixel."""
    object_pixel_m: Pair | None = None
    """Of the reconstruction, for files that know neither distance nor detector pixel."""
    focus_distance_m: float | None = None
    optics: ProbeOptics | None = None

    @property
    def lacks_angle(self) -> bool:
        """Whether nothing at all is known of how detector pixels are seen from the sample."""
        known = self.pixel_angle_rad, self.object_pixel_m, self.distance_m
        return all(each is None for each in known)

    def complete(self, frame_shape: tuple[int, int], path: Path) -> Geometry:
        """The geometry of frames of this shape. Raises FormatError naming what is missing and the option that states it."""
        wavelength, distance, pixel = self.wavelength_m, self.distance_m, self.detector_pixel_m
        angle = self.pixel_angle_rad
        if angle is None and self.object_pixel_m is not None and (distance is None or pixel is None):
            wavelength = wavelength or PLANCK_EV_M / 8000.0
            y, x = (wavelength / (n * p) for n, p in zip(frame_shape, self.object_pixel_m, strict=True))
            if distance is not None:
                pixel = (y * distance, x * distance)
            elif pixel is not None:
                distance = pixel[0] / y
            else:
                angle = (y, x)
        if angle is not None:
            distance, pixel = 1.0, angle
        if wavelength is None or distance is None or pixel is None:
            raise FormatError(
                f"{path} does not say the {', '.join(self._missing(wavelength, distance, pixel))}; "
                "state it with the option in brackets"
            )
        return Geometry(
            wavelength_m=wavelength,
            distance_m=distance,
            detector_pixel_m=pixel,
            focus_distance_m=self.focus_distance_m,
            particle=self.particle,
            angles_only=angle is not None,
            optics=self.optics,
        )

    def _missing(self, wavelength: float | None, distance: float | None, pixel: Pair | None) -> Iterator[str]:
        if wavelength is None:
            yield "energy (--energy-ev, or --kv of electrons)"
        electrons = self.particle == "electron"
        if electrons and distance is None and pixel is None:
            yield (
                "angle of a detector pixel (--mrad-per-px; --camera-length-m and --detector-pixel-m; or --semi-angle-mrad, to "
                "measure it by the bright disc)"
            )
            return
        if distance is None:
            yield f"sample-detector distance ({'--camera-length-m or --mrad-per-px' if electrons else '--distance-m'})"
        if pixel is None:
            yield "detector pixel size (--detector-pixel-m)"


def angle_by_disc(patterns: Patterns, mask: Bool[Tensor, "y x"], semi_angle_rad: float, path: Path) -> Pair:
    """Angle of a pixel by the radius of the bright disc in the mean of some frames, which is the semi-angle of convergence.

    Raises FormatError where there is no such disc.
    """
    some = torch.linspace(0, patterns.shape[0] - 1, min(patterns.shape[0], DISC_FRAMES)).to(torch.int64)
    lit = disc_pixels(patterns.read(some).nan_to_num(0, 0, 0).mean(dim=0), mask)
    if lit is None:
        raise FormatError(
            f"the mean pattern of {path} shows no bright disc to compare the semi-angle with; state --mrad-per-px, or "
            "--camera-length-m and --detector-pixel-m"
        )
    angle = semi_angle_rad / math.sqrt(lit / math.pi)
    return angle, angle


def beam(
    kv: float | None, energy_ev: float | None, particle: Particle, wavelength_m: float | None
) -> tuple[Particle, float | None]:
    """What the beam is made of, and its wavelength in metres; what is stated wins over what the file says.

    An energy that is stated is of what the file says it is. Raises InputError for a voltage that is none in kilovolts.
    """
    if kv is not None:
        if energy_ev is not None:
            raise InputError("kv is of electrons and energy_ev of photons; state one of them")
        if not 0.1 <= kv <= 5000:
            raise InputError(f"kv is {kv:g}; expected the acceleration voltage in kilovolts, such as 300")
        return "electron", electron_wavelength_m(1000 * kv)
    if energy_ev is None:
        return particle, wavelength_m
    return particle, (electron_wavelength_m if particle == "electron" else photon_wavelength_m)(energy_ev)


def stated_optics(
    semi_angle_mrad: float | None, defocus_nm: float | None, aberrations: tuple[str, ...]
) -> ProbeOptics | None:
    """What is stated of the probe; None where nothing is. Raises InputError for what makes no sense."""
    if semi_angle_mrad is None and defocus_nm is None and not aberrations:
        return None
    return ProbeOptics(
        semi_angle_rad=None if semi_angle_mrad is None else 1e-3 * semi_angle_mrad,
        defocus_m=None if defocus_nm is None else 1e-9 * defocus_nm,
        aberrations=tuple(Aberration.parsed(text) for text in aberrations),
    )
