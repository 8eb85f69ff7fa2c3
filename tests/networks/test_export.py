"""Networks leave for other programs as ONNX files, for any number and size of canvases."""

import pytest
import torch

from exitwave.networks.patch_cnn import PatchCNN
from exitwave.networks.unet import UNet

pytest.importorskip("onnxscript", reason="the extra `export` is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="the extra `export` is not installed")


def exported(network: torch.nn.Module, example: torch.Tensor, dynamic: tuple[int, ...], path):
    shapes = (dict.fromkeys(dynamic, torch.export.Dim.DYNAMIC),)
    program = torch.onnx.export(network.eval(), (example,), dynamo=True, dynamic_shapes=shapes, verbose=False)
    program.save(path)
    session = onnxruntime.InferenceSession(path)
    return lambda images: torch.from_numpy(session.run(None, {session.get_inputs()[0].name: images.numpy()})[0])


@pytest.mark.parametrize("stem", [1, 2])
def test_unet_is_exported_for_any_number_and_size_of_canvases(stem, tmp_path):
    network = UNet(features=3, width=4, levels=2, stem=stem)
    run = exported(network, torch.rand(2, 3, 32, 48), (0, 2, 3), tmp_path / "unet.onnx")
    images = torch.randn(5, 3, 64, 40)
    assert torch.allclose(run(images), network(images), atol=1e-5)


def test_patch_cnn_is_exported_for_any_number_of_groups(tmp_path):
    network = PatchCNN(frame_px=16, views=4, width=0.25)
    run = exported(network, torch.rand(2, 4, 16, 16), (0,), tmp_path / "cnn.onnx")
    patterns = torch.rand(7, 4, 16, 16)
    assert torch.allclose(run(patterns), network(patterns), atol=1e-5)
