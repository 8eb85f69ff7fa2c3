"""What functions take in place of a value: the file that holds it, a result that has it, or a plain array."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Complex
from torch import Tensor

from exitwave.data.errors import InputError
from exitwave.data.estimate import Estimate, PtychoEstimate
from exitwave.data.measurement import Measurement
from exitwave.data.result import Result
from exitwave.io.files import read, read_estimate, read_probe, read_result

GivenMeasurement = Measurement | str | Path
"""A measurement, or its file in any known format."""
GivenEstimate = Estimate | Result | str | Path
"""An estimate, a result, or a file that stores one."""
GivenProbe = Tensor | np.ndarray | PtychoEstimate | Result | str | Path
"""A probe (mode, y, x) or (y, x), an estimate or result with one, or a file that stores one."""
GivenResult = Result | str | Path
"""A result, or its file."""


def given_measurement(given: GivenMeasurement) -> Measurement:
    """The measurement. Raises InputError for what is none, FormatError for a file that holds none."""
    if isinstance(given, str | Path):
        return read(given)
    if isinstance(given, Measurement):
        return given
    if isinstance(getattr(given, "scan", None), Measurement):
        raise InputError("this is a simulation with its truth; hand on its measurement alone: made.scan")
    raise InputError(
        f"{type(given).__name__} is no measurement; expected a scan or the path of its file. Arrays become one with their "
        "geometry: ew.Scan(patterns=..., positions_m=..., geometry=ew.Geometry.from_energy(...))"
    )


def given_estimate(given: GivenEstimate | None) -> Estimate | None:
    """The estimate. Raises InputError for what is none, FormatError for a file that holds none."""
    if given is None or isinstance(given, Estimate):
        return given
    if isinstance(given, str | Path):
        return read_estimate(given)
    if isinstance(given, Result):
        return given.estimate
    raise InputError(f"{type(given).__name__} is no estimate; expected an estimate, a result or the path of its file")


def given_probe(given: GivenProbe | None) -> Complex[Tensor, "mode y x"] | None:
    """The probe, a single wave as one mode. Raises InputError for what is none, FormatError for a file that holds none."""
    if given is None:
        return None
    if isinstance(given, str | Path):
        return read_probe(given)
    found: Any = given.estimate if isinstance(given, Result) else given
    wave = found.probe if isinstance(found, PtychoEstimate) else found
    if not isinstance(wave, Tensor | np.ndarray) or wave.ndim not in (2, 3):
        raise InputError(
            f"{type(given).__name__} is no probe; expected an array (mode, y, x) or (y, x) of complex numbers, an estimate or "
            "result of ptychography, or the path of its file"
        )
    # A copy of its own where it is numpy's: torch warns of arrays that may not be written to.
    wave = torch.tensor(wave) if isinstance(wave, np.ndarray) else wave
    wave = wave if wave.is_complex() else wave.to(torch.complex64)
    return wave[None] if wave.ndim == 2 else wave


def given_result(given: GivenResult) -> Result:
    """The result. Raises FormatError for a file that holds none."""
    return read_result(given) if isinstance(given, str | Path) else given
