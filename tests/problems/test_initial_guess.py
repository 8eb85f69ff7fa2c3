"""The first guess of the probe's modes."""

import pytest
import torch

from exitwave.data.errors import InputError
from exitwave.problems.initial_guess import more_modes

PROBE = torch.exp(-torch.linspace(-2, 2, 8).square())[None, :, None].expand(1, 8, 8).to(torch.complex64)


def test_added_modes_are_weak_and_orthogonal():
    modes = more_modes(PROBE, 4).flatten(1)
    overlaps = modes.conj() @ modes.T
    power = float(PROBE.abs().square().sum())
    assert torch.allclose(overlaps, power * torch.diag(torch.tensor([1, 0.05, 0.05, 0.05])).cfloat(), atol=1e-4 * power)


def test_more_modes_than_pixels_are_refused():
    with pytest.raises(InputError, match="65 modes are more than a probe of 8 x 8 pixels"):
        more_modes(PROBE, 65)
