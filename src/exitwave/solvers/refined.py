"""Any solver, with the further unknowns of a real experiment improved and what is known imposed between its epochs."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import torch
from jaxtyping import Complex
from pydantic import Field, InstanceOf, NonNegativeInt, PositiveInt, field_validator
from torch import Tensor

from exitwave.data.errors import InputError
from exitwave.data.estimate import PtychoEstimate
from exitwave.physics import constraints
from exitwave.physics.fourier import fft2, frequencies, ifft2
from exitwave.problems.ptychography import Problem
from exitwave.problems.refinement.background import Background, with_background
from exitwave.problems.refinement.brightness import Brightness, with_brightness
from exitwave.problems.refinement.modelled_frames import Refinement, refined
from exitwave.problems.refinement.positions import Positions, Search
from exitwave.problems.refinement.slice_spacing import Spacing
from exitwave.problems.refinement.variations import Variations, with_variations
from exitwave.solvers.base import Solver, Step
from exitwave.solvers.chain import Chain
from exitwave.solvers.ensemble import Ensemble
from exitwave.solvers.ptychography.momentum import constrain_state, shift_state
from exitwave.solvers.registry import solver
from exitwave.solvers.spec import from_spec

Share = Annotated[float, Field(gt=0, le=1)]
FAR_PX = 3.0
"""Position errors up to this are found by Gauss-Newton steps alone; larger ones need the blurred object and the search."""
BLUR = 0.8
"""Blur of the object at the start, as a share of the reach: then even wrong positions see the same coarse features."""
WIDEST_BLUR = 0.35
"""No blur is wider than this share of the probe's root mean square radius: a frame must still see something."""
LEAST_BLUR_PX = 0.3
SEARCHED = (2, 5)
"""The search runs between these multiples of `settle` epochs, when coarse features stand where they belong."""
TRIALS = 4
"""Moves tried by each frame each time."""
FRICTION = 0.5
"""Share of a position's last step that is taken again."""


