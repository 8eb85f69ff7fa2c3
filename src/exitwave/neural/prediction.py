"""A whole object from a trained network: every frame in a group, every group in the object."""

import torch
from jaxtyping import Complex, Int
from torch import Tensor

from exitwave.data.estimate import PtychoEstimate
from exitwave.neural.imaging import Imager
from exitwave.neural.lessons import scene_of, sensitivity_of
from exitwave.physics.canvases import Canvases, Sensitivity
from exitwave.physics.groups import neighbour_groups
from exitwave.physics.patchwork import Patchwork
from exitwave.physics.problem import Problem


@torch.no_grad()
def predicted(
    network: Imager, problem: Problem, x: PtychoEstimate, *, group: int, together: int, iterations: int
) -> Complex[Tensor, "1 Y X"]:
    """The object that the network sees in all frames; what no frame sees is as in `x`.

    Groups of `group` neighbouring frames cover the scan, `together` frames are worked on at once. Canvases are averaged
    in the fixed frame of the object with |probe|^2 weights, as complex numbers, after their phases were made to agree.
    """
    groups = neighbour_groups(problem.positions_px, group)
    sensitivity = sensitivity_of(problem, x, groups, iterations)
    patchwork = Patchwork(x.object[0].clone())
    network.eval()
    for members in groups.split(max(1, together // group)):
        _add(patchwork, network, problem, x, members, iterations, sensitivity)
    return patchwork.stitched()[None]


def _add(
    patchwork: Patchwork,
    network: Imager,
    problem: Problem,
    x: PtychoEstimate,
    members: Int[Tensor, "group member"],
    iterations: int,
    sensitivity: Sensitivity | None,
) -> None:
    amplitudes = problem.amplitudes(members.flatten())
    canvases = Canvases.of(problem.model, problem.trusted, x, members, amplitudes)
    (images,) = network([scene_of(problem, canvases, iterations, sensitivity)])
    for corner, image, light in zip(canvases.origins.tolist(), images, canvases.lit, strict=True):
        patchwork.add(tuple(corner), image, light)
