"""Signals: deferred, requested, raised, and described to the user."""

import os
import signal
import threading

import pytest

from tfbert import interrupts
from tfbert.interrupts import Stopped


@pytest.fixture
def before():
    """Return the handlers of the signals, and put them back at the end."""
    handlers = {number: signal.getsignal(number) for number in interrupts.SIGNALS}
    yield handlers
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_requests():
    request = interrupts.Request()
    request.check("nothing was asked for")
    assert not request
    request.handle(signal.SIGINT)
    request.handle(signal.SIGTERM)  # of a chief that ends its workers after the user's Ctrl-C
    assert request and request.number == signal.SIGINT
    with pytest.raises(Stopped, match="saved it"):
        request.check("saved it")
    with pytest.raises(KeyboardInterrupt):
        request.handle(signal.SIGINT)


def test_signals_that_are_ignored_or_handled_by_others_are_left_alone(before):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, mine := lambda *_: None)
    with interrupts.deferred() as request:
        assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == (signal.SIG_IGN, mine)
        os.kill(os.getpid(), signal.SIGINT)
        assert not request
    interrupts.catch_sigterm()
    assert signal.getsignal(signal.SIGTERM) is mine


def test_another_thread_defers_nothing(before):
    found = []

    def work():
        with interrupts.deferred() as request:
            found.append((bool(request), signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [(False, before[signal.SIGINT])]


def test_sigterm_of_a_tool_raises(before):
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    interrupts.catch_sigterm()
    with pytest.raises(Stopped) as stopped:
        os.kill(os.getpid(), signal.SIGTERM)
    assert stopped.value.exit_code == 143


@pytest.mark.parametrize(
    ("stopped", "command", "line"),
    [
        (Stopped("saved a"), "python x", "saved a; continue with: python x"),
        (Stopped(), "python x", "stopped; this process saved no checkpoint; continue with: python x"),
        (Stopped(), "", "stopped"),
        (Stopped("all is done", is_done=True), "python x", "all is done"),
    ],
)
def test_what_a_user_is_told(stopped, command, line):
    assert stopped.describe(command) == line
