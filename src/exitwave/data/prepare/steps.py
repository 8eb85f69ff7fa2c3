"""Preparation steps by name, as jobs and the command line state them."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, cast

import yaml
from pydantic import ConfigDict, ValidationError, validate_call

from exitwave.data import prepare
from exitwave.data.errors import InputError, did_you_mean
from exitwave.data.measurement import Measurement

STEPS: Mapping[str, Callable[..., Any]] = {
    "orient": prepare.orient,
    "crop": prepare.crop,
    "pad": prepare.pad,
    "recentre": prepare.recentre,
    "unshift": prepare.unshift,
    "bin": prepare.bin,
    "mask_saturated": prepare.mask_saturated,
    "mask_hot": prepare.mask_hot,
    "mask_dead": prepare.mask_dead,
    "subtract_background": prepare.subtract_background,
    "threshold": prepare.threshold,
    "normalise_by_monitor": prepare.normalise_by_monitor,
    "even_angles": prepare.even_angles,
    "crop_frames": prepare.crop_frames,
    "bin_frames": prepare.bin_frames,
    "centre_peak": prepare.centre_peak,
    "mask_aliens": prepare.mask_aliens,
    "resample": prepare.resample,
    "map_positions": prepare.map_positions,
    "select": prepare.select,
    "drop_empty": prepare.drop_empty,
    "drop_duplicates": prepare.drop_duplicates,
    "to_memory": prepare.to_memory,
}
"""Preparation steps by the names used in jobs and on the command line."""


def prepared(scan: Measurement, steps: tuple[Any, ...]) -> Measurement:
    """Apply preparation steps given as names, `name=value` strings or {name: arguments}."""
    for step in steps:
        name, argument = _parsed(step)
        if name not in STEPS:
            raise InputError(
                f"there is no preparation step {name!r}{did_you_mean(name, STEPS)}; there are {', '.join(STEPS)}"
            )
        scan = _applied(STEPS[name], name, scan, argument)
    return scan.settled()


def _parsed(step: Any) -> tuple[str, Any]:
    if isinstance(step, str):
        name, _, value = step.partition("=")
        if name.strip() == "select" and not value.lstrip().startswith("["):
            # YAML would take 1:30 for a time of day.
            return "select", value
        try:
            return name.strip(), yaml.safe_load(value) if value else None
        except (ValueError, RecursionError, yaml.YAMLError) as error:
            raise InputError(
                f"preparation step {step}: {value!r} is no value; write crop=128 or crop=[128, 96]"
            ) from error
    if isinstance(step, Mapping) and len(cast("Mapping[str, Any]", step)) == 1:
        name, value = next(iter(cast("Mapping[Any, Any]", step).items()))
        return str(name), value
    raise InputError(f"a preparation step is a name or one {{name: arguments}}; found {step!r}")


def _applied(function: Callable[..., Any], name: str, scan: Measurement, argument: Any) -> Measurement:
    if name == "select" and isinstance(argument, str):
        argument = _slice(argument)
    known = list(inspect.signature(function).parameters)[1:]
    if isinstance(argument, Mapping):
        arguments = {str(key): value for key, value in cast("Mapping[Any, Any]", argument).items()}
    elif argument is None:
        arguments = dict[str, Any]()
    else:
        arguments = {known[0] if known else "an argument": argument}
    unknown = [key for key in arguments if key not in known]
    if unknown:
        raise InputError(
            f"preparation step {name} does not take {', '.join(unknown)}; it takes {', '.join(known) or 'nothing'}"
        )
    try:
        return validate_call(config=ConfigDict(arbitrary_types_allowed=True))(function)(scan, **arguments)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise InputError(f"preparation step {name}: {faults}; it takes {_described(function)}") from error


def _described(function: Callable[..., Any]) -> str:
    """The arguments of a preparation step in words: "size (int or tuple[int, int]), centre (...)"."""
    arguments = list(inspect.signature(function).parameters.values())[1:]
    told = (f"{a.name} ({inspect.formatannotation(a.annotation).replace(' | ', ' or ')})" for a in arguments)
    return ", ".join(told) or "nothing"


def _slice(text: str) -> slice:
    try:
        first, last, step = ([int(part) if part.strip() else None for part in text.split(":")] + [None, None])[:3]
        if step == 0 or ":" not in text or text.count(":") > 2:
            raise ValueError("not a slice")
        return slice(first, last, step)
    except ValueError as error:
        raise InputError(f"select takes first:last:step, such as 0:100 or ::2; found {text!r}") from error
