"""The command that reconstructs what was looked at, with all that was stated of it and found: to paste, or as a job."""

import shlex
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from exitwave.data.errors import InputError
from exitwave.data.measurement import Measurement
from exitwave.io.assemble import ReadOptions
from exitwave.io.atomic import require_writable

OUTPUT = Path("result.h5")


def words_for(
    scan: Path, reading: ReadOptions | None, prepare: Sequence[str], cures: Sequence[str], more: Sequence[str] = ()
) -> tuple[str, ...]:
    """What follows `exitwave reconstruct`: the scan, what was stated of it, and cures, which take the place of what they correct."""
    told = {**_stated(reading or ReadOptions()), **_by_option(more)}
    pairs = [tuple(cures[number : number + 2]) for number in range(0, len(cures), 2)]
    told |= {option: (value,) for option, value in pairs if option != "--prepare"}
    steps = [*prepare, *(value for option, value in pairs if option == "--prepare")]
    options = [word for option, values in told.items() for word in (option, *values)]
    return str(scan), *options, *(word for step in steps for word in ("--prepare", step)), "-o", str(OUTPUT)


def line(words: Sequence[str]) -> str:
    """The command in one line, as a shell takes it."""
    return shlex.join(["exitwave", "reconstruct", *words])


def require_new(path: Path) -> None:
    """Refuse a job file that is there already: somebody may have written it by hand. Raises InputError."""
    if path.suffix.lower() not in (".yaml", ".yml"):
        raise InputError(f"{path} should end in .yaml: a job is a YAML file")
    if path.exists():
        raise InputError(f"{path} exists already; remove it or choose another name for the job")
    require_writable(path)


def save(path: Path, words: Sequence[str], measurement: Measurement) -> None:
    """Write the same as a job, with the solver that is usual for such a measurement."""
    # These import every solver, which takes half a second.
    from exitwave.cli.reconstruct import job_from
    from exitwave.running.job import write_job
    from exitwave.running.reconstruct import default_solver

    write_job(path, job_from(words, default_solver(measurement)))


def _stated(reading: ReadOptions) -> dict[str, tuple[str, ...]]:
    """The options of reading that are not at their default."""
    told: dict[str, tuple[str, ...]] = {}
    for option in fields(ReadOptions):
        value, name = getattr(reading, option.name), option.name.replace("_", "-")
        if value == option.default:
            continue
        if isinstance(value, bool):
            told[f"--{'' if value else 'no-'}{name}"] = ()
        else:
            told[f"--{name}"] = tuple(map(str, value)) if isinstance(value, tuple) else (str(value),)
    return told


def _by_option(words: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Words of a command line, each option with what follows it."""
    told: dict[str, tuple[str, ...]] = {}
    option = ""
    for word in words:
        option = word if word.startswith("--") else option
        told[option] = () if word == option else (*told[option], word)
    return told
