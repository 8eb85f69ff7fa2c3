"""Ways to spoil a file: bytes flipped, datasets lost, values and types that make no sense."""

import io
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from hypothesis import strategies as st

NUMBERS = (float("nan"), float("inf"), -1.0, 0.0, 1e-300, 1e-30, 1e-3, 1e3, 1e30, 1e300, 2.0**31, 2.0**63)
WORDS = ("", "abc", "nan", "µm", "../..", "\n", "1e400")

Spoil = Callable[[np.ndarray], Any]
"""Another array, or anything else, in place of an array."""


def _cast(array: np.ndarray, dtype: str) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.asarray(np.real(array) if array.dtype.kind == "c" and dtype[0] != "c" else array).astype(dtype)


def _one(array: np.ndarray, value: float) -> np.ndarray:
    """One element in the middle, or at least its whole type, becomes `value`."""
    spoilt = array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)
    if spoilt.size:
        spoilt.reshape(-1)[spoilt.size // 2] = value
    return spoilt


def _numeric(function: Spoil) -> Spoil:
    return lambda array: function(array if array.dtype.kind in "biufc" else np.zeros(array.shape))


SPOILS: dict[str, Spoil] = {
    "nothing": lambda array: array,
    **{f"all {v:g}": _numeric(lambda a, v=v: np.full(a.shape, v)) for v in NUMBERS},
    **{f"one {v:g}": _numeric(lambda a, v=v: _one(a, v)) for v in NUMBERS},
    **{f"number {v:g}": lambda a, v=v: np.asarray(v) for v in NUMBERS},
    **{f"word {w!r}": lambda a, w=w: np.bytes_(w.encode()) for w in WORDS},
    **{
        f"type {t}": _numeric(partial(_cast, dtype=t))
        for t in ("f2", "f8", ">f4", "c8", "c16", "?", "i1", "u8", "S8", "i2")
    },
    "flat": lambda a: a.ravel(),
    "first": lambda a: a[:1] if a.ndim else a,
    "none": lambda a: a[:0] if a.ndim else np.zeros(0),
    "one less": lambda a: a[:-1] if a.ndim else a,
    "one column less": lambda a: a[..., :-1] if a.ndim else a,
    "no columns": lambda a: a[..., :0] if a.ndim else a,
    "one more": lambda a: np.concatenate([a, a[-1:]]) if a.ndim and len(a) else a,
    "twice": lambda a: np.concatenate([a, a]) if a.ndim else np.stack([a, a]),
    "turned": lambda a: a.T,
    "deeper": lambda a: a[None],
    "deeper inside": lambda a: a[..., None],
    "much deeper": lambda a: a.reshape((1,) * (16 - a.ndim) + a.shape),
    "reversed": lambda a: a[::-1] if a.ndim else a,
    "constant": lambda a: np.broadcast_to(a[:1], a.shape) if a.ndim and len(a) else a,
    "tiny": _numeric(lambda a: a * 1e-9),
    "large": _numeric(lambda a: a * 1e9),
    "thousandfold": _numeric(lambda a: a * 1e3),
    "negative": _numeric(lambda a: -_cast(a, "c16" if a.dtype.kind == "c" else "f8")),
    "shuffled": lambda a: np.random.default_rng(0).permutation(a) if a.ndim else a,
}


def bytes_changed(data: bytes, how: str, where: float) -> bytes:
    """A file's bytes, spoilt at a place from 0 (beginning) to 1 (end)."""
    place = _behind_heap(data, min(int(where * len(data)), max(len(data) - 1, 0)))
    if how == "cut":
        return data[:place]
    if how == "grown":
        return data + b"\xff" * place
    if how == "inserted":
        return data[:place] + b"\x00\xff\n:[" + data[place:]
    length = {"flip": 1, "few": 8, "zeros": 64, "many": 1024}[how]
    old = data[place : place + length]
    new = bytes(len(old)) if how == "zeros" else bytes(b ^ 0xFF for b in old)
    return data[:place] + new + data[place + length :]


def _behind_heap(data: bytes, place: int) -> int:
    """Spare the heap of variable-length text: HDF5 2.0 itself loops for ever on an object of no size in it."""
    heap = data.find(b"GCOL")
    size = int.from_bytes(data[heap + 8 : heap + 16], "little")
    return heap + size if heap >= 0 and heap - 1024 <= place < heap + size < len(data) else place


byte_changes = st.lists(
    st.tuples(
        st.sampled_from(["flip", "few", "zeros", "many", "cut", "grown", "inserted"]), st.floats(0, 1, exclude_max=True)
    ),
    min_size=1,
    max_size=3,
)
"""Up to three places where bytes go wrong."""


def spoil_bytes(path: Path, changes: list[tuple[str, float]]) -> None:
    data = path.read_bytes()
    for how, where in changes:
        data = bytes_changed(data, how, where)
    path.write_bytes(data)


HDF5_CHANGES = (
    *SPOILS,
    "delete",
    "rename",
    "group",
    "dead link",
    "link to itself",
    "missing file",
    "empty",
    "huge",
    "very huge",
    "objects",
    "references",
    "compound",
    "no units",
    "units abc",
    "units nm",
    "units of many",
)

tree_changes = st.lists(
    st.tuples(st.sampled_from(HDF5_CHANGES), st.integers(0, 199), st.booleans()), min_size=1, max_size=3
)
"""What to do, to which dataset or attribute (modulo their number), and whether to attributes."""


def spoil_hdf5(path: Path, changes: list[tuple[str, int, bool]]) -> None:
    """Spoil datasets, groups or attributes of an HDF5 file."""
    with h5py.File(path, "r+") as file:
        for how, where, attribute in changes:
            names: list[str] = []
            file.visit(names.append)
            if not names:
                return
            if attribute:
                _spoil_attribute(file, how, where, ["/", *names])
            else:
                _spoil_item(file, how, names[where % len(names)])


def _spoil_attribute(file: h5py.File, how: str, where: int, names: list[str]) -> None:
    found = [(file[name], key) for name in names for key in file[name].attrs]
    if not found:
        return
    item, key = found[where % len(found)]
    if how in SPOILS:
        value = np.asarray(item.attrs[key])
        value = np.asarray(SPOILS[how](value if value.dtype.kind != "U" else value.astype("S")))
        item.attrs[key] = value.astype("S") if value.dtype.kind == "U" else value
    elif how == "empty":
        item.attrs[key] = h5py.Empty("f")
    elif how == "compound":
        item.attrs[key] = np.zeros(2, dtype=[("a", "f8"), ("b", "S3")])
    else:
        del item.attrs[key]


def _spoil_item(file: h5py.File, how: str, name: str) -> None:
    item = file[name]
    small = isinstance(item, h5py.Dataset) and (item.size or 0) < 10**6
    stored = item[()] if small else np.zeros(3)
    kept = dict(item.attrs)
    if how.startswith(("no units", "units")):
        item.attrs["units"] = {"no units": "", "units abc": "abc", "units nm": "nm", "units of many": ["m", "nm"]}[how]
        return
    del file[name]
    if how == "delete":
        return
    if how == "rename":
        file[f"{name}_old"] = np.zeros(2)
    elif how == "group":
        file.create_group(name)
    elif how == "dead link":
        file[name] = h5py.SoftLink("/nowhere")
    elif how == "link to itself":
        file[name] = h5py.SoftLink(f"/{name}")
    elif how == "missing file":
        file[name] = h5py.ExternalLink("missing.h5", "/data")
    elif how == "empty":
        file[name] = h5py.Empty("f")
    elif how == "huge":
        file.create_dataset(name, (200_000, 40_000, 40_000)[-max(np.ndim(stored), 1) :], "f4", chunks=True)
    elif how == "very huge":
        file.create_dataset(name, (2**40, 2**20, 2**20)[: max(np.ndim(stored), 1)], "f8", chunks=True)
    elif how == "objects":
        file.create_dataset(name, (3,), h5py.string_dtype())
    elif how == "references":
        file.create_dataset(name, data=np.array([file.ref] * 3, dtype=h5py.ref_dtype), dtype=h5py.ref_dtype)
    elif how == "compound":
        file[name] = np.zeros(3, dtype=[("a", "f8"), ("b", "i4")])
    else:
        array = np.asarray(stored)
        made = np.asarray(SPOILS[how](array if array.dtype.kind in "biufcS" else np.asarray(b"abc")))
        file[name] = made
        file[name].attrs.update(kept)


archive_changes = st.lists(
    st.tuples(
        st.sampled_from(
            [*SPOILS, "delete", "rename", "objects", "unicode", "huge", "very huge", "packed", "twice there"]
        ),
        st.integers(0, 49),
    ),
    min_size=1,
    max_size=3,
)
"""What to do to which array of a NumPy archive (modulo their number)."""


def spoil_npz(path: Path, changes: list[tuple[str, int]]) -> None:
    """Spoil arrays of a NumPy archive."""
    with np.load(path) as archive:
        arrays = dict(archive)
    packed = any(how == "packed" for how, _ in changes)
    lies: dict[str, bytes] = {}
    for how, where in changes:
        if not arrays:
            break
        name = list(arrays)[where % len(arrays)]
        array = arrays.pop(name)
        if how in SPOILS:
            arrays[name] = np.asarray(SPOILS[how](array))
        elif how == "rename":
            arrays[f"{name}_old"] = array
        elif how == "objects":
            arrays[name] = np.array([{"a": 1}, None], dtype=object)
        elif how == "unicode":
            arrays[name] = np.array(["abc", "µm"])
        elif how in ("huge", "very huge"):
            lies[name] = _lying_header(how == "very huge", array)
        elif how in ("packed", "twice there"):
            arrays[name] = array
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            held = io.BytesIO()
            np.lib.format.write_array(held, array, allow_pickle=True)
            archive.writestr(f"{name}.npy", held.getvalue())
        for name, data in lies.items():
            archive.writestr(f"{name}.npy", data)


def _lying_header(very: bool, array: np.ndarray) -> bytes:
    """An array that says it is huge, with little behind it."""
    held = io.BytesIO()
    shape = ((2**40,) if very else (200_000, 40_000, 40_000))[-max(array.ndim, 1) :]
    np.lib.format.write_array_header_1_0(held, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return held.getvalue() + bytes(4096)
