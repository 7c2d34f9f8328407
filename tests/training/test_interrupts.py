"""A signal stops a training after a checkpoint, from which it goes on to the same bits, and says what was saved."""

import os
import signal
import threading

import pytest

from tfbert.training import interrupts
from tfbert.training.checkpoint import BEST, CHECKPOINT
from tfbert.training.interrupts import Stopped

# 24 examples are three updates an epoch.
MOMENTS = {
    "inside an epoch": ("update", 2, "update 2 of epoch 1"),
    "at the last update of an epoch": ("update", 3, "update 3 of epoch 1"),
    "during the validation of an epoch": ("validation", 1, "update 3 of epoch 1, during validation"),
    "at the last update of all": ("update", 6, "update 3 of epoch 2"),
    "during the last validation": ("validation", 2, "update 3 of epoch 2, during validation"),
}
# Nothing is saved by the clock, so that what is on disk is what the signal made it save.
OPTIONS = {"train__checkpoint_seconds": 1e9, "train__ema_momentum": 0.5}


@pytest.fixture
def before():
    """Return the handlers of the signals, and put them back at the end."""
    handlers = {number: signal.getsignal(number) for number in interrupts.SIGNALS}
    yield handlers
    for number, handler in handlers.items():
        signal.signal(number, handler)


def run_dir_of(trainer):
    return trainer.checkpoints.run_dir


def send_at(trainer, where, count, number=signal.SIGTERM):
    """Send a signal to this process when a trainer does something for the n-th time."""
    owner, name = (trainer.updater, "update") if where == "update" else (trainer.evaluator, "measure")
    function, seen = getattr(owner, name), []

    def sending(*args):
        seen.append(where)
        if len(seen) == count:
            os.kill(os.getpid(), number)
        return function(*args)

    setattr(owner, name, sending)


@pytest.fixture(scope="module")
def whole(make_trainer):
    """Return the best weights and the history of a training that nothing stopped."""
    trainer = make_trainer(**OPTIONS)
    history = trainer.train().history
    return (run_dir_of(trainer) / BEST).read_bytes(), [(point.loss, point.scores) for point in history]


@pytest.mark.parametrize("moment", MOMENTS)
def test_stopped_and_continued_is_bit_identical(make_trainer, whole, before, moment):
    where, count, place = MOMENTS[moment]
    trainer = make_trainer(**OPTIONS)
    send_at(trainer, where, count)
    with pytest.raises(Stopped) as stopped:
        trainer.train()
    assert stopped.value.message == f"stopped after {place}; saved {run_dir_of(trainer) / CHECKPOINT}"
    assert (stopped.value.number, stopped.value.exit_code) == (signal.SIGTERM, 143)
    assert {number: signal.getsignal(number) for number in interrupts.SIGNALS} == before
    again = make_trainer(run_dir=run_dir_of(trainer), **OPTIONS)
    history = again.train().history
    found = [(point.loss, point.scores) for point in history]
    assert ((run_dir_of(trainer) / BEST).read_bytes(), found) == whole


def test_a_second_ctrl_c_does_not_wait(make_trainer, before):
    trainer = make_trainer(**OPTIONS)
    update = trainer.updater.update

    def twice(*args):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        return update(*args)

    trainer.updater.update = twice
    with pytest.raises(KeyboardInterrupt) as stopped:
        trainer.train()
    assert not isinstance(stopped.value, Stopped)
    assert not (run_dir_of(trainer) / CHECKPOINT).exists()


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
