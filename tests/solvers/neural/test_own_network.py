"""A network is one class: trained, kept, found, exported and believed as far as it says, without a line elsewhere."""

import json
from dataclasses import replace
from typing import Annotated, ClassVar

import pytest
import torch
from pydantic import Field
from torch import nn

from command import done
from exitwave.data.errors import InputError
from exitwave.io.hdf5.values import json_text
from exitwave.io.weights import read_spec
from exitwave.networks.blocks import Convolution, initialise
from exitwave.problems.groups.neighbours import Grouping
from exitwave.running.reconstruct import reconstruct
from exitwave.running.train import train
from exitwave.solvers.neural import reconstruction_network
from exitwave.solvers.neural.export import export_network
from exitwave.solvers.neural.patch_encoder import PatchEncoder
from exitwave.solvers.neural.prediction import predicted
from exitwave.solvers.neural.ptychonn import PtychoNN
from exitwave.solvers.neural.ptychopinn import PtychoPINN
from exitwave.solvers.neural.reconstruction_network import (
    GroupBatch,
    NetworkArchitecture,
    Prediction,
    ReconstructionNetwork,
    network,
)
from exitwave.solvers.neural.training_examples import TrainingExample
from exitwave.solvers.neural.unrolled_unet import UnrolledUNet
from exitwave.solvers.spec import from_spec, to_spec
from scans import known_scan

KNOWN = known_scan(side=6)
EXAMPLE = TrainingExample(scan=KNOWN.scan, probe=KNOWN.truth.probe)


@network
class Toy(NetworkArchitecture):
    """One convolution that corrects the start, and a variance that grows away from the light."""

    name: ClassVar[str] = "toy"
    any_frame_shape: ClassVar[bool] = False
    size: Annotated[int, Field(gt=0)] = 3
    """Pixels across."""
    certain: bool = False
    """Whether it says no variance."""

    def parts(self, frame_shape: tuple[int, int], group: int, seed: int) -> list[nn.Module]:
        made = Convolution(2, 2, self.size, gain=0.1)
        initialise(made, seed)
        return [made]

    def predict(self, network: ReconstructionNetwork, batch: GroupBatch) -> Prediction:
        real, imaginary = network.run(0, torch.stack([batch.start.real - 1, batch.start.imag], dim=1)).unbind(dim=1)
        image = batch.start + torch.complex(real, imaginary)
        light = batch.canvases.illumination
        return Prediction(image, None if self.certain else 0.04 * light.amax() / (light + 1e-3 * light.amax()))

    def example_input(self, part: nn.Module) -> tuple[torch.Tensor, tuple[int, ...]]:
        return torch.zeros(2, 2, 32, 40), (0, 2, 3)

    def input_description(self, part: nn.Module) -> str:
        return "real and imaginary part of the image"

    def accepts(self, frame_shape: tuple[int, int]) -> None:
        if frame_shape[0] < 16:
            raise InputError(f"the toy sees frames of 16 pixels or more, not {frame_shape[0]}")


