"""NumPy archives of PtychoPINN, in its three dialects, and of SLAC.

https://github.com/hoidn/PtychoPINN: positions are pixels of the object; `diff3d` holds counts where it is of an integer
type, and counts or amplitudes, which only its maker knows, where it is not; the later `diffraction` holds amplitudes.
The oldest files have the frames on the last axis.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from exitwave.data.errors import FormatError
from exitwave.data.estimate import PtychoEstimate
from exitwave.data.patterns import Patterns
from exitwave.data.scan import Scan
from exitwave.io import npz_arrays
from exitwave.io.assemble import Contents, Format, ReadOptions
from exitwave.io.positions import with_stated_positions

Values = Literal["counts", "amplitude"]
LARGEST_AMPLITUDE = 1e3
"""Square root of a million counts in a pixel: larger numbers of type float may well be counts."""


def read(path: Path, stated: ReadOptions) -> Contents:
    """A PtychoPINN archive. Raises FormatError where it is unclear whether the patterns are counts or amplitudes."""
    positions = _columns(path, ("ycoords", "xcoords"))
    key = _pattern_key(path)
    patterns = npz_arrays.frames(path, key, frame_last=_frame_last(path, key, len(positions)))
    bad, particle = npz_arrays.numbers(path, "bad_pixels"), npz_arrays.load(path, "particle")
    pixel_m = npz_arrays.numbers(path, "detector_pixel_m")
    if pixel_m is not None and pixel_m.shape != (2,):
        raise FormatError(f"detector_pixel_m in {path} has shape {pixel_m.shape}; expected two numbers (y, x)")
    contents = Contents(
        patterns=patterns,
        values=stated.values or _values(path, key, patterns),
        positions=positions,
        position_unit="px",
        wavelength_m=npz_arrays.number(path, "wavelength_m"),
        distance_m=npz_arrays.number(path, "distance_m"),
        detector_pixel_m=None if pixel_m is None else (float(pixel_m[0]), float(pixel_m[1])),
        focus_distance_m=npz_arrays.number(path, "focus_distance_m"),
        particle="electron" if particle is not None and str(particle) == "electron" else "photon",
        mask=None if bad is None else np.asarray(bad == 0),
        monitor=npz_arrays.numbers(path, "monitor"),
        notes={"dataset": key},
    )
    return with_stated_positions(contents, stated)


def read_slac(path: Path, stated: ReadOptions) -> Contents:
    """A SLAC archive: frames on the last axis, positions in metres."""
    positions = _columns(path, ("ycoords_start", "xcoords_start"))
    patterns = npz_arrays.frames(path, "diffraction", frame_last=_frame_last(path, "diffraction", len(positions)))
    return with_stated_positions(Contents(patterns=patterns, positions=positions), stated)


def read_estimate(path: Path) -> PtychoEstimate:
    """Probe and object of an archive, with the positions it holds. Raises FormatError where there is no object."""
    obj = _stack(npz_arrays.load(path, "objectGuess"))
    if obj is None:
        raise FormatError(f"{path} holds no objectGuess; take only its probe, or give a result or product file")
    probe = read_probe(path)
    middle = torch.tensor(probe.shape[1:]) // 2
    corners = torch.from_numpy(_columns(path, ("ycoords", "xcoords"))) - middle
    room = torch.tensor(obj.shape[1:]) - torch.tensor(probe.shape[1:])
    if bool((corners < -0.5).any()) or bool((corners > room + 0.5).any()):
        # Some writers count from the middle of the object, or from anywhere.
        corners = corners - (corners.amin(dim=0) + corners.amax(dim=0)) / 2 + room / 2
    return PtychoEstimate(object=torch.from_numpy(obj), probe=probe, positions_px=corners)


def read_probe(path: Path) -> Tensor:
    """The probe of an archive, (mode, y, x)."""
    probe = _stack(npz_arrays.load(path, "probeGuess"))
    if probe is None:
        raise FormatError(f"{path} holds no probeGuess; give a file with a probe")
    return torch.from_numpy(probe)


def write(path: Path, scan: Scan) -> None:
    """Write a scan in PtychoPINN's names: whole counts as integers, exactly; other counts as amplitudes.

    Geometry, bad pixels and monitor go along under names that PtychoPINN passes over.
    """
    geometry = scan.geometry
    positions = scan.positions_m.numpy() / np.asarray(scan.object_pixel_m)
    key, patterns = _streamed(scan)
    arrays: dict[str, np.ndarray | npz_arrays.Streamed] = {
        "ycoords": positions[:, 0],
        "xcoords": positions[:, 1],
        "ycoords_start": positions[:, 0],
        "xcoords_start": positions[:, 1],
        "scan_index": np.zeros(len(scan), dtype=np.int64),
        "bad_pixels": ~scan.mask.cpu().numpy(),
        "wavelength_m": np.asarray(geometry.wavelength_m),
        "distance_m": np.asarray(geometry.distance_m),
        "detector_pixel_m": np.asarray(geometry.detector_pixel_m),
        "particle": np.asarray(geometry.particle),
        "patterns_are": np.asarray("counts" if key == "diff3d" else "amplitude"),
        key: patterns,
    }
    if geometry.focus_distance_m is not None:
        arrays["focus_distance_m"] = np.asarray(geometry.focus_distance_m)
    if scan.monitor is not None:
        arrays["monitor"] = scan.monitor.cpu().numpy()
    npz_arrays.write(path, arrays)


def _pattern_key(path: Path) -> str:
    """`diff3d` where it holds counts or stands alone; the unambiguous `diffraction` otherwise."""
    names = npz_arrays.members(path)
    whole = "diff3d" in names and npz_arrays.header(path, "diff3d")[1].kind in "iu"
    return "diff3d" if whole or "diffraction" not in names else "diffraction"


def _columns(path: Path, names: tuple[str, str]) -> np.ndarray:
    y, x = (npz_arrays.numbers(path, name) for name in names)
    if y is None or x is None or y.size != x.size:
        raise FormatError(f"{path} needs {names[0]} and {names[1]} of equal number; it is damaged or of another kind")
    return np.column_stack((y.ravel(), x.ravel()))


def _frame_last(path: Path, key: str, frames: int) -> bool:
    shape, _ = npz_arrays.header(path, key)
    return len(shape) == 3 and shape[0] != frames and shape[2] == frames


def _values(path: Path, key: str, patterns: Patterns) -> Values:
    told = npz_arrays.load(path, "patterns_are")
    if told is not None:
        return "amplitude" if str(told) == "amplitude" else "counts"
    if npz_arrays.header(path, key)[1].kind in "iub":
        return "counts"
    sample = torch.linspace(0, patterns.shape[0] - 1, min(32, patterns.shape[0])).round().to(torch.int64)
    largest = float(patterns.read(sample).max())
    if key == "diffraction" and not largest > LARGEST_AMPLITUDE:
        return "amplitude"
    raise FormatError(
        f"{key} in {path} is of type float with values up to {largest:.4g}, so it may hold photon counts or their square "
        "roots; say which with --values counts or --values amplitude"
    )


def _stack(array: np.ndarray | None) -> np.ndarray | None:
    """(mode or slice, y, x) from (y, x), (mode, y, x) or (y, x, 1)."""
    if array is None or array.ndim not in (2, 3) or array.dtype.kind not in "cf":
        return None
    if array.ndim == 3 and array.shape[2] == 1 and array.shape[0] != 1:
        array = array[..., 0]
    modes = array[None] if array.ndim == 2 else array
    return np.ascontiguousarray(modes, dtype=np.complex128 if modes.dtype == np.complex128 else np.complex64)


def _streamed(scan: Scan) -> tuple[str, npz_arrays.Streamed]:
    largest, whole = 0.0, True
    for frames in _pieces(scan):
        largest = max(largest, float(frames.max()))
        whole = whole and bool((frames >= 0).all() and (frames == np.rint(frames)).all())
    if whole and largest < 2**32:
        dtype = np.dtype(np.uint16 if largest < 2**16 else np.uint32)
        return "diff3d", npz_arrays.Streamed(
            scan.patterns.shape, dtype, (frames.astype(dtype) for frames in _pieces(scan))
        )
    roots = (np.sqrt(np.maximum(frames, 0)) for frames in _pieces(scan))
    return "diffraction", npz_arrays.Streamed(scan.patterns.shape, np.dtype(np.float32), roots)


def _pieces(scan: Scan) -> Iterator[np.ndarray]:
    for index in torch.arange(len(scan)).split(64):
        yield scan.frames(index).cpu().numpy()


def _recognises(path: Path) -> bool:
    names = npz_arrays.members(path)
    return names.issuperset(("xcoords", "ycoords")) and bool(names & {"diff3d", "diffraction"})


def _recognises_slac(path: Path) -> bool:
    names = npz_arrays.members(path)
    return names.issuperset(("xcoords_start", "ycoords_start", "diffraction")) and "xcoords" not in names


FORMAT = Format(
    name="npz",
    title="PtychoPINN npz archive",
    recognises=_recognises,
    read=read,
    write=write,
    read_estimate=read_estimate,
    read_probe=read_probe,
)
SLAC = Format(
    name="slac-npz", title="SLAC npz archive", recognises=_recognises_slac, read=read_slac, read_probe=read_probe
)
