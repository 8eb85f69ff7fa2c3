"""Rocking curves in CXI files: our own, with angles and circles in a group of ours."""

import h5py
import numpy as np

from exitwave.data.bragg_geometry import BraggGeometry
from exitwave.data.errors import FormatError, InputError
from exitwave.io.assemble import RockingContents
from exitwave.io.diffractometers import parsed
from exitwave.io.hdf5 import reading as hdf5
from exitwave.io.hdf5.cxi_writing import ROCKING
from exitwave.io.hdf5.values import read_json
from exitwave.io.readers.cxi_detector import ENTRY

OWN = f"{ENTRY}/exitwave/{ROCKING}"


def rocking_contents(file: h5py.File) -> RockingContents | None:
    """Angles and circles, where the file holds a rocking curve."""
    group = hdf5.find(file, OWN)
    return _own(group) if isinstance(group, h5py.Group) else None


def _own(group: h5py.Group) -> RockingContents:
    file, frames = group.file.filename, hdf5.numbers(group, "angles")
    diffraction = _diffraction(group)
    if frames is None:
        raise FormatError(f"{file} lacks {OWN}/angles; it is damaged or was edited")
    circles = diffraction.diffractometer
    still = zip(
        (*circles.sample_circles, *circles.detector_circles),
        (*diffraction.sample_angles_rad, *diffraction.detector_angles_rad),
        strict=True,
    )
    trusted = hdf5.array(group, "voxel_mask")
    return RockingContents(
        angles={**{circle.name: np.array([angle]) for circle, angle in still}, diffraction.rocked: frames.ravel()},
        angle_unit="rad",
        diffractometer=circles,
        rocked=diffraction.rocked,
        direct_beam_px=diffraction.direct_beam_px,
        diffraction=diffraction,
        voxel_mask=None if trusted is None else trusted != 0,
    )


def _diffraction(group: h5py.Group) -> BraggGeometry:
    told = read_json(group, "diffraction")
    try:
        row, column = map(float, told["direct_beam_px"])
        return BraggGeometry(
            diffractometer=parsed(told["circles"], str(told["name"])).named(str(told["name"])),
            sample_angles_rad=tuple(map(float, told["sample_angles_rad"])),
            detector_angles_rad=tuple(map(float, told["detector_angles_rad"])),
            rocked=str(told["rocked"]),
            direct_beam_px=(row, column),
        )
    except (KeyError, TypeError, ValueError, InputError) as error:
        raise FormatError(
            f"{group.file.filename} does not say how the crystal was rocked ({OWN}/diffraction: {error}); it was edited, "
            "write it again"
        ) from error
