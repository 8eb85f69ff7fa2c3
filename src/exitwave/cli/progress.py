"""A progress bar with epoch, residual and time to go, on standard error."""

import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from exitwave.problems.base import Problem
from exitwave.running.progress import terminal_bars
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
    with terminal_bars(totals) as show:
        yield show


def _log(totals: Mapping[str, int | None], title: str, step: Step[Any], problem: Problem[Any]) -> None:
    """Print ten lines over a run, for logs and batch jobs."""
    total = totals.get(title)
    if step.epoch % max((total or 100) // 10, 1) == 0 or step.epoch == total:
        of = f"/{total}" if total else ""
        print(f"{title}: epoch {step.epoch}{of}  residual {step.residual:.3e}", file=sys.stderr, flush=True)
