"""Files of electron microscopes and of other programs, written in a few lines of their own after what their makers or users
published of each format; none uses the code that reads them."""

import struct
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import scipy.io

THRESHOLDS = ",".join(["0.000555", "0", "0", "0", "1.200000E+2", "5.110000E+2"])


def embedded(frames: np.ndarray, side: int) -> np.ndarray:
    """Frames in the middle of square ones, the beam at [side // 2, side // 2]."""
    height, width = frames.shape[-2:]
    top, left = side // 2 - height // 2, side // 2 - width // 2
    square = np.zeros((*frames.shape[:-2], side, side), frames.dtype)
    square[..., top : top + height, left : left + width] = frames
    return square


def write_empad(path: Path, cube: np.ndarray, *, xml: str | None = "acquire") -> None:
    """Float32, 130 rows of 128, the last two not of the image."""
    rows, columns = cube.shape[:2]
    whole = np.full((rows, columns, 130, 128), 7e5, "<f4")
    whole[..., :128, :] = embedded(cube, 128)
    path.write_bytes(whole.tobytes())
    if xml == "acquire":
        raster = (
            f'<scan_parameters mode="search"><scan_resolution_x>256</scan_resolution_x><scan_resolution_y>256</scan_resolution_y>'
            f'</scan_parameters><scan_parameters mode="acquire"><scan_resolution_x>{columns}</scan_resolution_x>'
            f"<scan_resolution_y>{rows}</scan_resolution_y></scan_parameters>"
        )
    else:
        raster = f"<pix_x>{columns}</pix_x><pix_y>{rows}</pix_y>"
    if xml is not None:
        text = f'<?xml version="1.0"?><root><raw_file filename="D:\\data\\{path.name}"/>{raster}</root>'
        path.with_suffix(".xml").write_text(text)


def write_mib(path: Path, cube: np.ndarray, *, kind: str = "U16", header: int = 384, hdr: bool = True) -> None:
    """Text before each frame, numbers of the highest byte first, and the .hdr that tells the frames of a line."""
    rows, columns, height, width = cube.shape
    dtype = {"U08": "u1", "U16": ">u2", "U32": ">u4", "R64": ">u8"}[kind]
    with path.open("wb") as file:
        for number, frame in enumerate(cube.reshape(-1, height, width), 1):
            text = (
                f"MQ1,{number:06d},{header:05d},01,{width:04d},{height:04d},{kind},   1x1,01,2020-01-01,{THRESHOLDS},"
            )
            file.write(text.ljust(header).encode() + frame.astype(dtype).tobytes())
    if hdr:
        told = f"Frames in Acquisition (Number):\t{rows * columns}\nFrames per Trigger (Number):\t{columns}\n"
        path.with_suffix(".hdr").write_text(f"HDR,\t\nGain:\tSLGM\n{told}End\t")


def write_blo(
    path: Path, cube: np.ndarray, *, step_nm: tuple[float, float] = (2.0, 3.0), voltage: int = 200_000
) -> None:
    """8-bit square frames, each behind AA 55 and its number; an image of the area at 0x1000."""
    rows, columns, side, _ = cube.shape
    start = 0x1000 + rows * columns + 16 - (rows * columns) % 16
    fields = (0x0102, 0x1000, start, 131141, side, 0, columns, rows, 4500, step_nm[1], step_nm[0], voltage, 0, 0)
    head = b"IMGBLO" + struct.pack("<HIIIHHHHHddIHI", *fields)
    body = b"".join(
        struct.pack("<HI", 0x55AA, n) + frame.astype("u1").tobytes()
        for n, frame in enumerate(cube.reshape(-1, side, side))
    )
    path.write_bytes(head.ljust(0x1000, b"\0") + b"\5" * (start - 0x1000) + body)


def write_dm4(
    path: Path,
    cube: np.ndarray,
    *,
    swapped: bool = True,
    units: tuple[str, str] = ("nm", "1/nm"),
    version: int = 4,
    order: str = "<",
) -> None:
    """A small preview, then the image: detector fastest and marked so ("swapped"), or scan fastest; 300 kV."""
    write = _DmWriter(version == 4, order)
    stored = cube if swapped else cube.transpose(2, 3, 0, 1)
    scan, detector = ((0.5, units[0]), (0.3, units[0])), ((0.2, units[1]), (0.1, units[1]))
    slow_to_fast = [*scan, *detector] if swapped else [*detector, *scan]
    said = [("Format", write.words("Diffraction image"))]
    said += [("Data Order Swapped", write.value(8, "b", 1))] if swapped else []
    microscope = write.group([("Voltage", write.value(7, "d", 300e3)), ("Name", write.words("Titan"))])
    tags = write.group([("Microscope Info", microscope), ("Meta Data", write.group(said))])
    preview = write.image(np.zeros((4, 6), "u2"), [(1.0, ""), (1.0, "")], write.group([]))
    images = write.group([("", preview), ("", write.image(stored, slow_to_fast, tags))])
    spot = 21, write.data([15, 0, 2, 0, 6, 0, 3], struct.pack(order + "fi", 1.5, 3))
    root = write.group([("ApplicationBounds", spot), ("ImageList", images), ("InImageMode", write.value(8, "b", 1))])[1]
    head = struct.pack(f">i{write.count}i", version, len(root), int(order == "<"))
    path.write_bytes(head + root + bytes(8))


