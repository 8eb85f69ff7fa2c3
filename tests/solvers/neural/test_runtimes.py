"""Networks computed by ONNX Runtime and OpenVINO give what torch gives, from files or converted in memory, and say nothing."""

import builtins
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from exitwave.data.errors import InputError
from exitwave.io.weights import Weights, write_weights
from exitwave.problems.groups.neighbours import Neighbours
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.solvers.neural import runtimes
from exitwave.solvers.neural.export import export_network
from exitwave.solvers.neural.onnx import as_onnx
from exitwave.solvers.neural.prediction import predicted
from exitwave.solvers.neural.ptychonn import PtychoNN
from exitwave.solvers.neural.ptychopinn import PtychoPINN
from exitwave.solvers.neural.runtimes import engine_for
from exitwave.solvers.spec import to_spec
from scans import known_scan

NETWORKS = {
    "unet": PtychoPINN(group=4, stages=2, width=0.5),
    "encoder": PtychoPINN(network="encoder", group=4, width=0.25),
    "full": PtychoNN(width=0.25),
}
FOUR = Neighbours(size=4, nearest=4)
RUNTIMES = {"onnx": "onnxruntime", "openvino": "openvino"}


@pytest.fixture(params=RUNTIMES)
def runtime(request) -> str:
    for module in ("onnx", "onnxscript", RUNTIMES[request.param]):
        pytest.importorskip(module, reason="the extra `export` is not installed")
    return request.param