# Registered in these tests alone.
KINDS = reconstruction_network._REGISTRY
KINDS.pop("toy")


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The toy as an option of solvers."""
    monkeypatch.setitem(KINDS, "toy", Toy)


@pytest.fixture
def solver() -> PtychoPINN:
    return PtychoPINN(network=Toy(size=5), epochs=2, group=4, batch=16, warm_start=None)


def test_it_is_trained_kept_and_found_again_with_its_options(solver, tmp_path):
    taught = train(solver, [EXAMPLE], save=tmp_path / "net")
    assert from_spec(str(tmp_path / "net")) == taught
    assert taught.network == Toy(size=5)
    assert read_spec(tmp_path / "net")["network"] == {"name": "toy", "size": 5, "certain": False}
    one, again = (reconstruct(KNOWN.scan, s, probe=EXAMPLE.probe) for s in (taught, from_spec(str(tmp_path / "net"))))
    assert torch.equal(one.estimate.object, again.estimate.object)
    assert "warnings" not in one.provenance
    with pytest.raises(InputError, match=r"was trained with size 5 \(here 3\)"):
        reconstruct(KNOWN.scan, replace(taught, network=Toy()), probe=EXAMPLE.probe)
    with pytest.raises(InputError, match=r"but the toy .* was trained on 32 x 32 and takes no others"):
        reconstruct(known_scan(frame=48, side=4).scan, taught)


def test_it_learns(solver):
    steps = [step.residual for step in replace(solver, epochs=8).solve(*posed())]
    assert steps[-1] < 0.8 * steps[0]


def posed():
    from exitwave.problems.initial_guess import first_guess
    from exitwave.problems.ptychography import PtychographyProblem
    from exitwave.solvers.base import Step

    problem = PtychographyProblem.of(KNOWN.scan, margin_px=4)
    return problem, Step(epoch=0, estimate=first_guess(problem, probe=EXAMPLE.probe))


def test_what_it_cannot_see_it_refuses(solver):
    small = known_scan(frame=8, side=4, step=2.0)
    with pytest.raises(InputError, match="the toy sees frames of 16 pixels or more, not 8"):
        reconstruct(small.scan, solver)


def test_it_leaves_as_onnx_and_says_what_it_takes(solver, tmp_path):
    onnx = pytest.importorskip("onnx", reason="the extra `export` is not installed")
    pytest.importorskip("onnxscript", reason="the extra `export` is not installed")
    train(solver, [EXAMPLE], save=tmp_path)
    (path,) = export_network(tmp_path)
    told = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert told["input"] == "real and imaginary part of the image"
    assert json.loads(told["solver"])["network"]["name"] == "toy"


def test_it_is_a_word_with_flat_options_in_specs_and_on_the_command_line(tmp_path):
    assert from_spec({"name": "ptychopinn", "network": "toy", "size": 7}).network == Toy(size=7)
    assert from_spec({"name": "ptychopinn", "network": {"name": "toy", "size": 7}}).network == Toy(size=7)
    with pytest.raises(InputError, match="size"):
        from_spec({"name": "ptychopinn", "network": "toy", "size": 0})
    with pytest.raises(InputError, match="no network 'tox'; there are encoder, toy, unet"):
        from_spec({"name": "ptychopinn", "network": "tox"})
    done("simulate", "lines", "--frame-px", 32, "--frames", 36, "-o", tmp_path / "a.cxi")
    words = ("--network", "toy", "--size", 5, "--epochs", 1, "--group", 4, "--warm-start-epochs", 0)
    done("train", "ptychopinn", tmp_path / "a.cxi", *words, "--save", tmp_path / "net")
    assert from_spec(str(tmp_path / "net")).network == Toy(size=5)
    done("reconstruct", tmp_path / "a.cxi", tmp_path / "net", "-o", tmp_path / "out.h5")


def test_how_sure_it_is_becomes_the_spread(solver):
    *_, last = solver.solve(*posed())
    assert last.spread is not None
    spread = last.spread.object
    assert spread.shape == last.estimate.object.shape
    # The root of its variance: 0.2 in full light, more where the light is dim.
    problem, _ = posed()
    middle = spread[0, 30:50, 30:50].real
    assert 0.15 < float(middle.min()) < 0.3
    assert float(spread.real.max()) > 2 * float(middle.min())
    *_, plain = replace(solver, network=Toy(size=5, certain=True)).solve(problem, posed()[1])
    assert plain.spread is None


class Contradicting(nn.Module):
    """Two answers by turns, of which it is sure of one."""

    def __init__(self, variances):
        super().__init__()
        self.variances = variances

    def forward(self, batches):
        (batch,) = batches
        light = batch.canvases.illumination
        which = torch.arange(len(light))[:, None, None] % 2
        values, variances = torch.tensor([1.0, 3.0]), torch.tensor(self.variances)
        image = values[which].expand_as(light).to(torch.complex64)
        return [Prediction(image, variances[which].expand_as(light).contiguous())]


class Twice(Grouping):
    """All frames, two times."""

    def training(self, positions_px, seed):
        return torch.arange(len(positions_px)).expand(2, -1)

    def covering(self, positions_px):
        return self.training(positions_px, 0)


@pytest.mark.parametrize("variances", [(1e-2, 1.0), (1.0, 1.0), (4.0, 1e-2)])
def test_canvases_are_believed_the_more_the_surer_they_are(variances):
    problem, start = posed()
    x = replace(start.estimate, object=torch.ones_like(start.estimate.object))
    found = predicted(Contradicting(variances), problem, x, grouping=Twice(size=36), together=128, begun=True)
    sure = [1 / variance for variance in variances]
    lit = found.variance > 0
    assert float(lit.float().mean()) > 0.5
    mean = (sure[0] * 1.0 + sure[1] * 3.0) / sum(sure)
    assert torch.allclose(found.image[lit].real, torch.tensor(mean), rtol=1e-5)
    # Both saw the same frames: to see them twice teaches nothing.
    assert torch.allclose(found.variance[lit], torch.tensor(2 / sum(sure)), rtol=1e-5)
    assert bool((found.image[~lit] == 1).all())


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, UnrolledUNet()),
        ({"stages": 3, "translation": "bilinear"}, UnrolledUNet(stages=3)),
        ({"network": "encoder", "stages": 3, "width": 2}, PatchEncoder(width=2)),
        ({"network": {"name": "encoder", "translation": "bilinear"}}, PatchEncoder(translation="bilinear")),
        ({"network": UnrolledUNet(stages=4), "width": 0.5}, UnrolledUNet(stages=4, width=0.5)),
    ],
)
def test_flat_options_are_those_of_the_network_that_is_named(options, expected):
    for made in (PtychoPINN(**options), from_spec({"name": "ptychopinn", **options})):
        assert made.network == expected
        assert from_spec(to_spec(made)) == made
        assert from_spec(json.loads(json_text(to_spec(made)))) == made


def test_the_words_of_ptychonn_mean_its_published_network():
    assert PtychoNN().network == PatchEncoder(whole_frames=True)
    assert from_spec({"name": "ptychonn", "network": "encoder", "width": 0.5}).network == PatchEncoder(
        width=0.5, whole_frames=True
    )
    assert from_spec({"name": "ptychonn", "network": "unet"}).network == UnrolledUNet()


def test_a_warm_start_is_any_solver_or_epochs_of_newton():
    usual = PtychoPINN().warm_start
    assert usual == from_spec({"name": "newton", "epochs": 5, "update_probe": False})
    assert from_spec({"name": "ptychopinn", "warm_start_epochs": 3}).warm_start == replace(usual, epochs=3)
    assert from_spec({"name": "ptychopinn", "warm_start_epochs": 0}).warm_start is None
    assert not from_spec({"name": "ptychopinn", "warm_start": None}).has_warm_start
    other = from_spec({"name": "ptychopinn", "warm_start": {"name": "rpie", "epochs": 4}, "group": 4, "epochs": 1})
    assert from_spec(to_spec(other)) == other
    problem, start = posed()
    begun = other.warm_started(problem, start.estimate)
    *_, expected = other.warm_start.solve(
        problem, replace(start, estimate=replace(start.estimate, object=torch.ones_like(start.estimate.object)))
    )
    assert torch.equal(begun.object, expected.estimate.object)
