"""exitwave export NETWORK: for other programs, beside the weights or elsewhere."""

import json

import pytest

import exitwave as ew
from command import done, refused
from exitwave.io.weights import Weights, write_weights
from exitwave.solvers.spec import to_spec


@pytest.fixture
def network(tmp_path):
    solver = ew.PtychoPINN(group=4, stages=2, width=0.5)
    tensors = {f"network.{name}": value for name, value in solver.fresh((32, 32), 3).state_dict().items()}
    folder = tmp_path / "pinn"
    folder.mkdir()
    record = {"frame_shapes": [[32, 32]], "photons_per_frame": [1e6, 1e6]}
    write_weights(folder / "weights.safetensors", Weights(tensors=tensors, spec=to_spec(solver), record=record))
    return folder


def names(folder) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"weights.safetensors"}


def test_onnx_files_lie_beside_the_weights_and_know_their_solver(network):
    onnx = pytest.importorskip("onnx", reason="the extra `export` is not installed")
    pytest.importorskip("onnxscript", reason="the extra `export` is not installed")
    outcome = done("export", network, "--onnx")
    assert outcome.err == ""
    assert names(network) == {"weights-0.onnx", "weights-1.onnx"}
    told = {entry.key: entry.value for entry in onnx.load(network / "weights-0.onnx").metadata_props}
    assert json.loads(told["solver"])["name"] == "ptychopinn"


def test_both_kinds_go_into_a_folder_that_is_named(network, tmp_path):
    for module in ("onnx", "onnxscript", "openvino"):
        pytest.importorskip(module, reason="the extra `export` is not installed")
    there = tmp_path / "there"
    there.mkdir()
    done("export", network, "--onnx", "--openvino", "-o", there)
    assert names(there) == {f"weights-{n}.{ending}" for n in (0, 1) for ending in ("onnx", "xml", "bin")}
    assert names(network) == set()


def test_a_network_without_a_kind_and_a_kind_without_a_network_are_refused(network, tmp_path):
    assert "--onnx or as --openvino" in refused(tmp_path, "export", network)
    scan = tmp_path / "scan.npz"
    scan.write_bytes(b"")
    assert "is no trained network" in refused(tmp_path, "export", scan, "--onnx")
    assert "-o FILE" in refused(tmp_path, "export", scan)


def test_a_place_that_is_neither_folder_nor_file_of_that_kind_is_refused(network, tmp_path):
    assert "name of a .onnx file" in refused(tmp_path, "export", network, "--onnx", "-o", tmp_path / "out.pt")
