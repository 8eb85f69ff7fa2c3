"""Work that takes a while says what it is doing and how far it is, to whoever listens."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")

Listener = Callable[[str, int, int], None]
"""Is told what is being done, how many parts of it are done, and how many there are."""
_LISTENER: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def listening(listener: Listener) -> Generator[None]:
    """Let `listener` hear of all work that is done within."""
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)


def in_parts(what: str, parts: Sequence[T]) -> Iterator[T]:
    """The same parts, one after another; the listener hears of each, and of the end."""
    listener = _LISTENER.get()
    for done, part in enumerate(parts):
        if listener is not None:
            listener(what, done, len(parts))
        yield part
    if listener is not None:
        listener(what, len(parts), len(parts))
