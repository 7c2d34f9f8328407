"""Signals: deferred, requested, raised, and described to the user."""

import os
import signal
import threading

import pytest

from tfbert import interrupts
from tfbert.interrupts import Stopped


@pytest.fixture
def signal_handlers():
    """Return the signal handlers, and restore them after the test."""
    handlers = {number: signal.getsignal(number) for number in interrupts.SIGNALS}
    yield handlers
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_requests():
    request = interrupts.Request()
    request.check("nothing was asked for")
    assert not request
    request.handle(signal.SIGINT)
    request.handle(signal.SIGTERM)  # from a chief that ends its workers after Ctrl-C
    assert request and request.number == signal.SIGINT
    with pytest.raises(Stopped, match="saved it"):
        request.check("saved it")
    with pytest.raises(KeyboardInterrupt):
        request.handle(signal.SIGINT)


def test_ignored_signals_and_other_handlers_are_not_replaced(signal_handlers):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, own_handler := lambda *_: None)
    with interrupts.deferred() as request:
        assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == (signal.SIG_IGN, own_handler)
        os.kill(os.getpid(), signal.SIGINT)
        assert not request
    interrupts.catch_sigterm()
    assert signal.getsignal(signal.SIGTERM) is own_handler


def test_signals_are_not_deferred_in_another_thread(signal_handlers):
    results = []

    def work():
        with interrupts.deferred() as request:
            results.append((bool(request), signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert results == [(False, signal_handlers[signal.SIGINT])]


def test_sigterm_of_a_tool_raises(signal_handlers):
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
def test_the_message_after_a_signal(stopped, command, line):
    assert stopped.describe(command) == line
