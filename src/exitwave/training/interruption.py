"""Deferred Ctrl-C: it waits for a moment at which nothing is half done."""

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def defer_interrupt() -> Generator[None]:
    """Ctrl-C in this block takes effect at its end. For short blocks, in the main thread; elsewhere Ctrl-C never arrives."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is None:
        yield
        return
    pressed: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    # Called, not raised: while other threads run, a raised signal may be handled some steps later.
    if pressed and callable(before):
        before(pressed[0], None)
    elif pressed:
        signal.raise_signal(pressed[0])
