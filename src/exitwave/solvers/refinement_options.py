"""What may be asked of any solver besides object and probe: the options that jobs and the command line share."""

from dataclasses import replace
from typing import Annotated, Any

from pydantic import ConfigDict, Field, PositiveInt
from pydantic.dataclasses import dataclass as validated

from exitwave.data.errors import InputError
from exitwave.solvers.base import Solver
from exitwave.solvers.ensemble import Ensemble
from exitwave.solvers.refined import Refined, Share
from exitwave.solvers.spec import make

Metres = Annotated[float, Field(gt=0, le=1)]
MAX_POSITION_ERROR_PX = 2.0


@validated(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class RefinementOptions:
    """What may be unknown, and what is known, beyond a thin object, one probe and where it stood."""

    refine_positions: bool = False
    """Refine where the probe stood in each frame, below a pixel."""
    max_position_error_px: Annotated[float, Field(gt=0, le=100)] = MAX_POSITION_ERROR_PX
    """How far recorded positions may be off at most, not on average. Above 3, large errors are searched for, which takes
    60 epochs or more and overlap of 75 % or more."""
    variations: Annotated[int, Field(ge=0, le=20)] = 0
    """Waves by which the probe may vary from frame to frame (OPR); 1-4 where the beam drifts."""
    refine_brightness: bool = False
    """Refine the intensity of the beam in each frame."""
    refine_background: bool = False
    """Refine photons that all frames have in common and that did not come through the sample's window."""
    slices: Annotated[int, Field(ge=1, le=50)] = 1
    """Slices of a thick sample, along the beam."""
    slice_spacing_m: Metres | None = None
    """Free space between slices, metres; needed with several slices."""
    refine_spacing: bool = False
    """Refine the distance between slices."""
    exposure_m: tuple[float, float] | None = None
    """Fly scan: (y, x) that the probe travels during each exposure, metres, centred on the position."""
    exposure_points: Annotated[int, Field(ge=2, le=100)] = 5
    """Places at which the probe of a fly scan is computed; about one a pixel of travel. Each costs as much as a mode."""
    probe_support: Share | None = None
    """The probe is zero outside a disc of this share of the window; 0.7-0.9 keeps noise out of its corners."""
    centre_probe: bool = False
    """Keep the probe's centre of mass in the middle of its window (far field)."""
    keep_probe_power: bool = False
    """Keep the photons in the probe as they were at the start."""
    max_amplitude: Annotated[float, Field(gt=0)] | None = None
    """No pixel of the object is brighter; 1.0-1.2 for samples that cannot amplify."""
    phase_only: bool = False
    """The sample does not absorb: the object has amplitude 1 everywhere."""
    refine_every: PositiveInt = 1
    """Epochs between two looks at the frames for what is refined; each costs about one epoch."""

    def around(self, solver: Solver[Any]) -> Solver[Any]:
        """The solver with what was asked for around it; the solver itself when nothing was.

        Raises InputError for a chain with an ensemble in it, and for the size of errors that were not to be refined.
        """
        if self.max_position_error_px != MAX_POSITION_ERROR_PX and not self.refine_positions:
            raise InputError(
                f"max_position_error_px is {self.max_position_error_px:g} but positions are not refined; add refine_positions"
            )
        if isinstance(solver, Ensemble):
            return replace(solver, member=self.around(solver.member))
        options = {
            "solver": solver,
            "positions": self.refine_positions,
            "max_position_error_px": self.max_position_error_px,
            "variations": self.variations,
            "brightness": self.refine_brightness,
            "background": self.refine_background,
            "spacing": self.refine_spacing,
            "probe_support": self.probe_support,
            "centre_probe": self.centre_probe,
            "keep_probe_power": self.keep_probe_power,
            "max_amplitude": self.max_amplitude,
            "phase_only": self.phase_only,
            "refine_every": self.refine_every,
        }
        wrapped = make(Refined, options)
        return wrapped if wrapped.active else solver
