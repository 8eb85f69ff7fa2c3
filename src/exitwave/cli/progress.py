"""A progress bar with epoch, residual and time to go, on standard error."""

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

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
    return getattr(solver, "epochs", None)


@contextmanager
def watching(solver: Solver[Any], title: str) -> Generator[Callable[[Step[Any], Problem], None]]:
    """Give a function that shows each step; a bar on a terminal, a line now and then in a log."""
    total = total_epochs(solver)
    if not sys.stderr.isatty():
        yield _Log(title, total)
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
        task = bar.add_task(title, total=total, residual="-")

        def show(step: Step[Any], problem: Problem) -> None:
            bar.update(task, completed=step.epoch, residual=f"{step.residual:.3e}")

        yield show


class _Log:
    """Prints ten lines over a run, for logs and batch jobs."""

    def __init__(self, title: str, total: int | None) -> None:
        self.title, self.total = title, total
        self.every = max((total or 100) // 10, 1)

    def __call__(self, step: Step[Any], problem: Problem) -> None:
        if step.epoch % self.every == 0 or step.epoch == self.total:
            of = f"/{self.total}" if self.total else ""
            print(f"{self.title}: epoch {step.epoch}{of}  residual {step.residual:.3e}", file=sys.stderr, flush=True)
