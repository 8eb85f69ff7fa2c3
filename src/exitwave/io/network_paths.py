"""Trained networks by name: a file, the folder of a training, or one that came with the package.

A bare word that names one of the package always means that, whatever lies in the working directory: the same command gives
the same image in any folder. A word with a separator, such as ./general, is always a path.
"""

import warnings
from importlib import resources
from pathlib import Path

from exitwave.data.errors import AmbiguousNameWarning
from exitwave.io.weights import ENDING, IN_FOLDER, is_weights


def shipped_networks() -> dict[str, Path]:
    """The trained networks that came with the package, by name."""
    folder = Path(str(resources.files("exitwave.io") / "networks"))
    return {path.stem: path for path in sorted(folder.glob(f"*{ENDING}"))}


def network_path(name: str | Path) -> Path:
    """Where a trained network lies, if it is there. A Path is a path, where words may be names.

    Warns (AmbiguousNameWarning) where a word names both a network that came with the package and something in the working directory.
    """
    if isinstance(name, Path) or not names_shipped(name):
        return Path(name)
    return shipped_networks()[name]


def names_shipped(name: str, folder: Path = Path()) -> bool:
    """True where a word means a network that came with the package; warns where `folder` has something of this name, too."""
    # Compared as words: a Path knows no "./".
    if name not in shipped_networks():
        return False
    if (folder / name).exists():
        warnings.warn(
            f"{name} means the network that came with the package, not {folder / name}; write ./{name} to mean that",
            AmbiguousNameWarning,
            # Here, whoever asks: Python then says it once.
            stacklevel=1,
        )
    return True


def as_word(path: Path) -> str:
    """A path as it must be written to be understood as one."""
    return f"./{path}" if str(path) in shipped_networks() else str(path)


def network_name(name: str) -> str:
    """The same network as named from any folder: the whole path, or the name of one that came with the package."""
    path = Path(name)
    return name if network_path(name) != path else str(path.absolute())


def names_network(name: str | Path) -> bool:
    """True for the file of a trained network, the folder of its training, or the name of one that came with the package."""
    return is_weights(network_path(name))


def short_name(name: str) -> str:
    """What a network is called in tables: a path may be long."""
    path = Path(name)
    return path.parent.name if path.name == IN_FOLDER and path.parent.name else path.stem
