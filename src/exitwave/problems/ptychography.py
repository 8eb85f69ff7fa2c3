"""A ptychography scan, its forward model and its noise: everything that a solver may look at."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Complex, Float, Int
from torch import Tensor

from exitwave.data.checks import check_frames, check_layout
from exitwave.data.errors import InputError
from exitwave.data.estimate import Estimate, PtychoEstimate
from exitwave.data.scan import Scan
from exitwave.data.statistics import ScanStatistics, scan_statistics
from exitwave.physics.constraints import orthogonal_modes
from exitwave.physics.noise import Amplitude, Noise
from exitwave.physics.photon_noise import offset_amplitudes
from exitwave.physics.ptychography import Ptychography
from exitwave.problems.base import Problem
from exitwave.problems.outliers import Outliers, Signatures, outliers
from exitwave.problems.prefetch import Prefetcher
from exitwave.problems.setup import Setup
from exitwave.problems.threads import Schedule, threads_on
from exitwave.problems.wave_store import WaveStore

Q = TypeVar("Q", bound="PtychographyProblem")
LOOKS = 3
"""Times that a scan is searched for outliers at most: wild frames hide others, and wild pixels."""
CHUNK = 16
"""Frames worked on together where order does not matter: at usual sizes they stay in the processor's cache."""


@dataclass(frozen=True, kw_only=True)
class Canvas:
    """Where the frames of a scan lie in the array of the object."""

    positions_px: Float[Tensor, "frame 2"]
    """Corners of the frame windows in the object array."""
    shape: tuple[int, int]


@dataclass(frozen=True, kw_only=True, eq=False)
class Region:
    """A part of the object array that only these frames see."""

    rows: slice
    columns: slice
    frames: Int[Tensor, " frame"]
    power: float = 1.0
    """Photons of a frame there over those of the mean frame of all regions."""

    def placed(self, positions_px: Float[Tensor, "all 2"]) -> Float[Tensor, "frame 2"]:
        """Of the positions of all frames, those of its own, in the region."""
        corner = torch.tensor([self.rows.start, self.columns.start], dtype=torch.float64, device=positions_px.device)
        return positions_px[self.frames.to(positions_px.device)] - corner


