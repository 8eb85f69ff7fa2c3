"""Files of VTK for ParaView and others: volumes (.vti) and triangles (.vtp), as XML with binary data.

Written from the description of VTK's XML formats, https://docs.vtk.org/en/latest/vtk_file_formats/vtkxml_file_format.html:
every array is base64 of a length in bytes (UInt64) and the numbers, little-endian.
"""

import base64
from collections.abc import Mapping
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
from jaxtyping import Float, Int, Shaped

from exitwave.io.atomic import replacing

_TYPES = {"f4": "Float32", "f8": "Float64", "i4": "Int32", "i8": "Int64", "u1": "UInt8"}


def write_volume(
    path: Path,
    fields: Mapping[str, Shaped[np.ndarray, "z y x"]],
    spacing: tuple[float, float, float],
    origin: tuple[float, float, float],
) -> None:
    """Write values on a grid at right angles as ImageData; `spacing` and `origin` (of the first voxel's middle) are (z, y, x)."""
    shape = next(iter(fields.values())).shape
    extent = quoteattr(" ".join(f"0 {size - 1}" for size in shape[::-1]))
    body = [
        f"<ImageData WholeExtent={extent} Origin={_numbers(origin[::-1])} Spacing={_numbers(spacing[::-1])}>",
        f"<Piece Extent={extent}>",
        # The first field is what is shown when the file is opened; x runs fastest, as in the arrays.
        *_group("PointData", {name: values.reshape(-1) for name, values in fields.items()}),
        "</Piece>",
        "</ImageData>",
    ]
    _write(path, "ImageData", body)


def write_triangles(
    path: Path,
    points: Float[np.ndarray, "point 3"],
    triangles: Int[np.ndarray, "triangle 3"],
    fields: Mapping[str, Shaped[np.ndarray, "point *parts"]],
) -> None:
    """Write triangles with values at their corners as PolyData; `points` and vectors among the fields are (x, y, z)."""
    cells = {
        "connectivity": triangles.reshape(-1).astype("<i8"),
        "offsets": np.arange(3, 3 * len(triangles) + 1, 3, dtype="<i8"),
    }
    body = [
        "<PolyData>",
        f'<Piece NumberOfPoints="{len(points)}" NumberOfVerts="0" NumberOfLines="0" NumberOfStrips="0" '
        f'NumberOfPolys="{len(triangles)}">',
        *_group("PointData", fields),
        *_group("Points", {"Points": points}),
        *_group("Polys", cells),
        "</Piece>",
        "</PolyData>",
    ]
    _write(path, "PolyData", body)


def _write(path: Path, kind: str, body: list[str]) -> None:
    head = f'<VTKFile type="{kind}" version="1.0" byte_order="LittleEndian" header_type="UInt64">'
    with replacing(path) as partial:
        partial.write_text("\n".join(['<?xml version="1.0"?>', head, *body, "</VTKFile>", ""]), encoding="utf-8")


def _group(name: str, fields: Mapping[str, np.ndarray]) -> list[str]:
    first = f" Scalars={quoteattr(next(iter(fields)))}" if name == "PointData" and fields else ""
    return [f"<{name}{first}>", *(_array(field, values) for field, values in fields.items()), f"</{name}>"]


def _array(name: str, values: np.ndarray) -> str:
    values = values.astype(np.uint8) if values.dtype == bool else values
    values = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    kind, parts = _TYPES[f"{values.dtype.kind}{values.dtype.itemsize}"], values.shape[1] if values.ndim > 1 else 1
    held = values.tobytes()
    packed = base64.b64encode(np.uint64(len(held)).astype("<u8").tobytes() + held).decode()
    return f'<DataArray type="{kind}" Name={quoteattr(name)} NumberOfComponents="{parts}" format="binary">{packed}</DataArray>'


def _numbers(values: tuple[float, ...]) -> str:
    return quoteattr(" ".join(repr(float(value)) for value in values))
