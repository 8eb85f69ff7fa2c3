"""Geometry of a rocking curve: circles of the diffractometer, scattering vector, reciprocal and direct lattice of the voxels."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Float

from exitwave.data.errors import InputError, did_you_mean
from exitwave.data.geometry import Geometry

Direction = Literal["x+", "x-", "y+", "y-", "z+", "z-"]
"""An axis of the laboratory and a sense: right-handed turns about it, or the way that something points."""
Matrix = Float[np.ndarray, "3 3"]
"""Rows are the laboratory's (z, y, x)."""
Vector = Float[np.ndarray, "3"]
"""In the laboratory, (z, y, x)."""
_PLACES = {"z": 0, "y": 1, "x": 2}


def direction(word: Direction) -> Vector:
    """The unit vector (z, y, x) of a direction: z along the beam, y up, x so that (x, y, z) is right-handed."""
    vector = np.zeros(3)
    vector[_PLACES[word[0]]] = 1.0 if word[1] == "+" else -1.0
    return vector


def rotation(axis: Vector, angle_rad: float) -> Matrix:
    """Right-handed rotation about a unit vector (Rodrigues), for vectors (z, y, x)."""
    z, y, x = axis
    # The cross product with the axis, written for the order (z, y, x).
    cross = np.array([[0.0, x, -y], [-x, 0.0, z], [y, -z, 0.0]])
    return np.eye(3) + math.sin(angle_rad) * cross + (1 - math.cos(angle_rad)) * cross @ cross


@dataclass(frozen=True, kw_only=True)
class Circle:
    """One circle of a diffractometer: the name of its motor, and the axis about which it turns when all others are at zero."""

    name: str
    axis: Direction


@dataclass(frozen=True, kw_only=True)
class Diffractometer:
    """Which circles carry the sample and which the detector, outermost first, and how the detector's rows and columns run.

    The frame is that of CXI: z along the beam, y up, x horizontal, right-handed. Raises InputError for names used twice.
    """

    name: str
    sample_circles: tuple[Circle, ...]
    detector_circles: tuple[Circle, ...]
    rows: Direction = "y-"
    """Where rows grow to, all circles of the detector at zero."""
    columns: Direction = "x+"
    """Where columns grow to."""

    def __post_init__(self) -> None:
        names = [circle.name for circle in (*self.sample_circles, *self.detector_circles)]
        if not self.sample_circles or len(set(names)) != len(names):
            raise InputError(
                f"the diffractometer {self.name} has the circles {', '.join(names) or 'none'}; expected at least one for the "
                "sample, and a name of its own for each"
            )
        if "z" in (self.rows[0], self.columns[0]) or self.rows[0] == self.columns[0]:
            raise InputError(
                f"rows of the detector run along {self.rows}, columns along {self.columns}; expected one along x and one along "
                "y, as for a detector that faces the direct beam"
            )


