"""Scan positions that were kept in a file of their own: a table of text, a numpy array or an HDF5 file."""

import re
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Float

from exitwave.data.errors import FormatError
from exitwave.io.assemble import METRES, Contents, PositionUnit, ReadOptions
from exitwave.io.hdf5.reading import is_hdf5, open_hdf5, unit
from exitwave.io.lfs import require_fetched
from exitwave.io.units import LENGTHS_M, factor

_NAME = re.compile(r"^(?:probe_|scan_|sample_)?(?:pos(?:ition)?s?_?)?(y|x)(?:_?(?:pos(?:ition)?s?|coords?))?$")
_UNIT = re.compile(r"^(.*?)[\s_]*(?:\[|\(|_|\s)(m|mm|um|µm|μm|nm|angstrom|px)[\])]?$")

_FRAME = re.compile(r"(?:frame|trigger|image|shot|exposure)s?[\s_]*(?:number|num|no|nr|index|idx|id)?\.?")
_NUMBERS_ALONE = re.compile(r"[-+\d.,;eE\s]*\d[-+\d.,;eE\s]*")
_WITH_COMMA = re.compile(r"[-+]?\d+(?:,\d+)?(?:[eE][-+]?\d+)?")


def read_positions(path: Path) -> tuple[Float[np.ndarray, "frame 2"], PositionUnit | None]:
    """Positions (y, x), as the file holds them, and their unit if it names one.

    Text tables (commas, semicolons, tabs or spaces; decimal commas where these do not part columns) may name their columns y
    and x, with a unit ("y_um", "x [nm]"); without names there must be exactly two columns, y then x. Where a further column
    is named frame or trigger, rows go in its order and those of one frame are averaged. `.npy` arrays (frame, 2) and HDF5
    files with one such dataset, or one each named y and x, are read alike. Raises FormatError where it is unclear what is
    what.
    """
    if not path.is_file():
        raise FormatError(f"the positions file {path} does not exist; check the path")
    require_fetched(path)
    if is_hdf5(path):
        with open_hdf5(path) as file:
            return _from_hdf5(file, path)
    with path.open("rb") as raw:
        numpy_array = raw.read(6) == b"\x93NUMPY"
    return (_two_columns(_load_numpy(path), path), None) if numpy_array else _from_text(path)


def with_stated_positions(contents: Contents, stated: ReadOptions) -> Contents:
    """The contents of a scan file with the positions of the second file the user named, if there is one."""
    if stated.positions is None:
        return contents
    positions, named_unit = read_positions(stated.positions)
    return replace(
        contents,
        positions=positions,
        position_unit=named_unit or "m",
        position_sign="probe",
        position_flip=(1, 1),
        notes={**contents.notes, "positions_file": str(stated.positions)},
    )


def _load_numpy(path: Path) -> np.ndarray:
    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise FormatError(f"{path} is not a readable .npy array ({error}); save the positions again") from error


def _two_columns(table: np.ndarray, path: Path) -> Float[np.ndarray, "frame 2"]:
    """An array of numbers with an axis of length 2; (2, frame) is turned, as some programs store it."""
    if table.dtype.kind not in "iuf" or table.ndim != 2 or 2 not in table.shape:
        raise FormatError(
            f"{path} holds an array {table.shape} of {table.dtype}; expected numbers (frame, 2), columns y and x. "
            "Name the columns, or keep only these two"
        )
    return np.asarray(table if table.shape[1] == 2 else table.T, dtype=np.float64)


def _from_hdf5(file: h5py.File, path: Path) -> tuple[Float[np.ndarray, "frame 2"], PositionUnit | None]:
    found: dict[str, h5py.Dataset] = {}
    file.visititems(lambda name, item: found.update({name: item}) if _numbers(item) else None)
    columns: dict[str, list[str]] = {"y": [], "x": []}
    for name in found:
        axis, _ = _column(name.rsplit("/", 1)[-1])
        if axis:
            columns[axis].append(name)
    if len(columns["y"]) == 1 and len(columns["x"]) == 1:
        y, x = (_named(found[columns[axis][0]]) for axis in "yx")
        if y[0].shape != x[0].shape or y[1] != x[1]:
            raise FormatError(f"y and x in {path} differ in number or unit: {y[0].shape} {y[1]}, {x[0].shape} {x[1]}")
        return np.stack([y[0], x[0]], axis=1), y[1]
    tables = [item for item in found.values() if 2 in item.shape and item.ndim == 2]
    if len(tables) == 1 and not columns["y"] and not columns["x"]:
        values, named_unit = _named(tables[0], flat=False)
        return _two_columns(values, path), named_unit
    raise FormatError(
        f"it is unclear where the positions in {path} are; found {', '.join(found) or 'no lists of numbers'}. Expected "
        "one dataset named y and one named x, or a single dataset (frame, 2); else use a recipe"
    )


def _numbers(item: object) -> bool:
    return isinstance(item, h5py.Dataset) and item.dtype.kind in "iuf" and item.ndim in (1, 2) and max(item.shape) > 1


def _named(item: h5py.Dataset, *, flat: bool = True) -> tuple[np.ndarray, PositionUnit | None]:
    values = np.asarray(item[()], dtype=np.float64)
    word = unit(item, "") or _column(str(item.name).rsplit("/", 1)[-1])[1]
    return values.ravel() if flat else values, position_unit(word)


