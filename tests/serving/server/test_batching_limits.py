"""Limits of a batcher: rejected requests, timeouts and errors."""

import math

import numpy as np
import pytest
from support import batch_fakes
from support.batch_fakes import LIMIT_SECONDS, answer, rows, until

from tfbert.serving.server import batching
from tfbert.serving.server.status import Code, ServingError

# By assignment: a fixture that is imported by name looks unused, and shadowed by the tests that ask for it.
model, start, callers = batch_fakes.model, batch_fakes.start, batch_fakes.callers
queued, hold = batch_fakes.queued, batch_fakes.hold


@pytest.mark.parametrize("is_split", [False, True])
def test_a_request_above_the_limit_is_refused(start, model, is_split):
    batcher = start(max_batch_size=4, enable_large_batch_splitting=is_split)
    with pytest.raises(ServingError) as caught:
        answer(batcher, model, 1, 2, 3, 4, 5)
    assert str(caught.value) == "INVALID_ARGUMENT: Task size 5 is larger than maximum input batch size 4"
    assert model.batches == []


def test_a_full_queue_refuses_what_would_need_another_batch(start, model, hold, queued):
    batcher = start(max_batch_size=2, max_enqueued_batches=2)
    hold(batcher)
    waiting = queued(batcher, model, [1, 2], [3])
    with pytest.raises(ServingError) as caught:
        answer(batcher, model, 4, 5)
    assert str(caught.value) == (
        "UNAVAILABLE: The batch scheduling queue to which this task was submitted is full; "
        "currently 2 batches enqueued and max_enqueued_batches is 2"
    )
    waiting += queued(batcher, model, [6]) + queued(batcher, model, [7], key="other")
    model.gate.set()
    assert [future.result() for future in waiting] == [[2, 4], [6], [12], [14]]


def test_a_full_queue_refuses_what_it_cannot_split(start, model, hold, queued):
    batcher = start(
        max_batch_size=9, max_execution_batch_size=3, max_enqueued_batches=3, enable_large_batch_splitting=True
    )
    hold(batcher)
    waiting = queued(batcher, model, [1, 2, 3, 4])
    with pytest.raises(ServingError) as caught:
        answer(batcher, model, *range(6))
    assert str(caught.value) == (
        "UNAVAILABLE: The batch scheduling queue to which this task was submitted is full; "
        "task size is 6 but scheduling capacity is only 5 (num_enqueued_batches=2, max_enqueued_batches=3, "
        "open_batch_size=1, max_execution_batch_size=3)"
    )
    waiting += queued(batcher, model, [5, 6, 7, 8, 9])
    model.gate.set()
    assert [future.result() for future in waiting] == [[2, 4, 6, 8], [10, 12, 14, 16, 18]]


def test_a_request_that_waited_too_long_is_not_run(start, model, hold, queued):
    batcher = start(max_batch_size=100)
    hold(batcher)
    neighbours = queued(batcher, model, [1], [2])
    with pytest.raises(ServingError) as caught:
        answer(batcher, model, 3, 4, timeout_seconds=0.01)
    assert str(caught.value) == "DEADLINE_EXCEEDED: Run() timeout exceeded while waiting in batching queue"
    with pytest.raises(ServingError, match="DEADLINE_EXCEEDED"):
        answer(batcher, model, 5, key="alone", timeout_seconds=0.01)
    assert batcher.num_waiting_rows == 2
    model.gate.set()
    assert [future.result() for future in neighbours] == [[2], [4]]
    assert [batch.tolist() for batch in model.batches] == [[1, 2]]


def test_the_rest_of_a_split_request_is_not_run_either(start, model):
    batcher = start(max_batch_size=4, max_execution_batch_size=2, enable_large_batch_splitting=True)
    model.gate.clear()
    with pytest.raises(ServingError, match="DEADLINE_EXCEEDED"):
        answer(batcher, model, 1, 2, 3, 4, timeout_seconds=0.05)
    assert batcher.num_waiting_rows == 0
    model.gate.set()
    batcher.close()
    assert [batch.tolist() for batch in model.batches] in ([], [[1, 2]])


def test_what_runs_is_waited_for(start, model, callers, monkeypatch):
    def at_once(moment):
        """Let a deadline pass when the batch has begun."""
        if math.isinf(moment):
            return None
        assert model.begun.acquire(timeout=LIMIT_SECONDS)
        return 0.0

    batcher = start()
    monkeypatch.setattr(batching, "_wait_seconds", at_once)
    model.gate.clear()
    future = callers.submit(answer, batcher, model, 1, timeout_seconds=LIMIT_SECONDS)
    with pytest.raises(TimeoutError):
        future.result(0.05)
    model.gate.set()
    assert future.result() == [2]


@pytest.mark.parametrize("error", [ServingError(Code.INTERNAL, "no memory"), KeyError("x")])
def test_a_failing_batch_fails_all_its_requests(start, model, hold, callers, error):
    def fail(_):
        raise error

    batcher = start()
    hold(batcher)
    found = []
    for count in range(1, 4):
        found.append(callers.submit(answer, batcher, fail, count))
        until(lambda count=count: batcher.num_waiting_rows == count)
    model.gate.set()
    for future in found:
        with pytest.raises(type(error)) as caught:
            future.result()
        assert str(caught.value) == str(error)
    assert answer(batcher, model, 4) == [8]


def test_a_failing_part_fails_the_request(start):
    sizes = []

    def fail(inputs):
        sizes.append(len(inputs["x"]))
        raise ServingError(Code.ABORTED, "no")

    batcher = start(max_batch_size=9, max_execution_batch_size=3, enable_large_batch_splitting=True)
    with pytest.raises(ServingError, match="ABORTED: no"):
        answer(batcher, fail, *range(8))
    assert batcher.num_waiting_rows == 0 and sizes == [3]


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (np.float32(1), "Batched output tensor has 0 dimensions"),
        (
            np.ones(3),
            "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the input "
            "tensors",
        ),
    ],
)
def test_outputs_without_the_rows_of_the_batch_are_an_error(start, output, message):
    batcher = start()
    with pytest.raises(ServingError) as caught:
        batcher.run("key", lambda _: {"y": output}, rows(1, 2))
    assert str(caught.value) == f"FAILED_PRECONDITION: {message}"


def test_parts_whose_outputs_cannot_be_joined_are_an_error(start):
    batcher = start(max_batch_size=4, max_execution_batch_size=3, enable_large_batch_splitting=True)
    with pytest.raises(ServingError, match="INTERNAL: Tensor concat operation failed"):
        batcher.run("key", lambda inputs: {"y": np.ones(2 * (len(inputs["x"]),))}, rows(1, 2, 3, 4))


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "Batching Run() must have at least one input tensor"),
        ({"x": np.array(1)}, "Batching Run() input tensors must have at least one dimension"),
        ({"x": np.ones(1), "z": np.ones(2)}, "Batching Run() input tensors must have equal 0th-dimension size"),
    ],
)
def test_inputs_without_common_rows_are_refused(start, model, inputs, message):
    with pytest.raises(ServingError) as caught:
        start().run("key", model, inputs)
    assert str(caught.value) == f"INVALID_ARGUMENT: {message}"
