"""A whole job as one value: which scan, how read and prepared, which solver, where to. The command line and YAML files both make it."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, field, replace
from pathlib import Path
from typing import Annotated, Any, cast

import yaml
from pydantic import BeforeValidator, ConfigDict, Field, PositiveInt, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as validated

from exitwave.data.errors import ExitwaveError, FormatError, InputError
from exitwave.data.prepare.steps import prepared
from exitwave.data.result import Result
from exitwave.data.scan import Scan
from exitwave.io import results
from exitwave.io.assemble import ReadOptions
from exitwave.io.atomic import require_writable
from exitwave.io.files import read, read_estimate, read_probe
from exitwave.io.memory import parse_size
from exitwave.problems.ptychography import Problem
from exitwave.running.checkpoints import Checkpoints
from exitwave.running.reconstruct import reconstruct
from exitwave.running.stopping import Stop
from exitwave.solvers.base import Solver, Step
from exitwave.solvers.refined import refine
from exitwave.solvers.refinement_options import RefinementOptions
from exitwave.solvers.spec import from_spec, in_names_of_today, resolve_paths

Fraction = Annotated[float, Field(ge=0, lt=0.5)]


Metres = Annotated[float, Field(gt=0, le=1)]


Seed = Annotated[int, Field(ge=0, lt=2**32)]


def _amount(value: Any) -> str:
    parse_size(value)
    return str(value)


Memory = Annotated[str, BeforeValidator(_amount)]


FOREIGN_ENDINGS = (".png", ".tif", ".tiff", ".npz", ".npy", ".html", ".jpg", ".yaml", ".yml")
"""A result is HDF5; under these names nobody would look for one."""


STRICT = ConfigDict(extra="forbid")


@validated(frozen=True, kw_only=True, config=STRICT)
class Running(RefinementOptions):
    """How to run, whatever the solver."""

    slices: Annotated[int, Field(ge=1, le=50)] = 1
    """Slices of a thick sample, along the beam."""
    slice_spacing_m: Metres | None = None
    """Free space between slices, metres; needed with several slices."""
    exposure_m: tuple[float, float] | None = None
    """Fly scan: (y, x) that the probe travels during each exposure, metres, centred on the position."""
    exposure_points: Annotated[int, Field(ge=2, le=100)] = 5
    """Places at which the probe of a fly scan is computed; about one a pixel of travel. Each costs as much as a mode."""
    modes: PositiveInt = 1
    """Incoherent modes of the probe; 2-4 for a partly coherent beam."""
    start: Path | None = None
    """Result or product file to start from: object, probe and positions of the same frames."""
    probe: Path | None = None
    """File whose probe to start from; the object starts empty."""
    seed: Seed = 0
    """Seed of everything random; the same seed gives the same image."""
    device: str = "auto"
    """auto, cpu or cuda."""
    memory: Memory | None = None
    """What the run may hold, such as 8GB, beside about 1 GB for the program; frames that do not fit are read in every epoch."""
    free_fraction: Fraction = 0.0
    """Share of detector pixels held out to test the result (free residual); 0.05 is usual."""
    stop_residual: float | None = None
    """End as soon as the residual is at or below this."""
    patience: PositiveInt | None = None
    """End after so many epochs without 0.1 % improvement."""
    checkpoint_every: PositiveInt = 10
    """Epochs between checkpoints; a run that is killed loses at most these."""
    resume: bool = False
    """Go on exactly from the last checkpoint of this output, if there is one."""


@validated(frozen=True, kw_only=True, config=STRICT)
class Job(Running):
    """Everything that one reconstruction needs. Paths are as seen from where the job is run."""

    scan: Path
    """Scan file, in any known format."""
    solver: Any
    """Name, {name: ..., options}, the folder of a trained network, or a list of them: a chain."""
    output: Path
    """Result file (HDF5)."""
    reading: ReadOptions = field(default_factory=ReadOptions)
    """What is known better than the file does."""
    prepare: tuple[Any, ...] = ()
    """Preparation steps in order: names, or {name: argument}, such as {bin: 2}."""

    @property
    def checkpoint(self) -> Path:
        """Where this job keeps its state while it runs."""
        return self.output.with_name(self.output.name + ".checkpoint")


def read_job(path: str | Path) -> Job:
    """A job from a YAML file; its relative paths start from the file's folder. InputError names what is wrong."""
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise FormatError(f"{path} does not exist; check the path") from error
    # ValueError: neither text nor dates need make sense; RecursionError: thousands of nested brackets.
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise FormatError(f"{path} is not a readable YAML file: {error}") from error
    if not isinstance(content, dict):
        raise FormatError(f"{path} holds no job; expected at least the keys scan, solver, output")
    described = {str(key): value for key, value in cast("dict[Any, Any]", content).items()}
    _start_from(path.parent, described, ("scan", "output", "start", "probe"))
    described |= {"solver": resolve_paths(described["solver"], path.parent)} if "solver" in described else {}
    if isinstance(described.get("reading"), dict):
        _start_from(path.parent, described["reading"], ("positions",))
    return make_job(described, str(path))


