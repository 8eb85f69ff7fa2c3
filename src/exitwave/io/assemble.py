"""From a file's contents to a Scan: every unit, sign and axis change happens here, once, for all formats."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from exitwave.data import prepare
from exitwave.data.bragg_geometry import BraggGeometry, Diffractometer
from exitwave.data.errors import FormatError, InputError
from exitwave.data.estimate import Estimate
from exitwave.data.measurement import M, Measurement
from exitwave.data.pattern import Pattern
from exitwave.data.patterns import MappedPatterns, Patterns, SummedPatterns
from exitwave.data.scan import Scan
from exitwave.data.unmatched import UnmatchedScan
from exitwave.io.hdf5.file import lost_links
from exitwave.io.known_geometry import KnownGeometry, Particle, angle_by_disc, beam, stated_optics
from exitwave.io.memory import require_memory
from exitwave.io.pairs import Pair, WholePair, pair, whole_pair
from exitwave.io.raster import RasterShape, raster_positions_m, raster_shape, raster_step_m

PositionSign = Literal["probe", "sample"]
PositionUnit = Literal["m", "cm", "mm", "um", "nm", "angstrom", "pm", "px"]
MaskGood = Literal["zero", "nonzero"]
AngleUnit = Literal["deg", "rad"]
METRES: dict[str, float] = {"m": 1.0, "cm": 1e-2, "mm": 1e-3, "um": 1e-6, "nm": 1e-9, "angstrom": 1e-10, "pm": 1e-12}
"""Length units by name; positions in "px" are object pixels and need the geometry."""


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """What the user says about a file. Anything stated wins over what the file says; None leaves it to the file."""

    format: str | None = None
    """Name of the file format; found from the content when left out."""
    recipe: str | None = None
    """Name of a shipped recipe or path of a YAML recipe for generic HDF5 files."""
    entry: str | None = None
    """Scan of a file that keeps several: its group, or the number in its name."""
    positions: Path | None = None
    """A second file that holds the positions (and whatever else it knows), where a format keeps them apart."""
    energy_ev: float | None = None
    """Photon energy in eV."""
    kv: float | None = None
    """Acceleration voltage in kV: the data are of electrons."""
    mrad_per_px: Pair | None = None
    """Angle of a detector pixel as seen from the sample, mrad; in place of distance and detector pixel."""
    camera_length_m: float | None = None
    """The same as `distance_m`, in the words of electron microscopes."""
    semi_angle_mrad: float | None = None
    """Semi-angle of convergence, mrad: the first probe has a round aperture of this size."""
    defocus_nm: float | None = None
    """Defocus of the first probe, nm; positive (underfocus) where the focus lies behind the sample."""
    aberrations: tuple[str, ...] = ()
    """Further aberrations of the first probe, such as C30=1.2mm or C12=5nm,30deg."""
    distance_m: float | None = None
    """Sample to detector, metres."""
    detector_pixel_m: Pair | None = None
    """Detector pixel, metres; one number or (y, x): 75e-6x75e-6."""
    focus_distance_m: float | None = None
    """Focus to sample, metres: makes the data near field (inf: parallel beam)."""
    scan: RasterShape | None = None
    """Rows and columns of a raster scan, such as 40x50; the frames come row after row."""
    step_nm: Pair | None = None
    """Step of the raster, nm; one number or (y, x): 0.5x0.6."""
    step_angstrom: Pair | None = None
    """The same in angstrom."""
    step_pm: Pair | None = None
    """The same in pm."""
    position_sign: PositionSign | None = None
    """Whether the file's positions are of the probe on the sample or of the sample stage (opposite sign)."""
    position_unit: PositionUnit | None = None
    """Unit of the positions in the file."""
    swap_axes: bool | None = None
    """True when the file's position columns are (x, y) where (y, x) is expected."""
    orientation: prepare.Orientation | None = None
    """How frames must be turned or flipped so that rows and columns run as the positions do."""
    sum_exposures: bool = False
    """Add up the exposures that were taken at each position."""
    rotation_deg: float | None = None
    """Degrees by which positions are turned, counter-clockwise as seen with row 0 on top, after signs and axes."""
    values: Literal["counts", "amplitude"] | None = None
    """Whether the file's patterns are photon counts or their square roots."""
    detector_size: WholePair | None = None
    """Rows and columns of the frames to work with, cut or padded around the beam; one number or (y, x): 256x128."""
    mask: Path | None = None
    """Image that says which pixels of the stored frames can be trusted: mask.npy, .tif, .edf or file.h5:/path/of/mask."""
    mask_good: MaskGood | None = None
    """Which value of that image is a good pixel; found by its pixels and the light where left out."""
    diffractometer: str | None = None
    """Diffractometer of a rocking curve: 34-ID-C, ID01, P10 ..., or a YAML file of its circles."""
    angles: tuple[str, ...] = ()
    """Degrees of circles in a rocking curve, such as theta=0.22,delta=32.17."""
    angle_unit: AngleUnit | None = None
    """Unit of a file's angles."""
    rocked: str | None = None
    """Circle that was turned from frame to frame; found by its angles where left out."""
    rocking_angles: Path | None = None
    """File with the angle of the rocked circle in each frame: a column of text, .npy, or a SPEC file (scans.spec:54)."""
    rocking_step_deg: float | None = None
    """Degrees by which it was turned from frame to frame, where no angles are known."""
    direct_beam: Pair | None = None
    """Row and column of the stored frames where the direct beam falls with the detector's circles at zero: 128x131.5."""
    whitefield: Path | None = None
    """Image of the detector in even light, by which the frames of a rocking curve are divided."""
    darkfield: Path | None = None
    """Image of the detector without light: marks its hot pixels, or is the background."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RockingContents:
    """What a file says of a rocking curve, beside its frames and what all measurements have."""

    angles: Mapping[str, Float[np.ndarray, " some"]]
    """Of each circle by name: one number, or one for each frame, in the order of the file."""
    angle_unit: AngleUnit = "deg"
    frames: Float[np.ndarray, " frame"] | None = None
    """Angles of the rocked circle, where they stand apart from those of the circles."""
    diffractometer: Diffractometer | str | None = None
    """Itself or its name."""
    rocked: str | None = None
    """Name of the rocked circle; None: the one with angles that differ."""
    direct_beam_px: tuple[float, float] | None = None
    """(row, column) from the stored frame's [h // 2, w // 2], the detector's circles at zero."""
    diffraction: BraggGeometry | None = None
    """All of it, in files of our own, where no angle needs to be checked."""
    whitefield: Float[np.ndarray, "y x"] | None = None
    darkfield: Float[np.ndarray, "y x"] | None = None
    voxel_mask: Bool[np.ndarray, "frame y x"] | None = None
    """True = trusted."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Contents:
    """What a reader found in a file, in the file's own sign, unit and orientation, each of them named. None: not there."""

    patterns: Patterns | None
    """(frame, y, x) as stored, the beam centre at [h // 2, w // 2] unless `beam_centre_px` says otherwise."""
    values: Literal["counts", "amplitude"] = "counts"
    positions: Float[np.ndarray, "frame 2"] | None = None
    """Columns (y, x)."""
    scan_shape: tuple[int, int] | None = None
    """Rows and columns, for rasters of which the file holds no list of positions; the frames come row after row."""
    scan_step_m: tuple[float, float] | None = None
    """(y, x) step of such a raster."""
    sum_exposures: bool = False
    """Whether the patterns are exposures of which several belong to each position, one after the other."""
    position_unit: PositionUnit = "m"
    position_sign: PositionSign = "probe"
    position_flip: tuple[int, int] = (1, 1)
    """Further sign of (y, x) that a facility's convention asks for."""
    wavelength_m: float | None = None
    distance_m: float | None = None
    detector_pixel_m: tuple[float, float] | None = None
    focus_distance_m: float | None = None
    object_pixel_m: tuple[float, float] | None = None
    """For files that know the reconstruction pixel but neither distance nor detector pixel."""
    pixel_angle_rad: tuple[float, float] | None = None
    """(y, x) of a detector pixel, for files that know neither distance nor detector pixel."""
    particle: Particle = "photon"
    mask: Bool[np.ndarray, "y x"] | None = None
    """True = trusted."""
    background: Float[np.ndarray, "y x"] | None = None
    monitor: Float[np.ndarray, " frame"] | None = None
    beam_centre_px: tuple[float, float] | None = None
    """(row, column) of the direct beam in the stored frames of far-field data; they are shifted to have it in the middle."""
    orientation: prepare.Orientation = "identity"
    """Applied to frames, mask and background alike."""
    rocking: RockingContents | None = None
    """Of files that hold the rocking curve of a crystal."""
    notes: dict[str, Any] = field(default_factory=dict[str, Any])
    """More for the provenance: dataset paths, versions, titles."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """One file format: how to know it by its content, read it and, where that makes sense, write it."""

    name: str
    title: str
    recognises: Callable[[Path], bool]
    """Looks at the content, never at the name; must not raise for files of other formats."""
    read: Callable[[Path, ReadOptions], Contents] | None = None
    write: Callable[[Path, Any], None] | None = None
    writes: type[Measurement] = Scan
    """The kind of measurement that it can keep."""
    read_estimate: Callable[[Path], Estimate] | None = None
    """Object, probe and positions, for formats that store reconstructions."""
    read_probe: Callable[[Path], Tensor] | None = None
    """Complex (mode, y, x), for formats that store a probe, perhaps without an object."""


def assemble(contents: Contents, stated: ReadOptions, path: Path, format_name: str) -> Measurement:
    """Make the canonical measurement from what a file holds and what the user states: a Scan, or the Pattern that stands alone.

    Raises FormatError naming what is missing and the option that supplies it.
    """
    if contents.patterns is None:
        raise FormatError(
            f"{path} holds no diffraction patterns ({format_name}); expected a stack (frame, y, x){lost_links(path)}"
        )
    contents = _with_raster(contents, stated, path)
    if stated.sum_exposures or contents.sum_exposures:
        contents = with_summed_exposures(contents, path)
    patterns = contents.patterns
    assert patterns is not None
    alone = patterns.shape[0] == 1
    if contents.positions is None and not alone:
        raise FormatError(
            f"{path} holds no scan positions ({format_name}); give the file that does with --positions, for a raster its "
            "rows and columns and its step (--scan 40x50 --step-nm 0.5), or a recipe that says where they are; for the rocking curve "
            f"of a crystal --diffractometer, --angles and --rocking-angles{lost_links(path)}"
        )
    height, width = patterns.shape[1:]
    require_memory(32 * height * width, f"{path} says its frames are {height} x {width} pixels")
    if (stated.values or contents.values) == "amplitude":
        patterns = MappedPatterns(patterns, squared, patterns.shape[1:])
    orientation = stated.orientation or contents.orientation
    mask = np.ones(patterns.shape[1:], dtype=bool) if contents.mask is None else contents.mask
    known = known_geometry(contents, stated)
    if known.lacks_angle and (optics := known.optics) is not None and (semi_angle := optics.semi_angle_rad) is not None:
        known = replace(known, pixel_angle_rad=angle_by_disc(patterns, torch.from_numpy(mask), semi_angle, path))
        contents = replace(contents, notes={**contents.notes, "angles": "by the bright disc and the semi-angle"})
    geometry = known.complete(patterns.shape[1:], path)
    pixel_m = geometry.object_pixel_m(patterns.shape[1:])
    told = {
        "position_sign": stated.position_sign or contents.position_sign,
        "position_unit": stated.position_unit or contents.position_unit,
        **({"rotation_deg": stated.rotation_deg} if stated.rotation_deg else {}),
    }
    measured = Pattern if alone else _placed(patterns.shape[0], _positions_m(contents, stated, pixel_m), path)
    measurement = measured(
        patterns=patterns,
        geometry=geometry,
        mask=torch.from_numpy(mask),
        background=None if contents.background is None else torch.from_numpy(contents.background),
        monitor=None if contents.monitor is None else torch.from_numpy(contents.monitor),
        provenance={
            "file": str(path),
            "format": format_name,
            **told,
            "orientation": orientation,
            **contents.notes,
        },
    )
    measurement = _centred(measurement, contents)
    measurement = prepare.orient(measurement, orientation) if orientation != "identity" else measurement
    if (size := stated.detector_size) is None:
        return measurement
    height, width = whole_pair(size, "detector_size")
    require_memory(32 * height * width, f"frames of {height} x {width} pixels were asked for")
    return prepare.cut_around_beam(measurement, (height, width))


def _with_raster(contents: Contents, stated: ReadOptions, path: Path) -> Contents:
    """The contents with the positions of a raster, where one is stated or the file knows of one but has no positions."""
    step = raster_step_m(step_nm=stated.step_nm, step_angstrom=stated.step_angstrom, step_pm=stated.step_pm)
    wanted = stated.scan is not None or step is not None
    if not wanted and (contents.positions is not None or contents.scan_shape is None):
        return contents
    if wanted and (stated.positions is not None or stated.position_unit is not None):
        raise InputError(
            "a raster is stated (scan, step) and so are positions or their unit; leave out the one or the other"
        )
    shape = contents.scan_shape if stated.scan is None else raster_shape(stated.scan)
    step = step or contents.scan_step_m
    if shape is None:
        raise FormatError(f"{path} does not say how many rows and columns the raster has; state --scan, such as 40x50")
    if step is None:
        raise FormatError(
            f"{path} is a raster of {shape[0]} x {shape[1]} positions but its step is not known; state --step-nm "
            "(or --step-angstrom, --step-pm), or give its positions with --positions"
        )
    return replace(
        contents,
        positions=raster_positions_m(shape, step),
        position_unit="m",
        position_sign="probe",
        position_flip=(1, 1),
        notes={**contents.notes, "raster": f"{shape[0]} x {shape[1]}"},
    )


def _placed(frames: int, positions: Float[np.ndarray, "frame 2"], path: Path) -> Callable[..., Measurement]:
    """What makes a scan of so many frames; one that lacks some positions waits until frames are selected."""
    if len(positions) == 3 != frames:
        raise FormatError(f"positions in {path} look transposed: shape {positions.shape} for {frames} frames")
    return partial(Scan if len(positions) == frames else UnmatchedScan, positions_m=torch.from_numpy(positions))


def with_summed_exposures(contents: Contents, path: Path) -> Contents:
    """The contents with one pattern for each position, the sum of all that were taken there, one after the other.

    Raises FormatError where they are not as many at each position.
    """
    patterns, positions = contents.patterns, contents.positions
    if patterns is None or positions is None or not len(positions):
        raise FormatError(f"{path} holds no positions, so that nobody knows which exposures belong together")
    if patterns.shape[0] == len(positions):
        # Each position stands there as often as it was exposed.
        places = np.flatnonzero(np.r_[True, (np.diff(positions, axis=0) != 0).any(axis=1)])
        positions = positions[places]
        if len(np.unique(np.diff(np.r_[places, patterns.shape[0]]))) > 1:
            raise FormatError(f"not all positions in {path} were exposed equally often; leave out --sum-exposures")
    if patterns.shape[0] % len(positions):
        raise FormatError(
            f"{path} holds {patterns.shape[0]} exposures for {len(positions)} positions; expected as many at each to sum them"
        )
    count, monitor = patterns.shape[0] // len(positions), contents.monitor
    if monitor is not None and len(monitor) == patterns.shape[0]:
        monitor = monitor.reshape(-1, count).sum(axis=1)
    return replace(
        contents,
        patterns=SummedPatterns(patterns, count),
        positions=positions,
        monitor=monitor,
        notes={**contents.notes, "exposures_summed": count},
    )


def squared(frames: Float[Tensor, "batch y x"], index: Int[Tensor, " batch"]) -> Float[Tensor, "batch y x"]:
    """Counts of amplitudes."""
    return frames.square()


def _centred(scan: M, contents: Contents) -> M:
    """The frames shifted so that the beam, where the file says it is, stands in the middle."""
    height, width = scan.frame_shape
    if contents.beam_centre_px is None or scan.geometry.near_field:
        return scan
    if not all(map(math.isfinite, contents.beam_centre_px)):
        return scan
    row, column = (round(v) for v in contents.beam_centre_px)
    # Detectors that were never told write zero, or the numbers of another region of interest.
    inside = 0 < row < height and 0 < column < width
    return prepare.recentre(scan, (row, column)) if inside and (row, column) != (height // 2, width // 2) else scan


def known_geometry(contents: Contents, stated: ReadOptions) -> KnownGeometry:
    """What file and user know of the geometry; what is stated wins. Raises InputError where two options say the same."""
    if None not in (stated.distance_m, stated.camera_length_m):
        raise InputError("distance_m and camera_length_m are the same; state one of them")
    distance = stated.distance_m if stated.camera_length_m is None else stated.camera_length_m
    if distance is not None and stated.mrad_per_px is not None:
        raise InputError("the angle of a detector pixel and its distance are stated; leave out one of them")
    angle = contents.pixel_angle_rad if distance is None and stated.detector_pixel_m is None else None
    if (mrad := stated.mrad_per_px) is not None:
        y, x = pair(mrad, "mrad_per_px")
        angle = (1e-3 * y, 1e-3 * x)
    particle, wavelength = beam(stated.kv, stated.energy_ev, contents.particle, contents.wavelength_m)
    pixel = stated.detector_pixel_m
    return KnownGeometry(
        particle=particle,
        wavelength_m=wavelength,
        distance_m=contents.distance_m if distance is None else distance,
        detector_pixel_m=contents.detector_pixel_m if pixel is None else pair(pixel, "detector_pixel_m"),
        pixel_angle_rad=angle,
        object_pixel_m=contents.object_pixel_m,
        focus_distance_m=contents.focus_distance_m if stated.focus_distance_m is None else stated.focus_distance_m,
        optics=stated_optics(stated.semi_angle_mrad, stated.defocus_nm, stated.aberrations),
    )


def _positions_m(
    contents: Contents, stated: ReadOptions, object_pixel_m: tuple[float, float]
) -> Float[np.ndarray, "frame 2"]:
    positions = np.asarray(contents.positions, dtype=np.float64)
    if positions.ndim != 2 or positions.shape[1] != 2:
        raise InputError(f"positions have shape {positions.shape}; expected (frame, 2)")
    if stated.swap_axes:
        positions = positions[:, ::-1]
    unit = stated.position_unit or contents.position_unit
    scale = np.asarray(object_pixel_m) if unit == "px" else METRES[unit]
    sign = -1 if (stated.position_sign or contents.position_sign) == "sample" else 1
    positions = positions * scale * sign * np.asarray(contents.position_flip)
    if stated.rotation_deg:
        positions = positions @ prepare.rotation(stated.rotation_deg).numpy().T
    return np.ascontiguousarray(positions)
