"""The angles of a rocking curve, from what its file says and what its user states, checked for what can be checked."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from exitwave.data.bragg_geometry import Diffractometer
from exitwave.data.errors import FormatError, InputError, did_you_mean
from exitwave.data.lengths import number
from exitwave.io.assemble import ReadOptions, RockingContents
from exitwave.io.hdf5.file import lost_links
from exitwave.io.readers.spec import is_spec, spec_scan
from exitwave.io.units import ANGLES_RAD

Angles = Float[np.ndarray, " some"]
MOST_STEP_DEG, LEAST_STEP_DEG = 1.0, 1e-5
MOST_RANGE_DEG, LEAST_RANGE_DEG = 20.0, 0.02
"""Between which rocking curves lie; a range of 1 degree is usual. Radians read as degrees fall below, degrees read as radians above."""
STANDS = 0.2
"""Of the range of the rocked circle, over which another one must not move."""


@dataclass(frozen=True)
class RockingAngles:
    """Radians of all circles, and of the rocked one in each frame."""

    rocked: str
    frames: Float[np.ndarray, " frame"]
    sample: tuple[float, ...]
    detector: tuple[float, ...]
    assumed: tuple[str, ...]
    """Circles taken to stand at zero, which the rocked one carries, so that nothing in the laboratory hangs on them."""


def rocking_angles(
    found: RockingContents, stated: ReadOptions, diffractometer: Diffractometer, count: int, path: Path
) -> RockingAngles:
    """The angles of a rocking curve of `count` frames.

    Raises FormatError naming those that lack, that are not as many as the frames or that look to be in another unit, and the
    option that helps; InputError for what is stated wrongly.
    """
    known = _known(found, stated, diffractometer)
    sample, detector = (
        [circle.name for circle in circles]
        for circles in (diffractometer.sample_circles, diffractometer.detector_circles)
    )
    rocked = _rocked(known, found, stated, sample, count, path)
    frames = _of_frames(known, found, stated, rocked, count, path)
    if found.diffraction is None and stated.rocking_step_deg is None:
        _check_plausible(frames, rocked, path, sure=stated.angle_unit is not None)
    carried = sample[sample.index(rocked) + 1 :]
    lacking = [name for name in (*sample, *detector) if name not in known and name not in (rocked, *carried)]
    if lacking:
        raise FormatError(
            f"{path} does not say the angles of {', '.join(lacking)}, circles of the diffractometer {diffractometer.name}; state "
            f"them in degrees: --angles {','.join(f'{name}=0' for name in lacking)}{lost_links(path)}"
        )
    _check_others_stand(known, rocked, frames, path)
    still = {name: float(np.median(values)) for name, values in known.items()}
    if absurd := [name for name, angle in still.items() if not abs(angle) <= 2 * math.pi + 1e-9]:
        raise FormatError(
            f"{absurd[0]} stands at {number(math.degrees(still[absurd[0]]))}° by {path}, which is no angle of a circle; state it in "
            f"degrees: --angles {absurd[0]}=DEGREES"
        )
    return RockingAngles(
        rocked,
        frames,
        tuple(still.get(name, 0.0) for name in sample),
        tuple(still[name] for name in detector),
        tuple(name for name in carried if name not in still),
    )


def _known(found: RockingContents, stated: ReadOptions, diffractometer: Diffractometer) -> dict[str, Angles]:
    """Radians by the names of the diffractometer; what is stated wins."""
    circles = (*diffractometer.sample_circles, *diffractometer.detector_circles)
    names = {circle.name.lower(): circle.name for circle in circles}
    unit = stated.angle_unit or found.angle_unit
    known = {
        names[name.lower()]: np.atleast_1d(np.asarray(values, dtype=np.float64)) * ANGLES_RAD[unit]
        for name, values in found.angles.items()
        if name.lower() in names and np.size(values)
    }
    if stated.rocking_angles is not None:
        known |= {
            names[name]: np.array([angle]) for name, angle in _motors(stated.rocking_angles).items() if name in names
        }
    for name, degrees in stated_angles(stated.angles).items():
        if name.lower() not in names:
            raise InputError(
                f"the diffractometer {diffractometer.name} has no circle {name!r}{did_you_mean(name, names.values())}; expected "
                f"{', '.join(names.values())}"
            )
        name = names[name.lower()]
        # Where the rocked circle stood is said by its angle in each frame, if there is one.
        if len(known.get(name, ())) < 2 or name.lower() != str(stated.rocked or found.rocked).lower():
            known[name] = np.array([math.radians(degrees)])
    return known


def _motors(path: Path) -> dict[str, float]:
    """Radians of motors by lower-case name, where the file of rocking angles is a SPEC file, whose motors are in degrees."""
    path, number = numbered(path)
    motors = spec_scan(path, number).motors if is_spec(path) else {}
    return {name: math.radians(angle) for name, angle in motors.items()}


def stated_angles(stated: tuple[str, ...]) -> dict[str, float]:
    """Degrees by circle of theta=0.22,delta=32.17. Raises InputError for anything else."""
    angles: dict[str, float] = {}
    for part in (part for text in stated for part in text.split(",") if part.strip()):
        name, equals, value = (word.strip() for word in part.partition("="))
        try:
            angles[name] = float(value)
        except ValueError:
            angles[name] = math.nan
        if not equals or not name or not math.isfinite(angles[name]):
            raise InputError(f"{part.strip()!r} is no angle; write circles and degrees as in theta=0.22,delta=32.17")
    return angles


def _rocked(
    known: Mapping[str, Angles], found: RockingContents, stated: ReadOptions, sample: list[str], count: int, path: Path
) -> str:
    """Name of the rocked circle: as stated, as the file says, else the one that moved."""
    word = stated.rocked or found.rocked
    if word is not None:
        name = {each.lower(): each for each in sample}.get(word.lower())
        if name is None:
            raise InputError(
                f"the rocked circle is {word!r}{did_you_mean(word, sample)}; expected one that carries the sample: "
                f"{', '.join(sample)}. State it with --rocked"
            )
        return name
    moved = {name: _range(known[name]) for name in sample if name in known and len(known[name]) > 1}
    if moved and max(moved.values()) > 0:
        return max(moved, key=lambda name: moved[name])
    if len(sample) == 1:
        return sample[0]
    told = f"no circle of {', '.join(moved)} turned" if moved else "the angle of no circle is known for each frame"
    raise FormatError(
        f"{path} has {count} frames, but {told}; state which one was rocked and how: --rocked {sample[0]} --rocking-angles FILE "
        f"(or --rocking-step-deg 0.005){lost_links(path)}"
    )


def _range(values: Angles) -> float:
    """How far a circle turned; as good as nothing where that is not known."""
    numbers = values[np.isfinite(values)]
    return float(np.ptp(numbers)) if len(numbers) > 1 else 1e-12


def _of_frames(
    known: Mapping[str, Angles], found: RockingContents, stated: ReadOptions, rocked: str, count: int, path: Path
) -> Float[np.ndarray, " frame"]:
    """Radians of the rocked circle in each frame."""
    if stated.rocking_angles is not None and stated.rocking_step_deg is not None:
        raise InputError("rocking_angles and rocking_step_deg say the same; state one of them")
    source = str(path)
    if stated.rocking_angles is not None:
        source = str(stated.rocking_angles)
        frames = read_angles(stated.rocking_angles, rocked) * ANGLES_RAD[stated.angle_unit or "deg"]
    elif stated.rocking_step_deg is not None:
        middle = float(np.median(known[rocked])) if rocked in known else 0.0
        frames = middle + math.radians(stated.rocking_step_deg) * (np.arange(count) - count // 2)
    elif found.frames is not None:
        frames = found.frames * ANGLES_RAD[stated.angle_unit or found.angle_unit]
    else:
        frames = known.get(rocked, np.zeros(0))
    if len(frames) != count:
        told = f"{len(frames)} angles" if len(frames) > 1 else f"{'one angle' if len(frames) else 'no angle'}"
        raise FormatError(
            f"{source} holds {told} of {rocked} for {count} frames; expected one for each. Give them with --rocking-angles FILE, "
            "state the step with --rocking-step-deg, or leave out frames that have none where they were stored"
            f"{lost_links(path)}"
        )
    if (numbers := int(np.isfinite(frames).sum())) < count:
        raise FormatError(
            f"{source} holds {count} angles of {rocked}, of which {numbers} are numbers; expected one for each frame. Give them "
            "with --rocking-angles FILE or state the step with --rocking-step-deg"
        )
    return np.asarray(frames, dtype=np.float64)


def _check_plausible(frames: Float[np.ndarray, " frame"], rocked: str, path: Path, *, sure: bool) -> None:
    """Raise FormatError where the angles can hardly be degrees, or radians, as they are said to be.

    `sure`: their unit was stated, so that a narrow rocking curve is one.
    """
    degrees = np.degrees(frames)
    if len(degrees) < 2 or not np.ptp(degrees):
        return
    width, step = float(np.ptp(degrees)), float(np.median(np.abs(np.diff(degrees))))
    if width > MOST_RANGE_DEG or step > MOST_STEP_DEG:
        doubt = f"Were degrees taken for radians ({number(math.radians(width))}° in all)? State --angle-unit deg"
    elif not sure and (width < LEAST_RANGE_DEG or step < LEAST_STEP_DEG):
        doubt = (
            f"Were radians taken for degrees ({number(math.degrees(width))}° in all)? State --angle-unit rad, or deg where they "
            "are degrees all the same"
        )
    else:
        return
    raise FormatError(
        f"{rocked} goes over {number(width)}° in {len(frames)} frames of {path}, {number(step)}° a frame; rocking curves span "
        f"{LEAST_RANGE_DEG:g} to {MOST_RANGE_DEG:g}°. {doubt}"
    )


def _check_others_stand(
    known: Mapping[str, Angles], rocked: str, frames: Float[np.ndarray, " frame"], path: Path
) -> None:
    width = float(np.ptp(frames))
    for name, values in known.items():
        moved = float(np.ptp(values)) if len(values) > 1 and np.isfinite(values).all() else 0.0
        if name != rocked and moved > STANDS * width > 0:
            raise FormatError(
                f"{name} turns by {number(math.degrees(moved))}° while {rocked} is rocked by {number(math.degrees(width))}° in {path}; "
                f"expected one circle to turn. If {name} stood still, state where: --angles {name}=DEGREES"
            )


def read_angles(path: Path, rocked: str) -> Float[np.ndarray, " frame"]:
    """A list of angles: a column of text, a .npy array, or a scan of a SPEC file (scans.spec:54).

    Raises FormatError where it is none.
    """
    path, number = numbered(path)
    if not path.is_file():
        raise FormatError(f"the file of rocking angles {path} does not exist; check the path")
    if is_spec(path):
        scan = spec_scan(path, number)
        name = next((each for each in (rocked.lower(), scan.scanned) if each in scan.columns), None)
        if name is None:
            raise FormatError(
                f"scan {scan.number} of {path} has no column {rocked}; there are {', '.join(scan.columns) or 'none'}"
            )
        return scan.columns[name]
    try:
        with path.open("rb") as raw:
            is_numpy = raw.read(6) == b"\x93NUMPY"
        found = np.load(path, allow_pickle=False) if is_numpy else np.loadtxt(path, delimiter=_delimiter(path), ndmin=1)
    except (ValueError, OSError, EOFError) as error:
        raise FormatError(
            f"{path} holds no list of angles ({error}); expected one number in each line, a .npy array or a SPEC file"
        ) from error
    angles = np.squeeze(np.asarray(found))
    if angles.ndim != 1 or angles.dtype.kind not in "iuf":
        raise FormatError(
            f"{path} holds an array {angles.shape} of {angles.dtype}; expected one angle for each frame, in one column"
        )
    return angles.astype(np.float64)


def numbered(path: Path) -> tuple[Path, int | None]:
    """A file and the number of a scan in it, of scans.spec:54."""
    name, colon, number = str(path).rpartition(":")
    return (Path(name), int(number)) if colon and number.isdecimal() and not path.exists() else (path, None)


def _delimiter(path: Path) -> str | None:
    return "," if "," in path.read_text(encoding="utf-8", errors="replace")[:1000] else None