@dataclass(frozen=True, kw_only=True)
class MemoryBudget:
    """What a problem may hold, bytes."""

    cached: int = 2**33
    """For amplitudes: frames that need more stay where they are and are read anew in every epoch."""
    spare: int = 2**33
    """For what solvers hold of every frame, such as exit waves."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PtychographyProblem(Problem[PtychoEstimate]):
    """A ptychography scan put to solvers. Made by `exitwave.pose` or, without a look at memory, by `PtychographyProblem.of`."""

    title: ClassVar[str] = "a ptychography scan"
    measures: ClassVar[type[Scan]] = Scan

    scan: Scan
    model: Ptychography
    noise: Noise
    statistics: ScanStatistics
    positions_px: Float[Tensor, "frame 2"]
    """Recorded positions as corners of the frame windows in the object array."""
    object_shape: tuple[int, int]
    trusted: Float[Tensor, "y x"]
    """1 where solvers may look, 0 elsewhere, in detector order."""
    held_out: Bool[Tensor, "y x"]
    """Trusted pixels kept from the solvers, to test them with (free residual), in detector order."""
    _amplitudes: Float[Tensor, "frame y x"] | None = field(repr=False)
    left_out: Outliers = field(default_factory=Outliers)
    """Frames and pixels that are in the scan that was given, but not in this one."""
    spare_bytes: int = 2**33
    """Memory that solvers may take for what they hold of every frame, such as exit waves."""
    _prefetcher: Prefetcher = field(default_factory=Prefetcher, repr=False)

    @classmethod
    def of(
        cls,
        scan: Scan,
        *,
        model: Ptychography | None = None,
        noise: Noise | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
        margin_px: int = 4,
        free_fraction: float = 0.0,
        memory: MemoryBudget | None = None,
    ) -> "PtychographyProblem":
        """Check a scan and pose it. `margin_px` widens the object canvas; `free_fraction` of the pixels is held out.

        Raises InputError where the scan makes no sense.
        """
        check_layout(scan)
        problem = cls.on_canvas(
            scan,
            object_canvas(scan, margin_px),
            model=model,
            seed=seed,
            device=device,
            free_fraction=free_fraction,
            memory=memory or MemoryBudget(),
            robust=True,
        )
        return problem if noise is None else replace(problem, noise=noise)

    @classmethod
    def on_canvas(
        cls: type[Q],
        scan: Scan,
        canvas: Canvas,
        *,
        model: Ptychography | None,
        seed: int,
        device: torch.device | str,
        free_fraction: float,
        memory: MemoryBudget,
        robust: bool,
    ) -> Q:
        """Pose a scan whose layout was checked, with its frames in these places. Every frame is read once, for statistics
        and amplitudes together; where `robust` finds outliers, what is left of the scan is read and posed.

        Raises InputError where frames hold no counts.
        """
        device, left_out, rest = torch.device(device), Outliers(), scan
        model = model or Ptychography.of(scan.geometry, scan.frame_shape, device=device)
        seen = _read(scan, model, device, memory)
        for _ in range(LOOKS if robust else 0):
            found = outliers(rest, seen.statistics, seen.signatures)
            if not found:
                break
            left_out = left_out.then(found, len(scan))
            rest = left_out.without(scan)
            # Two stacks of amplitudes may be too many.
            seen = replace(seen, amplitudes=None)
            seen = _read(rest, model, device, memory)
        kept, free = left_out.kept(len(scan)), _held_out(rest, free_fraction, seed)
        return cls(
            scan=rest,
            model=model.of_frames(kept) if left_out.frames else model,
            noise=Amplitude(),
            seed=seed,
            device=device,
            statistics=seen.statistics,
            positions_px=canvas.positions_px[kept],
            object_shape=canvas.shape,
            trusted=model.to_detector_order(rest.mask & ~free).to(device, torch.float32).contiguous(),
            held_out=model.to_detector_order(free).to(device),
            _amplitudes=seen.amplitudes,
            left_out=left_out,
            spare_bytes=memory.spare,
        )

    @property
    def measurement(self) -> Scan:
        return self.scan

    @property
    def object_pixel_m(self) -> tuple[float, float]:
        return self.scan.object_pixel_m

    @property
    def has_held_out(self) -> bool:
        return bool(self.held_out.any())

    def amplitudes(self, frames: Int[Tensor, " batch"]) -> Float[Tensor, "batch y x"]:
        """Square roots of the measured photons, in detector order; without meaning where the detector cannot be trusted."""
        roots, offset = self._roots(frames), self.model.offset_photons
        return offset_amplitudes(roots, offset) if offset else roots

    def counts(self, frames: Int[Tensor, " batch"]) -> Float[Tensor, "batch y x"]:
        """Measured photons, in detector order; zero where the detector cannot be trusted."""
        return self._roots(frames).square()

    def _roots(self, frames: Int[Tensor, " batch"]) -> Float[Tensor, "batch y x"]:
        if self._amplitudes is not None:
            return self._amplitudes[frames.to(self.device)]
        found = self._prefetcher.find(frames)
        return self._read(frames) if found is None else found

    def _read(self, frames: Int[Tensor, " batch"]) -> Float[Tensor, "batch y x"]:
        return _amplitudes_of(self.scan.frames(frames), self.scan, self.model).to(self.device)

    def unbiased(self: Q) -> Q:
        """The same with photons added to counts and model, so that dark pixels do not pull: see `offset_amplitudes`.

        Fits to roots of counts are too dark where it is dark, so that patterns get narrower and refined scans wider. One photon
        is added; where values are no whole numbers, and so perhaps no photons, a fifth of the mean of a pixel at most.
        """
        counts = self.counts(torch.arange(min(CHUNK, len(self)))) * self.trusted
        whole = bool((counts - counts.round()).abs().le(1e-4 + 1e-6 * counts).all())
        mean = self.power / (len(self) * float(self.trusted.sum()))
        return replace(self, model=replace(self.model, offset_photons=1.0 if whole else min(1.0, 0.2 * mean)))

    @property
    def streamed(self) -> bool:
        """Whether frames are read anew in every epoch, because they do not fit into memory."""
        return self._amplitudes is None

    def prefetch(self, batches: Sequence[Int[Tensor, " _"]]) -> Iterator[Int[Tensor, " _"]]:
        """The same batches; where frames are streamed, a thread reads the next while one is worked on."""
        if (
            not self.streamed
            or not batches
            or self._too_many(len(batches[0]))
            or self._prefetcher.find(batches[0]) is not None
        ):
            yield from batches
        else:
            yield from self._prefetcher.over(batches, self._read)

    def _too_many(self, frames: int) -> bool:
        """Whether three batches of so many frames would fill memory; they are then read bit by bit inside."""
        return frames > CHUNK and 3 * 4 * frames * self.trusted.numel() > self.spare_bytes // 4

    def wave_store(self, modes: int) -> WaveStore:
        """Room for the exit waves of all frames: in memory while they fit, else in a temporary file."""
        return WaveStore(
            len(self), modes, self.scan.frame_shape, memory_bytes=self.spare_bytes // 2, device=self.device
        )

    def batches(self, size: int, epoch: int) -> Iterator[Int[Tensor, " batch"]]:
        """All frames once, in random batches that depend only on the seed and the epoch, so that a run can be resumed."""
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self))
        yield from self.prefetch(torch.from_numpy(order).split(size))

    def amplitude_stack(
        self, frames: Int[Tensor, " batch"]
    ) -> tuple[Float[Tensor, "frame y x"], Int[Tensor, " batch"]]:
        """A stack of amplitudes and where in it these frames are: all frames without a copy, or those just read."""
        if self._amplitudes is not None and not self.model.offset_photons:
            return self._amplitudes, frames
        return self.amplitudes(frames), torch.arange(len(frames))

    def loss(self, x: PtychoEstimate, frames: Int[Tensor, " batch"]) -> Float[Tensor, ""]:
        """Mean negative log likelihood of a trusted pixel under the noise model; differentiable."""
        return self.noise.loss(self.model.intensity(x, frames), self.amplitudes(frames).square(), self.trusted)

    @cached_property
    def power(self) -> float:
        pattern = self.model.to_detector_order(self.statistics.mean_pattern).to(self.device)
        return float((pattern.double() * self.trusted).sum()) * len(self)

    def misfits(
        self, x: PtychoEstimate, *, held_out: bool = False
    ) -> tuple[Float[Tensor, " frame"], Float[Tensor, " frame"]]:
        pixels = self.held_out.to(torch.float32) if held_out else self.trusted

        @torch.no_grad()
        def seen(frames: Int[Tensor, " batch"]) -> Float[Tensor, "2 batch"]:
            measured = self.amplitudes(frames)
            deviation = (self.model.intensity(x, frames).sqrt() - measured).square()
            return torch.stack([(squares * pixels).sum(dim=(1, 2)) for squares in (deviation, measured.square())])

        def part(_: int, frames: Int[Tensor, " part"]) -> Float[Tensor, "2 part"]:
            return torch.cat([seen(some) for some in self.prefetch(frames.split(schedule.chunk))], dim=1)

        # However many threads there are, they hold no more frames than one would.
        parts = 1 if self.streamed else threads_on(self.device, min(CHUNK, len(self)))
        schedule = Schedule(parts, CHUNK // parts)
        found = schedule.run(part, torch.arange(len(self)))
        misfit, power = torch.cat(found, dim=1).cpu()
        return misfit, power

    def initial(
        self, start: Estimate | None, setup: Setup, *, probe: Complex[Tensor, "mode y x"] | None = None
    ) -> PtychoEstimate:
        # These functions pose trial problems of this very kind.
        from exitwave.problems.initial_guess import first_estimate, with_slices

        if setup.support or setup.coherence_px:
            raise InputError(
                f"a support and coherence_px belong to one pattern of an isolated object, but this is {self.title}: leave them "
                "out; a partly coherent beam has several modes (--modes 2)"
            )
        return with_slices(first_estimate(self, start, probe=probe, modes=setup.modes), setup)

    def finished(self, x: PtychoEstimate) -> PtychoEstimate:
        # Where the first mode varies it is not one of a mixture.
        return x if len(x.probe) == 1 or x.variations is not None else replace(x, probe=orthogonal_modes(x.probe))

    def with_common_scale(
        self, x: PtychoEstimate, spread: PtychoEstimate | None
    ) -> tuple[PtychoEstimate, PtychoEstimate | None]:
        from exitwave.problems.common_scale import with_common_scale

        return with_common_scale(self, x, spread)

    def features(self, x: PtychoEstimate) -> frozenset[str]:
        found = {name for name in ("variations", "brightness", "background") if getattr(x, name) is not None}
        found |= {"slices"} if len(x.object) > 1 else set()
        found |= {"modes"} if len(x.probe) > 1 else set()
        found |= set() if isinstance(self.noise, Amplitude) else {"noise"}
        return frozenset(found | ({"exposure"} if self.model.exposure_px is not None else set()))

    def regions(self, x: PtychoEstimate) -> tuple[Region, ...]:
        """The parts of the object array that have no frame in common: here there is one."""
        rows, columns = (slice(0, size) for size in self.object_shape)
        return (Region(rows=rows, columns=columns, frames=torch.arange(len(self))),)

    def sharing_weights(self, weights: Complex[Tensor, "frame component"]) -> Complex[Tensor, "frame component"]:
        """Weights of the probe's variations as the measurement allows them: here every frame has its own."""
        return weights

    def fingerprint(self) -> str:
        digest = hashlib.sha256(repr(self.scan.geometry).encode())
        for array in (self.scan.positions_m, self.scan.mask, self.statistics.photons_per_frame, self.trusted.cpu()):
            digest.update(array.contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    def identity(self, x: PtychoEstimate, setup: Setup) -> dict[str, Any]:
        same = super().identity(x, setup)
        if setup.exposure_m is not None:
            same |= {"exposure_m": list(setup.exposure_m), "exposure_points": setup.exposure_points}
        if not isinstance(self.noise, Amplitude):
            same["noise"] = repr(self.noise)
        if setup.slice_spacing_m is not None and x.slice_spacing_m is not None:
            same["slice_spacing_m"] = x.slice_spacing_m.tolist()
        return same

    def provenance(self, x: PtychoEstimate) -> Mapping[str, Any]:
        said: dict[str, Any] = {"modes": len(x.probe), "slices": len(x.object)}
        return said | ({"outliers": self.left_out.described()} if self.left_out else {})


def object_canvas(scan: Scan, margin_px: int) -> Canvas:
    """Positions as window corners in the smallest object array that holds all windows and a margin; and its shape.

    Raises InputError when the array would be far larger than its frames can fill.
    """
    pixel = torch.tensor(scan.object_pixel_m, dtype=torch.float64)
    positions = scan.positions_m / pixel
    positions = positions - positions.amin(dim=0) + margin_px
    span = positions.amax(dim=0)
    shape = tuple(int(np.ceil(float(s))) + n + margin_px for s, n in zip(span, scan.frame_shape, strict=True))
    covered = len(scan) * scan.frame_shape[0] * scan.frame_shape[1]
    if shape[0] * shape[1] > max(100 * covered, 10**7):
        raise InputError(
            f"the positions ask for an object of {shape[0]} x {shape[1]} pixels of which {len(scan)} frames can see at most "
            f"{100 * covered / (shape[0] * shape[1]):.2g} %; look for outliers among the positions, or a wrong unit"
        )
    return Canvas(positions_px=positions, shape=(shape[0], shape[1]))


@dataclass(frozen=True, eq=False)
class _Seen:
    """What one pass over all frames tells; amplitudes where they fit into memory."""

    statistics: ScanStatistics
    signatures: Signatures
    amplitudes: Float[Tensor, "frame y x"] | None


def _read(scan: Scan, model: Ptychography, device: torch.device, memory: MemoryBudget) -> _Seen:
    fits = 4 * len(scan) * scan.frame_shape[0] * scan.frame_shape[1] <= memory.cached
    amplitudes = torch.empty(len(scan), *scan.frame_shape, device=device) if fits else None
    signatures: list[Signatures] = []

    def keep(index: Int[Tensor, " batch"], frames: Float[Tensor, "batch y x"]) -> None:
        signatures.append(Signatures.of(frames, scan.mask))
        if amplitudes is not None:
            amplitudes[index] = _amplitudes_of(frames, scan, model).to(device)

    statistics = scan_statistics(scan, also=keep)
    check_frames(statistics)
    return _Seen(statistics, Signatures.joined(signatures), amplitudes)


def _amplitudes_of(frames: Float[Tensor, "batch y x"], scan: Scan, model: Ptychography) -> Float[Tensor, "batch y x"]:
    return model.to_detector_order(torch.where(scan.mask, frames, 0.0).clamp_(min=0).sqrt_())


def _held_out(scan: Scan, fraction: float, seed: int) -> Bool[Tensor, "y x"]:
    if not 0 <= fraction < 0.5:
        raise InputError(
            f"free fraction is {fraction}; expected a share of the pixels from 0 to below 0.5, 0.05 is usual"
        )
    drawn = np.random.default_rng([seed, 77]).random(scan.frame_shape) < fraction
    return torch.from_numpy(drawn) & scan.mask
