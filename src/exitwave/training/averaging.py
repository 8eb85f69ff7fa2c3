"""Exponential moving average (EMA) of a network's weights, which predicts better than the weights of any one step."""

import torch
from torch import nn


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float, step: int) -> None:
    """Update the moving average after `step` earlier steps; quickly at first, so that the beginning is forgotten.

    Polyak & Juditsky, SIAM J. Control Optim. 30, 838 (1992), with exponential weights.
    """
    keep = min(decay, (1 + step) / (10 + step))
    # One call for all of them: dozens of small kernels would hold up a GPU.
    torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - keep)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
    for mean, now in zip(average.buffers(), network.buffers(), strict=True):
        mean.copy_(now)
