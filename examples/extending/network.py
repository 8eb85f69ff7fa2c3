"""You will see a network of your own, one class, learn phase retrieval, be kept, found again by its folder, and used.

    python network.py [frames]

The network: three convolutions that correct the image from which each group of frames starts, and say how sure they are.
"""

import sys
from typing import ClassVar

import torch
from pydantic import PositiveInt
from torch import nn

import exitwave as ew
from exitwave.networks.blocks import Convolution, initialise


@ew.network
class Corrector(ew.NetworkArchitecture):
    """A small residual network on the canvas of each group of frames."""

    name: ClassVar[str] = "corrector"
    channels: PositiveInt = 16
    """Channels between the layers; more learn finer corrections and take longer."""

    def parts(self, frame_shape: tuple[int, int], group: int, seed: int) -> list[nn.Module]:
        hidden = [Convolution(3, self.channels), nn.SiLU(), Convolution(self.channels, self.channels), nn.SiLU()]
        made = nn.Sequential(*hidden, Convolution(self.channels, 3, gain=0.1))
        initialise(made, seed)
        return [made]

    def predict(self, network: ew.ReconstructionNetwork, batch: ew.GroupBatch) -> ew.Prediction:
        start, light = batch.start, batch.canvases.illumination
        seen = torch.stack([start.real - 1, start.imag, light / light.amax(dim=(1, 2), keepdim=True)], dim=1)
        # Not network.parts[0](seen): so another runtime, such as ONNX, can compute it.
        real, imaginary, doubt = network.run(0, seen).unbind(dim=1)
        return ew.Prediction(start + torch.complex(real, imaginary), variance=1e-3 * doubt.exp())

    def example_input(self, part: nn.Module) -> tuple[torch.Tensor, tuple[int, ...]]:
        return torch.zeros(2, 3, 40, 48), (0, 2, 3)

    def input_description(self, part: nn.Module) -> str:
        return "(group, 3, Y, X), 32 bit: real part of image - 1, imaginary part, light; the output is correction and doubt"


frames = int(sys.argv[1]) if len(sys.argv) > 1 else 121
made = [ew.simulate("textured", frames=frames, frame_px=48, overlap=0.75, seed=seed) for seed in range(3)]
*known, unseen = made
examples = [ew.TrainingExample(scan=one.scan, probe=one.truth.probe) for one in known]
solver = ew.PtychoPINN(network=Corrector(channels=8), warm_start=None, epochs=5, group=4)
trained = ew.train(solver, examples, save="corrector", run=ew.TrainingRun(resume=True))
for name, tried in (("one epoch on this scan", ew.PtychoPINN(network="corrector", epochs=1)), ("trained", trained)):
    result = ew.reconstruct(unseen.scan, tried, probe=unseen.truth.probe)
    print(f"{name}: residual {result.residual:.4f}")
print(ew.to_spec(ew.from_spec("corrector"))["network"], "spread is there:", result.spread is not None)
