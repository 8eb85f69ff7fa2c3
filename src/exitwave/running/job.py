"""A whole job as one value: which scan, how read and prepared, which solver, where to. The command line and YAML files both make it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, cast

import yaml
from pydantic import ConfigDict, Field, PositiveInt, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as validated
from pydantic_core import ErrorDetails

from exitwave.data.errors import ExitwaveError, FormatError, InputError
from exitwave.data.measurement import Measurement
from exitwave.data.result import Result
from exitwave.io import results
from exitwave.io.assemble import ReadOptions
from exitwave.io.files import read_estimate, read_prepared as read_scan, read_probe
from exitwave.problems.base import Problem
from exitwave.problems.setup import Setup
from exitwave.problems.stated_support import names_file
from exitwave.running.checkpoints import Checkpoints
from exitwave.running.orientation import oriented
from exitwave.running.outputs import require_outputs, result_paths
from exitwave.running.reconstruct import reconstruct
from exitwave.running.stopping import Stop
from exitwave.solvers.base import Solver, Step
from exitwave.solvers.refined import refine
from exitwave.solvers.refinement_options import RefinementOptions
from exitwave.solvers.spec import as_solver, from_spec, in_names_of_today, resolve_paths, to_spec

STRICT = ConfigDict(extra="forbid")


@validated(frozen=True, kw_only=True, config=STRICT)
class Running:
    """How to run, whatever the measurement and the solver."""

    auto_orient: bool = False
    """Find first how the stage lies against the detector (orientation, angle, stretch), and put it right."""
    start: Path | None = None
    """Result of exitwave, ptypy, PtyRAD, pty-chi, cdtools, tike or ptychodus to start from: object, probe and positions of the
    same frames."""
    probe: Path | None = None
    """File whose probe to start from, of any program that `start` knows; the object starts empty."""
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

    scan: Path | tuple[Path, ...]
    """Scan file, in any known format; or a list of them, which then share their probe."""
    solver: Solver[Any]
    """Name, {name: ..., options}, the folder of a trained network, or a list of them: a chain."""
    output: Path
    """Result file (HDF5); for several scans the folder for their results."""
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

    def __post_init__(self) -> None:
        if self.together and self.running.start is not None:
            raise InputError(
                "several scans cannot start from one result; start from its probe: --probe in place of --start"
            )
        if self.together and self.reading.positions is not None:
            raise InputError("positions are of one scan, but several are given; put them into the scan files")

    @property
    def scans(self) -> tuple[Path, ...]:
        """The scan files, one or several."""
        return self.scan if isinstance(self.scan, tuple) else (self.scan,)

    @property
    def together(self) -> bool:
        """Whether several scans share their probe."""
        return len(self.scans) > 1

    @property
    def outputs(self) -> tuple[Path, ...]:
        """The result file of each scan; of several those in the folder of the output, named after the scans."""
        return result_paths(self.scans, self.output)

    @property
    def checkpoint(self) -> Path:
        """Where this job keeps its state while it runs."""
        if self.together:
            return self.output / "shared_probe.checkpoint"
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
        reading = asdict(self.reading)
        reading |= {name: path.absolute() for name in ("positions", "mask") if (path := reading[name])}
        if self.reading.recipe and Path(self.reading.recipe).is_file():
            reading["recipe"] = Path(self.reading.recipe).absolute()
        told |= {"scan": self.scan, "output": self.output, "reading": reading, "prepare": self.prepare}
        paths = {name: path.absolute() for name in ("output", "start", "probe") if (path := told[name])}
        if told["support"] is not None and names_file(told["support"]):
            paths["support"] = Path(told["support"]).absolute()
        scans = [path.absolute() for path in self.scans]
        return _plain(told | paths | {"scan": scans if self.together else scans[0]})


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
        _start_from(path.parent, described["reading"], ("positions", "mask"))
        recipe = described["reading"].get("recipe")
        if isinstance(recipe, str) and (path.parent / recipe).is_file():
            described["reading"]["recipe"] = str(path.parent / recipe)
    return make_job(described, str(path))


def _start_from(folder: Path, described: dict[str, Any], keys: tuple[str, ...]) -> None:
    for key in keys:
        value = described.get(key)
        if isinstance(value, str):
            described[key] = folder / value
        elif isinstance(value, list):
            described[key] = [folder / each if isinstance(each, str) else each for each in cast("list[Any]", value)]


@validated(frozen=True, kw_only=True, config=STRICT)
class _Own:
    """The options of a job that belong to none of its parts."""

    scan: Path | Annotated[tuple[Path, ...], Field(min_length=1)]
    solver: Any
    output: Path
    reading: ReadOptions = field(default_factory=ReadOptions)
    prepare: tuple[Any, ...] = ()


def make_job(described: Mapping[str, Any], source: str) -> Job:
    """A job from plain values. InputError names unknown keys and values out of range, all at once."""
    parts, rest = _parts(described)
    made, faults, sections = dict[str, Any](), list[str](), set[str]()
    for name, (kind, values) in {**parts, "own": (_Own, rest)}.items():
        try:
            made[name] = TypeAdapter(kind).validate_python(values)
        except ValidationError as error:
            faults += [_complaint(e) for e in error.errors()]
            sections |= {str(e["loc"][0]) for e in error.errors() if len(e["loc"]) > 1}
    if faults:
        raise InputError(f"{source}: {'; '.join(faults)}; {_known_keys(sections)}")
    own = made.pop("own")
    values = {option.name: getattr(own, option.name) for option in fields(own)}
    return Job(**values | {"solver": as_solver(own.solver)}, **made)


def _complaint(error: ErrorDetails) -> str:
    where = ".".join(map(str, error["loc"]))
    return f"{where}: {'unknown key' if error['type'] == 'unexpected_keyword_argument' else error['msg']}"


def _known_keys(sections: set[str]) -> str:
    """The keys of the sections that a fault is in, else those of the job itself."""
    if sections == {"reading"}:
        return f"keys of reading are {', '.join(option.name for option in fields(ReadOptions))}"
    return f"keys are {', '.join(keys_of_jobs())}"


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
    """The measurement of a job of one scan, read as stated, prepared and, where asked for, put right by what its frames say."""
    if job.together:
        raise InputError(
            f"{len(job.scans)} scans were reconstructed together, with one probe, and the halves of one alone would not be; "
            "reconstruct it by itself to compare its halves, from the probe of this result (--probe)"
        )
    return _measured(job.scans[0], job)


def _measured(path: Path, job: Job) -> Measurement:
    measurement = read_scan(path, job.reading, job.prepare)
    return oriented(measurement, seed=job.setup.seed) if job.running.auto_orient else measurement


def run_job(job: Job, watch: Callable[[Step[Any], Problem[Any]], None] | None = None) -> Result:
    """Run a job of one scan and write its result. The output appears whole or not at all; the checkpoint goes when it is
    written.
    """
    if job.together:
        raise InputError(f"the job has {len(job.scans)} scans, which give a result each; run it with run_together")
    return _run(job, watch)[0]


def run_together(job: Job, watch: Callable[[Step[Any], Problem[Any]], None] | None = None) -> tuple[Result, ...]:
    """Run a job of several scans, which share their probe, or of one; write a result each, as `run_job` does."""
    return _run(job, watch)


def _run(job: Job, watch: Callable[[Step[Any], Problem[Any]], None] | None) -> tuple[Result, ...]:
    require_outputs(job.scans, job.output)
    how = job.running
    scans = [_measured(path, job) for path in job.scans]
    probe = read_probe(how.probe) if how.probe else None
    stop = Stop(residual=how.stop_residual, patience=how.patience)
    kept = Checkpoints(path=job.checkpoint, every=how.checkpoint_every, resume=how.resume)
    solver, start = job.whole_solver, read_estimate(how.start) if how.start else None
    if job.together:
        made = reconstruct(scans, solver, probe=probe, setup=job.setup, stop=stop, checkpoints=kept, watch=watch)
    else:
        alone = reconstruct(
            scans[0], solver, start=start, probe=probe, setup=job.setup, stop=stop, checkpoints=kept, watch=watch
        )
        made = (alone,)
    # Absolute, so that the halves can be made from any folder.
    told = tuple(replace(one, provenance={**one.provenance, "job": job.described()}) for one in made)
    _write(job, told)
    return told


def _write(job: Job, made: Sequence[Result]) -> None:
    try:
        for path, result in zip(job.outputs, made, strict=True):
            results.write_result(path, result)
    except ExitwaveError as error:
        kept = f"; the run is kept in {job.checkpoint}: --resume goes on from there" if job.checkpoint.exists() else ""
        raise type(error)(f"{error}{kept}") from error
    if not str(made[0].provenance["ending"]).startswith("interrupted"):
        job.checkpoint.unlink(missing_ok=True)


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
