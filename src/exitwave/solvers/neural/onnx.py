"""Parts of a network as ONNX, the format that other programs compute networks from."""

import copy
import hashlib
import io
import logging
import warnings
from collections.abc import Generator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

import torch
from torch import nn

from exitwave.data.errors import InputError
from exitwave.solvers.neural.reconstruction_network import NetworkArchitecture, ReconstructionNetwork

DIGEST = "weights_digest"
"""Under this name an exported file says from which weights it was made."""


def as_onnx(network: ReconstructionNetwork, told: Mapping[str, str]) -> list[bytes]:
    """An ONNX model of each part of a network: any number of images, of any size where the part sees any.

    `told` is written into each, with the digest of its weights. Raises InputError where the extra `export` is missing.
    """
    made: dict[str, Any] = {}
    kind, parts = network.architecture, list(network.parts)
    models: list[bytes] = []
    with quiet():
        for number, part in enumerate(parts):
            # Tracing takes a second or two, filling in the weights of a part of the same build nothing.
            if (build := repr(part)) not in made:
                made[build] = _traced(part, kind)
            program = made[build]
            _fill(program, part)
            place, expected = f"{number} of {len(parts)}", kind.input_description(part)
            program.model.metadata_props.update({**told, "part": place, "input": expected, DIGEST: digest(part)})
            models.append(program.model_proto.SerializeToString())
    return models


def _traced(part: nn.Module, kind: NetworkArchitecture) -> Any:
    """The exporter's program of a part, with weights to be filled in."""
    inputs, sizes = kind.example_input(part)
    # Other weights, all different: the exporter would make one of those that are equal, such as biases of zero.
    blank = copy.deepcopy(part).cpu().eval()
    generator = torch.Generator().manual_seed(0)
    for values in blank.state_dict().values():
        values.copy_(torch.rand(values.shape, generator=generator) + 0.5)
    try:
        return torch.onnx.export(
            blank,
            (inputs,),
            dynamo=True,
            dynamic_shapes=(dict.fromkeys(sizes, torch.export.Dim.DYNAMIC),),
            input_names=["input"],
            output_names=["output"],
            verbose=False,
        )
    except ImportError as error:
        raise missing(error) from error


def _fill(program: Any, part: nn.Module) -> None:
    """Put the weights of a part into its program."""
    import onnx_ir

    held = program.model.graph.initializers
    for name, values in part.state_dict().items():
        # A KeyError here means that the exporter has changed a weight: then this shortcut must go.
        held[name].const_value = onnx_ir.tensor(values.detach().cpu().contiguous().numpy(), name=name)


def digest(part: nn.Module) -> str:
    """A fingerprint of the weights of a part."""
    found = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(part.state_dict().items()):
        values = tensor.detach().cpu().contiguous()
        found.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
        found.update(values.flatten().view(torch.uint8).numpy().data)
    return found.hexdigest()


def missing(error: ImportError) -> InputError:
    """What to say where the extra is not installed."""
    return InputError(f"networks in ONNX or OpenVINO need {error.name}: pip install 'exitwave[export]'")


@contextmanager
def quiet() -> Generator[None]:
    """Nothing that torch's exporter or a runtime says to programmers reaches the user; errors are raised as ever."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
