"""The state of a training as tensors by name, so that no file ever needs a pickle."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from exitwave.data.errors import InputError

OF_ADAM = ("step", "exp_avg", "exp_avg_sq")
OF_COURSE = ("course.numbers", "course.loss", "course.history")


def stored(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies on the CPU, which nobody changes later."""
    return {name: value.detach().to("cpu", copy=True) for name, value in tensors.items()}


def restore(
    memory: Mapping[str, Tensor], network: nn.Module, average: nn.Module | None, optimizer: torch.optim.Optimizer
) -> None:
    """Put network, its average and Adam's moments back, bit for bit. Raises InputError when they belong to another network."""
    if not set(OF_COURSE) <= set(memory):
        raise InputError("this is not the memory of a training; start anew")
    for part, module in (("network", network), ("average", average)):
        if module is not None:
            load(module, {n.removeprefix(f"{part}."): v for n, v in memory.items() if n.startswith(f"{part}.")})
    for name, parameter in network.named_parameters():
        found = {key: memory[f"adam.{name}.{key}"] for key in OF_ADAM if f"adam.{name}.{key}" in memory}
        if found:
            optimizer.state[parameter] = {key: value.to(parameter.device, copy=True) for key, value in found.items()}


def load(network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Give a network its weights. Raises InputError naming what is missing, superfluous or of another shape."""
    own = network.state_dict()
    missing, extra = sorted(set(own) - set(tensors)), sorted(set(tensors) - set(own))
    other = [name for name in own if name in tensors and own[name].shape != tensors[name].shape]
    if missing or extra or other:
        told = (("lack", missing), ("hold also", extra), ("have another shape in", other))
        faults = ", ".join(f"{verb} {names[0]}{_more(names)}" for verb, names in told if names)
        raise InputError(
            f"these weights belong to another network: they {faults}; train again, or take the same options"
        )
    network.load_state_dict(dict(tensors))


def _more(names: list[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""
