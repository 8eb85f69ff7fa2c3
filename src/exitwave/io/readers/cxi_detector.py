"""What CXI and NXcxi_ptycho files say about the detector, under the same names."""

import h5py
import numpy as np
from jaxtyping import Bool, Float

from exitwave.io.hdf5.reading import dataset, mean_frame, metres, numbers

ENTRY = "entry_1"
DETECTOR = f"{ENTRY}/instrument_1/detector_1"
HAS_SIGNAL = 0x1000
"""The one mask bit that does not speak against a pixel."""
USUAL_BASIS = np.array([[0.0, -1.0, 0.0], [-1.0, 0.0, 0.0]])
"""Directions (x, y, z) in which rows and columns run: down and to the right."""


def per_shot(name: str) -> tuple[str, ...]:
    """Where a value for each frame may stand, in the order in which CXI readers look."""
    return f"{ENTRY}/data_1/{name}", f"{ENTRY}/sample_1/geometry_1/{name}", f"{DETECTOR}/{name}"


def focus_distance_m(file: h5py.File) -> float | None:
    """Focus to sample, which only our own files tell; inf is a parallel beam, None far field."""
    place = f"{ENTRY}/exitwave/focus_distance"
    stored = numbers(file, place)
    # `metres` passes over what is not finite.
    parallel = stored is not None and stored.size == 1 and bool(np.isposinf(stored).all())
    return float("inf") if parallel else metres(file, place) or None


def basis(file: h5py.File) -> Float[np.ndarray, "2 3"]:
    """Unit vectors (x, y, z) along rows' order and columns' order; stored (3, 2) or (2, 3)."""
    vectors = _basis_vectors(file)
    return USUAL_BASIS if vectors is None else vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _basis_vectors(file: h5py.File) -> Float[np.ndarray, "2 3"] | None:
    stored = numbers(file, f"{DETECTOR}/basis_vectors")
    if stored is None or stored.shape not in ((3, 2), (2, 3)):
        return None
    vectors = stored if stored.shape == (2, 3) else stored.T
    longest = np.abs(vectors).max(axis=1)
    # Vectors of an absurd length say nothing; detector pixels are micrometres to millimetres.
    return vectors if bool(((longest > 1e-12) & (longest < 1e9)).all()) else None


def pixel_m(file: h5py.File) -> tuple[float, float] | None:
    """Pixel size (y, x): as stored, else the length of the basis vectors, else square like the other one."""
    vectors = _basis_vectors(file)
    lengths = (None, None) if vectors is None else tuple(float(v) for v in np.linalg.norm(vectors, axis=1))
    pixel_y = metres(file, f"{DETECTOR}/y_pixel_size") or lengths[0]
    pixel_x = metres(file, f"{DETECTOR}/x_pixel_size") or lengths[1]
    if pixel_y is None and pixel_x is None:
        return None
    return pixel_y or pixel_x or 0.0, pixel_x or pixel_y or 0.0


def distance_m(file: h5py.File, basis: Float[np.ndarray, "2 3"]) -> float | None:
    """Sample to detector plane: as stored, else the corner's distance along the normal of the detector."""
    stored = metres(file, f"{DETECTOR}/distance")
    corner = numbers(file, f"{DETECTOR}/corner_position")
    if stored is not None or corner is None or corner.size != 3:
        return stored
    distance = abs(float(corner.ravel() @ np.cross(basis[0], basis[1])))
    return distance if distance > 0 else None


def pixel_angle_rad(file: h5py.File) -> tuple[float, float] | None:
    """Angle (y, x) of a pixel, where our own file says that only this is known of distance and pixel."""
    stored, pixel = dataset(file, f"{DETECTOR}/distance"), pixel_m(file)
    distance = metres(file, f"{DETECTOR}/distance")
    if stored is None or not distance or pixel is None or not stored.attrs.get("angles_only", False):
        return None
    return pixel[0] / distance, pixel[1] / distance


def mask(file: h5py.File) -> Bool[np.ndarray, "y x"] | None:
    """True for pixels of which no bit says otherwise."""
    stored = numbers(file, f"{DETECTOR}/mask")
    if stored is None:
        return None
    known = np.isfinite(stored) & (np.abs(stored) < 2.0**62)
    bits = np.where(known, stored, 1.0).astype(np.int64)
    return np.asarray(np.squeeze((bits & ~HAS_SIGNAL) == 0))


def background(file: h5py.File) -> Float[np.ndarray, "y x"] | None:
    """Mean of the dark frames."""
    return mean_frame(file, f"{DETECTOR}/data_dark", f"{DETECTOR}/dark", f"{DETECTOR}/darkfield")


def monitor(file: h5py.File, count: int) -> Float[np.ndarray, " frame"] | None:
    """Beam intensity of each of `count` frames."""
    stored = numbers(file, *per_shot("monitor"), f"{ENTRY}/instrument_1/monitor/data")
    return stored.ravel() if stored is not None and stored.size == count else None