def _start_from(folder: Path, described: dict[str, Any], keys: tuple[str, ...]) -> None:
    for key in keys:
        if isinstance(described.get(key), str):
            described[key] = folder / described[key]


def make_job(described: Mapping[str, Any], source: str) -> Job:
    """A job from plain values. InputError names unknown keys and values out of range, all at once."""
    try:
        return TypeAdapter(Job).validate_python(in_names_of_today(Job, described))
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise InputError(f"{source}: {faults}; keys are {', '.join(Job.__dataclass_fields__)}") from error


def read_prepared(job: Job) -> Scan:
    """The scan of a job, read as stated and prepared."""
    return prepared(read(job.scan, job.reading), job.prepare)


def run_job(job: Job, watch: Callable[[Step[Any], Problem], None] | None = None) -> Result:
    """Run a job and write its result. The output appears whole or not at all; the checkpoint goes when it is written."""
    _check_output(job)
    solver = solver_of(job)
    scan = read_prepared(job)
    result = reconstruct(
        scan,
        solver,
        start=read_estimate(job.start) if job.start else None,
        probe=read_probe(job.probe) if job.probe else None,
        modes=job.modes,
        slices=job.slices,
        slice_spacing_m=job.slice_spacing_m,
        exposure_m=job.exposure_m,
        exposure_points=job.exposure_points,
        seed=job.seed,
        device=job.device,
        free_fraction=job.free_fraction,
        memory=job.memory,
        stop=Stop(residual=job.stop_residual, patience=job.patience),
        checkpoints=Checkpoints(path=job.checkpoint, every=job.checkpoint_every, resume=job.resume),
        watch=watch,
    )
    result = with_job(result, job)
    try:
        results.write_result(job.output, result)
    except ExitwaveError as error:
        kept = f"; the run is kept in {job.checkpoint}: --resume goes on from there" if job.checkpoint.exists() else ""
        raise type(error)(f"{error}{kept}") from error
    if not str(result.provenance["ending"]).startswith("interrupted"):
        job.checkpoint.unlink(missing_ok=True)
    return result


def solver_of(job: Job) -> Solver[Any]:
    """The solver of a job, with what else the job wants to be found or kept around it."""
    return refine(from_spec(job.solver), job)


def _check_output(job: Job) -> None:
    """Refuse now what would be refused after hours of work."""
    if job.output.suffix.lower() in FOREIGN_ENDINGS:
        raise InputError(
            f"{job.output} should end in .h5: a result is an HDF5 file, from which exitwave export makes pictures and others"
        )
    if job.output.exists() and job.scan.exists() and job.output.samefile(job.scan):
        raise InputError(f"the output {job.output} is the scan itself; choose another output path")
    require_writable(job.output)


def with_job(result: Result, job: Job) -> Result:
    """The result with the job that made it in its provenance, so that it can be repeated and split in halves."""
    # Absolute, so that the halves can be made from any folder.
    given = {name: path.absolute() for name in ("scan", "output", "start", "probe") if (path := getattr(job, name))}
    job = replace(job, **given)
    return replace(result, provenance={**result.provenance, "job": _plain(asdict(cast(Any, job)))})


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
