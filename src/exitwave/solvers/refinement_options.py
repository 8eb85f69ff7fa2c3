"""What may be asked of any solver besides object and probe: the same options in Python, in jobs and on the command line."""

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field, NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass as validated

from exitwave.data.refusing import refusing_in_a_line

Share = Annotated[float, Field(gt=0, le=1)]


@refusing_in_a_line
@validated(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class RefinementOptions:
    """What may be unknown, and what is known, beyond one probe and where it stood."""

    renamed: ClassVar[Mapping[str, str]] = {
        "position_error_px": "max_position_error_px",
        "most_amplitude": "max_amplitude",
    }
    """Options that had another name in version 0.1.0, by that name."""

    refine_positions: bool = False
    """Refine where the probe stood in each frame, below a pixel."""
    max_position_error_px: Annotated[float, Field(gt=0, le=100)] = 2.0
    """How far recorded positions may be off at most, not on average. Above 3 the object is first blurred and large errors
    are searched for, which takes 60 epochs or more and overlap of 75 % or more."""
    variations: Annotated[int, Field(ge=0, le=20)] = 0
    """Waves by which the probe may vary from frame to frame (OPR); 1-4 where the beam drifts, 0 for a steady one."""
    refine_brightness: bool = False
    """Refine the intensity of the beam in each frame."""
    refine_background: bool = False
    """Refine photons that all frames have in common and that did not come through the sample's window."""
    refine_spacing: bool = False
    """Refine the distance between the slices of a thick sample."""
    first_epoch: NonNegativeInt = 4
    """Epochs before anything is refined: an empty object says nothing about positions."""
    blur_epochs: PositiveInt | None = None
    """Epochs in which the blur for large position errors falls to a third: a seventh of all, at most 15, if left out. Raise
    it, and the epochs, when some frames stay lost."""
    refine_every: PositiveInt = 1
    """Epochs between two looks at the frames for what is refined; each costs about one epoch."""
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

    @property
    def refines(self) -> bool:
        """Whether anything is to be found beyond object and probe."""
        return self.refine_positions or self.refines_beside_positions

    @property
    def refines_beside_positions(self) -> bool:
        """Whether anything else is to be found."""
        return self.variations > 0 or self.refine_brightness or self.refine_background or self.refine_spacing

    @property
    def active(self) -> bool:
        """Whether they ask for anything, but for orthogonal modes, whose mixture no pattern shows."""
        known = self.centre_probe or self.keep_probe_power or self.phase_only
        given = bool(self.probe_support) or self.max_amplitude is not None
        return self.refines or known or given
