"""Training examples of AutoPhaseNN (APS): one crystal to an archive, arr_0 its diffraction magnitude, arr_1 the crystal.

Magnitudes are square roots of counts, with the peak in the middle. Nothing of the geometry is in them.
"""

from pathlib import Path

from exitwave.data.errors import FormatError
from exitwave.io import npz_arrays
from exitwave.io.assemble import Contents, Format, ReadOptions, RockingContents


def recognises(path: Path) -> bool:
    """True for an archive of a real and a complex array of one shape, on three axes."""
    if npz_arrays.members(path) != {"arr_0", "arr_1"}:
        return False
    try:
        (shape, real), (other, kind) = (npz_arrays.header(path, name) for name in ("arr_0", "arr_1"))
    except FormatError:
        return False
    return len(shape) == 3 and shape == other and real.kind in "iuf" and kind.kind == "c"


def read(path: Path, stated: ReadOptions) -> Contents:
    """Diffraction magnitudes as a rocking curve, whose geometry must be stated."""
    return Contents(
        patterns=npz_arrays.frames(path, "arr_0"),
        values="amplitude",
        rocking=RockingContents(angles={}),
        notes={"dataset": "arr_0"},
    )


FORMAT = Format(name="autophasenn-npz", title="AutoPhaseNN npz archive", recognises=recognises, read=read)
