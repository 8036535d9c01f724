"""End a command as a shell's own commands end when a signal asks for it."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType


class Ended(KeyboardInterrupt):
    """A signal asks this process to end: like Ctrl-C, so that its kernel and its workers are ended first."""


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP raise `Ended` meanwhile, once; left alone where they are ignored (nohup) or handled."""

    def end(number: int, frame: FrameType | None) -> None:
        for each in before:  # a closed terminal may hang up twice, and the second would cut the cleaning short
            signal.signal(each, signal.SIG_IGN)
        raise Ended(signal.Signals(number))

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]  # Windows has one
    if threading.current_thread() is not threading.main_thread():
        numbers = []  # Python allows it there alone
    before = {number: signal.getsignal(number) for number in numbers if signal.getsignal(number) == signal.SIG_DFL}
    for number in before:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def say(sentence: str) -> None:
    """Print to stderr.

    Where a terminal was closed nobody hears it, and what is still to be printed goes nowhere: over that Python would
    end with a status of its own.
    """
    with contextlib.suppress(OSError):
        print(f"pnlib: {sentence}", file=sys.stderr, flush=True)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
