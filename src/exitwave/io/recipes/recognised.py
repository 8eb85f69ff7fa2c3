"""What each dataset of an unknown HDF5 file may be, by its name, its shape and its numbers."""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from exitwave.io.hdf5.tree import Entry, words_of
from exitwave.io.units import ENERGIES_EV, LENGTHS_M

LEAST_FRAME = 8
"""Rows and columns that frames have at least."""
_NO_FRAMES = {"dark", "darks", "flat", "flats", "flatfield", "mask", "background", "probe", "object", "weights"}
_AXIS = re.compile(
    r"^(?:sam|sample|stage|motor|mot|m|piezo|pz|pi|p|pp|pos|position|probe|scan|scanner|enc|encoder|interf|npoint|nano|fine|coarse|"
    r"s|t|l|lab|st|hs|xy)?([xy])(?:pos|position|enc|encoder|coord|coords|s)?$"
)
_ENERGY_UNITS = {"eV", "keV"}
_LYING = {"horizontal": "x", "hor": "x", "horz": "x", "vertical": "y", "ver": "y", "vert": "y"}
_PLACES = {"pos", "position", "positions", "translation", "translations", "points", "encoder", "xy", "coords", "scan"}


@dataclass(frozen=True)
class Recognised:
    """What was recognised in a file, by role; None where nothing was."""

    frames: Entry | None = None
    """Of datasets with one frame each, the first; `frames_path` then is that of their group."""
    frames_path: str = ""
    layout: str = "frame y x"
    y: Entry | None = None
    x: Entry | None = None
    """The same as y, where both coordinates stand in one array."""
    numbers: dict[str, Entry] = field(default_factory=dict[str, Entry])
    """Numbers by the keys of a recipe: energy, wavelength, distance, detector_pixel, detector_pixel_y, beam_y, beam_x."""
    mask: Entry | None = None
    background: Entry | None = None
    count: int = 0
    """How many frames there are."""

    def roles(self) -> dict[str, str]:
        """What each place may be, in words."""
        told = {} if self.frames is None else {self.frames.place: "frames"}
        if self.y is not None and self.x is not None:
            both = {self.y.place: "positions y", self.x.place: "positions x"}
            told |= {self.y.place: "positions"} if self.y is self.x else both
        told |= {entry.place: _WORDS.get(role, role) for role, entry in self.numbers.items()}
        for entry, role in ((self.mask, "mask"), (self.background, "background")):
            if entry is not None:
                told[entry.place] = role
        return told


_WORDS = {
    "detector_pixel": "detector pixel",
    "detector_pixel_y": "detector pixel along y",
    "beam_y": "row of the beam",
    "beam_x": "column of the beam",
}


def recognised(found: Sequence[Entry], moved: Callable[[Entry], bool] = lambda entry: True) -> Recognised:
    """What the entries of a file may be; `moved` tells whether a list of numbers holds more than one, as a motor that stood still
    does not.
    """
    frames, path = _frames(found)
    shape: tuple[int, ...] = () if frames is None else frames.shape
    layout = "frame y x"
    if path.endswith("/*"):
        count = sum(entry.group == path[:-2] and entry.shape == shape for entry in found)
        layout = "y x" if len(shape) == 2 else layout
        shape = (count, *shape[-2:])
    y, x = _positions(found, shape, moved)
    if len(shape) == 3 and y is not None and frames is not None and not path.endswith("/*"):
        places = max(y.shape)
        layout = "y x frame" if places == shape[2] and places != shape[0] else layout
    elif len(shape) == 4:
        layout = "frame exposure y x" if y is not None and max(y.shape) == shape[0] != shape[1] else "row column y x"
    if len(shape) == 4 and y is not None and x is not None and (y.count, x.count) == shape[:2]:
        layout = "row column y x"
    frame = shape[:2] if layout == "y x frame" else shape[-2:]
    count = math.prod(shape) // max(math.prod(frame), 1)
    return Recognised(
        frames, path, layout, y, x, _numbers(found, frame),
        _of_frame(found, frame, {"mask", "bad", "good", "valid", "badpixels"}),
        _of_frame(found, frame, {"dark", "darks", "background", "bkg", "darkfield"}), count,
    )  # fmt: skip


