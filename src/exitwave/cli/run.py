"""exitwave run JOB.yaml"""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from exitwave.cli.reconstruct import run_and_tell
from exitwave.running.job import read_job


def run(
    job: Annotated[Path, Parameter(help="YAML job file.")],
    /,
    *,
    report: Annotated[Path | None, Parameter(help="Also write this HTML report.")] = None,
    resume: Annotated[
        bool, Parameter(help="Go on from the last checkpoint, exactly, if there is one.", negative="")
    ] = False,
) -> int:
    """Run a job from a YAML file.

    Keys are those of the options of `exitwave reconstruct` (with underscores), `scan`, `output`, `reading` for what is
    stated about the file, `prepare` for a list of steps, and `solver`: a name, {name: ..., options}, the folder of a trained
    network, or a list: a chain. Relative paths start from the job's folder. Exit code 3 says that the verdict on an image is
    failed; the result is written all the same.
    """
    from dataclasses import replace

    described = read_job(job)
    going_on = replace(described, running=replace(described.running, resume=resume or described.running.resume))
    return run_and_tell(going_on, report)
