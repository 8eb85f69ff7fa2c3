"""A progress bar with epoch, residual and time to go, on standard error."""

import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from exitwave.data.progress import listening
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
        TextColumn("{task.fields[told]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        shown = _Bars(bar, totals)
        with listening(shown.working):
            yield shown.stepped


class _Bars:
    """A bar for each run: the name of what is being done before its first epoch, then the epoch and its residual."""

    def __init__(self, bar: Progress, totals: Mapping[str, int | None]) -> None:
        self.bar, self.totals = bar, totals
        self.tasks: dict[str, TaskID] = {
            title: bar.add_task(title, total=total, told="", start=len(totals) == 1) for title, total in totals.items()
        }
        self.waiting = list(totals)
        """Runs that have made no step, the one at work first."""

    def stepped(self, title: str, step: Step[Any], problem: Problem[Any]) -> None:
        """After an epoch of a run."""
        if title not in self.tasks:
            self.tasks[title] = self.bar.add_task(title, told="")
        if title in self.waiting:
            self.waiting.remove(title)
        total = self.totals.get(title)
        of = f" of {total}" if total else ""
        told = f"epoch {step.epoch}{of}  residual {step.residual:.3e}"
        self.bar.start_task(self.tasks[title])
        self.bar.update(self.tasks[title], completed=step.epoch, told=told)

    def working(self, what: str, done: int, parts: int) -> None:
        """While something beside epochs is done: told at the run that waits for it, or the last one."""
        of = f", {done} of {parts}" if parts > 1 else ""
        if done < parts:
            title = self.waiting[0] if self.waiting else list(self.tasks)[-1]
            self.bar.update(self.tasks[title], told=f"{what}{of}")


def _log(totals: Mapping[str, int | None], title: str, step: Step[Any], problem: Problem[Any]) -> None:
    """Print ten lines over a run, for logs and batch jobs."""
    total = totals.get(title)
    if step.epoch % max((total or 100) // 10, 1) == 0 or step.epoch == total:
        of = f"/{total}" if total else ""
        print(f"{title}: epoch {step.epoch}{of}  residual {step.residual:.3e}", file=sys.stderr, flush=True)
