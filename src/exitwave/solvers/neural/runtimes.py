"""Runtimes in which a trained network predicts: torch, ONNX Runtime or OpenVINO."""

import copy
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from exitwave.data.errors import InputError
from exitwave.io.network_paths import network_path
from exitwave.io.weights import find_weights
from exitwave.solvers.neural.onnx import DIGEST, as_onnx, digest, missing
from exitwave.solvers.neural.reconstruction_network import Engine, ReconstructionNetwork

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Runtime = Literal["torch", "onnx", "openvino"]
Precision = Literal["32", "bf16"]
M = TypeVar("M")
ENDINGS = {"onnx": ".onnx", "openvino": ".xml"}


def engine_for(
    runtime: str, network: ReconstructionNetwork, weights: str | None, precision: Precision = "32"
) -> Engine:
    """What computes the parts of a network that only predicts.

    Files that `exitwave export` wrote beside the weights are used where they are of exactly these weights; else the
    network is converted in memory, a second or so for each part. Several threads may call an engine at the same time, and
    each call takes one processor: `predicted` gives every thread a batch of its own.
    Raises InputError where the extra `export` is missing or the runtime knows no such numbers.
    """
    if runtime == "torch":
        return _Torch(list(network.parts), precision)
    if runtime == "onnx":
        if precision != "32":
            raise InputError(f"runtime onnx computes in 32 bits, not {precision}; take torch or openvino")
        return _Onnx(network, weights)
    if runtime == "openvino":
        return _OpenVino(network, weights, precision)
    raise InputError(f"there is no runtime {runtime!r}; there are torch, onnx and openvino")


def exported_file(weights: str | Path, number: int, runtime: str) -> Path:
    """Where the exported part of a network lies by default: beside its weights."""
    found = find_weights(network_path(weights))
    return found.with_name(f"{found.stem}-{number}{ENDINGS[runtime]}")


def _loaded(
    network: ReconstructionNetwork,
    weights: str | None,
    runtime: str,
    load: Callable[[Path | bytes], tuple[M, str | None]],
) -> list[M]:
    """The parts as models of a runtime: from files where all are there and of these weights, else converted in memory."""
    parts = list(network.parts)
    if weights is not None:
        # Files that cannot be read, whatever their fault, are as good as none.
        with suppress(Exception):
            found = [load(exported_file(weights, number, runtime)) for number in range(len(parts))]
            if all(given == digest(part) for part, (_, given) in zip(parts, found, strict=True)):
                return [model for model, _ in found]
    return [load(model)[0] for model in as_onnx(network, {})]


class _Torch:
    """torch, with the weights laid out for prediction: the channels of a pixel side by side, which is a tenth faster.

    16 bits (bfloat16) take half the memory, and half the time or less on GPUs and on processors that know such numbers.
    A copy: weights that go on learning stay as they are.
    """

    def __init__(self, parts: Sequence[nn.Module], precision: Precision) -> None:
        self._dtype = {"32": torch.float32, "bf16": torch.bfloat16}[precision]
        self._parts = [copy.deepcopy(part).eval().to(self._dtype) for part in parts]
        for part in self._parts:
            part.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def __call__(self, number: int, inputs: Tensor) -> Tensor:
        return self._parts[number](inputs.to(self._dtype)).float()


class _Onnx:
    """ONNX Runtime: on the GPU where its build has that, else on the processor."""

    def __init__(self, network: ReconstructionNetwork, weights: str | None) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise missing(error) from error
        self._options = onnxruntime.SessionOptions()
        self._options.intra_op_num_threads = self._options.inter_op_num_threads = 1
        self._options.log_severity_level = 3
        there = onnxruntime.get_available_providers()
        self._providers = [p for p in ("CUDAExecutionProvider", "CPUExecutionProvider") if p in there]
        self._make = onnxruntime.InferenceSession
        self._sessions = _loaded(network, weights, "onnx", self._session)

    def _session(self, model: "Path | bytes") -> "tuple[InferenceSession, str | None]":
        """A model that is ready to run, and the digest that it gives."""
        source = model if isinstance(model, bytes) else str(model)
        session = self._make(source, self._options, providers=self._providers)
        return session, session.get_modelmeta().custom_metadata_map.get(DIGEST)

    def __call__(self, number: int, inputs: Tensor) -> Tensor:
        (found,) = self._sessions[number].run(None, {"input": inputs.numpy(force=True)})
        return torch.from_numpy(found).to(inputs.device)


class _OpenVino:
    """OpenVINO, on the processor."""

    def __init__(self, network: ReconstructionNetwork, weights: str | None, precision: Precision) -> None:
        try:
            import openvino
        except ImportError as error:
            raise missing(error) from error
        self._core = openvino.Core()
        # As many streams as threads, each of one processor, which no stream claims for itself.
        threads = str(torch.get_num_threads())
        self._hints = {
            "INFERENCE_PRECISION_HINT": {"32": "f32", "bf16": "bf16"}[precision],
            "NUM_STREAMS": threads,
            "INFERENCE_NUM_THREADS": threads,
            "ENABLE_CPU_PINNING": False,
        }
        self._models = _loaded(network, weights, "openvino", self._model)
        self._own = threading.local()

    def _model(self, model: Path | bytes) -> tuple[Any, str | None]:
        """A model that is ready to run, and the digest that it gives."""
        read = self._core.read_model(model)
        place = ["exitwave", DIGEST]
        given = read.get_rt_info(place).astype(str) if read.has_rt_info(place) else None
        return self._core.compile_model(read, "CPU", self._hints), given

    def __call__(self, number: int, inputs: Tensor) -> Tensor:
        # A request is for one thread at a time.
        if not hasattr(self._own, "requests"):
            self._own.requests = [model.create_infer_request() for model in self._models]
        found = self._own.requests[number].infer([inputs.numpy(force=True)])
        return torch.from_numpy(found[0]).to(inputs.device)
