"""Display of a training while it runs: a bar on a terminal, lines in a log, and a preview picture once a minute."""

import math
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress as Bar, TextColumn, TimeRemainingColumn

from exitwave.cli import warn
from exitwave.data.result import Result
from exitwave.reports.figures import save_preview
from exitwave.running.train import TrainingProgress
from exitwave.training.log import read_log
from exitwave.training.trainer import Progress

PREVIEW = "preview.png"
EVERY_S = 60.0
"""Seconds between two previews, or between two lines of a log within an epoch."""
SHARE = 0.05
"""A preview takes as long as a reconstruction; previews take at most this share of the time."""
MOST_LINES = 20
"""Epochs of which a log tells, over a whole training."""


@contextmanager
def watching_training(title: str, *, group: int, previews: "Previews") -> Generator[Callable[[TrainingProgress], None]]:
    """Give a function that shows each step and draws previews; `group` are the frames of a sample."""
    speed = _Speed(group)

    def following(show: Callable[[TrainingProgress, float], None]) -> Callable[[TrainingProgress], None]:
        def watch(taught: TrainingProgress) -> None:
            show(taught, speed.after(taught.progress))
            previews(taught)
            speed.pause()

        return watch

    if not sys.stderr.isatty():
        yield following(_Lines(title))
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=16),
        TextColumn("{task.fields[told]}"),
        TimeRemainingColumn(compact=True),
    )
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=None, told="")

        def on_terminal(taught: TrainingProgress, frames_per_s: float) -> None:
            p = taught.progress
            told = f"epoch {p.epoch}/{taught.epochs}  {described(p)}  {frames_per_s:.0f} frames/s"
            done = (p.epoch - 1) * p.steps + p.step
            bar.update(task, total=taught.epochs * p.steps, completed=done, told=told)

        yield following(on_terminal)


class _Speed:
    """Frames a second, lately."""

    def __init__(self, group: int) -> None:
        self._group, self._last_s, self._value = group, time.monotonic(), 0.0

    def after(self, progress: Progress) -> float:
        """Counting a step."""
        now_s = time.monotonic()
        value = progress.samples * self._group / max(now_s - self._last_s, 1e-9)
        self._value = 0.9 * self._value + 0.1 * value if self._value else value
        self._last_s = now_s
        return self._value

    def pause(self) -> None:
        """What happened since the last step does not count."""
        self._last_s = time.monotonic()


class _Lines:
    """Prints about twenty lines over a training, more where epochs take minutes."""

    def __init__(self, title: str) -> None:
        self._title, self._last_s = title, time.monotonic()

    def __call__(self, taught: TrainingProgress, frames_per_s: float) -> None:
        p = taught.progress
        # The held-out loss of an epoch is known when the next one has begun.
        ended = p.step == 1 and p.epoch > 1 and (p.epoch - 1) % max(1, taught.epochs // MOST_LINES) == 0
        if ended or time.monotonic() - self._last_s >= EVERY_S:
            self._last_s = time.monotonic()
            place = f"{p.epoch - 1}/{taught.epochs}" if ended else f"{p.epoch}/{taught.epochs} step {p.step}/{p.steps}"
            line = f"{self._title}: epoch {place}  {described(p)}  {frames_per_s:.0f} frames/s"
            print(line, file=sys.stderr, flush=True)


def described(progress: Progress) -> str:
    """The figures of a step in a few words; the held-out loss is that of the epoch before."""
    held_out = "" if math.isnan(progress.held_out_loss) else f"  held out {progress.held_out_loss:.3e}"
    return f"loss {progress.loss:.3e}{held_out}  rate {progress.learning_rate:.1e}"


class Previews:
    """Draws what the network makes of the first scan into the folder of the training, now and then."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._next_s = time.monotonic() + EVERY_S
        self._last: TrainingProgress | None = None
        self._failed = False

    @property
    def untouched(self) -> bool:
        """Whether no step was made."""
        return self._last is None

    def __call__(self, taught: TrainingProgress) -> None:
        """After a step: draw when it is time."""
        self._last = taught
        if time.monotonic() >= self._next_s:
            self.draw()

    def draw(self) -> None:
        """Draw now. Whatever goes wrong is told once and never ends the training."""
        if self._last is None:
            return
        began_s = time.monotonic()
        try:
            shown = self._last.previewed()
            result = Result(
                estimate=self._last.preview(), geometry=shown.geometry, object_pixel_m=shown.object_pixel_m, spec={}
            )
            losses = [(_number(e.get("loss")), _number(e.get("held_out_loss"))) for e in read_log(self._folder)]
            save_preview(result, self._folder / PREVIEW, losses)
        except Exception as error:
            if not self._failed:
                warn(f"there is no preview ({type(error).__name__}: {error}); the training goes on")
            self._failed = True
        now_s = time.monotonic()
        self._next_s = now_s + max(EVERY_S, (now_s - began_s) / SHARE)


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else math.nan
