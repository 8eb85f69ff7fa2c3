"""A whole job as one value: which scan, how read and prepared, which solver, where to. The command line and YAML files both make it."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, cast

import yaml
from pydantic import ConfigDict, PositiveInt, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as validated

from exitwave.data.errors import ExitwaveError, FormatError, InputError
from exitwave.data.measurement import Measurement
from exitwave.data.prepare.steps import prepared
from exitwave.data.result import Result
from exitwave.io import results
from exitwave.io.assemble import ReadOptions
from exitwave.io.atomic import require_writable
from exitwave.io.files import read, read_estimate, read_probe
from exitwave.problems.base import Problem
from exitwave.problems.setup import Setup
from exitwave.problems.stated_support import names_file
from exitwave.running.checkpoints import Checkpoints
from exitwave.running.reconstruct import reconstruct
from exitwave.running.stopping import Stop
from exitwave.solvers.base import Solver, Step
from exitwave.solvers.refined import refine
from exitwave.solvers.refinement_options import RefinementOptions
from exitwave.solvers.spec import as_solver, from_spec, in_names_of_today, resolve_paths, to_spec

FOREIGN_ENDINGS = (".png", ".tif", ".tiff", ".npz", ".npy", ".html", ".jpg", ".yaml", ".yml")
"""A result is HDF5; under these names nobody would look for one."""


STRICT = ConfigDict(extra="forbid")


@validated(frozen=True, kw_only=True, config=STRICT)
class Running:
    """How to run, whatever the measurement and the solver."""

    start: Path | None = None
    """Result or product file to start from: object, probe and positions of the same frames."""
    probe: Path | None = None
    """File whose probe to start from; the object starts empty."""
    stop_residual: float | None = None
    """End as soon as the residual is at or below this."""
    patience: PositiveInt | None = None
    """End after so many epochs without 0.1 % improvement."""
    checkpoint_every: PositiveInt = 10
    """Epochs between checkpoints; a run that is killed loses at most these."""
    resume: bool = False
    """Go on exactly from the last checkpoint of this output, if there is one."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """Everything that one reconstruction needs. Paths are as seen from where the job is run.

    In a YAML file, and in a result, the options of `setup`, `refinement` and `running` stand beside the others.
    """

    scan: Path
    """Scan file, in any known format."""
    solver: Solver[Any]
    """Name, {name: ..., options}, the folder of a trained network, or a list of them: a chain."""
    output: Path
    """Result file (HDF5)."""
    reading: ReadOptions = field(default_factory=ReadOptions)
    """What is known better than the file does."""
    prepare: tuple[Any, ...] = ()
    """Preparation steps in order: names, or {name: argument}, such as {bin: 2}."""
    setup: Setup = field(default_factory=Setup)
    """How the problem is set up."""
    refinement: RefinementOptions = field(default_factory=RefinementOptions)
    """What else is found or known, beside object and probe."""
    running: Running = field(default_factory=Running)
    """Start, early stop, checkpoints."""

    @property
    def checkpoint(self) -> Path:
        """Where this job keeps its state while it runs."""
        return self.output.with_name(self.output.name + ".checkpoint")

    @property
    def whole_solver(self) -> Solver[Any]:
        """The solver, with what else the job wants to be found or kept around it."""
        return refine(self.solver, self.refinement)

    def described(self) -> dict[str, Any]:
        """The job as plain names and numbers, paths absolute, as `make_job` takes them."""
        told: dict[str, Any] = {"solver": to_spec(self.solver)}
        for part in (self.setup, self.refinement, self.running):
            told |= asdict(cast(Any, part))
        told |= {"scan": self.scan, "output": self.output, "reading": asdict(self.reading), "prepare": self.prepare}
        paths = {name: path.absolute() for name in ("scan", "output", "start", "probe") if (path := told[name])}
        if told["support"] is not None and names_file(told["support"]):
            paths["support"] = Path(told["support"]).absolute()
        return _plain(told | paths)


PARTS: Mapping[str, Any] = {"setup": Setup, "refinement": RefinementOptions, "running": Running}
"""Parts of a job whose options stand beside the others in files."""
OWN = ("scan", "solver", "output", "reading", "prepare")


def read_yaml(path: Path) -> Any:
    """What a YAML file says. Raises FormatError where it is missing or no YAML."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise FormatError(f"{path} does not exist; check the path") from error
    # ValueError: neither text nor dates need make sense; RecursionError: thousands of nested brackets.
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise FormatError(f"{path} is not a readable YAML file: {error}") from error


def read_job(path: str | Path) -> Job:
    """A job from a YAML file; its relative paths start from the file's folder. InputError names what is wrong."""
    path = Path(path)
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise FormatError(f"{path} holds no job; expected at least the keys scan, solver, output")
    described = {str(key): value for key, value in cast("dict[Any, Any]", content).items()}
    _start_from(path.parent, described, ("scan", "output", "start", "probe"))
    if isinstance(described.get("support"), str) and names_file(described["support"]):
        described["support"] = str(path.parent / described["support"])
    described |= {"solver": resolve_paths(described["solver"], path.parent)} if "solver" in described else {}
    if isinstance(described.get("reading"), dict):
        _start_from(path.parent, described["reading"], ("positions",))
    return make_job(described, str(path))


