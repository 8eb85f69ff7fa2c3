"""Any solver, with the further unknowns of a real experiment improved and what is known imposed between its epochs."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import torch
from jaxtyping import Complex
from pydantic import field_validator
from torch import Tensor

from exitwave.data.errors import InputError
from exitwave.data.estimate import PtychoEstimate
from exitwave.physics import constraints
from exitwave.physics.fourier import fft2, frequencies, ifft2
from exitwave.problems.objective import noise_of
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.problems.refinement.background import Background, with_background
from exitwave.problems.refinement.brightness import Brightness, with_brightness
from exitwave.problems.refinement.distortion import Distortion
from exitwave.problems.refinement.modelled_frames import Refinement, Residual, refined
from exitwave.problems.refinement.positions import Positions, Search, lost_frames
from exitwave.problems.refinement.slice_spacing import Spacing
from exitwave.problems.refinement.variations import Variations, with_variations
from exitwave.solvers.base import Solver, Step
from exitwave.solvers.chain import Chain
from exitwave.solvers.changes import Change, Constrained, Replaced, Shifted
from exitwave.solvers.ensemble import Ensemble
from exitwave.solvers.nested_state import nested
from exitwave.solvers.refinement_options import RefinementOptions
from exitwave.solvers.registry import solver
from exitwave.solvers.spec import SolverField, make

FAR_PX = 3.0
"""Position errors up to this are found by Gauss-Newton steps alone; larger ones need the blurred object and the search."""
BLUR = 0.8
"""Blur of the object at the start, as a share of the reach: then even wrong positions see the same coarse features."""
WIDEST_BLUR = 0.35
"""No blur is wider than this share of the probe's root mean square radius: a frame must still see something."""
LEAST_BLUR_PX = 0.3
SEARCHED = (2, 4)
"""The search runs between these multiples of `blur_epochs`, when coarse features stand where they belong."""
TRIALS, LOST_TRIALS = 4, 24
"""Moves tried each time, by each frame, and later by those that fit worse than their neighbours."""
LINEAR = 2
"""Looks at the beginning that find only what all positions have in common: rotation, stretch, shear."""
ALL_DISTORTED, DISTORTED_EVERY = 8, 3
"""So many looks find smooth distortions, too; later every so many."""
SHORTEST_BEND = 6.0
"""Shortest half-period of smooth distortions, in root mean square radii of the probe."""
HELD = 4
"""One of so many epochs is left, at the end, for the image alone."""
FRICTION = 0.5
"""Share of a position's last step that is taken again."""


