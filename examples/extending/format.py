"""You will see a file format of your own, a table of text, read, recognised and written like the built-in ones.

    python format.py [frames]

The format: a line `# light 1.0`; a line of wavelength, distance and pixel in metres; for each frame a line with its
position (y, x) in micrometres, and its counts, row after row.
"""

import sys
from pathlib import Path

import numpy as np
import torch

import exitwave as ew
from exitwave.data.patterns import ArrayPatterns
from exitwave.io.assemble import Contents, Format
from exitwave.io.formats import FORMATS, detect

MAGIC = "# light 1.0"


def recognises(path: Path) -> bool:
    """Looks at the content, never at the name; false, not an error, for whatever else the file may be."""
    return path.is_file() and path.open("rb").read(len(MAGIC)) == MAGIC.encode()


def read(path: Path, stated: ew.ReadOptions) -> Contents:
    """What stands in the file, in its own units; `assemble` makes metres of them. Frames are square."""
    try:
        geometry, *rows = [np.array(line.split(), dtype=float) for line in path.read_text("utf-8").splitlines()[1:]]
        wavelength, distance, pixel = geometry
        table = np.stack(rows)
        side = round((table.shape[1] - 2) ** 0.5)
        frames = torch.from_numpy(table[:, 2:].reshape(-1, side, side).astype(np.float32))
    except (ValueError, OSError) as error:
        raise ew.FormatError(f"{path} is not a whole table of light ({error}); copy it again") from error
    return Contents(patterns=ArrayPatterns(frames), positions=table[:, :2], position_unit="um", wavelength_m=wavelength,
                    distance_m=distance, detector_pixel_m=(pixel, pixel))  # fmt: skip


def write(path: Path, scan: ew.Scan) -> None:
    """The inverse of `read`."""
    geometry = (scan.geometry.wavelength_m, scan.geometry.distance_m, scan.geometry.detector_pixel_m[0])
    table = torch.cat([scan.positions_m * 1e6, scan.frames(slice(None)).flatten(1)], dim=1).tolist()
    lines = [" ".join(map(repr, row)) for row in (geometry, *table)]
    path.write_text("\n".join([MAGIC, *lines, ""]), "utf-8")


# In the package: FORMAT in a file of its own in src/exitwave/io/readers/, and one line in FORMATS.
FORMATS["light"] = Format(name="light", title="table of light", recognises=recognises, read=read, write=write)

scan = ew.simulate("siemens", frames=int(sys.argv[1]) if len(sys.argv) > 1 else 121, frame_px=32, overlap=0.7).scan
ew.write(scan, "scan.txt", format="light")
print(f"scan.txt is a {detect(Path('scan.txt')).title}")
print(f"residual {ew.reconstruct(ew.read('scan.txt'), ew.RPIE(epochs=30)).residual:.4f}")