def _start_from(folder: Path, described: dict[str, Any], keys: tuple[str, ...]) -> None:
    for key in keys:
        if isinstance(described.get(key), str):
            described[key] = folder / described[key]


@validated(frozen=True, kw_only=True, config=STRICT)
class _Own:
    """The options of a job that belong to none of its parts."""

    scan: Path
    solver: Any
    output: Path
    reading: ReadOptions = field(default_factory=ReadOptions)
    prepare: tuple[Any, ...] = ()


def make_job(described: Mapping[str, Any], source: str) -> Job:
    """A job from plain values. InputError names unknown keys and values out of range, all at once."""
    parts, rest = _parts(described)
    made, faults = dict[str, Any](), list[str]()
    for name, (kind, values) in {**parts, "own": (_Own, rest)}.items():
        try:
            made[name] = TypeAdapter(kind).validate_python(values)
        except ValidationError as error:
            faults += [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
    if faults:
        raise InputError(f"{source}: {'; '.join(faults)}; keys are {', '.join(keys_of_jobs())}")
    own = made.pop("own")
    values = {option.name: getattr(own, option.name) for option in fields(own)}
    return Job(**values | {"solver": as_solver(own.solver)}, **made)


def keys_of_jobs() -> list[str]:
    """The keys of a job in a file."""
    return [*OWN, *(option.name for kind in PARTS.values() for option in fields(kind))]


def _parts(described: Mapping[str, Any]) -> tuple[dict[str, tuple[Any, dict[str, Any]]], dict[str, Any]]:
    """The options of each part of a job, and the rest."""
    rest, found = dict(in_names_of_today(RefinementOptions, described)), dict[str, tuple[Any, dict[str, Any]]]()
    for name, kind in PARTS.items():
        known = {option.name for option in fields(kind)}
        found[name] = kind, {key: rest.pop(key) for key in list(rest) if key in known}
    return found, rest


def solver_of(described: Mapping[str, Any], source: str, folder: Path) -> Solver[Any]:
    """The solver of a job, with what the job wants to be found or kept around it; the rest of the job need not be there."""
    kind, values = _parts(described)[0]["refinement"]
    try:
        refinement = TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise InputError(f"{source}: {faults}") from error
    return refine(from_spec(resolve_paths(described["solver"], folder)), refinement)


def read_prepared(job: Job) -> Measurement:
    """The measurement of a job, read as stated and prepared."""
    return prepared(read(job.scan, job.reading), job.prepare)


def run_job(job: Job, watch: Callable[[Step[Any], Problem[Any]], None] | None = None) -> Result:
    """Run a job and write its result. The output appears whole or not at all; the checkpoint goes when it is written."""
    _check_output(job)
    how = job.running
    result = reconstruct(
        read_prepared(job),
        job.whole_solver,
        start=read_estimate(how.start) if how.start else None,
        probe=read_probe(how.probe) if how.probe else None,
        setup=job.setup,
        stop=Stop(residual=how.stop_residual, patience=how.patience),
        checkpoints=Checkpoints(path=job.checkpoint, every=how.checkpoint_every, resume=how.resume),
        watch=watch,
    )
    # Absolute, so that the halves can be made from any folder.
    result = replace(result, provenance={**result.provenance, "job": job.described()})
    try:
        results.write_result(job.output, result)
    except ExitwaveError as error:
        kept = f"; the run is kept in {job.checkpoint}: --resume goes on from there" if job.checkpoint.exists() else ""
        raise type(error)(f"{error}{kept}") from error
    if not str(result.provenance["ending"]).startswith("interrupted"):
        job.checkpoint.unlink(missing_ok=True)
    return result


def _check_output(job: Job) -> None:
    """Refuse now what would be refused after hours of work."""
    if job.output.suffix.lower() in FOREIGN_ENDINGS:
        raise InputError(
            f"{job.output} should end in .h5: a result is an HDF5 file, from which exitwave export makes pictures and others"
        )
    if job.output.exists() and job.scan.exists() and job.output.samefile(job.scan):
        raise InputError(f"the output {job.output} is the scan itself; choose another output path")
    require_writable(job.output)


def job_of(result: Result) -> Job:
    """The job that made a result. Raises ExitwaveError for results that were made from Python without one."""
    described = result.provenance.get("job")
    if not isinstance(described, Mapping):
        raise ExitwaveError(
            "the result does not say which job made it (it was made from Python); reconstruct it again with a job"
        )
    return make_job(cast("Mapping[str, Any]", described), "the job stored in the result")


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in cast("list[Any]", value)]
    return value
