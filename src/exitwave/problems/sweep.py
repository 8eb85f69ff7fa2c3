"""One pass over frames: what they say about object and probe, in sums from which nearly every method takes its step."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from exitwave.data.estimate import PtychoEstimate
from exitwave.physics.fourier import ifft2
from exitwave.physics.interaction import multislice, propagate_gap, split_positions
from exitwave.physics.kernels import dispatch as kernels
from exitwave.physics.kernels.reference import FrameWaves
from exitwave.problems.probe_shifts import ProbeShifts
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.problems.threads import Schedule, frames_in_cache

DetectorUpdate = Callable[[FrameWaves, Int[Tensor, " batch"]], Float[Tensor, " batch"]]
"""Turns waves at the detector, in place, into the change that is wanted of them; returns the loss of each frame."""
ExitWaveUpdate = Callable[[FrameWaves, Int[Tensor, " batch"]], Float[Tensor, " batch"]]
"""Turns exit waves, in place, into the change that is wanted of them; returns the loss of each frame."""
Observer = Callable[[FrameWaves, FrameWaves, Int[Tensor, " batch"]], None]
"""Looks at exit waves and the change that the modulus constraint wants of them, both to be left as they are."""


@dataclass(eq=False)
class Sums:
    """Terms of the overlap constraint, and of the gradient: d is the change wanted of an exit wave, P the probe, q the window."""

    object_descent: Complex[Tensor, "slice Y X"]
    """Sum of conj(P) d in each window: the steepest descent direction of the object."""
    illumination: Float[Tensor, "slice Y X"]
    """Sum of |P|^2 in each window: the illumination, which is the object's curvature."""
    probe_descent: Complex[Tensor, "mode y x"]
    """Sum of conj(q) d: the steepest descent direction of the probe."""
    probe_weight: Float[Tensor, "y x"]
    """Sum of |q|^2: the probe's curvature."""
    misfit: float = 0.0
    """Sum of (M - A)^2 over trusted pixels and frames, or of the loss that was asked for."""
    max_illumination: float = 0.0
    """Largest pixel of the illumination."""

    @classmethod
    def like(cls, x: PtychoEstimate) -> "Sums":
        """Empty sums of the right shape."""
        return cls(
            torch.zeros_like(x.object),
            torch.zeros_like(x.object.real),
            torch.zeros_like(x.probe),
            torch.zeros_like(x.probe[0].real),
        )


