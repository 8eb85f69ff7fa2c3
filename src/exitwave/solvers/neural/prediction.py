"""Prediction of a whole object by a trained network: every frame in a group, every group in the object."""

from contextlib import nullcontext

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from exitwave.data.estimate import PtychoEstimate
from exitwave.problems.groups.canvases import Canvases
from exitwave.problems.groups.neighbours import Grouping, Members
from exitwave.problems.groups.stitching import Patchwork
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.problems.threads import run_in_threads, single_threaded
from exitwave.solvers.neural.reconstruction_network import Prediction, ReconstructionNetwork
from exitwave.solvers.neural.training_data import group_batch

LEAST_VARIANCE = 1e-12
"""Of a pixel of the transmission: no network is surer."""


@torch.no_grad()
def predicted(
    network: ReconstructionNetwork,
    problem: PtychographyProblem,
    x: PtychoEstimate,
    *,
    grouping: Grouping,
    together: int,
    begun: bool,
) -> Prediction:
    """The object ("1 Y X") that the network sees in all frames, and its variance; what no frame sees is as in `x`.

    Groups cover the scan as `grouping` says, `together` frames are worked on at once, by each thread on a processor: the
    image does not depend on the number of threads. Canvases are averaged in the fixed frame of the object
    with |probe|^2 weights, as complex numbers; where groups start by themselves, after their phases were made to agree.
    A network that says its variance is believed the more the smaller that is: weights are then |probe|^2 over variance. The
    variance of the object is the mean of those of its canvases with these weights, for neighbours err alike.
    """
    groups = grouping.covering(problem.positions_px)
    network.eval()

    @torch.no_grad()
    def seen(members: Members) -> tuple[Canvases, Prediction]:
        """Groups on their canvases, and what the network makes of them. Every thread has to say that it wants no gradients."""
        scene = group_batch(problem, x, members, begun=begun)
        ((images, variance),) = network([scene])
        return scene.canvases, Prediction(images.contiguous(), variance)

    canvas = _Canvas(_Sum(x.object[0]) if begun else Patchwork(x.object[0].clone(), scales=False), x.object[0])
    on_processor = x.object.device.type == "cpu"
    threads = torch.get_num_threads() if on_processor else 1
    batches = groups.split(max(1, together // grouping.size))
    # One thread a batch: transforms and convolutions of this size are too small to be shared. Always one, because with
    # several their sums come in another order.
    with single_threaded() if on_processor else nullcontext():
        frames = [members.flatten() for members in batches]
        if problem.streamed:
            for number, _ in enumerate(problem.prefetch(frames)):
                canvas.add_all([seen(batches[number])])
        else:
            for first in range(0, len(batches), threads):
                work = batches[first : first + threads]
                canvas.add_all(run_in_threads(lambda part, work=work: seen(work[part]), len(work)))
    return canvas.stitched()


class _Sum:
    """Canvases that agree in phase, averaged with their light."""

    def __init__(self, start: Complex[Tensor, "Y X"]) -> None:
        self._start, self._total, self._light = start, torch.zeros_like(start), torch.zeros_like(start.real)

    def add(self, corner: tuple[int, int], image: Complex[Tensor, "y x"], light: Float[Tensor, "y x"]) -> None:
        """Put a canvas in its place."""
        here = slice(corner[0], corner[0] + light.shape[0]), slice(corner[1], corner[1] + light.shape[1])
        self._total[here] += light * image
        self._light[here] += light

    def stitched(self) -> Complex[Tensor, "Y X"]:
        """The average; the start where there is no light."""
        least = 1e-6 * self._light.max()
        return torch.where(self._light > least, self._total / self._light.clamp(min=least), self._start)


class _Canvas:
    """The object, and its variance where the network says that of its images."""

    def __init__(self, images: "Patchwork | _Sum", start: Complex[Tensor, "Y X"]) -> None:
        self._images = images
        self._light, self._certain = torch.zeros_like(start.real), torch.zeros_like(start.real)
        self._says = False

    def add_all(self, seen: list[tuple[Canvases, Prediction]]) -> None:
        """Put the canvases of some batches in their places."""
        for canvases, (images, variance) in seen:
            weights = canvases.illumination
            if variance is not None:
                weights, self._says = weights / variance.clamp(min=LEAST_VARIANCE), True
            places = zip(canvases.origins.tolist(), images, canvases.illumination, weights, strict=True)
            for (y, x), image, light, weight in places:
                self._images.add((y, x), image, weight)
                if variance is not None:
                    here = slice(y, y + light.shape[0]), slice(x, x + light.shape[1])
                    self._light[here] += light
                    self._certain[here] += weight

    def stitched(self) -> Prediction:
        """The object; its variance is zero where there is no light, for nothing was found there."""
        image = self._images.stitched()[None]
        if not self._says:
            return Prediction(image)
        lit = self._light > 1e-6 * self._light.max()
        return Prediction(image, torch.where(lit, self._light / self._certain.clamp(min=1e-30), 0.0)[None])
