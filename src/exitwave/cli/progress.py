"""A progress bar with epoch, residual and time to go, on standard error."""

import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from exitwave.problems.base import Problem
from exitwave.solvers.base import Solver, Step


@contextmanager
def watching(solver: Solver[Any], title: str) -> Generator[Callable[[Step[Any], Problem[Any]], None]]:
    """Give a function that shows each step; a bar on a terminal, a line now and then in a log."""
    with watching_many({title: solver.total_epochs}) as show:
        yield lambda step, problem: show(title, step, problem)


@contextmanager
def watching_many(totals: Mapping[str, int | None]) -> Generator[Callable[[str, Step[Any], Problem[Any]], None]]:
    """Give a function that shows each step of several runs, one bar each; `totals` are their epochs, where known."""
    if not sys.stderr.isatty():
        yield partial(_log, totals)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("epochs  residual {task.fields[residual]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        tasks: dict[str, TaskID] = {
            title: bar.add_task(title, total=total, residual="-", start=len(totals) == 1)
            for title, total in totals.items()
        }

        def show(title: str, step: Step[Any], problem: Problem[Any]) -> None:
            if title not in tasks:
                tasks[title] = bar.add_task(title, residual="-")
            bar.start_task(tasks[title])
            bar.update(tasks[title], completed=step.epoch, residual=f"{step.residual:.3e}")

        yield show


def _log(totals: Mapping[str, int | None], title: str, step: Step[Any], problem: Problem[Any]) -> None:
    """Print ten lines over a run, for logs and batch jobs."""
    total = totals.get(title)
    if step.epoch % max((total or 100) // 10, 1) == 0 or step.epoch == total:
        of = f"/{total}" if total else ""
        print(f"{title}: epoch {step.epoch}{of}  residual {step.residual:.3e}", file=sys.stderr, flush=True)