def inputs(network, batch: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    if network.architecture.name == "unet":
        return torch.randn(batch, 5, 40, 56, generator=generator)
    return torch.rand(batch, network.parts[0].views, 32, 32, generator=generator)


def saved(folder: Path, seed: int = 3, **options) -> Path:
    solver = PtychoPINN(group=4, stages=2, width=0.5, **options)
    network = solver.fresh((32, 32), seed)
    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    record = {"frame_shapes": [[32, 32]], "photons_per_frame": [1e6, 1e6]}
    write_weights(folder / "weights.safetensors", Weights(tensors=tensors, spec=to_spec(solver), record=record))
    return folder


@pytest.mark.parametrize("kind", NETWORKS)
@torch.no_grad()
def test_weights_laid_out_for_prediction_give_the_same_and_leave_the_network_as_it_was(kind):
    network = NETWORKS[kind].fresh((32, 32), 1).eval()
    layouts = [values.stride() for values in network.parameters()]
    engine, images = engine_for("torch", network, None), inputs(network, 3)
    wanted = network.run(0, images)
    assert torch.allclose(engine(0, images), wanted, atol=1e-5 * float(wanted.abs().max()))
    assert [values.stride() for values in network.parameters()] == layouts


@pytest.mark.parametrize("kind", NETWORKS)
@torch.no_grad()
def test_every_part_gives_what_torch_gives(kind, runtime, capfd):
    network = NETWORKS[kind].fresh((32, 32), 1).eval()
    engine = engine_for(runtime, network, None)
    for number in range(len(network.parts)):
        for batch in (1, 5):
            images = inputs(network, batch, seed=number)
            wanted = network.run(number, images)
            assert torch.allclose(engine(number, images), wanted, atol=1e-4 * float(wanted.abs().max()))
    assert capfd.readouterr() == ("", "")


def test_an_image_is_the_same_whatever_computes_it_on_any_number_of_threads(runtime):
    known = known_scan(side=6, whole=False)
    problem, x = PtychographyProblem.of(known.scan), replace(known.truth, object=torch.ones_like(known.truth.object))
    network = NETWORKS["unet"].fresh((32, 32), 1)
    wanted = predicted(network, problem, x, grouping=FOUR, together=8, begun=False).image
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            network.engine = engine_for(runtime, network, None)
            found = predicted(network, problem, x, grouping=FOUR, together=8, begun=False).image
            assert float((found - wanted).abs().max()) < 1e-4 * float(wanted.abs().max())
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("runtime_in_16_bits", ["torch", "openvino"])
@torch.no_grad()
def test_sixteen_bits_are_close(runtime_in_16_bits):
    if runtime_in_16_bits != "torch":
        pytest.importorskip("openvino", reason="the extra `export` is not installed")
    network = NETWORKS["unet"].fresh((32, 32), 1).eval()
    engine = engine_for(runtime_in_16_bits, network, None, "bf16")
    images = inputs(network, 2)
    wanted, found = network.run(0, images), engine(0, images)
    assert found.dtype == torch.float32
    assert float((found - wanted).norm() / wanted.norm()) < 0.03


def test_onnx_refuses_sixteen_bits_by_name():
    with pytest.raises(InputError, match="onnx computes in 32 bits, not bf16"):
        engine_for("onnx", NETWORKS["unet"].fresh((32, 32), 1), None, "bf16")


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    """A trained network with all its exported files."""
    folder = saved(tmp_path_factory.mktemp("exported"))
    for kind, module in RUNTIMES.items():
        for needed in ("onnx", "onnxscript", module):
            pytest.importorskip(needed, reason="the extra `export` is not installed")
        export_network(folder, to=kind)
    return folder


class Converted(Exception):
    pass


def refuse_to_convert(*_):
    raise Converted


def test_files_beside_the_weights_are_used_without_converting(runtime, exported, monkeypatch):
    monkeypatch.setattr(runtimes, "as_onnx", refuse_to_convert)
    network = PtychoPINN(weights=str(exported), group=4, stages=2, width=0.5).made((32, 32), 0).eval()
    engine = engine_for(runtime, network, str(exported))
    with torch.no_grad():
        images = inputs(network, 2)
        assert torch.allclose(engine(1, images), network.run(1, images), atol=1e-4)


@pytest.mark.parametrize("fault", ["of other weights", "damaged", "one is missing"])
def test_files_that_are_not_of_these_weights_are_not_used(fault, runtime, exported, tmp_path, monkeypatch):
    shutil.copytree(exported, tmp_path, dirs_exist_ok=True)
    ending = runtimes.ENDINGS[runtime]
    if fault == "of other weights":
        saved(tmp_path, seed=5)
    elif fault == "damaged":
        (tmp_path / f"weights-1{ending}").write_bytes(b"nothing of use")
    else:
        (tmp_path / f"weights-0{ending}").unlink()
    monkeypatch.setattr(runtimes, "as_onnx", refuse_to_convert)
    network = PtychoPINN(weights=str(tmp_path), group=4, stages=2, width=0.5).made((32, 32), 0).eval()
    with pytest.raises(Converted):
        engine_for(runtime, network, str(tmp_path))


def test_equal_weights_in_two_layers_stay_those_of_both_layers(runtime):
    network = NETWORKS["unet"].fresh((32, 32), 1).eval()
    # A fresh network has all biases zero, which an exporter may make one; it must not when they differ in the next part.
    for part in network.parts:
        for name, values in part.named_parameters():
            if name.endswith("bias"):
                torch.nn.init.normal_(values, generator=torch.Generator().manual_seed(len(name)))
    engine = engine_for(runtime, network, None)
    with torch.no_grad():
        images = inputs(network, 2)
        for number in range(2):
            assert torch.allclose(engine(number, images), network.run(number, images), atol=1e-3)


@pytest.mark.parametrize("runtime_asked", RUNTIMES)
def test_a_missing_extra_is_named(runtime_asked, monkeypatch):
    real = builtins.__import__

    def refuse(name, *rest):
        if name.split(".")[0] in ("onnxruntime", "openvino"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(InputError, match=r"pip install 'exitwave\[export\]'"):
        engine_for(runtime_asked, NETWORKS["encoder"].fresh((32, 32), 1), None)


def test_an_exported_file_says_what_it_is():
    onnx = pytest.importorskip("onnx", reason="the extra `export` is not installed")
    pytest.importorskip("onnxscript", reason="the extra `export` is not installed")
    network = NETWORKS["encoder"].fresh((32, 32), 1)
    (model,) = as_onnx(network, {"solver": "{}"})
    told = {entry.key: entry.value for entry in onnx.load_from_string(model).metadata_props}
    assert told["solver"] == "{}"
    assert told["part"] == "0 of 1"
    assert "(group, 4, 32, 32)" in told["input"]
    assert len(told["weights_digest"]) == 32