@solver
class Refined(RefinementOptions, Solver[PtychoEstimate]):
    """Any solver, with positions, beam and background refined and what is known imposed between its epochs: for real data.

    Each look at the frames for the sake of the refinements costs about one more epoch, two with the search for large
    position errors; `refine_every` makes it rarer. Constraints cost nothing.
    """

    name: ClassVar[str] = "refined"
    combines: ClassVar[bool] = True
    renamed: ClassVar[Mapping[str, str]] = {
        **RefinementOptions.renamed,
        "positions": "refine_positions",
        "reach_px": "max_position_error_px",
        "brightness": "refine_brightness",
        "background": "refine_background",
        "spacing": "refine_spacing",
        "start": "first_epoch",
        "settle": "blur_epochs",
        "every": "refine_every",
    }
    solver: SolverField
    """The solver that finds object and probe."""

    @field_validator("solver")
    @classmethod
    def _without_ensembles(cls, solver: Solver[Any]) -> Solver[Any]:
        stages = solver.stages if isinstance(solver, Chain) else (solver,)
        if any(isinstance(stage, Ensemble) for stage in stages):
            # Its members begin anew, each from the estimate of the start.
            raise ValueError("an ensemble does not take over what is refined around it; refine its member instead")
        return solver

    @property
    def members(self) -> tuple[Solver[Any], ...]:
        return (self.solver,)

    @property
    def holds_scale(self) -> bool:
        known = self.phase_only or self.keep_probe_power or self.max_amplitude is not None
        return known or super().holds_scale

    def requirements(self, before: frozenset[str]) -> Iterator[tuple[Solver[Any], frozenset[str]]]:
        return super().requirements(before | self.adds)

    @property
    def margin_px(self) -> int:
        # Where the outermost frames may turn out to have been.
        further = math.ceil(1.5 * self.max_position_error_px) if self.refine_positions else 0
        return super().margin_px + further

    @property
    def object_arrays(self) -> int:
        return super().object_arrays + 1

    @property
    def adds(self) -> frozenset[str]:
        own = {
            "positions": self.refine_positions,
            "variations": self.variations > 0,
            "brightness": self.refine_brightness,
            "background": self.refine_background,
        }
        return super().adds | {name for name, wanted in own.items() if wanted}

    def locate(self, step: Step[PtychoEstimate]) -> tuple[tuple[int, ...], Solver[Any], int]:
        (_, *within), method, epochs = super().locate(step)
        # With the first blur of the object the residual rises: a new stage begins.
        if not self._far or step.epoch <= self.first_epoch:
            return (0, *within), method, epochs
        return (1, *within), method, min(epochs, step.epoch - self.first_epoch)

    @property
    def _settle(self) -> int:
        longest = 15
        if self.blur_epochs is not None or self.total_epochs is None:
            return self.blur_epochs or longest
        return max(1, min(self.total_epochs // 7, longest))

    @property
    def _far(self) -> bool:
        return self.refine_positions and self.max_position_error_px > FAR_PX

    def solve(self, problem: PtychographyProblem, start: Step[PtychoEstimate]) -> Iterator[Step[PtychoEstimate]]:
        step, own = self._begun(problem, start)
        # Near the truth the looks compare counts, which is as good; far from it they stray.
        unbiased = problem.unbiased() if self._far else problem
        running, posed = None, problem
        while True:
            moves = self._moves(step.epoch)
            # What is seen after the last epoch would serve nothing.
            if self._looks(step.epoch) and step.epoch != self.total_epochs:
                x = self._improved(unbiased if moves else problem, step, own)
                step, running = self._changed(step, x, Replaced(step.estimate, x)), None
            before, posed = posed, unbiased if moves and self._fits_amplitudes(problem) else problem
            if running is None or posed is not before:
                running = self.solver.solve(posed, step)
            taken = next(running, None)
            if taken is None:
                return
            if posed is not problem:
                # With photons added the residual is smaller: told is that of the problem as it was posed.
                told = own.residual if math.isfinite(own.residual) else problem.residual(step.estimate)
                taken = replace(taken, residual=told)
            step = self._constrained(taken, own)
            if step is not taken:
                running = None
            yield replace(step, state=nested(self.name, own.state(), step.state))

    def _begun(self, problem: PtychographyProblem, start: Step[PtychoEstimate]) -> "tuple[Step[PtychoEstimate], _Own]":
        """The start of the solver inside, with room for what will be refined, and what is remembered beside its state."""
        x = start.estimate.to(problem.device)
        waving = next((part.name for part in self.leaf_solvers() if part.stores_exit_waves), None)
        if self._far and waving is not None:
            raise InputError(
                f"{waving} holds exit waves, which stay where they are while large position errors are searched for: search with "
                f"rpie, lsqml, mpie or newton first, or state an error of at most {FAR_PX:g} px"
            )
        if self.centre_probe and problem.scan.geometry.near_field:
            raise InputError("centre_probe: in the near field the place of the probe is not free; leave it out")
        if self.refine_spacing and x.slice_spacing_m is None:
            raise InputError(
                "there is no spacing to refine: the object has one slice; ask for slices and their spacing"
            )
        if self.refine_brightness:
            x = with_brightness(problem, x)
        if self.refine_background:
            x = with_background(problem, x)
        if self.variations:
            x = with_variations(problem, x, self.variations)
        own, inner = self.unnested(start.state)
        return replace(start, estimate=x, state=inner), _Own.from_state(own, x)

    def _looks(self, epoch: int) -> bool:
        wanted = self.refines if self._moves(epoch) else self.refines_beside_positions
        return wanted and epoch >= max(self.first_epoch, 1) and (epoch - self.first_epoch) % self.refine_every == 0

    @property
    def _held_from(self) -> float:
        """The epoch from which positions stay, and only the image is improved: its last quarter."""
        if self.total_epochs is None or not self._far:
            return math.inf
        return self.total_epochs - min(self.total_epochs // HELD, max(self.total_epochs - self.first_epoch, 0) // 2)

    def _moves(self, epoch: int) -> bool:
        """Whether positions are still improved after this epoch."""
        return self.refine_positions and max(self.first_epoch, 1) <= epoch < self._held_from

    def _fits_amplitudes(self, problem: PtychographyProblem) -> bool:
        """Whether the solver compares roots of counts, whose mean is too small in the dark; other noise models need no help."""
        return all(noise_of(getattr(part, "noise", None), problem) is None for part in self.leaf_solvers())

    def _improved(self, problem: PtychographyProblem, step: Step[PtychoEstimate], own: "_Own") -> PtychoEstimate:
        x, since = step.estimate, step.epoch - self.first_epoch
        moves = self._moves(step.epoch)
        if self._far and moves:
            widest = min(BLUR * self.max_position_error_px, WIDEST_BLUR * _radius_px(x.probe))
            x = _blurred(x, widest * math.exp(-since / self._settle))
        places, search = self._places(since, own), self._search(problem, step, own) if moves else None
        residual = Residual()
        together: list[Refinement] = [] if search is None else [search]
        # Only where photons are added is the solver's own residual not that of the scan.
        together += [residual] * (self._far and moves)
        if moves:
            together += self._moving(step, since, places)
        together += [Brightness()] * self.refine_brightness
        together += [Background()] * self.refine_background + [Variations()] * bool(self.variations)
        together += [Spacing()] * self.refine_spacing
        x = refined(problem, x, together)
        own.velocity, own.residual = places.velocity, residual.found
        own.misfits = None if search is None else search.misfits
        return x

    def _search(self, problem: PtychographyProblem, step: Step[PtychoEstimate], own: "_Own") -> Search | None:
        """The search for frames far off: of all frames for a while, later of those that fit worse than their neighbours."""
        since = step.epoch - self.first_epoch
        if not self._far or since < SEARCHED[0] * self._settle:
            return None
        seed, reach = (problem.seed, 91, step.epoch), self.max_position_error_px
        if since < SEARCHED[1] * self._settle:
            return Search(reach_px=reach, trials=TRIALS, seed=seed)
        if own.misfits is None:
            lost = torch.zeros(len(problem), dtype=torch.bool)
        else:
            lost = lost_frames(problem.positions_px.cpu(), own.misfits, problem.statistics.photons_per_frame.double())
        return Search(reach_px=reach, trials=LOST_TRIALS, seed=seed, lost=lost)

    def _moving(self, step: Step[PtychoEstimate], since: int, places: Positions) -> list[Refinement]:
        """What moves positions in this look: first what they all have in common, then what neighbours have, then each frame."""
        look = since // self.refine_every
        # The slices of a thick sample would have to be moved with what fell on each.
        if len(step.estimate.object) > 1 or (look % DISTORTED_EVERY and look >= ALL_DISTORTED):
            return [places]
        shortest = math.inf if look < LINEAR else SHORTEST_BEND * _radius_px(step.estimate.probe)
        common = Distortion(shortest_px=shortest, usual_px=self.max_position_error_px / 3)
        return [common] if look < LINEAR else [places, common]

    def _places(self, since: int, own: "_Own") -> Positions:
        coarse = self._far and since < SEARCHED[0] * self._settle
        return Positions(
            longest_px=min(max(self.max_position_error_px / 2.5, 1.0), 2.0),
            reach_px=1.5 * self.max_position_error_px,
            friction=0.0 if coarse else FRICTION,
            velocity=own.velocity,
        )

    def _constrained(self, step: Step[PtychoEstimate], own: "_Own") -> Step[PtychoEstimate]:
        x = step.estimate
        if self.orthogonalise and len(x.probe) > 1 and x.variations is None:
            mixed = replace(x, probe=constraints.orthogonal_modes(x.probe))
            step = self._changed(step, mixed, Replaced(x, mixed))
            x = mixed
        if self.centre_probe and (by := constraints.off_centre(x.probe)) != (0, 0):
            x = constraints.moved(x, by)
            step = self._changed(step, x, Shifted(by))
        known = self._imposed(x, own.power)
        if known is x:
            return step
        return self._changed(step, known, Constrained(x, lambda other: self._imposed(other, own.power)))

    def _changed(self, step: Step[PtychoEstimate], x: PtychoEstimate, change: Change) -> Step[PtychoEstimate]:
        """The step with another estimate, which came about by this change."""
        return replace(step, estimate=x, state=self.solver.transform_state(step.state, change))

    def _imposed(self, x: PtychoEstimate, photons: float) -> PtychoEstimate:
        if self.probe_support:
            x = constraints.supported(x, self.probe_support)
        if self.keep_probe_power:
            x = constraints.with_power(x, photons)
        if self.phase_only:
            x = constraints.without_absorption(x)
        return x if self.max_amplitude is None else constraints.bounded(x, self.max_amplitude)


def refine(solver: Solver[Any], options: RefinementOptions) -> Solver[Any]:
    """Let a solver find more than object and probe, and keep to what is known: with `Refined` around it.

    `refine(RPIE(epochs=100), RefinementOptions(refine_positions=True))`. An ensemble is refined member by member; options
    that ask for nothing leave the solver as it is. Raises InputError for a chain with an ensemble in it, and for the size of
    position errors that are not to be refined.
    """
    if options.max_position_error_px != RefinementOptions().max_position_error_px and not options.refine_positions:
        raise InputError(
            f"max_position_error_px is {options.max_position_error_px:g} but positions are not refined; add refine_positions"
        )
    if isinstance(solver, Ensemble):
        return replace(solver, member=refine(solver.member, options))
    given = {option.name: getattr(options, option.name) for option in fields(RefinementOptions)}
    return make(Refined, {"solver": solver, **given}) if options.active else solver


@dataclass(eq=False)
class _Own:
    """What is remembered from look to look, beside the state of the solver inside."""

    power: float
    velocity: Tensor | None
    misfits: Tensor | None
    """Of each frame, while frames far off are searched for."""
    residual: float = math.nan
    """At the last look."""

    @classmethod
    def from_state(cls, own: Mapping[str, Tensor], x: PtychoEstimate) -> "_Own":
        power = own.get("power")
        return cls(
            constraints.power(x.probe) if power is None else float(power),
            own.get("velocity"),
            own.get("misfits"),
            float(own.get("residual", math.nan)),
        )

    def state(self) -> dict[str, Tensor]:
        kept = {name: torch.tensor(getattr(self, name), dtype=torch.float64) for name in ("power", "residual")}
        found = {"velocity": self.velocity, "misfits": self.misfits}
        return kept | {name: value for name, value in found.items() if value is not None}


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
