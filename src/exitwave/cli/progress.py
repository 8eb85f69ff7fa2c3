"""A progress bar with epoch, residual and time to go, on standard error."""

import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
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

from exitwave.iterative.refined import Refined
from exitwave.iterative.starts import BestOf
from exitwave.physics.problem import Problem
from exitwave.solver import Chain, Ensemble, Solver, Step


def total_epochs(solver: Solver[Any]) -> int | None:
    """Epochs a solver will take, where it says."""
    if isinstance(solver, Chain):
        parts = [total_epochs(stage) for stage in solver.stages]
        return None if None in parts else sum(p for p in parts if p is not None)
    if isinstance(solver, Ensemble):
        inner = total_epochs(solver.member)
        return None if inner is None else inner * solver.size
    if isinstance(solver, BestOf):
        inner = total_epochs(solver.member)
        return None if inner is None else inner * solver.starts
    if isinstance(solver, Refined):
        return total_epochs(solver.solver)
    return getattr(solver, "epochs", None)


@contextmanager
def watching(solver: Solver[Any], title: str) -> Generator[Callable[[Step[Any], Problem], None]]:
    """Give a function that shows each step; a bar on a terminal, a line now and then in a log."""
    with watching_many({title: total_epochs(solver)}) as show:
        yield lambda step, problem: show(title, step, problem)


@contextmanager
def watching_many(totals: Mapping[str, int | None]) -> Generator[Callable[[str, Step[Any], Problem], None]]:
    """Give a function that shows each step of several runs, one bar each; `totals` are their epochs, where known."""
    if not sys.stderr.isatty():
        yield _Logs(totals)
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

        def show(title: str, step: Step[Any], problem: Problem) -> None:
            if title not in tasks:
                tasks[title] = bar.add_task(title, residual="-")
            bar.start_task(tasks[title])
            bar.update(tasks[title], completed=step.epoch, residual=f"{step.residual:.3e}")

        yield show


class _Logs:
    """Prints ten lines over a run, for logs and batch jobs."""

    def __init__(self, totals: Mapping[str, int | None]) -> None:
        self.totals = totals

    def __call__(self, title: str, step: Step[Any], problem: Problem) -> None:
        total = self.totals.get(title)
        if step.epoch % max((total or 100) // 10, 1) == 0 or step.epoch == total:
            of = f"/{total}" if total else ""
            print(f"{title}: epoch {step.epoch}{of}  residual {step.residual:.3e}", file=sys.stderr, flush=True)
