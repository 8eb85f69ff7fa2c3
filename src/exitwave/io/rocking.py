"""From a file's contents to the rocking curve of a crystal: circles, angles and corrections of the detector, for all formats."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import torch

from exitwave.data.bragg_geometry import BraggGeometry, Diffractometer
from exitwave.data.errors import FormatError, InputError
from exitwave.data.patterns import MappedPatterns
from exitwave.data.rocking_curve import RockingCurve
from exitwave.io.assemble import Contents, ReadOptions, RockingContents, known_geometry, squared
from exitwave.io.detector_response import stated_image, with_response
from exitwave.io.diffractometers import load_diffractometer, shipped_diffractometers
from exitwave.io.hdf5.file import lost_links
from exitwave.io.memory import require_memory
from exitwave.io.pairs import pair
from exitwave.io.rocking_angles import RockingAngles, rocking_angles

OF_ROCKING_CURVES = (
    "diffractometer",
    "angles",
    "angle_unit",
    "rocked",
    "rocking_angles",
    "rocking_step_deg",
    "direct_beam",
    "whitefield",
    "darkfield",
)
"""Options of reading that only rocking curves have."""
OF_ALL = ("format", "recipe", "entry", "energy_ev", "distance_m", "detector_pixel_m", "values", "mask", "mask_good")
"""Options of reading that go with rocking curves, too; all others are of scans."""


def is_rocking_curve(contents: Contents, stated: ReadOptions) -> bool:
    """Whether a file holds a rocking curve, or is stated to. Raises InputError where that is stated of a scan."""
    if contents.rocking is not None:
        return True
    told = _stated(stated, OF_ROCKING_CURVES)
    if told and contents.positions is not None:
        raise InputError(
            f"{', '.join(told)} of reading {'are' if len(told) > 1 else 'is'} for rocking curves, but the file is a scan with "
            "positions; leave it out"
        )
    return bool(told)


def assemble_rocking(contents: Contents, stated: ReadOptions, path: Path, format_name: str) -> RockingCurve:
    """Make the rocking curve from what a file holds and what the user states; frames stay in the order of the file.

    Raises FormatError naming what is missing and the option that supplies it, InputError for options of scans.
    """
    if contents.patterns is None:
        raise FormatError(
            f"{path} holds no diffraction patterns ({format_name}); expected a stack (frame, y, x){lost_links(path)}"
        )
    _refuse_options_of_scans(stated)
    found = contents.rocking or RockingContents(angles={})
    height, width = contents.patterns.shape[1:]
    require_memory(32 * height * width, f"{path} says its frames are {height} x {width} pixels")
    diffractometer = _diffractometer(found, stated, path)
    angles = rocking_angles(found, stated, diffractometer, contents.patterns.shape[0], path)
    geometry = known_geometry(contents, stated).complete((height, width), path)
    if (stated.values or contents.values) == "amplitude":
        contents = replace(contents, patterns=MappedPatterns(contents.patterns, squared, (height, width)))
    contents = with_response(
        contents,
        stated_image(stated.whitefield, found.whitefield),
        stated_image(stated.darkfield, found.darkfield),
        path,
    )
    patterns = contents.patterns
    assert patterns is not None
    return RockingCurve(
        patterns=patterns,
        geometry=geometry,
        mask=torch.from_numpy(np.ones((height, width), dtype=bool) if contents.mask is None else contents.mask),
        background=None if contents.background is None else torch.from_numpy(contents.background),
        monitor=None if contents.monitor is None else torch.from_numpy(contents.monitor),
        angles_rad=torch.from_numpy(angles.frames),
        diffraction=_diffraction(found, stated, diffractometer, angles, (height, width)),
        voxel_mask=None if found.voxel_mask is None else torch.from_numpy(found.voxel_mask),
        provenance={"file": str(path), "format": format_name, **_told(found, stated, angles), **contents.notes},
    )


def _diffractometer(found: RockingContents, stated: ReadOptions, path: Path) -> Diffractometer:
    word = stated.diffractometer or found.diffractometer
    if word is None:
        raise FormatError(
            f"{path} does not say on which diffractometer the crystal was rocked; state --diffractometer, one of "
            f"{', '.join(shipped_diffractometers())} or a YAML file of its circles"
        )
    return load_diffractometer(word) if isinstance(word, str) else word


def _diffraction(
    found: RockingContents,
    stated: ReadOptions,
    diffractometer: Diffractometer,
    angles: RockingAngles,
    frame: tuple[int, int],
) -> BraggGeometry:
    if found.diffraction is not None and not _stated(stated, ("diffractometer", "angles", "rocked", "direct_beam")):
        return found.diffraction
    return BraggGeometry(
        diffractometer=diffractometer,
        sample_angles_rad=angles.sample,
        detector_angles_rad=angles.detector,
        rocked=angles.rocked,
        direct_beam_px=_direct_beam_px(found, stated, frame),
    )


def _direct_beam_px(found: RockingContents, stated: ReadOptions, frame: tuple[int, int]) -> tuple[float, float]:
    """From the middle of the frame; the middle itself where nobody knows."""
    if stated.direct_beam is None:
        return found.direct_beam_px or (0.0, 0.0)
    if isinstance(stated.direct_beam, int | float):
        raise InputError(f"direct_beam is {stated.direct_beam}; expected row and column, such as 128x131.5")
    row, column = pair(stated.direct_beam, "direct_beam")
    return row - frame[0] // 2, column - frame[1] // 2


def _told(found: RockingContents, stated: ReadOptions, angles: RockingAngles) -> dict[str, object]:
    """What was taken for granted, for the provenance."""
    told: dict[str, object] = {}
    if angles.assumed:
        told["angles_assumed"] = f"{', '.join(angles.assumed)} at 0°"
    if stated.direct_beam is None and found.direct_beam_px is None:
        told["direct_beam"] = "taken to be the middle of the frame"
    if stated.rocking_step_deg is not None:
        told["rocking_step_deg"] = stated.rocking_step_deg
    if stated.rocking_angles is not None:
        told["rocking_angles_file"] = str(stated.rocking_angles)
    return told


def _refuse_options_of_scans(stated: ReadOptions) -> None:
    others = tuple(each.name for each in fields(ReadOptions) if each.name not in (*OF_ROCKING_CURVES, *OF_ALL))
    if told := _stated(stated, others):
        raise InputError(
            f"{', '.join(told)} of reading {'are' if len(told) > 1 else 'is'} for scans, but this is a rocking curve; leave it out. "
            "How the detector stood is said by the diffractometer, and frames are cut by --prepare"
        )


def _stated(stated: ReadOptions, names: tuple[str, ...]) -> list[str]:
    usual = {each.name: each.default for each in fields(ReadOptions)}
    return [name for name in names if getattr(stated, name) != usual[name]]
