"""Devices, precision and several GPUs: Lightning Fabric, set up for a training."""

import atexit
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from exitwave.data.errors import InputError

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def fabric_for(
    device: str | torch.device, precision: Literal["auto", "32", "bf16"] = "auto", devices: int = 1
) -> "Fabric":
    """What runs a training on `device` ("cpu", "cuda", "cuda:1"), or on several at once: one process for each.

    The other processes run the same program from its beginning. Raises InputError where the extra `train` is not
    installed, or where there are fewer devices.
    """
    fabric, autocast, strategies = _load()
    device = torch.device(device)
    if devices < 1 or (devices > 1 and device.index is not None):
        raise InputError(f"devices is {devices} on {device}; expected 1, or more on a device without a number")
    if device.type == "cuda" and torch.cuda.device_count() < devices:
        raise InputError(f"there are {torch.cuda.device_count()} GPUs here; devices is {devices}: lower it")
    half = halves_bits(device) if precision == "auto" else precision == "bf16"
    made = fabric(
        accelerator=device.type,
        devices=devices if device.index is None or device.type == "cpu" else [device.index],
        # The buffers of networks are constants, the same everywhere: nothing to send.
        strategy=strategies.DDPStrategy(broadcast_buffers=False) if devices > 1 else "auto",
        precision=None if half else "32-true",
        plugins=autocast("bf16-mixed", device.type) if half else None,
    )
    made.launch()
    if made.world_size > 1:
        # Fabric ends groups of GPUs only; others, left open at the end of a program, may abort it.
        atexit.register(_leave)
    return made


def _leave() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def halves_bits(device: torch.device) -> bool:
    """Whether networks are faster in bfloat16 on this device: GPUs and processors with units for it."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and _has_amx()


def _has_amx() -> bool:
    # The processor's own word where this torch has no such question.
    asked = getattr(torch.cpu, "_is_amx_tile_supported", None)
    if asked is not None:
        return bool(asked())
    with suppress(OSError):
        return "amx_bf16" in Path("/proc/cpuinfo").read_text()
    return False


def _load() -> tuple[Any, Any, Any]:
    """Fabric, mixed precision and strategies: imported only when a network is trained, for it takes a second."""
    try:
        from lightning_fabric import Fabric, strategies
        from lightning_fabric.plugins import MixedPrecision
    except ImportError as error:
        raise InputError(
            f"training networks needs what is not installed ({error.name or error}): pip install 'exitwave[train]'"
        ) from error

    class Autocast(MixedPrecision):
        """Mixed precision that leaves the inputs as they are: photons and normalisers need more than 8 bits."""

        def convert_input(self, data: Any) -> Any:
            return data

    return Fabric, Autocast, strategies
