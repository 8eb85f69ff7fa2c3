"""Phases of crystals without unwrapping: differences of neighbours, their mean, and the crystal without its mean slope."""

import numpy as np
from jaxtyping import Bool, Complex, Float

Crystal = Complex[np.ndarray, "frame y x"]
Region = Bool[np.ndarray, "frame y x"]
Field = Float[np.ndarray, "frame y x"]
Step = Float[np.ndarray, "3"]
"""Radians per voxel along each axis of the array."""


def phase_steps(crystal: Crystal, region: Region, axis: int) -> Float[np.ndarray, "gaps_frame gaps_y gaps_x"]:
    """Phase from each voxel to the next along an axis, -pi to pi, one fewer along it; NaN unless both lie in the region.

    The angle of a product needs no unwrapping, so that dislocations, about which no unwrapped phase exists, survive.
    """
    here, there = _pair(crystal, axis)
    both = np.logical_and(*_pair(region, axis))
    return np.where(both, np.angle(there * here.conj()), np.nan)


def mean_phase_step(crystal: Crystal, region: Region) -> Step:
    """The slope of the phase, rad per voxel, that stands for the place of the Bragg peak: the mean, weighted by intensity.

    The centre of mass of |F|^2 is the mean of the phase's gradient weighted by |object|^2. Here a mean on the circle, so that
    a slope beyond pi per voxel is found as diffraction knows it, modulo 2 pi.
    """
    inside = np.where(region, crystal, 0)
    steps = np.zeros(3)
    for axis in range(3):
        here, there = _pair(inside, axis)
        steps[axis] = np.angle(np.vdot(here, there))
    return steps


def sloped(crystal: Crystal, step_rad: Step) -> Crystal:
    """The crystal times exp(i step . n), n counted from the voxel n // 2."""
    made = crystal
    for axis, (size, step) in enumerate(zip(crystal.shape, step_rad, strict=True)):
        shape = [1, 1, 1]
        shape[axis] = size
        made = made * np.exp(1j * step * (np.arange(size) - size // 2)).reshape(shape)
    return made


def levelled(crystal: Crystal, region: Region) -> tuple[Crystal, Step]:
    """The crystal without the mean slope and the mean of its phase, and the slope that it had, rad per voxel."""
    step = mean_phase_step(crystal, region)
    flat = sloped(crystal, -step)
    mean = np.sum(flat[region])
    return flat * np.exp(-1j * np.angle(mean)), step


def phase_gradient(crystal: Crystal, region: Region) -> Float[np.ndarray, "3 frame y x"]:
    """Slope of the phase along each axis of the array, rad per voxel: the mean of the steps to both neighbours.

    At the surface the step to the one that lies inside; NaN outside the region and where an axis has no neighbour inside.
    """
    return np.stack([_slope(crystal, region, axis) for axis in range(3)])


def _slope(crystal: Crystal, region: Region, axis: int) -> Field:
    steps = phase_steps(crystal, region, axis)
    known = np.isfinite(steps)
    total, count = np.zeros(crystal.shape), np.zeros(crystal.shape, np.int8)
    for into, number in zip(_pair(total, axis), _pair(count, axis), strict=True):
        into += np.where(known, steps, 0)
        number += known
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _pair(values: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Views of all voxels but the last along an axis, and all but the first."""
    ahead = [slice(None)] * values.ndim
    behind = list(ahead)
    behind[axis], ahead[axis] = slice(None, -1), slice(1, None)
    return values[tuple(behind)], values[tuple(ahead)]