Tag = tuple[int, bytes]
"""20 and a group, or 21 and data."""


@dataclass(frozen=True)
class _DmWriter:
    """Tags are big-endian with counts of 4 (version 3) or 8 bytes, what they hold is in the order of the file."""

    wide: bool
    order: str

    @property
    def count(self) -> str:
        return "q" if self.wide else "i"

    def group(self, tags: list[tuple[str, Tag]]) -> Tag:
        body = b"".join(
            struct.pack(">bH", kind, len(name))
            + name.encode()
            + (struct.pack(">q", len(payload)) if self.wide else b"")
            + payload
            for name, (kind, payload) in tags
        )
        return 20, b"\0\0" + struct.pack(f">{self.count}", len(tags)) + body

    def data(self, described: list[int], raw: bytes) -> bytes:
        return b"%%%%" + struct.pack(f">{len(described) + 1}{self.count}", len(described), *described) + raw

    def value(self, kind: int, code: str, number: float) -> Tag:
        return 21, self.data([kind], struct.pack(self.order + code, number))

    def words(self, text: str) -> Tag:
        return 21, self.data([20, 4, len(text)], text.encode("utf-16-le" if self.order == "<" else "utf-16-be"))

    def image(self, array: np.ndarray, calibrations: list[tuple[float, str]], tags: Tag) -> Tag:
        """Axes are listed with the fastest first, without names."""
        axes = [
            self.group(
                [("Origin", self.value(6, "f", 0)), ("Scale", self.value(6, "f", s)), ("Units", self.words(unit))]
            )
            for s, unit in calibrations[::-1]
        ]
        raw = array.astype(self.order + "u2").tobytes()
        data = [
            ("Calibrations", self.group([("Dimension", self.group([("", axis) for axis in axes]))])),
            ("Data", (21, self.data([20, 4, array.size], raw))),
            ("DataType", self.value(5, "I", 10)),
            ("Dimensions", self.group([("", self.value(5, "I", length)) for length in array.shape[::-1]])),
            ("PixelDepth", self.value(5, "I", 2)),
        ]
        return self.group([("ImageData", self.group(data)), ("ImageTags", tags)])


def write_emd(path: Path, cube: np.ndarray, *, step_angstrom: tuple[float, float] | None = None) -> None:
    """As py4DSTEM 0.14 saves a cube: EMD 1.0 with a vector of two numbers for each even axis."""
    with h5py.File(path, "w") as file:
        file.attrs.update({"emd_group_type": "file", "version_major": 1, "authoring_program": "py4DSTEM"})
        group = file.create_group("root/cube")
        file["root"].attrs["emd_group_type"] = "root"
        group.attrs.update({"emd_group_type": "array", "python_class": "DataCube"})
        group.create_dataset("data", data=cube.astype("u2"), chunks=(1, 1, *cube.shape[2:]))
        scales = (*(step_angstrom or (1.0, 1.0)), 0.02, 0.03)
        for axis, scale in enumerate(scales):
            dim = group.create_dataset(f"dim{axis}", data=[0.0, scale])
            dim.attrs["name"] = ("Rx", "Ry", "Qx", "Qy")[axis]
            dim.attrs["units"] = ("A" if axis < 2 else "A^-1") if step_angstrom else "pixels"
        file["root/metadatabundle/calibration/note"] = "made"


def write_prismatic(path: Path, cube: np.ndarray, *, step_angstrom: tuple[float, float] = (2.0, 3.0)) -> None:
    """x before y, in the scan as on the detector; two depths, of which the second lies behind the whole sample."""
    stored = cube.transpose(1, 0, 3, 2).astype("f4")
    with h5py.File(path, "w") as file:
        for depth in range(2):
            group = file.create_group(f"4DSTEM_simulation/data/datacubes/CBED_array_depth{depth:04d}")
            group.attrs["emd_group_type"] = 1
            group["datacube"] = stored * depth
            steps = (step_angstrom[1], step_angstrom[0], 0.03, 0.02)
            for axis, (length, step) in enumerate(zip(stored.shape, steps, strict=True), 1):
                group[f"dim{axis}"] = np.arange(length) * np.float32(step)
                group[f"dim{axis}"].attrs["units"] = "[Å]" if axis < 3 else "[Å^-1]"
        file.create_group("4DSTEM_simulation/metadata/metadata_0/original").attrs["E"] = 80.0


