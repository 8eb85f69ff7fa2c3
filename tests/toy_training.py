"""A task that a tiny network learns in a second: undo a blur."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from exitwave.training.engine import fabric_for
from exitwave.training.settings import TrainingSettings
from exitwave.training.trainer import Trainer


class Tiny(nn.Module):
    """Two convolutions and a normaliser in a buffer."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.SiLU(), nn.Conv2d(4, 1, 3, padding=1))
        self.register_buffer("scale", torch.tensor(2.0))
        drawn = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for values in self.parameters():
                values.copy_(0.3 * torch.randn(values.shape, generator=drawn))

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images * self.scale)


@dataclass
class Blurred:
    """Images to be sharpened, with fresh noise at every step."""

    samples: int = 24
    held_out: int = 5
    noise: float = 0.01
    asked: list[tuple[tuple[int, ...], bool, list[int]]] = field(default_factory=list)
    """Seeds, whether held out, and samples, in the order in which losses were asked for."""

    def __post_init__(self) -> None:
        drawn = torch.Generator().manual_seed(1)
        self.sharp = torch.randn(self.samples + self.held_out, 1, 8, 8, generator=drawn)
        self.blurred = nn.functional.avg_pool2d(self.sharp, 3, stride=1, padding=1)

    def __len__(self) -> int:
        return self.samples

    def loss(
        self, network: nn.Module, samples: Tensor, *, held_out: bool, seed: tuple[int, ...]
    ) -> tuple[Tensor, Tensor]:
        self.asked.append((seed, held_out, samples.tolist()))
        index = samples + self.samples if held_out else samples
        # By sample, so that it does not matter how samples are spread over devices.
        drawn_for = seed[:1] if held_out else seed[:3]
        noise = torch.stack(
            [
                torch.randn(1, 8, 8, generator=torch.Generator().manual_seed(hash((drawn_for, int(i))) % 2**31))
                for i in index
            ]
        )
        images = network(self.blurred[index] + self.noise * noise)
        return (images - self.sharp[index]).square().mean(), images.detach()


def course(lessons=None, *, seed: int = 3, state=None, network=None, **options) -> Trainer:
    recipe = TrainingSettings(**{"epochs": 4, "batch": 5, "learning_rate": 1e-2, "precision": "32", **options})
    fabric = fabric_for("cpu", recipe.precision)
    lessons, network = Blurred() if lessons is None else lessons, Tiny() if network is None else network
    return Trainer(network, lessons, recipe, fabric=fabric, seed=seed, state=state)


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """The same names and the same bits."""
    if set(one) != set(other):
        return False
    return all(
        one[n].dtype == other[n].dtype and torch.equal(one[n].nan_to_num(7), other[n].nan_to_num(7)) for n in one
    )
