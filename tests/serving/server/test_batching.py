"""Batching: which requests are joined. A gate holds the model back, so that no test depends on timing."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from support import batch_fakes
from support.batch_fakes import LIMIT_SECONDS, Model, answer, rows, until

from tfbert.serving.server.calls import Calls
from tfbert.serving.server.status import Code, ServingError

# Longer than any test: what waits for so long waits for something else.
FOREVER_MICROS = 10**15

# By assignment: a fixture that is imported by name looks unused, and shadowed by the tests that ask for it.
model, start, callers = batch_fakes.model, batch_fakes.start, batch_fakes.callers
queued, hold = batch_fakes.queued, batch_fakes.hold


def test_requests_are_joined_and_each_gets_its_own_rows(start, model, queued):
    batcher = start(max_batch_size=6, batch_timeout_micros=FOREVER_MICROS)
    first, second = queued(batcher, model, [1], [20, 30])
    assert batcher.run("key", model, rows(400, 500, 600))["y"].tolist() == [800, 1000, 1200]
    assert first.result() == [2] and second.result() == [40, 60]
    assert [batch.tolist() for batch in model.batches] == [[1, 20, 30, 400, 500, 600]]
    assert batcher.num_waiting_rows == 0


def test_a_batch_that_is_not_full_runs_when_its_time_has_passed(start, model):
    batcher = start(max_batch_size=100, batch_timeout_micros=1000)
    assert answer(batcher, model, 1, 2) == [2, 4]


def test_what_waits_for_a_thread_grows_though_its_time_has_passed(start, model, hold, queued):
    batcher = start(max_batch_size=100, batch_timeout_micros=0)
    first = hold(batcher)
    waiting = queued(batcher, model, [1], [2], [3])
    model.gate.set()
    assert [future.result() for future in [first, *waiting]] == [[0], [2], [4], [6]]
    assert [batch.tolist() for batch in model.batches] == [[1, 2, 3]]


def test_a_request_that_does_not_fit_closes_the_batch(start, model, queued):
    batcher = start(max_batch_size=4, batch_timeout_micros=FOREVER_MICROS)
    (first,) = queued(batcher, model, [1, 2, 3])
    assert answer(batcher, model, 4, 5, 6, 7) == [8, 10, 12, 14]
    assert first.result() == [2, 4, 6] and model.sizes == [3, 4]


def test_keys_dtypes_and_shapes_are_not_joined(start, model, hold, callers):
    batcher = start(max_batch_size=100)
    hold(batcher)
    inputs = [
        ("a", np.array([1])),
        ("b", np.array([2])),
        ("a", np.array([3.5])),
        ("a", np.array([[4, 5]])),
        ("a", np.array([6])),
    ]
    found = []
    for count, (key, array) in enumerate(inputs, 1):
        found.append(callers.submit(batcher.run, key, model, {"x": array}))
        until(lambda count=count: batcher.num_waiting_rows == count)
    model.gate.set()
    assert [future.result()["y"].tolist() for future in found] == [[2], [4], [7.0], [[8, 10]], [12]]
    assert [batch.tolist() for batch in model.batches] == [[1, 6], [2], [3.5], [[4, 5]]]


def test_strings_of_different_lengths_are_joined(start, hold, model, callers):
    batcher = start()
    hold(batcher)
    texts = [np.array([b"a"]), np.array([b"longer"])]
    found = []
    for count, array in enumerate(texts, 1):
        found.append(callers.submit(batcher.run, "key", lambda inputs: {"y": inputs["x"]}, {"x": array}))
        until(lambda count=count: batcher.num_waiting_rows == count)
    model.gate.set()
    assert [future.result()["y"].tolist() for future in found] == [[b"a"], [b"longer"]]


def test_variable_lengths_are_filled_up_with_the_first_element(start, model, hold, callers):
    batcher = start(pad_variable_length_inputs=True)
    hold(batcher)
    found = []
    for count, values in enumerate([[[7, 8, 9]], [[5, 6]]], 1):
        found.append(callers.submit(batcher.run, "key", model, {"x": np.array(values)}))
        until(lambda count=count: batcher.num_waiting_rows == count)
    model.gate.set()
    assert [future.result()["y"].tolist() for future in found] == [[[14, 16, 18]], [[10, 12, 10]]]
    assert [batch.tolist() for batch in model.batches] == [[[7, 8, 9], [5, 6, 5]]]


def test_an_empty_input_cannot_be_filled_up(start, model, hold, callers):
    batcher = start(pad_variable_length_inputs=True)
    hold(batcher)
    found = []
    for count, array in enumerate([np.ones((1, 2)), np.ones((1, 0))], 1):
        found.append(callers.submit(batcher.run, "key", model, {"x": array}))
        until(lambda count=count: batcher.num_waiting_rows == count)
    model.gate.set()
    for future in found:
        with pytest.raises(ServingError, match="INVALID_ARGUMENT: Got empty tensor in batch of non-empty tensors."):
            future.result()


def test_batches_are_filled_up_to_an_allowed_size(start, model, hold, queued):
    seen = []
    batcher = start(lambda *values: seen.append(values), max_batch_size=8, allowed_batch_sizes=(1, 4, 8))
    hold(batcher)
    first, second = queued(batcher, model, [1], [20, 30])
    model.gate.set()
    assert first.result() == [2] and second.result() == [40, 60]
    assert [batch.tolist() for batch in model.batches] == [[1, 20, 30, 20]]
    assert answer(batcher, model, 1, 2, 3, 4) == [2, 4, 6, 8] and model.sizes == [4, 4]
    assert [values[1:] for values in seen] == [(1, 0), (3, 1), (4, 0)] and all(values[0] >= 0 for values in seen)


def test_no_rows_get_no_rows(start, model):
    batcher = start(max_batch_size=4, allowed_batch_sizes=(2, 4))
    assert answer(batcher, model) == []


def test_an_observer_that_fails_does_not_fail_the_batch(start, model, caplog):
    def observe(*_):
        raise RuntimeError("no metrics")

    batcher = start(observe)
    assert answer(batcher, model, 1) == [2]
    assert "no metrics" in caplog.text


def test_a_large_request_is_split(start, model):
    batcher = start(max_batch_size=10, max_execution_batch_size=4, enable_large_batch_splitting=True)
    found = batcher.run("key", model, rows(*range(10)))
    assert found["y"].tolist() == list(range(0, 20, 2)) and found["length"].tolist() == 8 * [4] + 2 * [2]
    assert [batch.tolist() for batch in model.batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_the_first_part_fills_the_batch_that_waits(start, model, hold, queued):
    batcher = start(
        max_batch_size=10,
        max_execution_batch_size=4,
        enable_large_batch_splitting=True,
        allowed_batch_sizes=(2, 4),
    )
    hold(batcher)
    found = queued(batcher, model, [1, 2, 3], [4, 5, 6, 7, 8, 9], [10])
    model.gate.set()
    assert [future.result() for future in found] == [[2, 4, 6], [8, 10, 12, 14, 16, 18], [20]]
    assert [batch.tolist() for batch in model.batches] == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10]]


def test_keys_take_turns(start, model, hold, queued):
    batcher = start(max_batch_size=1)
    hold(batcher)
    found = queued(batcher, model, [1], [2], [3], key="a") + queued(batcher, model, [10], [20], key="b")
    model.gate.set()
    assert [future.result() for future in found] == [[2], [4], [6], [20], [40]]
    assert [batch.tolist() for batch in model.batches] == [[1], [10], [2], [20], [3]]


def test_batches_run_at_once_in_as_many_threads_as_there_are(start, callers):
    together = threading.Barrier(3)

    def execute(inputs):
        together.wait(LIMIT_SECONDS)
        return {"y": inputs["x"]}

    batcher = start(num_batch_threads=3, max_batch_size=1)
    found = [callers.submit(batcher.run, "key", execute, rows(value)) for value in range(3)]
    assert [future.result()["y"].tolist() for future in found] == [[0], [1], [2]]


def test_one_thread_watches_the_clock_while_others_run(start, model, callers):
    batcher = start(num_batch_threads=2, max_batch_size=2, batch_timeout_micros=50_000)
    model.gate.clear()
    free = Model()
    slow = callers.submit(answer, batcher, free, 1, key="timed")
    until(lambda: batcher.num_waiting_rows == 1 or slow.done())
    full = callers.submit(answer, batcher, model, 2, 3, key="full")
    assert slow.result(LIMIT_SECONDS) == [2]
    model.gate.set()
    assert full.result() == [4, 6]


@pytest.mark.parametrize("is_split", [False, True])
def test_no_answer_is_lost_or_swapped(start, model, is_split):
    seen = []
    batcher = start(
        lambda _, num_rows, num_padded: seen.append((num_rows, num_padded)),
        num_batch_threads=4,
        max_batch_size=16,
        max_enqueued_batches=100,
        batch_timeout_micros=200,
        allowed_batch_sizes=(1, 3, 6) if is_split else (4, 16),
        enable_large_batch_splitting=is_split,
        max_execution_batch_size=6,
    )
    num_rows, wrong = [0] * 16, []

    def call(caller):
        rng = random.Random(caller)
        for request in range(50):
            values = [10**6 * caller + 100 * request + row for row in range(rng.randint(1, 8))]
            num_rows[caller] += len(values)
            found = answer(batcher, model, *values, key=rng.choice("ab"), timeout_seconds=LIMIT_SECONDS)
            if found != [2 * value for value in values]:
                wrong.append((values, found))

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(call, range(16)))
    assert wrong == [] and batcher.num_waiting_rows == 0
    assert sum(count for count, _ in seen) == sum(num_rows)
    assert sorted(count + padded for count, padded in seen) == sorted(model.sizes)
    assert set(model.sizes) <= ({1, 3, 6} if is_split else {4, 16})


def test_closing_finishes_what_waits_and_refuses_more(start, model, queued):
    batcher = start(num_batch_threads=2, max_batch_size=100, batch_timeout_micros=FOREVER_MICROS)
    waiting = queued(batcher, model, [1], [2]) + queued(batcher, model, [3], key="other")
    with batcher:
        assert not any(future.done() for future in waiting)
    assert [future.result() for future in waiting] == [[2], [4], [6]]
    with pytest.raises(ServingError, match="UNAVAILABLE: The batcher is closed"):
        answer(batcher, model, 4)
    batcher.close()


class Refusing:
    """A servable whose graph refuses a batch for any negative number in it."""

    name, version = "m", 1

    def __init__(self):
        self.sizes = []

    def check(self, *_):
        pass

    def run(self, signature, inputs, output_names, seconds=None):
        self.sizes.append(len(inputs["x"]))
        if (inputs["x"] < 0).any():
            raise ServingError(Code.INVALID_ARGUMENT, "x is negative")
        return {"y": 2 * inputs["x"]}


def test_a_request_that_the_graph_refuses_fails_alone(start, callers):
    calls, servable = Calls(None, batcher=start(max_batch_size=3, batch_timeout_micros=FOREVER_MICROS)), Refusing()
    good, bad, also = (callers.submit(calls.run, servable, "", rows(*values)) for values in ([1], [-5], [7]))
    assert good.result(LIMIT_SECONDS)["y"].tolist() == [2] and also.result(LIMIT_SECONDS)["y"].tolist() == [14]
    with pytest.raises(ServingError, match="INVALID_ARGUMENT: x is negative"):
        bad.result(LIMIT_SECONDS)
    # Together, then each of the three alone.
    assert servable.sizes == [3, 1, 1, 1]
    # What the batcher itself refuses is not asked again.
    with pytest.raises(ServingError, match="Task size 4 is larger than maximum input batch size 3"):
        calls.run(servable, "", rows(1, 2, 3, 4))
    assert servable.sizes == [3, 1, 1, 1]
