"""You will see a kind of measurement that exitwave does not know take part: holograms of one sample at several distances.

    python measurement.py [frames]

The method: put the measured modulus into the wave at one distance after another. Cloetens et al., Appl. Phys. Lett. 75 (1999).
"""

import hashlib
import math
import sys
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from pydantic import PositiveInt

import exitwave as ew
from exitwave.physics.propagation import free_space
from exitwave.simulation.objects import siemens_star


@dataclass(frozen=True, kw_only=True, eq=False)
class Holograms(ew.Measurement):
    """In-line holograms in a plane wave, one for each distance from sample to detector."""

    distances_m: tuple[float, ...]
    layout = property(
        lambda self: self.frame_shape
    )  # What an estimate must share with it: here the size of the object.
    title = "a series of holograms"


@dataclass(frozen=True, kw_only=True, eq=False)
class HologramEstimate(ew.Estimate):
    """The transmission of the sample; a field for each further unknown, of tensors, would stand here."""

    kind: ClassVar[str] = "holograms"  # What files call it.
    title: ClassVar[str] = "Sample seen in holograms"


@dataclass(frozen=True, kw_only=True, eq=False)
class HologramProblem(ew.Problem[HologramEstimate]):
    """Holograms put to solvers: amplitudes in units of the beam, and the way of the wave to each."""

    title: ClassVar[str] = "a series of holograms"
    measures: ClassVar[type[ew.Measurement]] = Holograms
    holograms: Holograms
    amplitudes: torch.Tensor
    measurement = property(lambda self: self.holograms)
    power = property(lambda self: float(self.amplitudes.square().sum()))

    def wave(self, obj: torch.Tensor, frame: int, direction: int = 1) -> torch.Tensor:
        """The wave of a frame's detector; back from there to the sample where `direction` is -1."""
        distance_m = direction * self.holograms.distances_m[frame]
        return free_space(obj, self.object_pixel_m, self.geometry.wavelength_m, distance_m)

    def misfits(self, x, *, held_out=False):
        waves = torch.stack([self.wave(x.object, frame) for frame in range(len(self))])
        off, measured = (waves.abs() - self.amplitudes).square(), self.amplitudes.square()
        return off.sum(dim=(1, 2)).cpu(), measured.sum(dim=(1, 2)).cpu()

    def initial(self, start, setup, *, probe=None):
        if probe is not None or setup.beyond("seed", "device", "memory"):
            raise ew.InputError(f"{self.title} knows seed and device alone; leave out probe and what else is set up")
        if start is not None:
            return self.require(start, HologramEstimate).to(self.device)
        return HologramEstimate(object=torch.ones_like(self.amplitudes[0], dtype=torch.complex64))

    def fingerprint(self):
        said = repr((self.geometry, self.holograms.distances_m)).encode()
        return hashlib.sha256(said + self.amplitudes.cpu().numpy().tobytes()).hexdigest()[:16]


@ew.pose.register
def _(holograms: Holograms, setup: ew.Setup | None = None, *, solver: ew.Solver | None = None) -> HologramProblem:
    setup = setup or ew.Setup()
    device = torch.device("cpu" if setup.device == "auto" else setup.device)
    amplitudes = holograms.frames(slice(None)).sqrt()
    amplitudes = amplitudes / amplitudes.square().mean().sqrt()
    return HologramProblem(seed=setup.seed, device=device, holograms=holograms, amplitudes=amplitudes.to(device))


@ew.solver
class Distances(ew.Solver[HologramEstimate]):
    """The measured modulus at one distance after another, in random order."""

    name: ClassVar[str] = "distances"
    solves: ClassVar[type[ew.Problem]] = HologramProblem
    epochs: PositiveInt = 30
    """Passes over all distances."""

    def solve(self, problem, start):
        obj = start.estimate.object
        for epoch in range(start.epoch + 1, self.epochs + 1):
            for frame in np.random.default_rng([problem.seed, epoch]).permutation(len(problem)):
                wave = problem.wave(obj, frame)
                obj = problem.wave(torch.polar(problem.amplitudes[frame], wave.angle()), frame, -1)
            estimate = HologramEstimate(object=obj.clone())
            yield ew.Step(epoch=epoch, estimate=estimate, residual=problem.residual(estimate))


def simulated(frames: int, size_px: int = 64) -> tuple[Holograms, HologramEstimate]:
    """Holograms with photon noise, and what they were made of."""
    geometry = ew.Geometry.from_energy(8e3, 0.1, (5e-7, 5e-7), math.inf)
    truth = HologramEstimate(object=siemens_star((size_px, size_px)))
    distances_m = tuple(np.linspace(0.01, 0.1, frames).tolist())
    waves = [free_space(truth.object, (5e-7, 5e-7), geometry.wavelength_m, distance) for distance in distances_m]
    patterns = torch.poisson(1e3 * torch.stack(waves).abs().square(), generator=torch.Generator().manual_seed(0))
    return Holograms(patterns=patterns, geometry=geometry, distances_m=distances_m), truth


if __name__ == "__main__":
    holograms, truth = simulated(frames=int(sys.argv[1]) if len(sys.argv) > 1 else 5)
    for method in (Distances(epochs=30), ew.ensemble(Distances(epochs=30), size=3)):
        result = ew.reconstruct(holograms, method)
        error = ew.evaluate(result, truth=truth).metrics["M-NRMSE"]
        print(f"{method.name:9} residual {result.residual:.5f}, error {error:.3f} (M-NRMSE)")
