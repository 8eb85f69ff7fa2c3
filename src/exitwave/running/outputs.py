"""Where results of scans are written, and what is refused before the work rather than after it."""

from collections.abc import Sequence
from pathlib import Path

from exitwave.data.errors import FormatError, InputError
from exitwave.io.atomic import require_writable

FOREIGN_ENDINGS = (".png", ".tif", ".tiff", ".npz", ".npy", ".html", ".jpg", ".yaml", ".yml")
"""A result is HDF5; under these names nobody would look for one."""


def result_paths(scans: Sequence[Path], output: Path) -> tuple[Path, ...]:
    """The output itself for one scan; for several the files in that folder, named after the scans.

    Scans of one name in several folders are told apart by their folders.
    """
    if len(scans) == 1:
        return (output,)
    stems = [path.stem for path in scans]
    if len(set(stems)) < len(stems):
        stems = [f"{path.absolute().parent.name}_{path.stem}" for path in scans]
    return tuple(output / f"{stem}.h5" for stem in stems)


def require_outputs(scans: Sequence[Path], output: Path) -> None:
    """Refuse now what would be refused after hours of work; make the folder for the results of several scans."""
    if len(scans) > 1:
        _require_several(scans, output)
        _make(output)
    elif output.suffix.lower() in FOREIGN_ENDINGS:
        raise InputError(
            f"{output} should end in .h5: a result is an HDF5 file, from which exitwave export makes pictures and others"
        )
    for path in result_paths(scans, output):
        for scan in scans:
            if path.exists() and scan.exists() and path.samefile(scan):
                raise InputError(f"the output {path} is the scan itself; choose another output path")
        require_writable(path)


def _require_several(scans: Sequence[Path], folder: Path) -> None:
    if missing := next((path for path in scans if not path.exists()), None):
        raise FormatError(f"{missing} does not exist; check the path")
    true = [path.resolve() for path in scans]
    if twice := next((path for path in scans if true.count(path.resolve()) > 1), None):
        raise InputError(f"{twice} is given twice; give each scan once")
    paths = result_paths(scans, folder)
    if len(set(paths)) < len(paths):
        raise InputError(
            f"{', '.join(map(str, scans))} would give results of one name; rename the scans or their folders"
        )
    if folder.suffix or (folder.exists() and not folder.is_dir()):
        raise InputError(
            f"{folder} is one file, but {len(scans)} scans that share their probe give a result each; give a folder, such as "
            f"-o {folder.with_suffix('')}/"
        )


def _make(folder: Path) -> None:
    try:
        folder.mkdir(exist_ok=True)
    except FileNotFoundError as error:
        raise InputError(
            f"the folder {folder.parent} does not exist; create it or choose another output path"
        ) from error
    except OSError as error:
        raise InputError(
            f"the folder {folder} cannot be made ({error.strerror}); choose another output path"
        ) from error
