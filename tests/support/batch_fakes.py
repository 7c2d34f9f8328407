"""Fakes for tests of batching: a model that a gate can hold back, and batchers that are closed after the test."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tfbert.serving.server.batching import Batcher, BatchingParameters

LIMIT_SECONDS = 120


class Model:
    """A model that doubles `x`. While its gate is closed, a running batch does not end."""

    def __init__(self):
        self.batches, self.lock = [], threading.Lock()
        self.gate, self.begun = threading.Event(), threading.Semaphore(0)
        self.gate.set()

    def __call__(self, inputs):
        with self.lock:
            self.batches.append(inputs["x"])
        self.begun.release()
        assert self.gate.wait(LIMIT_SECONDS)
        return {"y": 2 * inputs["x"], "length": np.full(len(inputs["x"]), len(inputs["x"]))}

    @property
    def sizes(self):
        return [len(batch) for batch in self.batches]


@pytest.fixture
def model():
    return Model()


@pytest.fixture
def start(model):
    """Return a function that starts a batcher. All batchers are closed after the test and must leave no thread."""
    before, batchers = set(threading.enumerate()), []

    def make(observer=None, num_batch_threads=1, **values):
        batchers.append(Batcher(BatchingParameters(num_batch_threads=num_batch_threads, **values), observer))
        return batchers[-1]

    yield make
    model.gate.set()
    for batcher in batchers:
        batcher.close()
    assert not [thread for thread in set(threading.enumerate()) - before if thread.name.startswith("batch-")]


@pytest.fixture
def callers():
    with ThreadPoolExecutor(32) as pool:
        yield pool


def rows(*values):
    return {"x": np.array(values, np.int64)}


def answer(batcher, model, *values, key="key", **more):
    return batcher.run(key, model, rows(*values), **more)["y"].tolist()


def until(condition):
    """Wait until another thread has made a condition true."""
    end = time.monotonic() + LIMIT_SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


@pytest.fixture
def queued(callers):
    """Return a function that starts requests one by one, each after the previous one is in the queue."""

    def start_all(batcher, model, *requests, **more):
        futures = []
        for values in requests:
            expected = batcher.num_waiting_rows + len(values)
            futures.append(callers.submit(answer, batcher, model, *values, **more))
            until(lambda expected=expected: batcher.num_waiting_rows == expected)
        return futures

    return start_all


@pytest.fixture
def hold(callers, model):
    """Return a function that keeps the only thread of a batcher busy until the gate opens."""

    def busy(batcher):
        model.gate.clear()
        first = callers.submit(answer, batcher, model, 0, key="first")
        assert model.begun.acquire(timeout=LIMIT_SECONDS)
        model.batches.clear()
        return first

    return busy
