"""Trained networks by name: a file, the folder of a training, or one that came with the package."""

from importlib import resources
from pathlib import Path

from exitwave.io.weights import ENDING, IN_FOLDER, is_weights


def shipped_networks() -> dict[str, Path]:
    """The trained networks that came with the package, by name."""
    folder = Path(str(resources.files("exitwave.io") / "networks"))
    return {path.stem: path for path in sorted(folder.glob(f"*{ENDING}"))}


def network_path(name: str) -> Path:
    """Where a trained network lies, if it is there. A path wins over the name of a network that came with the package."""
    path = Path(name)
    return path if path.exists() or path.name != name else shipped_networks().get(name, path)


def network_name(name: str) -> str:
    """The same network as named from any folder: the whole path, or the name of one that came with the package."""
    path = Path(name)
    return name if network_path(name) != path else str(path.absolute())


def names_network(name: str) -> bool:
    """True for the file of a trained network, the folder of its training, or the name of one that came with the package."""
    return is_weights(network_path(name))


def short_name(name: str) -> str:
    """What a network is called in tables: a path may be long."""
    path = Path(name)
    return path.parent.name if path.name == IN_FOLDER and path.parent.name else path.stem
