"""Where a trained network is computed when it predicts: torch, ONNX Runtime or OpenVINO."""

from exitwave.data.errors import InputError
from exitwave.neural.imaging import Engine, Imager


def engine_for(runtime: str, network: Imager, weights: str | None) -> Engine | None:
    """What computes the parts of a network; None for torch itself."""
    if runtime == "torch":
        return None
    raise InputError(f"runtime {runtime} is not available")