def _frames(found: Sequence[Entry]) -> tuple[Entry | None, str]:
    """The largest stack of frames, or the group with one dataset for each."""
    stacks = [entry for entry in found if entry.kind in "iuf" and _is_stack(entry)]
    best = max(stacks, key=lambda entry: entry.count, default=None)
    many: dict[tuple[str, tuple[int, ...]], list[Entry]] = {}
    for entry in found:
        if entry.kind in "iuf" and _is_frame(entry) and re.search(r"\d", entry.name):
            many.setdefault((entry.group, entry.shape), []).append(entry)
    group = max(many.values(), key=lambda entries: sum(entry.count for entry in entries), default=[])
    if len(group) > 3 and (best is None or sum(entry.count for entry in group) > best.count):
        return group[0], f"{group[0].group}/*"
    return best, "" if best is None else best.place


def _is_stack(entry: Entry) -> bool:
    if len(entry.shape) not in (3, 4) or set(entry.words) & _NO_FRAMES:
        return False
    return min(entry.shape[-2:]) >= LEAST_FRAME or min(entry.shape[:2]) >= LEAST_FRAME


def _is_frame(entry: Entry) -> bool:
    shape = entry.shape[1:] if len(entry.shape) == 3 and entry.shape[0] == 1 else entry.shape
    return len(shape) == 2 and min(shape) >= LEAST_FRAME and not set(entry.words) & _NO_FRAMES


def _positions(
    found: Sequence[Entry], frames: tuple[int, ...], moved: Callable[[Entry], bool]
) -> tuple[Entry | None, Entry | None]:
    """Lists of y and x, as long as there are frames, or as a raster has rows and columns; else one array of both, else lists
    that are as long as each other.
    """
    if len(frames) < 3:
        return None, None
    counts = {frames[0], math.prod(frames[:-2])} | ({frames[2]} if len(frames) == 3 else set[int]())
    lengths = {(n, n) for n in counts} | (
        {(frames[0], frames[1]), (frames[1], frames[0])} if len(frames) == 4 else set()
    )
    axes: dict[str, list[Entry]] = {"y": [], "x": []}
    for entry in found:
        if entry.kind in "iuf" and entry.value is None and len(entry.shape) < 3 and (axis := axis_of(entry)):
            axes[axis].append(entry)
    pairs = [(y, x) for y in axes["y"] for x in axes["x"] if (y.count, x.count) in lengths]
    if pairs:
        return max(pairs, key=lambda pair: (moved(pair[0]) and moved(pair[1]), *_alike(*pair)))
    for entry in found:
        if entry.kind in "iuf" and len(entry.shape) == 2 and set(entry.words) & _PLACES:
            long, short = max(entry.shape), min(entry.shape)
            if long in counts and short in (2, 3):
                return entry, entry
    others = [(y, x) for y in axes["y"] for x in axes["x"] if y.count == x.count > LEAST_FRAME and _alike(y, x)[0]]
    return max(others, key=lambda pair: (moved(pair[0]), pair[0].count), default=(None, None))


def _alike(y: Entry, x: Entry) -> tuple[bool, bool, int]:
    """How well two lists go together: names that differ in the axis alone, one group, few words."""
    named = re.sub("y", "x", y.name.lower()) == x.name.lower()
    return named, y.group == x.group, -len(y.words) - len(x.words)


def axis_of(entry: Entry) -> str | None:
    """Which axis a list of numbers is of, by its name: samx is of x, stage/vertical of y."""
    for word in reversed(entry.words or words_of(entry.name)):
        if word in _LYING:
            return _LYING[word]
        if match := _AXIS.match(word):
            return match[1]
    return None


