"""Alignment of crystals from one rocking curve: shift, twin, phase, and the slope of the phase that a moved pattern gives, are free."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Complex
from torch import Tensor

from exitwave.evaluation.cdi_alignment import RegisteredImage, register_shift, register_twin
from exitwave.physics.crystal.levelled import SURFACE, bulk_amplitude
from exitwave.physics.crystal.phase import mean_phase_step, sloped
from exitwave.physics.fourier import conjugate_inverse

ROUNDS, LEVEL_RAD = 3, 1e-4
"""Shift and slope are found in turns, at most so often, until so little slope per voxel is left."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RegisteredCrystal:
    """A crystal in the pose of another one."""

    laid: RegisteredImage
    """The image, with shift, twin and phase."""
    ramp_rad_px: tuple[float, ...]
    """Slope of the phase that was taken off it along each axis."""


def register_crystal(
    crystal: Complex[Tensor, "frame y x"], reference: Complex[Tensor, "frame y x"]
) -> RegisteredCrystal:
    """Turn, move, tilt and rotate the phase of a crystal so that it agrees best with a reference of the same shape.

    A whole pattern that lies elsewhere on the detector by a part of a voxel is a slope of the phase; each is first freed of its
    own mean slope, so that what is left to be found is small.
    """
    own, other = (mean_phase_step(_numpy(image), _bright(_numpy(image))) for image in (crystal, reference))
    flat, target = _tilted(crystal, -own), _tilted(reference, -other)
    found = register_twin(flat, target)
    # The twin has the same slope: conjugation turns it, inversion turns it back.
    upright, laid, ramp = (conjugate_inverse(flat) if found.twin else flat), found, own - other
    for _ in range(ROUNDS):
        product = _numpy(laid.image * target.conj())
        left = mean_phase_step(product, _bright(product))
        if np.abs(left).max() < LEVEL_RAD:
            break
        ramp, upright = ramp + left, _tilted(upright, -left)
        laid = register_shift(upright, target)
    laid = replace(laid, image=_tilted(laid.image, other), twin=found.twin)
    return RegisteredCrystal(laid=laid, ramp_rad_px=tuple(float(each) for each in ramp))


def _tilted(image: Complex[Tensor, "frame y x"], step_rad: np.ndarray) -> Complex[Tensor, "frame y x"]:
    return torch.from_numpy(sloped(_numpy(image), step_rad))


def _bright(image: Complex[np.ndarray, "frame y x"]) -> np.ndarray:
    amplitude = np.abs(image)
    return amplitude > SURFACE * bulk_amplitude(amplitude)


def _numpy(image: Complex[Tensor, "frame y x"]) -> Complex[np.ndarray, "frame y x"]:
    return image.detach().cpu().to(torch.complex128).resolve_conj().numpy()
