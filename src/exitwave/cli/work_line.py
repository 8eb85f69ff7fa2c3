"""What a command is doing: on one line of the terminal where that takes more than a moment, line by line in a log."""

import sys
import time
from collections.abc import Generator
from contextlib import contextmanager

from exitwave.data.progress import listening

STARTING = "starting"
"""The phase in which a command is read and what it needs is loaded; no log asks for it."""
QUIET_S, EVERY_S = 2.0, 0.2
"""Parts of a work are told of when a command has been silent for so long, and then so often; the name of a phase at once."""


@contextmanager
def telling_work() -> Generator[None]:
    """Say on a terminal what is being done, and how far it is, where that takes more than a moment; in a log, what begins."""
    if not sys.stderr.isatty():
        with listening(_Log()):
            yield
        return
    line = _WorkLine()
    try:
        with listening(line):
            yield
    finally:
        line.clear()


class _WorkLine:
    """One line that is written over and over, and is gone when the work is done."""

    def __init__(self) -> None:
        self.began = self.told = time.monotonic()
        self.shown = False

    def __call__(self, what: str, done: int, parts: int) -> None:
        now = time.monotonic()
        if done == parts:
            self.clear()
        elif parts == 1:
            self.told, self.shown = now, True
            print(f"\r\033[K{what} ...", end="", file=sys.stderr, flush=True)
        elif now - self.began > QUIET_S and now - self.told > EVERY_S:
            self.told, self.shown = now, True
            print(f"\r\033[K{what}: {done} of {parts}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        if self.shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
            self.shown = False


class _Log:
    """A line for every phase that begins, and for work in parts that takes more than a moment; for batch jobs."""

    def __init__(self) -> None:
        self.began: dict[str, float] = {}
        """Phases and works on their way: when they began."""
        self.told: set[str] = set()
        self.last = ""

    def __call__(self, what: str, done: int, parts: int) -> None:
        now = time.monotonic()
        if what == STARTING:
            return
        if done == parts:
            self.began.pop(what, None)
            self.told.discard(what)
            return
        # A phase is told again when one within it is over.
        began = self.began.setdefault(what, now)
        if what not in self.told and (parts == 1 or now - began > QUIET_S):
            self.told.add(what)
            if what != self.last:
                print(f"{what} ...", file=sys.stderr, flush=True)
            self.last = what
