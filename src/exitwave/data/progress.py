"""Work that takes a while says what it is doing and how far it is, to whoever listens."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")

Listener = Callable[[str, int, int], None]
"""Is told what is being done, how many parts of it are done, and how many there are; 0 of 1 when a phase begins."""
_LISTENER: ContextVar[Listener | None] = ContextVar("listener", default=None)
_PHASE: ContextVar[str] = ContextVar("phase", default="")


@contextmanager
def listening(listener: Listener) -> Generator[None]:
    """Let `listener` hear of all work that is done within."""
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)


@contextmanager
def phase(name: str) -> Generator[None]:
    """Name the work that is done within, such as "reading scan.cxi"; where Ctrl-C ends it, the exception's first note is it."""
    outer = _PHASE.get()
    token = _PHASE.set(name)
    _tell(name, 0, 1)
    try:
        yield
    except KeyboardInterrupt as error:
        if not getattr(error, "__notes__", ()):
            error.add_note(name)
        raise
    finally:
        _PHASE.reset(token)
        _tell(name, 1, 1)
        if outer:
            _tell(outer, 0, 1)


def in_parts(what: str, parts: Sequence[T]) -> Iterator[T]:
    """The same parts, one after another; where there are several, the listener hears of each, and of the end."""
    for done, part in enumerate(parts):
        if len(parts) > 1:
            _tell(what, done, len(parts))
        yield part
    if len(parts) > 1:
        _tell(what, len(parts), len(parts))


def _tell(what: str, done: int, parts: int) -> None:
    listener = _LISTENER.get()
    if listener is not None:
        listener(what, done, parts)
