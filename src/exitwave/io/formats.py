"""Every file format exitwave knows, and which of them a file is."""

from pathlib import Path

from exitwave.data.errors import FormatError, InputError, did_you_mean
from exitwave.data.measurement import Measurement
from exitwave.io import results
from exitwave.io.assemble import Format, ReadOptions, assemble
from exitwave.io.lfs import require_fetched
from exitwave.io.mask_file import with_stated_mask
from exitwave.io.readers import (
    abtem,
    autophasenn,
    blockfile,
    cdiutils,
    cdtools,
    cohere,
    cxi,
    dectris,
    digital_micrograph,
    emd,
    empad,
    fabio_frames,
    matlab,
    merlin,
    nexus,
    npz,
    numpy_cube,
    ptychi_result,
    ptychodus,
    ptychodus_patterns,
    ptyd,
    ptyr,
    ptyrad,
    tiff,
    tike,
)
from exitwave.io.recipes import recipe
from exitwave.io.rocking import assemble_rocking, is_rocking_curve
from exitwave.io.unknown_file import unknown_file
from exitwave.io.weights import is_weights

FORMATS: dict[str, Format] = {
    f.name: f
    for f in (
        results.FORMAT,
        ptyr.FORMAT,
        ptyrad.FORMAT,
        cdtools.FORMAT,
        nexus.FORMAT,
        cdiutils.FORMAT,
        cxi.FORMAT,
        dectris.FORMAT,
        ptychodus_patterns.TRAINING,
        ptychodus_patterns.FORMAT,
        recipe.FORMAT,
        ptychodus_patterns.PAIR,
        ptychodus.FORMAT,
        ptychi_result.FORMAT,
        ptyd.FORMAT,
        npz.FORMAT,
        npz.SLAC,
        autophasenn.FORMAT,
        tike.FORMAT,
        abtem.FORMAT,
        matlab.FORMAT,
        emd.FORMAT,
        merlin.FORMAT,
        blockfile.FORMAT,
        digital_micrograph.FORMAT,
        numpy_cube.FORMAT,
        cohere.FORMAT,
        tiff.FORMAT,
        fabio_frames.FORMAT,
        empad.FORMAT,
    )
}
"""By name, in the order in which a file is tried: the most specific first."""


def detect(path: Path) -> Format:
    """Tell a file's format from its content. Raises FormatError for a missing, truncated or unknown file."""
    if not path.exists():
        raise FormatError(f"{path} does not exist; check the path")
    require_fetched(path)
    for candidate in FORMATS.values():
        if candidate.recognises(path):
            return candidate
    if is_weights(path):
        raise FormatError(f"{path} is a trained network, not a measurement; give it in place of a solver's name")
    raise unknown_file(path, [f.title for f in FORMATS.values()])


def named(name: str) -> Format:
    """The format called `name`. Raises FormatError naming those there are."""
    if name not in FORMATS:
        raise FormatError(f"there is no format {name!r}{did_you_mean(name, FORMATS)}; there are {', '.join(FORMATS)}")
    return FORMATS[name]


def read_scan(path: Path, stated: ReadOptions) -> Measurement:
    """Read a measurement in any known format; what is stated wins over what the file says."""
    if not path.exists():
        raise FormatError(f"{path} does not exist; check the path")
    require_fetched(path)
    chosen = named(stated.format) if stated.format else named("recipe") if stated.recipe else detect(path)
    if chosen.read is None:
        raise FormatError(
            f"{path} ({chosen.title}) holds no diffraction patterns; give the scan it was made from, and this file with --start or "
            "--probe to begin with it"
        )
    if stated.entry is not None and chosen.name != "recipe":
        raise InputError(f"{path} ({chosen.title}) does not keep several scans; leave out entry")
    try:
        found = chosen.read(path, stated)
    except IsADirectoryError as error:
        raise FormatError(f"{path} is a folder; expected one file as {chosen.title}") from error
    contents = with_stated_mask(found, stated)
    make = assemble_rocking if is_rocking_curve(contents, stated) else assemble
    return make(contents, stated, path, chosen.name)


ENDINGS = {".cxi": "cxi", ".nxs": "nexus", ".ptyd": "ptyd", ".npz": "npz"}
"""Format in which a scan is written when only a file name is given."""


def writable() -> list[str]:
    """Names of the formats a scan can be written in."""
    return [name for name, chosen in FORMATS.items() if chosen.write is not None]


def for_ending(path: Path) -> Format:
    """The format to write a scan in by the ending of its name. Raises FormatError naming the endings there are."""
    if path.suffix not in ENDINGS:
        raise FormatError(
            f"{path.name} does not say a format; end it in {', '.join(ENDINGS)} or name one of {', '.join(writable())}"
        )
    return named(ENDINGS[path.suffix])
