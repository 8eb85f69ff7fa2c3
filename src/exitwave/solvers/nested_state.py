"""What solvers made of others keep in a step beside what the solver inside keeps, in one flat mapping of tensors."""

from collections.abc import Mapping
from types import MappingProxyType

from torch import Tensor

State = Mapping[str, Tensor]


def nested(name: str, own: State, inner: State) -> dict[str, Tensor]:
    """Both in one mapping, under names that say whose they are: `name.key` and `name:key`."""
    return {f"{name}.{key}": value for key, value in own.items()} | {
        f"{name}:{key}": value for key, value in inner.items()
    }


def unnested(
    name: str, state: State, formerly: Mapping[str, str] = MappingProxyType({})
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What the solver called `name` keeps of its own, and what the solver inside it keeps.

    Version 0.1.0 did not mark whose a key is. Such keys belong to the solver inside, unless `formerly` has them: it maps own
    keys of that version, or what they begin with up to a dot, to those of today.
    """
    own, inner = dict[str, Tensor](), dict[str, Tensor]()
    for key, value in state.items():
        before = next((old for old in formerly if key == old or (old.endswith(".") and key.startswith(old))), None)
        if key.startswith(f"{name}:"):
            inner[key.removeprefix(f"{name}:")] = value
        elif before is not None:
            own[formerly[before] + key.removeprefix(before)] = value
        elif key.startswith(f"{name}."):
            own[key.removeprefix(f"{name}.")] = value
        else:
            inner[key] = value
    return own, inner