@dataclass(frozen=True, kw_only=True)
class BraggGeometry:
    """How crystal and detector stood: a diffractometer with its angles, and which circle was rocked.

    Raises InputError where angles and circles are not as many, or the rocked one is none of the sample's.
    """

    diffractometer: Diffractometer
    sample_angles_rad: tuple[float, ...]
    """Of each circle of the sample, outermost first; that of the rocked one does not count, each frame has its own."""
    detector_angles_rad: tuple[float, ...]
    rocked: str
    """Name of the circle that was turned from frame to frame."""
    direct_beam_px: tuple[float, float] = (0.0, 0.0)
    """Where the direct beam would fall with the detector's circles at zero, (row, column) from the frame's [h // 2, w // 2]."""

    def __post_init__(self) -> None:
        kinds = (
            ("sample", self.diffractometer.sample_circles, self.sample_angles_rad),
            ("detector", self.diffractometer.detector_circles, self.detector_angles_rad),
        )
        for kind, circles, angles in kinds:
            if len(circles) != len(angles) or not all(map(math.isfinite, angles)):
                raise InputError(
                    f"{self.diffractometer.name} has {len(circles)} circles for the {kind} "
                    f"({', '.join(circle.name for circle in circles)}) but the angles are {angles}; give one for each"
                )
        names = [circle.name for circle in self.diffractometer.sample_circles]
        if self.rocked not in names:
            raise InputError(
                f"the rocked circle is {self.rocked!r}{did_you_mean(self.rocked, names)}; expected one that carries the sample: "
                f"{', '.join(names)}"
            )

    @property
    def rocked_circle(self) -> int:
        """Which of the sample's circles was rocked, from 0."""
        return [circle.name for circle in self.diffractometer.sample_circles].index(self.rocked)

    @cached_property
    def detector_rotation(self) -> Matrix:
        """What the detector's circles turn the detector by."""
        return _turned(self.diffractometer.detector_circles, self.detector_angles_rad)

    def sample_rotation(self, rocked_rad: float) -> Matrix:
        """What the sample's circles turn the sample by, with the rocked one at this angle."""
        angles = list(self.sample_angles_rad)
        angles[self.rocked_circle] = rocked_rad
        return _turned(self.diffractometer.sample_circles, angles)

    def rocking_axis(self) -> Vector:
        """The axis of the rocked circle in the laboratory, as the circles that carry it turn it."""
        circles, at = self.diffractometer.sample_circles, self.rocked_circle
        return _turned(circles[:at], self.sample_angles_rad[:at]) @ direction(circles[at].axis)

    def scattered(
        self, geometry: Geometry, row_px: Float[np.ndarray, "*pixels"], column_px: Float[np.ndarray, "*pixels"]
    ) -> Float[np.ndarray, "*pixels 3"]:
        """Wave vector (z, y, x), 1/m, of light that reaches pixels, counted from the frame's [h // 2, w // 2]. Exact."""
        away = self._places_m(geometry, row_px, column_px)
        wavenumber = 2 * math.pi / geometry.wavelength_m
        return wavenumber * away / np.linalg.norm(away, axis=-1, keepdims=True)

    def scattering_vector(self, geometry: Geometry) -> Vector:
        """Q (z, y, x) of the voxel in the middle, in the laboratory, 1/m: scattered less incident wave vector."""
        incident = 2 * math.pi / geometry.wavelength_m * direction("z+")
        return self.scattered(geometry, np.zeros(()), np.zeros(())) - incident

    def reciprocal_basis(self, geometry: Geometry, step_rad: float) -> Matrix:
        """Steps of Q, 1/m, per frame, row and column (columns of the matrix) at the voxel in the middle.

        The crystal is held fast as it stands in the middle of the rocking curve, so that turning it by an angle about an axis
        turns Q, as the crystal sees it, the other way.
        """
        axis, q = self.rocking_axis(), self.scattering_vector(geometry)
        by_frame = step_rad * (rotation(axis, math.pi / 2) @ _across(axis, q))
        away = self._places_m(geometry, np.zeros(()), np.zeros(()))
        distance = float(np.linalg.norm(away))
        along, wavenumber = away / distance, 2 * math.pi / geometry.wavelength_m
        steps = [
            size * (self.detector_rotation @ direction(way))
            for size, way in zip(
                geometry.detector_pixel_m, (self.diffractometer.rows, self.diffractometer.columns), strict=True
            )
        ]
        by_pixel = [wavenumber / distance * (step - along * (along @ step)) for step in steps]
        return np.column_stack([-by_frame, *by_pixel])

    def direct_basis_m(self, geometry: Geometry, step_rad: float, shape: tuple[int, int, int]) -> Matrix:
        """Steps in the laboratory, metres, per voxel of the object along each axis of its array (columns of the matrix).

        a_i . b_j N_j = 2 pi delta_ij. Raises InputError where the three steps of Q lie in a plane.
        """
        reciprocal = self.reciprocal_basis(geometry, step_rad) * np.array(shape)
        sizes = np.linalg.norm(reciprocal, axis=0)
        if not (sizes > 0).all() or abs(np.linalg.det(reciprocal / np.where(sizes > 0, sizes, 1.0))) < 1e-6:
            raise InputError(
                f"rocking {self.rocked} by {math.degrees(step_rad):.3g} degrees a frame does not lead out of the detector's plane "
                "in reciprocal space, so that the frames show no third dimension; check which circle was rocked, the angles and "
                "their unit"
            )
        return 2 * math.pi * np.linalg.inv(reciprocal).T

    def _places_m(
        self, geometry: Geometry, row_px: Float[np.ndarray, "*pixels"], column_px: Float[np.ndarray, "*pixels"]
    ) -> Float[np.ndarray, "*pixels 3"]:
        """Where pixels stand, as seen from the sample."""
        height, width = geometry.detector_pixel_m
        rows = (np.asarray(row_px) - self.direct_beam_px[0])[..., None] * height * direction(self.diffractometer.rows)
        columns = (np.asarray(column_px) - self.direct_beam_px[1])[..., None] * width
        flat = rows + columns * direction(self.diffractometer.columns) + geometry.distance_m * direction("z+")
        return flat @ self.detector_rotation.T


def _across(axis: Vector, vector: Vector) -> Vector:
    """The part of a vector that is square to an axis."""
    return vector - axis * (axis @ vector)


def _turned(circles: tuple[Circle, ...], angles_rad: tuple[float, ...] | list[float]) -> Matrix:
    """The rotations of circles, each of which carries the next."""
    turned = np.eye(3)
    for circle, angle in zip(circles, angles_rad, strict=True):
        turned = turned @ rotation(direction(circle.axis), angle)
    return turned
