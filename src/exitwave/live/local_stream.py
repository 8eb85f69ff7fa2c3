"""Live reconstruction with the local solver: groups are solved as their frames arrive."""

import warnings
from dataclasses import replace

import torch
from jaxtyping import Bool, Complex, Float, Int
from torch import Tensor

from exitwave.data.checks import check_layout
from exitwave.data.errors import ExaminedWarning, InputError
from exitwave.data.estimate import PtychoEstimate
from exitwave.data.finding import Finding
from exitwave.data.geometry import Geometry
from exitwave.data.patterns import ArrayPatterns
from exitwave.data.scan import Scan
from exitwave.live.arrivals import Arrivals
from exitwave.physics.ptychography import Ptychography
from exitwave.problems.examination.survey import without_data
from exitwave.problems.groups.neighbours import Members, neighbour_groups
from exitwave.problems.ptychography import object_canvas
from exitwave.solvers.ptychography.local import MARGIN_PX, Local, LocalWork


class LocalStream:
    """Reconstructs while a scan is still running: frames come as they come, and an image of what is done can be had at any time.

    The positions planned for all frames must be known, the probe too, for example from an earlier scan. A frame is told by
    its number in the plan, never by when it arrives. Groups are solved in the order of the plan, each as soon as it and
    all before it are complete: the result is exactly that of the solver on the finished scan, whatever the order of arrival.
    """

    def __init__(
        self,
        positions_m: Float[Tensor, "frame 2"],
        geometry: Geometry,
        probe: Complex[Tensor, "mode y x"],
        *,
        mask: Bool[Tensor, "y x"] | None = None,
        options: Local | None = None,
        in_order: bool = True,
        seed: int = 0,
        device: str = "cpu",
        as_is: bool = False,
    ) -> None:
        """`positions_m` are planned, (y, x); `probe` carries the photons of a frame; `mask` is True where pixels can be trusted.

        Without `in_order` a group is solved as soon as its own frames are there: for scans whose frames get lost or come in
        far from the planned order. The result then depends on the order of arrival, within what the iterations left over.
        Frames are examined as they come: pixels that hold no counts are masked from then on, and frames without data, empty or
        unlike those beside them are left out, with a warning (ExaminedWarning), unless frames are taken `as_is`. Raises
        InputError where plan, geometry and probe make no sense together, or for more than one epoch.
        """
        options = options or Local()
        if options.epochs > 1:
            raise InputError(
                f"a stream is gone through once, but epochs is {options.epochs}; polish its result instead"
            )
        if probe.ndim != 3 or not bool(torch.view_as_real(probe).isfinite().all()) or not bool(probe.abs().sum() > 0):
            raise InputError(
                f"the probe has shape {tuple(probe.shape)}; expected (mode, y, x), finite and not all zero"
            )
        shape = (probe.shape[-2], probe.shape[-1])
        # A scan whose patterns are still to come: one zero, seen everywhere, takes no memory.
        plan = Scan(
            patterns=ArrayPatterns(torch.zeros(1, 1, 1).expand(len(positions_m), *shape)),
            positions_m=positions_m.to("cpu", torch.float64),
            geometry=geometry,
            mask=torch.ones(shape, dtype=torch.bool) if mask is None else mask,
        )
        check_layout(plan)
        self._plan, self._device = plan, torch.device(device)
        self._model = Ptychography.of(geometry, shape, device=self._device)
        canvas = object_canvas(plan, MARGIN_PX)
        positions_px, object_shape = canvas.positions_px, canvas.shape
        x = PtychoEstimate(
            object=torch.ones(1, *object_shape, dtype=torch.complex64, device=self._device),
            probe=probe.to(self._device, torch.complex64).clone(),
            positions_px=positions_px,
        )
        self._groups = neighbour_groups(positions_px, options.group, shared=options.shared)
        self._options, self._seed = options, seed
        self._findings: list[Finding] = []
        self._arrivals = None if as_is else Arrivals(plan)
        self._work = self._begun(x)
        self._in_order = in_order
        self._waiting: dict[int, Tensor] = {}
        self._here = torch.zeros(len(plan), dtype=torch.bool)
        self._bad = torch.zeros(len(plan), dtype=torch.bool)
        self._uses = self._groups.flatten().bincount(minlength=len(plan))
        self._solved = torch.zeros(len(self._groups), dtype=torch.bool)

    def _begun(self, x: PtychoEstimate) -> LocalWork:
        trusted = self._model.to_detector_order(self._plan.mask).to(self._device, torch.float32).contiguous()
        return LocalWork.begin(self._options, self._model, trusted, x, self._groups, seed=self._seed)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What the examination of the frames has found so far."""
        return tuple(self._findings)

    @property
    def left_out(self) -> tuple[int, ...]:
        """Numbers of the frames that came but were left out by the examination."""
        return tuple(int(number) for number in self._bad.nonzero().flatten())

    @property
    def frames_here(self) -> int:
        """Frames absorbed so far, without those left out."""
        return int((self._here & ~self._bad).sum())

    @property
    def groups_solved(self) -> int:
        """Groups whose part of the object is done."""
        return int(self._solved.sum())

    def absorb(self, numbers: Int[Tensor, " batch"], patterns: Float[Tensor, "batch y x"]) -> int:
        """Take in frames (photons, beam at the centre) by their numbers in the plan, from 0; returns the groups solved thereby.

        Raises InputError for numbers outside the plan or seen before, frames of another size and values that are not finite.
        """
        self._check(numbers, patterns)
        frames = patterns.to("cpu", torch.float32)
        if self._arrivals is not None:
            self._examine(self._arrivals, numbers, frames)
        well = ~self._bad[numbers]
        numbers_well, frames = numbers[well], frames[well]
        self._check_data(numbers_well, frames)
        photons = torch.where(self._plan.mask, frames, 0.0)
        amplitudes = self._model.to_detector_order(photons.clamp_(min=0).sqrt_()).to(self._device)
        self._waiting.update(zip(numbers_well.tolist(), amplitudes, strict=True))
        self._here[numbers] = True
        return self._solve_ready()

    def finish(self) -> int:
        """Solve what is left with the frames that are there, when no more will come; returns the groups solved thereby."""
        left = [int(number) for number in (~self._solved).nonzero()[:, 0]]
        there = self._here & ~self._bad
        parts = [group[there[group]] for group in self._groups[left]]
        for number, members in zip(left, parts, strict=True):
            self._solved[number] = True
            if len(members):
                self._solve(members[None])
        self._waiting.clear()
        return sum(len(members) > 0 for members in parts)

    def estimate(self) -> PtychoEstimate:
        """Object, probe and positions as far as they are known; the object is 1 where nothing was seen yet."""
        x = self._work.x
        return replace(x, object=self._work.image()[None], probe=x.probe.clone())

    def _check(self, numbers: Tensor, patterns: Tensor) -> None:
        if patterns.ndim != 3 or tuple(patterns.shape[1:]) != self._plan.frame_shape or len(patterns) != len(numbers):
            raise InputError(
                f"{len(numbers)} frame numbers came with patterns of shape {tuple(patterns.shape)}; expected "
                f"({len(numbers)}, {self._plan.frame_shape[0]}, {self._plan.frame_shape[1]}), the size of the probe"
            )
        if bool(((numbers < 0) | (numbers >= len(self._plan))).any()):
            raise InputError(
                f"frame numbers run from {int(numbers.min())} to {int(numbers.max())} but the plan has frames 0 to "
                f"{len(self._plan) - 1}; number frames from 0, as in the planned positions"
            )
        if bool(self._here[numbers].any()) or len(numbers.unique()) < len(numbers):
            raise InputError("a frame number came twice; leave out frames that were sent again")

    def _check_data(self, numbers: Tensor, frames: Tensor) -> None:
        lost = without_data(frames) & self._plan.mask if len(frames) else torch.zeros(0)
        if bool(lost.any()):
            first = int(lost.flatten(1).any(dim=1).nonzero()[0])
            raise InputError(
                f"frame {int(numbers[first])} holds {int(lost[first].sum())} trusted pixels without data (not finite, or the end "
                "of an integer type); mask them, or leave the frame out"
            )

    def _examine(self, arrivals: Arrivals, numbers: Tensor, frames: Float[Tensor, "batch y x"]) -> None:
        """Mask pixels that hold no counts, and note frames that are bad; groups solved before stay as they are."""
        pixels = arrivals.bad_pixels(frames)
        if pixels:
            self._plan = replace(self._plan, mask=arrivals.mask)
            self._work = replace(self._begun(self._work.x), patchwork=self._work.patchwork)
        bad = arrivals.bad_frames(numbers, frames)
        self._bad[list(bad.reasons)] = True
        # Of a stream nobody says beforehand which frames to keep.
        left_out = [Finding("bad-frames", bad.told, "cured")] if bad.reasons else []
        for found in (*(each.finding for each in pixels), *left_out):
            self._findings.append(found)
            warnings.warn(found.line, ExaminedWarning, stacklevel=4)

    def _solve_ready(self) -> int:
        complete = self._here[self._groups].all(dim=1)
        if self._in_order:
            complete = complete.cummin(dim=0).values
        ready: list[int] = (complete & ~self._solved).nonzero()[:, 0].tolist()
        size = self._work.options.batch
        if self._in_order and not bool(self._here.all()):
            # Whole batches of the plan only, so that groups are solved together as they are offline.
            ready = ready[: len(ready) // size * size]
        for first in range(0, len(ready), size):
            batch = ready[first : first + size]
            self._solved[batch] = True
            lacking = self._bad[self._groups[batch]].any(dim=1)
            if not bool(lacking.all()):
                self._solve(self._groups[batch][~lacking])
            for group in self._groups[batch][lacking]:
                self._solve(group[~self._bad[group]][None])
        return len(ready)

    def _solve(self, members: Members) -> None:
        numbers: list[int] = members.flatten().tolist()
        if not numbers:
            return
        self._work.solve(members, torch.stack([self._waiting[number] for number in numbers]))
        self._uses[members.flatten()] -= 1
        for number in numbers:
            if self._uses[number] <= 0:
                self._waiting.pop(number, None)
