"""The time left for a training: with evaluations, after a resume, on a terminal and in a log file."""

import io
import sys
from types import SimpleNamespace

import pytest

from tfbert.training.display import Display
from tfbert.training.monitoring import Schedule
from tfbert.training.progress import EvaluationPoint, Progress

EPOCH = 10


class Terminal(io.StringIO):
    def isatty(self):
        return True


def point(update, seconds):
    return EvaluationPoint(
        update=update,
        epoch=update / EPOCH,
        num_examples=0,
        num_tokens=0,
        seconds=0.0,
        loss=None,
        learning_rate=0.0,
        scores={},
        evaluation_seconds=seconds,
    )


def make(num_averaged=0, first=0, patience=0, logs=True):
    updates = frozenset(range(first, 3 * EPOCH + 1, EPOCH))
    schedule = Schedule(updates=updates, updates_per_epoch=EPOCH, by_epoch=True, patience=patience)
    evaluator = SimpleNamespace(schedule=schedule, title="validation", num_averaged=num_averaged)
    objective = SimpleNamespace(
        name="task",
        num_epochs=3,
        updates_per_epoch=EPOCH,
        accumulation_steps=1,
        plan=lambda epoch: [([0] * 8,)] * EPOCH,
    )
    return Display(objective, evaluator, 3 * EPOCH, logs)


def run(display, progress, num_updates, seconds=2.0, is_first=True):
    display.open(progress.update)
    for index in range(num_updates):
        progress.update += 1
        # The first update of a process is slow, because it builds the graph.
        display.update(progress, 8, 0, 0.5, 60.0 if is_first and index == 0 else seconds)
    display.close()


def test_the_time_left_contains_updates_evaluations_and_averages():
    display, progress = make(num_averaged=3), Progress(history=[point(0, 5.0)])
    run(display, progress, 4)
    assert display.seconds_left(progress) is None
    run(display, progress, 1, is_first=False)
    # 25 updates, three evaluations, and two averages of several epochs.
    assert display.seconds_left(progress) == 25 * 2.0 + 3 * 5.0 + 2 * 5.0
    run(display, progress, 5, is_first=False)
    progress.history.append(point(10, 7.0))
    assert display.seconds_left(progress) == 20 * 2.0 + 2 * 7.0 + 2 * 7.0


@pytest.mark.parametrize(
    ("start", "history", "patience", "expected"),
    [
        (0, [point(0, 5.0)], 0, "about 1 min 05 s left for all 3 epochs, including validation"),
        (0, [], 0, "about 50 s left for all 3 epochs, without validation"),
        (0, [], 2, "about 50 s left for all 3 epochs, without validation, unless training stops early"),
        (12, [point(10, 5.0)], 0, "about 36 s left for the rest of 3 epochs, including validation"),
    ],
)
def test_a_log_file_gets_one_line(caplog, start, history, patience, expected):
    caplog.set_level("INFO")
    progress = Progress(update=start, history=history)
    run(make(first=0 if history else EPOCH, patience=patience), progress, 8)
    assert caplog.messages == [expected]


def test_a_short_training_and_a_trial_get_no_line(caplog):
    caplog.set_level("INFO")
    run(make(), Progress(history=[point(0, 0.1)]), 8, seconds=0.5)
    run(make(logs=False), Progress(history=[point(0, 5.0)]), 8)
    assert caplog.messages == []


def test_the_bar_on_a_terminal_shows_the_time_left(monkeypatch, caplog):
    caplog.set_level("INFO")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "80")
    display, progress = make(), Progress(history=[point(0, 5.0)])
    run(display, progress, 6)
    display.open(progress.update)
    display.update(progress, 8, 1000, 0.25, 2.0)
    display._bar.refresh()
    last = terminal.getvalue().split("\r")[-1]
    assert last.startswith("epoch 1/3  70%|") and "loss 0.250, 500 tokens/s, 1 min 03 s left in total" in last
    assert caplog.messages == []