def _from_text(path: Path) -> tuple[Float[np.ndarray, "frame 2"], PositionUnit | None]:
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise FormatError(f"{path} is neither text nor .npy nor HDF5; give the positions as one of these") from error
    if _has_decimal_commas(lines):
        lines = [line.replace(",", ".") if _NUMBERS_ALONE.fullmatch(line) else line for line in lines]
    rows = [_cells(line.lstrip("#")) for line in lines]
    head: list[str] = []
    while rows and not _all_numbers(rows[0]):
        if _NUMBERS_ALONE.fullmatch(first := lines[len(lines) - len(rows)]):
            raise FormatError(
                f"it is unclear what parts the columns of {path}: {first!r}; write decimal points, or semicolons or tabs between "
                "columns where decimals have commas"
            )
        head = rows.pop(0)
    rows = [row for line, row in zip(lines[len(lines) - len(rows) :], rows, strict=True) if not line.startswith("#")]
    if not rows:
        raise FormatError(f"{path} holds no numbers; expected a table with the columns y and x")
    try:
        table = np.array([[float(cell) for cell in row] for row in rows])
    except ValueError as error:
        raise FormatError(f"the rows of {path} are not all numbers, or not of equal length: {error}") from error
    return _by_header(head, table, path)


def _by_header(
    head: list[str], table: np.ndarray, path: Path
) -> tuple[Float[np.ndarray, "frame 2"], PositionUnit | None]:
    named = [_column(cell) for cell in head] if len(head) == table.shape[1] else []
    where = {axis: [i for i, (name, _) in enumerate(named) if name == axis] for axis in "yx"}
    if len(where["y"]) == 1 and len(where["x"]) == 1:
        column_y, column_x = where["y"][0], where["x"][0]
        if named[column_y][1] != named[column_x][1]:
            raise FormatError(f"y and x in {path} are in different units ({head}); write both in the same unit")
        return _of_each_frame(head, table, table[:, [column_y, column_x]], path), position_unit(named[column_y][1])
    if table.shape[1] == 2 and not where["y"] and not where["x"]:
        return table, None
    raise FormatError(
        f"it is unclear which of the {table.shape[1]} columns of {path} ({', '.join(head) or 'no header'}) are y and x; "
        "name them y and x in the first line, or keep only these two"
    )


def _of_each_frame(
    head: list[str], table: np.ndarray, positions: Float[np.ndarray, "row 2"], path: Path
) -> Float[np.ndarray, "frame 2"]:
    """In the order of the frame numbers, where a column holds them, the mean of all rows of a frame: encoders are read twice."""
    columns = [i for i, cell in enumerate(head) if _FRAME.fullmatch(cell.strip().lower())]
    if len(columns) != 1:
        return positions
    numbers = table[:, columns[0]]
    if not np.array_equal(numbers, np.round(numbers)):
        raise FormatError(
            f"the column {head[columns[0]]} of {path} holds numbers that are not whole; expected those of the frames"
        )
    _, places, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    total = np.zeros((len(counts), 2))
    np.add.at(total, places, positions)
    return total / counts[:, None]


def _has_decimal_commas(lines: list[str]) -> bool:
    """Whether commas stand for decimal points: in a table without points, whose columns something else parts."""
    rows = [line for line in lines if _NUMBERS_ALONE.fullmatch(line)]
    if not any("," in row for row in rows) or any("." in row for row in rows):
        return False
    parted = [re.split(r"\s*;\s*|\t+|\s+", row) for row in rows]
    return all(len(cells) > 1 and all(_WITH_COMMA.fullmatch(cell) for cell in cells) for cells in parted)


def _cells(line: str) -> list[str]:
    for separator in (";", ",", "\t"):
        if separator in line:
            return [cell.strip().strip('"') for cell in line.split(separator)]
    return line.split()


def _all_numbers(row: list[str]) -> bool:
    try:
        return bool([float(cell) for cell in row])
    except ValueError:
        return False


def _column(name: str) -> tuple[str | None, str]:
    """Which axis a column's name stands for, and its unit: "probe_position_y_m" is y in m, "ppX" x."""
    word = name.strip().lower()
    unit_word = ""
    if match := _UNIT.match(word):
        word, unit_word = match[1], match[2]
    if word in ("ppy", "ppx"):
        return word[-1], unit_word or "m"
    axis = _NAME.match(word)
    return (axis[1] if axis else None), unit_word


def stored_unit(item: h5py.Dataset | None) -> PositionUnit:
    """The unit of positions in a dataset by its `@units`, metres where it has none."""
    try:
        return position_unit(unit(item, "")) or "m"
    except FormatError as error:
        where = "" if item is None else f"{item.name} in {item.file.filename}: "
        raise FormatError(f"{where}{error}") from error


def position_unit(word: str) -> PositionUnit | None:
    """The unit of positions that a word means; None for no word."""
    if not word:
        return None
    if word.lower() in ("px", "pixel", "pixels"):
        return "px"
    scale = factor(word, LENGTHS_M, "length")
    for name, metres in METRES.items():
        if np.isclose(metres, scale, rtol=1e-9, atol=0.0):
            return name  # pyright: ignore[reportReturnType]
    raise FormatError(f"positions in {word} are not supported; convert them to one of {', '.join(METRES)}")