@dataclass(eq=False)
class Sweep:
    """Goes through frames in chunks that stay in cache, shared among threads. Made once for an estimate, used for many passes.

    Object and probe of `x` may be changed in place between passes; its positions and whatever else it holds may not.
    """

    problem: PtychographyProblem
    x: PtychoEstimate
    detector_update: DetectorUpdate | None = None
    """What is wanted of the waves at the detector; the modulus constraint when left out."""
    sums: Sums = field(init=False)
    """Of the last pass. Solvers may use it up as they like."""

    def __post_init__(self) -> None:
        x, model = self.x, self.problem.model
        self.corners, rest = split_positions(x.positions_px)
        self._gaps, self._background = model.gap_transfers(x), model.background(x)
        self.shape = (x.probe.shape[-2], x.probe.shape[-1])
        self._uniform = model.has_one_probe(x)
        self._shifts = ProbeShifts.of(self.problem, rest) if rest is not None and self._uniform else None
        self._shared = self._uniform and rest is None
        modes = len(x.probe) * (1 if model.exposure_px is None else model.exposure_px.shape[1])
        self._wave_pixels = modes * math.prod(self.shape)
        self._workers = [_Worker(Sums.like(x))]
        chunk = frames_in_cache(len(x.positions_px), self._wave_pixels, x.object.device)
        self._wave_shape = (chunk, modes, *self.shape)

    @torch.no_grad()
    def over(
        self,
        frames: Int[Tensor, " frame"],
        *,
        with_probe: bool = True,
        with_object: bool = True,
        exit_wave_update: ExitWaveUpdate | None = None,
        observer: Observer | None = None,
        measured: bool = True,
    ) -> Sums:
        """Sum over these frames, for object, probe or both.

        The object's sums add to what is in them: empty them first, by `clear` or by using them up. `exit_wave_update` is
        what is wanted of exit waves, for methods that look at more than the detector; `measured` is False where it does
        without the measured frames, so that none is read from disk.
        """
        schedule = self._schedule(len(frames))
        while len(self._workers) < schedule.parts:
            self._workers.append(_Worker(Sums.like(self.x)))
        if self._shifts is not None:
            self._shifts.prepare(self.x.probe, len(frames))
        wanted = _Wanted(with_probe, with_object, exit_wave_update, observer, measured)
        schedule.run(lambda part, some: self._work(self._workers[part], some, wanted), frames)
        self.sums = self._merged(schedule.pieces(frames))
        return self.sums

    def everything(
        self,
        *,
        with_probe: bool = True,
        with_object: bool = True,
        exit_wave_update: ExitWaveUpdate | None = None,
        observer: Observer | None = None,
        measured: bool = True,
    ) -> Sums:
        """Sum over all frames, from empty sums."""
        self.clear()
        return self.over(
            torch.arange(len(self.problem)),
            with_probe=with_probe,
            with_object=with_object,
            exit_wave_update=exit_wave_update,
            observer=observer,
            measured=measured,
        )

    def clear(self) -> None:
        """Empty the object's sums."""
        for worker in self._workers:
            worker.sums.object_descent.zero_()
            worker.sums.illumination.zero_()

    def _schedule(self, frames: int) -> Schedule:
        return Schedule.of(frames, self._wave_pixels, self.x.object.device)

    def _work(self, worker: "_Worker", frames: Int[Tensor, " frame"], wanted: "_Wanted") -> None:
        worker.begin()
        chunks = frames.split(self._wave_shape[0])
        for chunk in self.problem.prefetch(chunks) if wanted.measured else chunks:
            self._chunk(worker, chunk, wanted)

    def _chunk(self, worker: "_Worker", frames: Int[Tensor, " chunk"], wanted: "_Wanted") -> None:
        x, model, sums = self.x, self.problem.model, worker.sums
        first, second, third, fourth = worker.buffers(self._wave_shape, len(frames), x.probe)
        corners = self.corners[frames]
        probes = self._probes(frames, second, third)
        waves, incident = multislice(x.object, probes, corners, self._gaps, first)
        if wanted.exit_wave_update is None:
            at_detector = model.propagate(waves, second)
            worker.misfits.append(self._pulled(at_detector, frames).sum())
            change = model.backpropagate(at_detector, fourth if wanted.observer else first)
            if wanted.observer:
                wanted.observer(waves, change, frames)
        else:
            worker.misfits.append(wanted.exit_wave_update(waves, frames).sum())
            change = waves
        for number in range(len(x.object) - 1, 0, -1):
            assert self._gaps is not None
            worker.add_object(number, change, incident[number], corners)
            kernels.times_conjugate_window_(change, x.object[number], corners, torch.zeros_like(sums.probe_weight))
            change = propagate_gap(change, self._gaps[number - 1].conj())
        if wanted.with_object:
            worker.add_object(0, change, probes, corners)
        if wanted.with_probe:
            self._add_probe(worker, frames, corners, change, second)

    def _pulled(self, at_detector: Tensor, frames: Tensor) -> Tensor:
        if self.detector_update is not None:
            return self.detector_update(at_detector, frames)
        stack, index = self.problem.amplitude_stack(frames)
        return kernels.impose_modulus_(at_detector, stack, index, self.problem.trusted, self._background)

    def _probes(self, frames: Tensor, spare: Tensor, out: Tensor) -> Tensor:
        if self._shared:
            return self.x.probe[None]
        if self._shifts is None:
            return self.problem.model.probes(self.x, frames).contiguous()
        return self._shifts.probes(frames, spare, out)

    def _add_probe(self, worker: "_Worker", frames: Tensor, corners: Tensor, change: Tensor, spare: Tensor) -> None:
        sums, obj = worker.sums, self.x.object[0]
        if self._shared:
            kernels.add_probe_(change, obj, corners, sums.probe_descent, sums.probe_weight)
            return
        kernels.times_conjugate_window_(change, obj, corners, sums.probe_weight)
        if self._shifts is None:
            sums.probe_descent += self.problem.model.probes_adjoint(self.x, frames, change)
        else:
            # In Fourier space one inverse transform at the end serves all frames.
            exact = self._shifts.weights is None
            self._shifts.add_back(
                change, frames, spare, worker.spectrum(sums.probe_descent) if exact else sums.probe_descent
            )

    def _merged(self, pieces: "tuple[Tensor, ...]") -> Sums:
        first = self._workers[0].finished()
        for worker, frames in zip(self._workers[1:], pieces[1:], strict=False):
            other = worker.finished()
            first.probe_descent += other.probe_descent
            first.probe_weight += other.probe_weight
            first.misfit += other.misfit
            few = len(frames) * math.prod(self.shape) < first.illumination[0].numel()
            for number in range(len(first.object_descent)):
                total, lit = first.object_descent[number], first.illumination[number]
                if few:
                    corners = self.corners[frames]
                    top = kernels.fold_(
                        total, lit, other.object_descent[number], other.illumination[number], corners, self.shape
                    )
                else:
                    total += other.object_descent[number]
                    lit += other.illumination[number]
                    other.object_descent[number].zero_()
                    other.illumination[number].zero_()
                    top = float(lit.max())
                first.max_illumination = max(first.max_illumination, top)
        return first


@dataclass(frozen=True, eq=False)
class _Wanted:
    """What is asked of one pass."""

    with_probe: bool
    with_object: bool
    exit_wave_update: ExitWaveUpdate | None
    observer: Observer | None
    measured: bool


class _Worker:
    """What one thread holds: its sums and the memory for its waves."""

    def __init__(self, sums: Sums) -> None:
        self.sums = sums
        self.misfits: list[Tensor] = []
        """Of each chunk. A GPU would stand still while they become numbers: that is left to the end of the pass."""
        self._waves: tuple[Tensor, ...] = ()
        self._spectrum: Tensor | None = None

    def begin(self) -> None:
        self.sums.probe_descent.zero_()
        self.sums.probe_weight.zero_()
        self.sums.misfit = self.sums.max_illumination = 0.0
        self.misfits.clear()
        self._spectrum = None

    def add_object(self, number: int, change: Tensor, incident: Tensor, corners: Tensor) -> None:
        """What exit waves ask of a slice on which these waves fell."""
        sums = self.sums
        found = kernels.add_object_(change, incident, corners, sums.object_descent[number], sums.illumination[number])
        sums.max_illumination = max(sums.max_illumination, found)

    def buffers(self, shape: tuple[int, ...], frames: int, like: Tensor) -> tuple[Tensor, ...]:
        if not self._waves:
            self._waves = tuple(torch.zeros(shape, dtype=like.dtype, device=like.device) for _ in range(4))
        return tuple(wave[:frames] for wave in self._waves)

    def spectrum(self, like: Tensor) -> Tensor:
        if self._spectrum is None:
            self._spectrum = torch.zeros_like(like)
        return self._spectrum

    def finished(self) -> Sums:
        self.sums.misfit = sum(float(misfit) for misfit in self.misfits)
        if self._spectrum is not None:
            self.sums.probe_descent += ifft2(self._spectrum)
            self._spectrum = None
        return self.sums
