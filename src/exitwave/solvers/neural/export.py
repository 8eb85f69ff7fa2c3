"""Trained networks for other programs: ONNX and OpenVINO files."""

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from exitwave.data.errors import InputError
from exitwave.io.atomic import replacing
from exitwave.io.hdf5.values import json_text
from exitwave.io.network_paths import network_path
from exitwave.io.weights import read_weights
from exitwave.solvers.neural.network_solver import NetworkSolver
from exitwave.solvers.neural.onnx import DIGEST, as_onnx, digest, missing
from exitwave.solvers.neural.runtimes import ENDINGS, exported_file
from exitwave.solvers.spec import from_spec

Target = Literal["onnx", "openvino"]


def export_network(path: str | Path, *, to: Target = "onnx", output: str | Path | None = None) -> list[Path]:
    """Write a trained network as ONNX (.onnx) or OpenVINO (.xml and .bin) files, one for each of its parts.

    `path` is the file or folder of a training, or the name of a network that came with the package. `output` is a
    folder, or a file name to which the number of the part is added where there are several; beside the weights when
    left out, where the solver option `runtime` finds them. Each file says which solver it belongs to, what its inputs are
    and from which weights it was made. Raises FormatError for what is no trained network, InputError where the extra
    `export` is missing or the files cannot be written.
    """
    weights = network_path(path).absolute()
    stored = read_weights(weights)
    solver = from_spec({**stored.spec, "weights": str(weights)})
    if not isinstance(solver, NetworkSolver):
        raise InputError(f"{path} belongs to {solver.name}, which has no network to export")
    height, width = stored.record["frame_shapes"][0]
    network = solver.made((height, width), 0)
    parts = list(network.parts)
    told = {"exitwave": version("exitwave"), "solver": json_text(stored.spec), "trained_on": json_text(stored.record)}
    models = as_onnx(network, told)
    targets = [_target(weights, number, len(parts), to, output) for number in range(len(parts))]
    if to == "onnx":
        for model, target in zip(models, targets, strict=True):
            with replacing(target) as partial:
                partial.write_bytes(model)
        return targets
    told_too = [{**told, "input": network.architecture.input_description(part), DIGEST: digest(part)} for part in parts]
    written = [_write_openvino(*each) for each in zip(models, told_too, targets, strict=True)]
    return [path for pair in written for path in pair]


def _target(weights: Path, number: int, count: int, to: Target, output: str | Path | None) -> Path:
    beside = exported_file(weights, number, to)
    if output is None:
        return beside
    output = Path(output)
    if output.is_dir():
        return output / beside.name
    if output.suffix != ENDINGS[to]:
        raise InputError(f"{output} is neither a folder nor the name of a {ENDINGS[to]} file; give one of them")
    return output if count == 1 else output.with_name(f"{output.stem}-{number}{output.suffix}")


def _write_openvino(model: bytes, told: Mapping[str, str], target: Path) -> list[Path]:
    try:
        import openvino
    except ImportError as error:
        raise missing(error) from error
    converted: Any = openvino.Core().read_model(model)
    for key, value in told.items():
        converted.set_rt_info(value, ["exitwave", key])
    with TemporaryDirectory() as folder:
        made = Path(folder) / target.name
        # Weights in full: a network converted for the runtime must give what torch gives.
        openvino.save_model(converted, made, compress_to_fp16=False)
        # The weights first, so that whoever finds the .xml finds a whole network.
        files = [target.with_suffix(".bin"), target]
        for file in files:
            with replacing(file) as partial:
                partial.write_bytes((made.with_suffix(file.suffix)).read_bytes())
    return [target, target.with_suffix(".bin")]
