"""Rocking curves in CXI files: our own, with angles and circles in a group of ours, and those of PyNX, which have none."""

from dataclasses import replace

import h5py
import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from exitwave.data.bragg_geometry import BraggGeometry
from exitwave.data.errors import FormatError, InputError
from exitwave.data.patterns import MappedPatterns, Patterns
from exitwave.io.assemble import Contents, RockingContents
from exitwave.io.diffractometers import parsed
from exitwave.io.hdf5 import reading as hdf5
from exitwave.io.hdf5.cxi_writing import ROCKING
from exitwave.io.hdf5.values import read_json
from exitwave.io.readers.cxi_detector import ENTRY

MASKED = -1e19
"""What PyNX writes in place of intensities that it masks, and below."""
OWN = f"{ENTRY}/exitwave/{ROCKING}"


def rocking_contents(file: h5py.File) -> RockingContents | None:
    """Angles and circles, where the file holds a rocking curve."""
    group = hdf5.find(file, OWN)
    return _own(group) if isinstance(group, h5py.Group) else None


def with_voxels_of_pynx(contents: Contents, stored_mask: np.ndarray | None) -> Contents:
    """The contents of a file of PyNX that holds no positions: a rocking curve of which neither angles nor circles are in it.

    PyNX keeps the mask voxel by voxel. In intensities that it has worked on, masked ones are -1e19 and below, and those of the free
    set are -(I + 1).
    """
    patterns = contents.patterns
    assert patterns is not None
    trusted = _unmasked(patterns)
    if stored_mask is not None and stored_mask.ndim == 3:
        if stored_mask.shape != patterns.shape:
            raise FormatError(
                f"the mask has shape {stored_mask.shape} but the intensities have {patterns.shape}; it was edited"
            )
        trusted &= stored_mask == 0
    restored = MappedPatterns(patterns, _with_free_set, patterns.shape[1:])
    mask = None if stored_mask is not None and stored_mask.ndim == 3 else contents.mask
    return replace(
        contents,
        patterns=restored,
        mask=mask,
        rocking=RockingContents(angles={}, voxel_mask=None if trusted.all() else trusted),
    )


def _unmasked(patterns: Patterns) -> Bool[np.ndarray, "frame y x"]:
    count = patterns.shape[0]
    return np.concatenate([(patterns.read(torch.tensor([frame])) > MASKED).numpy() for frame in range(count)])


def _with_free_set(frames: Float[Tensor, "batch y x"], index: Int[Tensor, " batch"]) -> Float[Tensor, "batch y x"]:
    return torch.where(frames <= MASKED, 0.0, torch.where(frames < 0, -frames - 1, frames))


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
