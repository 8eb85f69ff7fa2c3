"""One image in a file of its own, such as a support: a numpy array, a TIFF page, an EDF file or a dataset of an HDF5 file."""

from pathlib import Path

import h5py
import numpy as np
import torch
from jaxtyping import Shaped

from exitwave.data.errors import FormatError
from exitwave.io.hdf5 import reading as hdf5
from exitwave.io.hdf5.tree import entries
from exitwave.io.lfs import require_fetched
from exitwave.io.readers.tiff import TiffPatterns

FABIO_ENDINGS = (".edf", ".cbf", ".msk", ".img")
HDF5_ENDINGS = (".h5", ".hdf5", ".cxi", ".nxs", ".mat")


def read_image(name: str | Path) -> Shaped[np.ndarray, "*axes"]:
    """Real numbers from `file.npy`, `file.tif`, `file.edf` or `file.h5:/path/of/dataset`, as many axes as they have there.

    The path may be left out where the HDF5 file holds but one image.

    Raises FormatError where the file is missing or damaged, and where it is unclear which of its arrays is meant.
    """
    path, inside = _parted(str(name))
    if not path.is_file():
        raise FormatError(f"{path} does not exist; check the path")
    require_fetched(path)
    if hdf5.is_hdf5(path):
        image = _from_hdf5(path, inside)
    elif path.suffix.lower() in (".tif", ".tiff"):
        pages = TiffPatterns((path,))
        image = np.squeeze(pages.read(torch.arange(pages.shape[0])).numpy(), axis=0 if pages.shape[0] == 1 else ())
    elif path.suffix.lower() in FABIO_ENDINGS:
        image = _from_fabio(path)
    else:
        image = _from_numpy(path)
    if image.dtype.kind not in "biuf" or not image.size:
        raise FormatError(f"{name} holds {image.size} values of {image.dtype}; expected an image of real numbers")
    return image


def _parted(name: str) -> tuple[Path, str]:
    """File and dataset of `file.h5:/path`; a colon elsewhere belongs to the name of the file."""
    file, colon, inside = name.rpartition(":")
    return (Path(file), inside) if colon and inside.startswith("/") and not Path(name).exists() else (Path(name), "")


def _from_hdf5(path: Path, inside: str) -> np.ndarray:
    with hdf5.open_hdf5(path) as file:
        found = hdf5.array(file, inside or _only_image(file, path))
    if found is None:
        raise FormatError(f"{path} holds no dataset {inside}; check its path")
    return found


def _only_image(file: h5py.File, path: Path) -> str:
    """The place of the only image in a file; FormatError where there are several or none."""
    images = [e.place for e in entries(file) if e.kind in "biuf" and len(e.shape) - e.shape.count(1) == 2]
    if len(images) == 1:
        return images[0]
    raise FormatError(
        f"{path} is an HDF5 file of {len(images)} images{': ' if images else ''}{', '.join(images[:6])}; say which dataset is "
        f"meant, as in {path}:/{images[0] if images else 'entry/mask'}"
    )


def _from_numpy(path: Path) -> np.ndarray:
    try:
        found = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise FormatError(
            f"{path} is no image that can be read ({error}); expected .npy, .tif, .edf or .h5:/path"
        ) from error
    if not isinstance(found, np.ndarray):
        names = ", ".join(found.files)
        raise FormatError(f"{path} is an archive of {names}; save the one array as .npy")
    return found


def _from_fabio(path: Path) -> np.ndarray:
    try:
        # Only files of detectors need it.
        import fabio  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise FormatError(
            f"{path} is read by the package fabio, which is not installed: pip install 'exitwave[formats]'"
        ) from error
    try:
        with fabio.open(str(path)) as file:
            return np.asarray(file.data)
    # fabio raises errors of many kinds for damaged files.
    except Exception as error:
        raise FormatError(f"{path} is no image that fabio can read ({error}); save it as .npy or .tif") from error
