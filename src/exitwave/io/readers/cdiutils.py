"""Rocking curves that cdiutils has cropped and centred: SCAN_preprocessed_data.cxi, before phasing.

Axes of circles and detector are written in the frame of CXI; the energy is in eV, other than in CXI. The direct beam is that of the
whole detector, so that it is moved by the region of interest that was cut out.
"""

from pathlib import Path

import h5py
import numpy as np

from exitwave.data.bragg_geometry import Circle, Diffractometer
from exitwave.data.errors import FormatError, InputError
from exitwave.data.geometry import photon_wavelength_m
from exitwave.io.assemble import Contents, Format, ReadOptions, RockingContents
from exitwave.io.hdf5 import reading as hdf5

FRAMES = "entry_1/cropped_detector_data/data"
GEOMETRY = "entry_1/geometry_1"
DETECTOR = "entry_1/detector_1"
SAMPLE_CIRCLES = ("sample_outofplane_angle", "sample_inplane_angle")
DETECTOR_CIRCLES = ("detector_inplane_angle", "detector_outofplane_angle")
_FROM_XU = {"x": "z", "y": "x", "z": "y"}
"""Axes of xrayutilities, in which cdiutils computes, as those of CXI."""


def recognises(path: Path) -> bool:
    """True for CXI with a cropped rocking curve and the circles of a diffractometer."""
    return hdf5.holds(path, "entry_1/cropped_detector_data", f"{GEOMETRY}/sample_circles")


def read(path: Path, stated: ReadOptions) -> Contents:
    """A rocking curve. Raises FormatError for circles that make no sense and for scans of the energy."""
    with hdf5.open_hdf5(path) as file:
        patterns = hdf5.Hdf5Patterns(path, (FRAMES,))
        energy = hdf5.numbers(file, "entry_1/source_1/energy")
        if energy is not None and len(np.unique(energy)) > 1:
            raise FormatError(
                f"{path} is a scan of the energy ({energy.min():g} to {energy.max():g} eV); expected one crystal turned at one energy"
            )
        mask, height = hdf5.numbers(file, f"{DETECTOR}/mask"), hdf5.metres(file, f"{DETECTOR}/calibration/pwidth1")
        width = hdf5.metres(file, f"{DETECTOR}/calibration/pwidth2")
        return Contents(
            patterns=patterns,
            wavelength_m=None if energy is None or not energy.all() else photon_wavelength_m(float(energy.ravel()[0])),
            distance_m=hdf5.metres(file, f"{DETECTOR}/calibration/distance"),
            detector_pixel_m=(height, width) if height and width else None,
            mask=None if mask is None else mask == 0,
            rocking=RockingContents(
                angles=_angles(file),
                diffractometer=_diffractometer(file, path),
                direct_beam_px=_direct_beam_px(file, patterns.shape[1:]),
            ),
            notes={"dataset": FRAMES, "diffractometer": hdf5.text(file, f"{GEOMETRY}/name") or "unknown"},
        )


def _angles(file: h5py.File) -> dict[str, np.ndarray]:
    found = {name: hdf5.numbers(file, f"{GEOMETRY}/angles/{name}") for name in (*SAMPLE_CIRCLES, *DETECTOR_CIRCLES)}
    return {name: values.ravel() for name, values in found.items() if values is not None}


def _diffractometer(file: h5py.File, path: Path) -> Diffractometer:
    in_cxi = hdf5.number(file, f"{GEOMETRY}/is_cxi")
    stored = hdf5.array(file, f"{GEOMETRY}/is_cxi")
    turned = in_cxi == 0 or (stored is not None and stored.dtype.kind == "b" and not stored.all())
    words = [
        _words(file, f"{GEOMETRY}/{name}", turned=turned)
        for name in ("sample_circles", "detector_circles", "detector_axis0_orientation", "detector_axis1_orientation")
    ]
    try:
        sample, detector, (rows,), (columns,) = words
        return Diffractometer(
            name=hdf5.text(file, f"{GEOMETRY}/name") or "of cdiutils",
            sample_circles=_circles(SAMPLE_CIRCLES, sample),
            detector_circles=_circles(DETECTOR_CIRCLES, detector),
            rows=rows,  # pyright: ignore[reportArgumentType]
            columns=columns,  # pyright: ignore[reportArgumentType]
        )
    except (ValueError, IndexError, InputError) as error:
        raise FormatError(
            f"{path} does not say the axes of the diffractometer ({GEOMETRY}: {error}); state it with --diffractometer, whose "
            f"circles are named {', '.join((*SAMPLE_CIRCLES, *DETECTOR_CIRCLES))}"
        ) from error


def _circles(names: tuple[str, ...], axes: list[str]) -> tuple[Circle, ...]:
    return tuple(Circle(name=name, axis=axis) for name, axis in zip(names, axes, strict=True))  # pyright: ignore[reportArgumentType]


def _words(file: h5py.File, place: str, *, turned: bool) -> list[str]:
    stored = hdf5.array(file, place)
    words = (
        [] if stored is None else [each.decode() if isinstance(each, bytes) else str(each) for each in stored.ravel()]
    )
    if wrong := [word for word in words if len(word) != 2 or word[0] not in "xyz" or word[1] not in "+-"]:
        raise FormatError(f"{place} in {file.filename} is {wrong[0]!r}; expected an axis such as x- or y+")
    return [_FROM_XU[word[0]] + word[1] for word in words] if turned else words


def _direct_beam_px(file: h5py.File, frame: tuple[int, int]) -> tuple[float, float] | None:
    """From the middle of the cropped frames, where both the direct beam and the region that was cut out are known."""
    row, column = (hdf5.number(file, f"{DETECTOR}/calibration/{name}") for name in ("cch1", "cch2"))
    region = hdf5.numbers(file, "entry_1/result_1/roi")
    if row is None or column is None or region is None or region.size not in (4, 6):
        return None
    first_row, first_column = region.ravel()[-4], region.ravel()[-2]
    return row - first_row - frame[0] // 2, column - first_column - frame[1] // 2


FORMAT = Format(name="cdiutils", title="cdiutils preprocessed CXI", recognises=recognises, read=read)
