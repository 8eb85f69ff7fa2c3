"""A whole object from a trained network: every frame in a group, every group in the object."""

from contextlib import nullcontext
from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from exitwave.data.estimate import PtychoEstimate
from exitwave.neural.imaging import Imager
from exitwave.neural.lessons import scene_of, sensitivity_of
from exitwave.physics.canvases import Canvases, Images, Sensitivity
from exitwave.physics.crew import alone, share
from exitwave.physics.groups import neighbour_groups
from exitwave.physics.patchwork import Patchwork
from exitwave.physics.problem import Problem


@torch.no_grad()
def predicted(
    network: Imager, problem: Problem, x: PtychoEstimate, *, group: int, together: int, iterations: int
) -> Complex[Tensor, "1 Y X"]:
    """The object that the network sees in all frames; what no frame sees is as in `x`.

    Groups of `group` neighbouring frames cover the scan, `together` frames are worked on at once, by each thread on a
    processor: the image does not depend on the number of threads. Canvases are averaged in the fixed frame of the object
    with |probe|^2 weights, as complex numbers, after their phases were made to agree.
    """
    groups = neighbour_groups(problem.positions_px, group)
    network.eval()
    glance = _Glance(network, problem, x, iterations, sensitivity_of(problem, x, groups, iterations))
    patchwork = Patchwork(x.object[0].clone(), scales=False)
    on_processor = x.object.device.type == "cpu"
    threads = torch.get_num_threads() if on_processor else 1
    batches = groups.split(max(1, together // group))
    # One thread a batch: transforms and convolutions of this size are too small to be shared. Always one, because with
    # several their sums come in another order.
    with alone() if on_processor else nullcontext():
        waiting: list[tuple[Int[Tensor, "group member"], Float[Tensor, "frame y x"]]] = []
        frames = [members.flatten() for members in batches]
        for number, members in enumerate(problem.ahead(frames)):
            waiting.append((batches[number], problem.amplitudes(members)))
            if len(waiting) == threads or number == len(batches) - 1:
                _place(patchwork, share(lambda part, work=waiting: glance.images(*work[part]), len(waiting)))
                waiting = []
    return patchwork.stitched()[None]


def _place(patchwork: Patchwork, seen: list[tuple[Canvases, Images]]) -> None:
    for canvases, images in seen:
        for corner, image, light in zip(canvases.origins.tolist(), images, canvases.lit, strict=True):
            patchwork.add(tuple(corner), image, light)


@dataclass(frozen=True, eq=False)
class _Glance:
    """What is needed to see any group of a scan."""

    network: Imager
    problem: Problem
    x: PtychoEstimate
    iterations: int
    sensitivity: Sensitivity | None

    @torch.no_grad()
    def images(
        self, members: Int[Tensor, "group member"], amplitudes: Float[Tensor, "frame y x"]
    ) -> tuple[Canvases, Images]:
        """Groups on their canvases, and what the network makes of them. Every thread has to say that it wants no gradients."""
        canvases = Canvases.of(self.problem.model, self.problem.trusted, self.x, members, amplitudes)
        (images,) = self.network([scene_of(self.problem, canvases, self.iterations, self.sensitivity)])
        return canvases, images.contiguous()