@solver
class Refined(Solver[PtychoEstimate]):
    """Any solver, with positions, beam and background refined and what is known imposed between its epochs: for real data.

    Each look at the frames for the sake of the refinements costs about one more epoch, two with the search for large
    position errors; `every` makes it rarer. Constraints cost nothing.
    """

    name: ClassVar[str] = "refined"
    solver: InstanceOf[Solver[Any]]
    """The solver that finds object and probe."""
    positions: bool = False
    """Refine where the probe stood in each frame, below a pixel."""
    max_position_error_px: Annotated[float, Field(gt=0, le=100)] = 2.0
    """How far recorded positions may be off at most, not on average. Above 3 the object is first blurred and large errors
    are searched for, which takes 60 epochs or more and much overlap (75 % or more)."""
    variations: Annotated[int, Field(ge=0, le=20)] = 0
    """Waves by which the probe may vary from frame to frame (OPR); 1-4 where the beam drifts, 0 for a steady one."""
    brightness: bool = False
    """Refine the intensity of the beam in each frame."""
    background: bool = False
    """Refine photons that all frames have in common and that did not come through the sample's window."""
    spacing: bool = False
    """Refine the distance between the slices of a thick sample."""
    first_epoch: NonNegativeInt = 4
    """Epochs before anything is refined: an empty object says nothing about positions."""
    blur_epochs: PositiveInt | None = None
    """Epochs in which the blur for large position errors falls to a third: a seventh of all, at most 15, if left out. Raise
    it, and the epochs, when some frames stay lost."""
    refine_every: PositiveInt = 1
    """Epochs between two looks."""
    orthogonalise: bool = True
    """Make incoherent probe modes orthogonal, the strongest first, after every epoch; patterns do not change."""
    probe_support: Share | None = None
    """The probe is zero outside a disc of this share of the window; 0.7-0.9 keeps it from filling the window with noise."""
    centre_probe: bool = False
    """Keep the probe's centre of mass in the middle of its window (far field)."""
    keep_probe_power: bool = False
    """Keep the photons in the probe as they were at the start; the object's brightness makes up for it."""
    max_amplitude: Annotated[float, Field(gt=0)] | None = None
    """No pixel of the object is brighter; 1.0-1.2 for samples that cannot amplify."""
    phase_only: bool = False
    """The sample does not absorb: the object has amplitude 1 everywhere."""

    @field_validator("solver", mode="before")
    @classmethod
    def _read_solver(cls, value: Any) -> Any:
        inner = from_spec(value) if isinstance(value, Mapping | str | list) else value
        stages = inner.stages if isinstance(inner, Chain) else (inner,)
        if any(isinstance(stage, Ensemble) for stage in stages):
            # Its members begin anew, each from the estimate of the start.
            raise ValueError("an ensemble does not take over what is refined around it; refine its member instead")
        return inner

    def leaf_solvers(self) -> Iterator[Solver[Any]]:
        yield from self.solver.leaf_solvers()

    def requirements(self, before: frozenset[str]) -> Iterator[tuple[Solver[Any], frozenset[str]]]:
        yield from self.solver.requirements(before | self.adds)

    def warnings(self, problem: Problem, start: PtychoEstimate) -> tuple[str, ...]:
        return self.solver.warnings(problem, start)

    @property
    def total_epochs(self) -> int | None:
        return self.solver.total_epochs

    @property
    def margin_px(self) -> int:
        # Where the outermost frames may turn out to have been.
        further = math.ceil(1.5 * self.max_position_error_px) if self.positions else 0
        return self.solver.margin_px + further

    @property
    def object_arrays(self) -> int:
        return self.solver.object_arrays + 1

    @property
    def adds(self) -> frozenset[str]:
        named = ("positions", "variations", "brightness", "background")
        return self.solver.adds | {name for name in named if getattr(self, name)}

    def locate(self, step: Step[PtychoEstimate]) -> tuple[tuple[int, ...], Solver[Any], int]:
        inner, at_work, epochs = self.solver.locate(step)
        # With the first blur of the object the residual rises: a new stage begins.
        if not self._far or step.epoch <= self.first_epoch:
            return (0, *inner), at_work, epochs
        return (1, *inner), at_work, min(epochs, step.epoch - self.first_epoch)

    @property
    def _settle(self) -> int:
        longest = 15
        if self.blur_epochs is not None or self.total_epochs is None:
            return self.blur_epochs or longest
        return max(1, min(self.total_epochs // 7, longest))

    @property
    def _far(self) -> bool:
        return self.positions and self.max_position_error_px > FAR_PX

    def solve(self, problem: Problem, start: Step[PtychoEstimate]) -> Iterator[Step[PtychoEstimate]]:
        step, own = self._begun(problem, start)
        running = None
        while True:
            # What is seen after the last epoch would serve nothing.
            if self._looks(step.epoch) and step.epoch != self.total_epochs:
                step, running = _changed(step, self._improved(problem, step, own)), None
            if running is None:
                running = self.solver.solve(problem, step)
            taken = next(running, None)
            if taken is None:
                return
            step = self._constrained(taken, own)
            if step is not taken:
                running = None
            yield replace(step, state={**step.state, **own.state()})

    def _begun(self, problem: Problem, start: Step[PtychoEstimate]) -> "tuple[Step[PtychoEstimate], _Own]":
        """The start with room for what will be refined, and what is remembered beside the solver's own memory."""
        x = start.estimate.to(problem.device)
        waving = next((part.name for part in self.leaf_solvers() if part.stores_exit_waves), None)
        if self._far and waving is not None:
            raise InputError(
                f"{waving} holds exit waves, which stay where they are while large position errors are searched for: search with "
                f"rpie, lsqml, mpie or newton first, or state an error of at most {FAR_PX:g} px"
            )
        if self.centre_probe and problem.scan.geometry.near_field:
            raise InputError("centre_probe: in the near field the place of the probe is not free; leave it out")
        if self.spacing and x.slice_spacing_m is None:
            raise InputError(
                "there is no spacing to refine: the object has one slice; ask for slices and their spacing"
            )
        if self.brightness:
            x = with_brightness(problem, x)
        if self.background:
            x = with_background(problem, x)
        if self.variations:
            x = with_variations(problem, x, self.variations)
        memory = dict(start.state)
        own = _Own.taken_from(memory, x)
        return replace(start, estimate=x, state=memory), own

    @property
    def active(self) -> bool:
        """Whether it does anything beyond what its solver does, but for the modes, whose mixture no pattern shows."""
        known = self.centre_probe or self.keep_probe_power or self.phase_only
        given = self.probe_support is not None or self.max_amplitude is not None
        return self._refines or known or given

    @property
    def _refines(self) -> bool:
        return self.positions or self.variations > 0 or self.brightness or self.background or self.spacing

    def _looks(self, epoch: int) -> bool:
        return (
            self._refines and epoch >= max(self.first_epoch, 1) and (epoch - self.first_epoch) % self.refine_every == 0
        )

    def _improved(self, problem: Problem, step: Step[PtychoEstimate], own: "_Own") -> PtychoEstimate:
        x, since = step.estimate, step.epoch - self.first_epoch
        if self._far:
            widest = min(BLUR * self.max_position_error_px, WIDEST_BLUR * _radius_px(x.probe))
            x = _blurred(x, widest * math.exp(-since / self._settle))
        together: list[Refinement] = []
        places = self._places(since, own)
        if self._far and SEARCHED[0] * self._settle <= since < SEARCHED[1] * self._settle:
            together.append(
                Search(reach_px=self.max_position_error_px, trials=TRIALS, seed=(problem.seed, 91, step.epoch))
            )
        together += [places] * self.positions + [Brightness()] * self.brightness + [Background()] * self.background
        together += [Variations()] * bool(self.variations) + [Spacing()] * self.spacing
        x = refined(problem, x, together)
        own.velocity = places.velocity
        return x

    def _places(self, since: int, own: "_Own") -> Positions:
        coarse = self._far and since < SEARCHED[0] * self._settle
        return Positions(
            longest_px=min(max(self.max_position_error_px / 2.5, 1.0), 2.0),
            reach_px=1.5 * self.max_position_error_px,
            friction=0.0 if coarse else FRICTION,
            velocity=own.velocity,
        )

    def _constrained(self, step: Step[PtychoEstimate], own: "_Own") -> Step[PtychoEstimate]:
        if self.orthogonalise and len(step.estimate.probe) > 1 and step.estimate.variations is None:
            step = _changed(step, replace(step.estimate, probe=constraints.orthogonal_modes(step.estimate.probe)))
        x = step.estimate
        if self.centre_probe and (by := constraints.off_centre(x.probe)) != (0, 0):
            memory, x = constraints.moved_memory(step.state, x, by), constraints.moved(x, by)
            step = replace(step, estimate=x, state=memory)
        known = self._imposed(x, own.power)
        if known is x:
            return step
        return replace(
            step, estimate=known, state=constrain_state(step.state, x, lambda other: self._imposed(other, own.power))
        )

    def _imposed(self, x: PtychoEstimate, photons: float) -> PtychoEstimate:
        if self.probe_support is not None:
            x = constraints.supported(x, self.probe_support)
        if self.keep_probe_power:
            x = constraints.with_power(x, photons)
        if self.phase_only:
            x = constraints.without_absorption(x)
        return x if self.max_amplitude is None else constraints.bounded(x, self.max_amplitude)


def _changed(step: Step[PtychoEstimate], x: PtychoEstimate) -> Step[PtychoEstimate]:
    return replace(step, estimate=x, state=shift_state(step.state, step.estimate, x))


def refine(
    solver: Solver[Any],
    *,
    positions: bool = False,
    max_position_error_px: float = 2.0,
    variations: int = 0,
    brightness: bool = False,
    background: bool = False,
    spacing: bool = False,
    refine_every: int = 1,
) -> Refined:
    """Let a solver find more than object and probe: `refine(RPIE(epochs=100), positions=True)`. `Refined` has all options."""
    return Refined(
        solver=solver,
        positions=positions,
        max_position_error_px=max_position_error_px,
        variations=variations,
        brightness=brightness,
        background=background,
        spacing=spacing,
        refine_every=refine_every,
    )


@dataclass(eq=False)
class _Own:
    """What is remembered from look to look, beside the memory of the solver."""

    power: float
    velocity: Tensor | None

    @classmethod
    def taken_from(cls, memory: dict[str, Tensor], x: PtychoEstimate) -> "_Own":
        power = memory.pop("refined.power", None)
        velocity = memory.pop("refined.velocity", None)
        return cls(constraints.power(x.probe) if power is None else float(power), velocity)

    def state(self) -> dict[str, Tensor]:
        kept = {"refined.power": torch.tensor(self.power, dtype=torch.float64)}
        return kept if self.velocity is None else {**kept, "refined.velocity": self.velocity}


def _radius_px(probe: Complex[Tensor, "mode y x"]) -> float:
    """Root mean square radius of the probe's light along an axis."""
    light = probe.abs().double().square().sum(dim=0)
    spreads: list[float] = []
    for axis, size in enumerate(light.shape):
        along = light.sum(dim=1 - axis) / light.sum().clamp(min=1e-30)
        places = torch.arange(size, dtype=torch.float64, device=light.device)
        spreads.append(float((along * (places - (along * places).sum()).square()).sum()))
    return math.sqrt(sum(spreads) / 2)


def _blurred(x: PtychoEstimate, sigma_px: float) -> PtychoEstimate:
    """The estimate with its object blurred by a Gaussian."""
    if sigma_px < LEAST_BLUR_PX:
        return x
    rows, columns = frequencies((x.object.shape[-2], x.object.shape[-1]), device=x.object.device)
    kernel = torch.exp(-2 * (math.pi * sigma_px) ** 2 * (rows.square() + columns.square())).to(torch.float32)
    return replace(x, object=ifft2(fft2(x.object) * kernel))
