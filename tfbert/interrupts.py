"""Graceful stop on SIGINT and SIGTERM: training finishes its update, saves a checkpoint, and reports what it saved.

Outside of training, SIGINT raises `KeyboardInterrupt` at once, as in any Python program; in the tools SIGTERM does too.
"""

import contextlib
import signal
import threading
from collections.abc import Iterator

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """A signal stopped the process.

    Args:
        message: tells the user what was saved; empty if unknown.
        number: number of the signal.
        is_done: whether nothing is left to continue.
    """

    def __init__(self, message: str = "", number: int = signal.SIGINT, is_done: bool = False):
        super().__init__(message)
        self.message, self.number, self.is_done = message, signal.Signals(number), is_done

    @classmethod
    def by(cls, error: KeyboardInterrupt, message: str, is_done: bool = False) -> "Stopped":
        """Return the error for the signal that raised another one; Python raises its own for SIGINT."""
        return cls(message, getattr(error, "number", signal.SIGINT), is_done)

    @property
    def exit_code(self) -> int:
        """The exit code that a shell reports for a process ended by the signal: 130 or 143."""
        return 128 + self.number

    def describe(self, command: str = "") -> str:
        """Return a line that tells the user what was saved and how to continue.

        Args:
            command: resumes where the process was stopped; empty if there is nothing to continue.
        """
        if not command or self.is_done:
            return self.message or "stopped"
        return f"{self.message or 'stopped; this process saved no checkpoint'}; continue with: {command}"


class Request:
    """A request to stop the process: false until a signal arrives, whose number it then holds."""

    def __init__(self):
        self.number: int | None = None

    def __bool__(self) -> bool:
        return self.number is not None

    def check(self, message: str = "") -> None:
        """Stop here if a signal has arrived.

        Args:
            message: tells the user what was saved.

        Raises:
            Stopped: a signal has arrived.
        """
        if self.number is not None:
            raise Stopped(message, self.number)

    def handle(self, number: int, frame: object = None) -> None:
        """Record a signal.

        Raises:
            KeyboardInterrupt: it is SIGINT and not the first signal: the user does not want to wait.
        """
        if self.number is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.number = self.number or number


@contextlib.contextmanager
def deferred() -> Iterator[Request]:
    """Defer signals inside a `with` block, which has to check the request wherever it can stop.

    Signals that the process ignores or handles itself are left alone, as are all signals in any thread but the main
    one, where Python does not allow handlers.
    """
    request, before = Request(), {}
    try:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                handler = signal.getsignal(number)
                if handler in (signal.SIG_DFL, signal.default_int_handler, raise_stopped):
                    before[number] = handler
                    signal.signal(number, request.handle)
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def raise_stopped(number: int, frame: object = None) -> None:
    """Stop at once when a signal arrives.

    Raises:
        Stopped: always, without a message.
    """
    raise Stopped(number=number)


def catch_sigterm() -> None:
    """Make SIGTERM raise `Stopped`, so that half-written files are removed, unless the process ignores it."""
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, raise_stopped)
