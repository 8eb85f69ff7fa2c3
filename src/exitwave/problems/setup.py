"""How a measurement is set up as a problem, whatever the solver: one value for Python, jobs and the command line."""

import re
from dataclasses import fields
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, PositiveInt
from pydantic.dataclasses import dataclass as validated

from exitwave.data.refusing import refusing_in_a_line
from exitwave.io.memory import parse_size
from exitwave.physics.noise import NoiseName

Fraction = Annotated[float, Field(ge=0, lt=0.5)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Metres = Annotated[float, Field(gt=0)]


def _amount(value: Any) -> str | None:
    if value is not None:
        parse_size(value)
    return None if value is None else str(value)


Memory = Annotated[str, BeforeValidator(_amount)]


def _numbers(value: Any) -> str | None:
    if value is None:
        return None
    words = [value] if isinstance(value, str | int) else list(value)
    text = ",".join(str(word).replace(" ", "") for word in words)
    frame_numbers(text)
    return text


FrameNumbers = Annotated[str, BeforeValidator(_numbers)]
"""Frames by number, from 0: "60,61" or "10-19,60"; in Python a list of numbers, too."""


def frame_numbers(text: str | None) -> tuple[int, ...]:
    """The numbers that a text such as "60,61" or "10-19,60" means. Raises ValueError for any other text."""
    numbers: list[int] = []
    for part in text.split(",") if text else ():
        run = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", part)
        first, last = (int(run[1]), int(run[2] or run[1])) if run else (0, -1)
        if last < first:
            raise ValueError(f"{part!r} is no frame number; write 60,61 or 10-19 (numbers from 0)")
        numbers += range(first, last + 1)
    return tuple(dict.fromkeys(numbers))


@refusing_in_a_line
@validated(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Setup:
    """How a measurement is set up as a problem for solvers: modes, slices, exposure, held-out pixels, seed, device, memory.

    What a kind of measurement has no use for must stay at its default, and is refused by name where it does not.
    """

    modes: PositiveInt = 1
    """Incoherent modes of the probe; 2-4 for a partly coherent beam."""
    slices: Annotated[int, Field(ge=1, le=50)] = 1
    """Slices of a thick sample, along the beam."""
    slice_spacing_m: Metres | tuple[Metres, ...] | None = None
    """Free space between slices, metres; needed with several slices. One for all gaps, or one each."""
    exposure_m: tuple[float, float] | None = None
    """Fly scan: (y, x) that the probe travels during each exposure, metres, centred on the position."""
    exposure_points: Annotated[int, Field(ge=2, le=100)] = 5
    """Places at which the probe of a fly scan is computed; about one a pixel of travel. Each costs as much as a mode."""
    free_fraction: Fraction = 0.0
    """Share of detector pixels held out to test the result (free residual); 0.05 is usual."""
    robust: bool = True
    """Leave out single frames and pixels that are far beyond all others, such as one 40 times too bright, and say which."""
    same_object: bool = False
    """Several scans are views of one object, in one frame of positions; else each has an object of its own."""
    support: str | None = None
    """Where an isolated object may be, for one pattern (CDI): `circle:RADIUS` or `rectangle:ROWSxCOLUMNS`, in object pixels or
    with a unit (`circle:2.5um`), or an image, support.npy, support.tif or file.h5:/path. Left out, the pattern tells."""
    coherence_px: Annotated[float, Field(ge=0, le=20)] = 0.0
    """Width (standard deviation) in detector pixels by which partial coherence blurs one pattern (CDI); 0 is full coherence."""
    seed: Seed = 0
    """Seed of everything random; the same seed gives the same image."""
    device: str = "auto"
    """auto, cpu or cuda."""
    memory: Memory | None = None
    """What the run may hold, such as 8GB, beside about 1 GB for the program; frames that do not fit are read in every epoch."""
    noise: NoiseName | None = None
    """How counts scatter, for methods that know more than one way: amplitude where left out, poisson, gaussian, smooth_l1."""

    as_is: bool = False
    """Take the data as they are: without the examination before the run, and what it cures or refuses."""
    drop_frames: FrameNumbers | None = None
    """Frames to leave out, by number from 0, such as 60,61 or 10-19; numbers count frames after preparation."""
    keep_frames: FrameNumbers | None = None
    """Frames to keep that the examination would leave out, such as 60,61."""
    noise_threshold: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """Of a rocking curve (3D Bragg CDI): counts below are set to zero; left out, the background tells, 0 keeps all."""
    keep_aliens: bool = False
    """Of a rocking curve: keep what looks like the scattering of other crystals (aliens) and is else not trusted."""

    def beyond(self, *known: str) -> list[str]:
        """Names of options that are not at their default, other than those `known`."""
        return [
            option.name
            for option in fields(self)
            if option.name not in known and getattr(self, option.name) != option.default
        ]
