"""Constraints on probe and object that are known beforehand, imposed exactly: support, centre, power, amplitudes, phases."""

from dataclasses import replace

import torch
from jaxtyping import Bool, Complex
from torch import Tensor

from exitwave.data.estimate import PtychoEstimate


def orthogonal_modes(probe: Complex[Tensor, "mode y x"]) -> Complex[Tensor, "mode y x"]:
    """The same incoherent modes as orthogonal ones, the strongest first; no intensity anywhere changes.

    Any unitary mixture of modes gives the same patterns: the eigenvectors of their overlaps make them unique (Thibault &
    Menzel, Nature 494, 68, 2013). Each keeps the phase of the old mode it resembles most.
    """
    if len(probe) == 1:
        return probe
    flat = probe.flatten(1).to(torch.complex128)
    _, mixing = torch.linalg.eigh(flat.conj() @ flat.T)
    mixing = mixing.T.flip(0)
    most = mixing.gather(1, mixing.abs().argmax(dim=1, keepdim=True))
    return ((mixing * most.conj() / most.abs()) @ flat).to(probe.dtype).reshape(probe.shape)


def window_disc(shape: tuple[int, int], fraction: float, device: torch.device | str = "cpu") -> Bool[Tensor, "y x"]:
    """A disc (an ellipse where windows are not square) at the centre, `fraction` of the window wide."""
    rows, columns = ((torch.arange(n, device=device) - n // 2) / (0.5 * fraction * n) for n in shape)
    return rows[:, None].square() + columns.square() <= 1


def supported(x: PtychoEstimate, fraction: float) -> PtychoEstimate:
    """The probe, its modes and its variations are zero outside a disc `fraction` of the window wide."""
    inside = window_disc((x.probe.shape[-2], x.probe.shape[-1]), fraction, x.probe.device)
    return replace(x, probe=x.probe * inside, variations=None if x.variations is None else x.variations * inside)


def off_centre(probe: Complex[Tensor, "mode y x"]) -> tuple[int, int]:
    """By how many pixels, y and x, the probe must move for its centre of mass to stand in the middle of its window."""
    light = probe.abs().double().square().sum(dim=0)
    moves: list[int] = []
    for axis, size in enumerate(light.shape):
        places = torch.arange(size, dtype=torch.float64, device=light.device)
        centre = float((light.sum(dim=1 - axis) * places).sum() / light.sum().clamp(min=1e-30))
        moves.append(size // 2 - round(centre))
    return moves[0], moves[1]


def moved(x: PtychoEstimate, by: tuple[int, int]) -> PtychoEstimate:
    """Probe and object moved together by whole pixels: in the far field no pattern changes.

    What leaves an array on one side comes back on the other.
    """
    variations = None if x.variations is None else x.variations.roll(by, dims=(-2, -1))
    return replace(
        x, object=x.object.roll(by, dims=(-2, -1)), probe=x.probe.roll(by, dims=(-2, -1)), variations=variations
    )


def power(probe: Complex[Tensor, "mode y x"]) -> float:
    """Photons that the probe carries in all its modes."""
    return float(probe.abs().double().square().sum())


def with_power(x: PtychoEstimate, photons: float) -> PtychoEstimate:
    """The probe carries so many photons; the object makes up for it, so that no pattern changes."""
    factor = (photons / max(power(x.probe), 1e-30)) ** 0.5
    obj = x.object.clone()
    obj[0] /= factor
    variations = None if x.variations is None else x.variations * factor
    return replace(x, object=obj, probe=x.probe * factor, variations=variations)


def bounded(x: PtychoEstimate, max_amplitude: float) -> PtychoEstimate:
    """No pixel of the object is brighter than `max_amplitude`; phases stay."""
    amplitude = x.object.abs()
    factor = (max_amplitude / amplitude.clamp(min=1e-30)).clamp(max=1.0)
    return replace(x, object=x.object * factor)


def without_absorption(x: PtychoEstimate) -> PtychoEstimate:
    """Every pixel of the object has amplitude 1: the sample only shifts the phase."""
    return replace(x, object=torch.polar(torch.ones_like(x.object.real), x.object.angle()))
