"""Options of a network beside those of its solver in one flat table: as 0.1.0 wrote them, and as command lines spell them."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, cast

from exitwave.solvers.neural.reconstruction_network import NetworkArchitecture, architectures, option_names

BEFORE: Mapping[str, Any] = {"grouping": "neighbours"}
"""How networks were trained before there was an option for it: those of 0.1.0 have no word for it."""
WARM_START_EPOCHS = "warm_start_epochs"
"""In place of a warm start: epochs of newton, 0 for none."""


def understood(options: Mapping[str, Any], default: NetworkArchitecture) -> dict[str, Any]:
    """Options with those of the network inside `network`, and the warm start as a solver.

    `default` is the network where none is named. Options of other networks than the one named are left out.
    """
    found = dict(options)
    epochs = found.pop(WARM_START_EPOCHS, None)
    if epochs is not None:
        found["warm_start"] = {"name": "newton", "epochs": epochs, "update_probe": False} if epochs else None
    given = found.get("network", default)
    if isinstance(given, NetworkArchitecture) and not set(found) & _flat():
        return found
    chosen = _table(given)
    known = architectures().get(str(chosen.get("name")))
    if known is None:
        return found
    flat = {key: found.pop(key) for key in list(found) if key in _flat()}
    own = set(option_names(known))
    start = _table(default) if known is type(default) else {}
    found["network"] = {**start, **chosen, **{key: value for key, value in flat.items() if key in own}}
    return found


def _table(network: Any) -> dict[str, Any]:
    if isinstance(network, NetworkArchitecture):
        return {"name": network.name, **asdict(cast(Any, network))}
    return dict(cast("Mapping[str, Any]", network)) if isinstance(network, Mapping) else {"name": network}


def _flat() -> set[str]:
    """The options of all networks."""
    return {option for cls in architectures().values() for option in option_names(cls)}