def _numbers(found: Sequence[Entry], frame: tuple[int, ...]) -> dict[str, Entry]:
    """The first number that may be each quantity, by the keys of a recipe."""
    roles: dict[str, Entry] = {}
    for entry in found:
        if entry.value is None or not math.isfinite(entry.value) or entry.value == 0:
            continue
        role = _role(entry, frame)
        if role and role not in roles:
            roles[role] = entry
    # Beamlines have names of their own for it; the unit tells, where one number alone is an energy.
    energies = [entry for entry in found if entry.value and entry.unit in _ENERGY_UNITS and not _no_beam_energy(entry)]
    if "energy" not in roles and len(energies) == 1:
        roles["energy"] = energies[0]
    if "wavelength" in roles:
        roles.pop("energy", None)
    if "detector_pixel_y" in roles and "detector_pixel" not in roles:
        roles["detector_pixel"] = roles.pop("detector_pixel_y")
    return roles


def _role(entry: Entry, frame: tuple[int, ...]) -> str | None:
    words, around = set(entry.words), set(words_of(entry.group))
    if around & {"object", "probe", "obj"}:
        return None
    if words & {"wavelength", "lambda", "wavelen"} and in_metres(entry, (1e-13, 1e-7)):
        return "wavelength"
    if (words & {"energy", "kev", "mono", "mononrj", "nrj", "photon", "hv"} or words == {"e"}) and not _no_beam_energy(
        entry
    ):
        return "energy" if energy_unit(entry) else None
    if words & {"pixel", "psize", "dxd", "pixelsize", "pix"} and not words & {"mask", "count", "bad", "object"}:
        along_y = bool(words & {"y", "v", "vertical", "height"})
        return ("detector_pixel_y" if along_y else "detector_pixel") if in_metres(entry, (1e-7, 1e-2)) else None
    far = words & {"distance", "dist", "zo", "zd", "camera"} or ("z" in words and any("det" in word for word in around))
    if far and not words & {"focus", "source", "undulator", "slit"}:
        return "distance" if in_metres(entry, (1e-3, 100.0)) else None
    return _beam(entry, words, frame)


def _beam(entry: Entry, words: set[str], frame: tuple[int, ...]) -> str | None:
    """Whether a number is the row or the column of the direct beam."""
    if not (
        words & {"bc", "beamcenter", "beamcentre"}
        or (words & {"beam", "direct"} and words & {"center", "centre", "x", "y", "row", "col"})
    ):
        return None
    if words & {"row", "y"} and len(frame) == 2 and 0 < (entry.value or 0) < frame[0]:
        return "beam_y"
    return (
        "beam_x" if words & {"col", "column", "x"} and len(frame) == 2 and 0 < (entry.value or 0) < frame[1] else None
    )


def _no_beam_energy(entry: Entry) -> bool:
    return bool(set(entry.words) & {"threshold", "spread", "bandwidth", "ring", "loss"})


def energy_unit(entry: Entry) -> str:
    """The unit in which a number is a sensible energy; empty where it is in none."""
    return unit_of(entry, ENERGIES_EV, (100.0, 4e5), ("eV", "keV", "J"))


def in_metres(entry: Entry, sensible: tuple[float, float]) -> str:
    """The unit in which a length is sensible, metres; empty where it is in none."""
    return unit_of(entry, LENGTHS_M, sensible, ("m", "mm", "um", "nm", "angstrom"))


def unit_of(entry: Entry, known: dict[str, float], sensible: tuple[float, float], usual: Iterable[str]) -> str:
    """The unit that the file or the name says, else the first of the usual ones in which the number is sensible."""
    if entry.unit in known:
        return entry.unit
    size = abs(entry.value or 0.0)
    return next((unit for unit in usual if sensible[0] <= size * known[unit] <= sensible[1]), "")


def of_frame(found: Sequence[Entry], what: Recognised, words: set[str]) -> Entry | None:
    """The first image of the shape of the frames that is named so."""
    return None if what.frames is None else _of_frame(found, what.frames.shape[-2:], words)


def _of_frame(found: Sequence[Entry], frame: tuple[int, ...], words: set[str]) -> Entry | None:
    """The first image of the shape of a frame that is named so."""
    fitting = (entry for entry in found if entry.kind in "biuf" and len(frame) == 2 and entry.shape[-2:] == frame)
    return next((e for e in fitting if len(e.shape) in (2, 3) and _named(e, words)), None)


def _named(entry: Entry, words: set[str]) -> bool:
    return bool(set(entry.words) & words) or any(word.rstrip("s") in words for word in entry.words)
