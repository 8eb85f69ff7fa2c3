"""How far a run is: a bar on terminals and in notebooks, and lines for Python's standard logging."""

import logging
import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from exitwave.data.lengths import number
from exitwave.data.progress import listening
from exitwave.problems.base import Problem
from exitwave.solvers.base import Step

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

LOG = logging.getLogger("exitwave")
"""What runs say as they go, at level INFO; silent unless it is set up: logging.basicConfig(), LOG.setLevel(logging.INFO)."""
WIDTH = 24
"""Characters of the bar in a notebook."""

Show = Callable[[str, Step[Any], Problem[Any]], None]
"""Is told of every step of a run of this name."""


@contextmanager
def progress_of(totals: Mapping[str, int | None], *, wanted: bool) -> Generator[Show]:
    """Give a function that logs each step of several runs and, where wanted and somebody looks on, shows a bar each; `totals`
    are their epochs, where known."""
    with _bars(totals) if wanted and (sys.stderr.isatty() or _in_notebook()) else _nothing() as show:

        def told(title: str, step: Step[Any], problem: Problem[Any]) -> None:
            log_step(title, totals.get(title), step)
            show(title, step, problem)

        yield told


def log_step(title: str, total: int | None, step: Step[Any]) -> None:
    """One line for the log: ten over a run at level INFO, the others at DEBUG."""
    often = step.epoch % max((total or 100) // 10, 1) == 0 or step.epoch == total
    of = f" of {total}" if total else ""
    LOG.log(
        logging.INFO if often else logging.DEBUG, "%s: epoch %d%s, residual %.3e", title, step.epoch, of, step.residual
    )


@contextmanager
def terminal_bars(totals: Mapping[str, int | None]) -> Generator[Show]:
    """Bars on the terminal, one a run, with epoch, residual and time to go."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn as Remaining,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[told]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        Remaining(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        shown = _Bars(bar, totals)
        with listening(shown.working):
            yield shown.stepped


class _Bars:
    """A bar for each run: the name of what is being done before its first epoch, then the epoch and its residual."""

    def __init__(self, bar: "Progress", totals: Mapping[str, int | None]) -> None:
        self.bar, self.totals = bar, totals
        self.tasks: dict[str, "TaskID"] = {
            title: bar.add_task(title, total=total, told="", start=len(totals) == 1) for title, total in totals.items()
        }
        self.waiting = list(totals)
        """Runs that have made no step, the one at work first."""
        self.steps = dict.fromkeys(totals, "")
        """What the last step of each said."""

    def stepped(self, title: str, step: Step[Any], problem: Problem[Any]) -> None:
        """After an epoch of a run."""
        if title not in self.tasks:
            self.tasks[title] = self.bar.add_task(title, told="")
        if title in self.waiting:
            self.waiting.remove(title)
        total = self.totals.get(title)
        of = f" of {total}" if total else ""
        told = self.steps[title] = f"epoch {step.epoch}{of}  residual {step.residual:.3e}"
        self.bar.start_task(self.tasks[title])
        self.bar.update(self.tasks[title], completed=step.epoch, told=told)

    def working(self, what: str, done: int, parts: int) -> None:
        """While something beside epochs is done: told at the run that waits for it, or the last one."""
        of = f", {done} of {parts}" if parts > 1 else ""
        title = self.waiting[0] if self.waiting else list(self.tasks)[-1]
        self.bar.update(self.tasks[title], told=f"{what}{of}" if done < parts else self.steps.get(title, ""))


def _bars(totals: Mapping[str, int | None]) -> Any:
    return _notebook_bars(totals) if _in_notebook() else terminal_bars(totals)


@contextmanager
def _notebook_bars(totals: Mapping[str, int | None]) -> Generator[Show]:
    """A line that is written over and over, which every notebook shows without a widget."""
    began, last = dict[str, float](), [""]

    def show(title: str, step: Step[Any], problem: Problem[Any]) -> None:
        if title not in began and began:
            print(file=sys.stderr)
        started, total = began.setdefault(title, time.monotonic()), totals.get(title)
        line = f"{title}: {step.epoch} epochs, residual {number(step.residual)}"
        if total:
            filled = min(round(WIDTH * step.epoch / total), WIDTH)
            taken = time.monotonic() - started
            left = (
                f", {number(taken * (total - step.epoch) / max(step.epoch - 1, 1), 2)} s left" if step.epoch > 1 else ""
            )
            bar = "█" * filled + "░" * (WIDTH - filled)
            line = f"{title} {bar} {step.epoch} of {total} epochs, residual {number(step.residual)}{left}"
        print(f"\r{line}{' ' * max(len(last[0]) - len(line), 0)}", end="", file=sys.stderr, flush=True)
        last[0] = line

    try:
        yield show
    finally:
        if began:
            print(file=sys.stderr)


@contextmanager
def _nothing() -> Generator[Show]:
    yield lambda title, step, problem: None


def _in_notebook() -> bool:
    # Only IPython can tell, and it was imported by the notebook itself.
    ipython = sys.modules.get("IPython")
    return ipython is not None and type(ipython.get_ipython()).__name__ == "ZMQInteractiveShell"
