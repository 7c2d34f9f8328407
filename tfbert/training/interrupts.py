"""Signals that ask a process to stop: a training finishes its update, saves a checkpoint, and says what it saved.

Outside of a training, SIGINT raises `KeyboardInterrupt` at once, as Python does; in the tools SIGTERM does likewise.
"""

import contextlib
import signal
import threading
from collections.abc import Iterator

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """A signal stopped the process.

    Args:
        message: what was saved, for the user; empty where nothing is known of it.
        number: of the signal.
        is_done: whether nothing is left to do.
    """

    def __init__(self, message: str = "", number: int = signal.SIGINT, is_done: bool = False):
        super().__init__(message)
        self.message, self.number, self.is_done = message, signal.Signals(number), is_done

    @classmethod
    def by(cls, error: KeyboardInterrupt, message: str, is_done: bool = False) -> "Stopped":
        """Return the error for the signal that another one came from; Python's own is of SIGINT."""
        return cls(message, getattr(error, "number", signal.SIGINT), is_done)

    @property
    def exit_code(self) -> int:
        """What a shell reports of a process that the signal ended: 130 or 143."""
        return 128 + self.number

    def describe(self, command: str = "") -> str:
        """Return the line that tells a user what was saved and how to continue.

        Args:
            command: that goes on where the process was stopped; empty if there is nothing to continue.
        """
        if not command or self.is_done:
            return self.message or "stopped"
        return f"{self.message or 'stopped; this process saved no checkpoint'}; continue with: {command}"


class Request:
    """Whether, and by which signal, the process was asked to stop."""

    def __init__(self):
        self.number: int | None = None

    def __bool__(self) -> bool:
        return self.number is not None

    def check(self, message: str = "") -> None:
        """Stop here, if that was asked for.

        Args:
            message: what was saved.

        Raises:
            Stopped: it was asked for.
        """
        if self.number is not None:
            raise Stopped(message, self.number)

    def handle(self, number: int, frame: object = None) -> None:
        """Take a signal.

        Raises:
            KeyboardInterrupt: this is SIGINT and a stop was asked for before: the user does not want to wait.
        """
        if self.number is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.number = self.number or number


@contextlib.contextmanager
def deferred() -> Iterator[Request]:
    """Collect signals inside a `with` block, which has to look at the request at points where it can stop.

    Signals that the process ignores or handles in a way of its own are left alone, and so are all in a thread that is
    not the main one, where Python does not allow handlers.
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
    """Handle a signal by stopping at once.

    Raises:
        Stopped: always; the message is empty.
    """
    raise Stopped(number=number)


def catch_sigterm() -> None:
    """Let SIGTERM raise `Stopped` from now on, so that what is half-written is removed, unless it is ignored."""
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, raise_stopped)
