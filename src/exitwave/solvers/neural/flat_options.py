"""Options of a network beside those of its solver in one flat table: as 0.1.0 wrote them, and as command lines spell them."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Literal, cast, get_type_hints

from exitwave.solvers.base import Solver
from exitwave.solvers.neural.reconstruction_network import NetworkArchitecture, architectures, option_names
from exitwave.solvers.spec import from_spec

BEFORE: Mapping[str, Any] = {"grouping": "neighbours"}
"""How networks were trained before there was an option for it: those of 0.1.0 have no word for it."""
WARM_START_EPOCHS = "warm_start_epochs"
"""In place of a warm start: epochs of newton, 0 for none."""
WORDS = (
    "unet: steps of the physics, each corrected by a small U-Net. encoder: the published network, which has to learn \
diffraction first and takes many times as many steps."
)
EPOCHS = (
    "Epochs of newton with which the unet network begins: what they make of the whole scan is what the network corrects. 0 \
starts from the merged back-projection of each group by itself, as single shots always do."
)


def understood(options: Mapping[str, Any], default: NetworkArchitecture) -> dict[str, Any]:
    """Options with those of the network inside `network`, and the warm start as a solver.

    `default` is the network where none is named. Options of other networks than the one named are left out.
    """
    found = dict(options)
    epochs = found.pop(WARM_START_EPOCHS, None)
    if epochs is not None:
        found["warm_start"] = newton(epochs) if epochs else None
    given = found.get("network", default)
    if isinstance(given, NetworkArchitecture) and not set(found) & _flat():
        return found
    chosen = _table(given)
    known = architectures().get(str(chosen.get("name")))
    if known is None:
        return found
    flat = {key: found.pop(key) for key in list(found) if key in _flat()}
    own = {key: value for key, value in flat.items() if key in option_names(known) and value is not None}
    start = _table(default) if known is type(default) else {}
    found["network"] = {**start, **chosen, **own}
    return found


def flat_fields(network: NetworkArchitecture, warm_start: Solver[Any] | None) -> dict[str, tuple[Any, Any, str]]:
    """Type, default and description of the options that stand in a flat table for a network and a warm start."""
    known = architectures()
    # Subscribed with a tuple: one word for each.
    words = Literal[tuple(sorted(known))]  # pyright: ignore[reportInvalidTypeForm]
    told: dict[str, tuple[Any, Any, str]] = {"network": (words, network.name, WORDS)}
    # The network's own last, so that an option of several is described as it is here.
    for cls in (*(cls for cls in known.values() if cls is not type(network)), type(network)):
        hints = cast(Any, get_type_hints(cls, include_extras=True))
        for option, info in cast(Any, cls).__pydantic_fields__.items():
            value, hint = getattr(network, option) if cls is type(network) else None, hints[option]
            told[option] = (hint | None, value, f"Of {cls.name}: {info.description or ''}")
    epochs = 0 if warm_start is None else getattr(warm_start, "epochs", None)
    if epochs and warm_start != from_spec(newton(epochs)):
        epochs = None
    told[WARM_START_EPOCHS] = (int | None, epochs, EPOCHS)
    return told


def newton(epochs: int) -> dict[str, Any]:
    """The spec of the usual warm start."""
    return {"name": "newton", "epochs": epochs, "update_probe": False}


def _table(network: Any) -> dict[str, Any]:
    if isinstance(network, NetworkArchitecture):
        return {"name": network.name, **asdict(cast(Any, network))}
    return dict(cast("Mapping[str, Any]", network)) if isinstance(network, Mapping) else {"name": network}


def _flat() -> set[str]:
    """The options of all networks."""
    return {option for cls in architectures().values() for option in option_names(cls)}