def write_mat5(path: Path, array: np.ndarray) -> None:
    with path.open("wb") as file:
        scipy.io.savemat(file, {"kv": 300.0, "cbed": array, "label": "made"}, do_compression=True)


def write_mat73(path: Path, array: np.ndarray) -> None:
    """HDF5 behind 512 bytes of text; MATLAB's axes in the opposite order."""
    with h5py.File(path, "w", userblock_size=512) as file:
        file.create_dataset("cbed", data=array.T)
        file["kv"] = [[300.0]]
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(116) + bytes(8) + b"\0\2IM")


def write_abtem_zarr(path: Path, cube: np.ndarray, *, step_angstrom: tuple[float, float] = (2.0, 3.0)) -> None:
    """As abTEM 1.0.11 writes diffraction patterns over a grid scan, into one zip file."""
    import zarr

    axes = [
        {"type": "ScanAxis", "label": "x", "units": "Å", "sampling": step_angstrom[1]},
        {"type": "ScanAxis", "label": "y", "units": "Å", "sampling": step_angstrom[0]},
        {"type": "ReciprocalSpaceAxis", "label": "kx", "units": "1/Å", "sampling": 0.03},
        {"type": "ReciprocalSpaceAxis", "label": "ky", "units": "1/Å", "sampling": 0.02},
    ]
    said = {"energy": 80e3, "type": "DiffractionPatterns", "axes": {f"axis_{n}": axis for n, axis in enumerate(axes)}}
    store = zarr.storage.ZipStore(path, mode="w")
    root = zarr.create_group(store, attributes={"metadata0": said})
    stored = cube.transpose(1, 0, 3, 2).astype("f4")
    root.create_array("array0", data=stored, chunks=(3, *stored.shape[1:]))
    store.close()


def write_abtem_hdf5(path: Path, cube: np.ndarray, *, step_angstrom: tuple[float, float] = (2.0, 3.0)) -> None:
    """As abTEM before 1.0 writes it."""
    with h5py.File(path, "w") as file:
        file["array"] = cube.transpose(1, 0, 3, 2).astype("f4")
        file["offset"], file["sampling"] = np.zeros(4), [step_angstrom[1], step_angstrom[0], 0.3, 0.2]
        for name, words in (("units", ("Å", "Å", "mrad", "mrad")), ("name", ("x", "y", "alpha_x", "alpha_y"))):
            file.create_dataset(name, data=np.array([word.encode() for word in words], "S10"))


def write_edf(path: Path, frames: np.ndarray) -> None:
    """Frames one after the other, each behind a block of text; the first block is longer than the others."""
    height, width = frames.shape[1:]
    with path.open("wb") as file:
        for number, frame in enumerate(frames):
            head = (
                f"{{\nHeaderID = EH:{number + 1:06d}:000000:000000 ;\nImage = {number + 1} ;\nByteOrder = LowByteFirst ;\n"
                f"DataType = UnsignedLong ;\nDim_1 = {width} ;\nDim_2 = {height} ;\nSize = {4 * width * height} ;\n"
            )
            file.write(head.ljust((1536 if number == 0 else 512) - 2).encode() + b"}\n" + frame.astype("<u4").tobytes())


def write_cbf(path: Path, frame: np.ndarray) -> None:
    """The differences of neighbouring pixels in a byte each, larger ones behind an escape (x-CBF_BYTE_OFFSET)."""
    packed = b""
    for step in np.diff(frame.astype(np.int64).ravel(), prepend=0).tolist():
        if abs(step) < 128:
            packed += struct.pack("<b", step)
        elif abs(step) < 2**15:
            packed += b"\x80" + struct.pack("<h", step)
        else:
            packed += b"\x80" + struct.pack("<h", -(2**15)) + struct.pack("<i", step)
    head = (
        "###CBF: VERSION 1.5, made\r\n\r\ndata_made\r\n\r\n_array_data.data\r\n;\r\n--CIF-BINARY-FORMAT-SECTION--\r\n"
        'Content-Type: application/octet-stream;\r\n     conversions="x-CBF_BYTE_OFFSET"\r\n'
        f"Content-Transfer-Encoding: BINARY\r\nX-Binary-Size: {len(packed)}\r\nX-Binary-ID: 1\r\n"
        'X-Binary-Element-Type: "signed 32-bit integer"\r\nX-Binary-Element-Byte-Order: LITTLE_ENDIAN\r\n'
        f"X-Binary-Number-of-Elements: {frame.size}\r\nX-Binary-Size-Fastest-Dimension: {frame.shape[1]}\r\n"
        f"X-Binary-Size-Second-Dimension: {frame.shape[0]}\r\nX-Binary-Size-Padding: 1\r\n\r\n"
    )
    tail = b"\0\r\n--CIF-BINARY-FORMAT-SECTION----\r\n;\r\n"
    path.write_bytes(head.encode() + b"\x0c\x1a\x04\xd5" + packed + tail)
