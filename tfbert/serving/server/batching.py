"""Batching: joins several requests for one run of the model, and gives each request its own rows.

Written after TensorFlow Serving's batching, whose parameters it takes and whose errors it gives.
"""

import logging
import math
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tfbert.serving.server.batching_parameters import BatchingParameters, read_parameters
from tfbert.serving.server.status import Code, ServingError

__all__ = ["Batcher", "BatchingParameters", "read_parameters"]

logger = logging.getLogger(__name__)

Arrays = Mapping[str, np.ndarray]
Execute = Callable[[dict[str, np.ndarray]], Arrays]

_FULL = "The batch scheduling queue to which this task was submitted is full; "


@dataclass(eq=False)
class _Request:
    """A waiting request; `parts` are its rows in batches, several if it was split."""

    execute: Execute
    inputs: Arrays
    num_rows: int
    deadline: float
    parts: "list[_Part]" = field(default_factory=list)
    error: BaseException | None = None
    done: threading.Event = field(default_factory=threading.Event)


@dataclass(eq=False)
class _Part:
    """Rows of a request; `batch` is the batch in which they wait, `None` once they no longer wait."""

    request: _Request
    start: int
    stop: int
    batch: "_Batch | None" = None
    outputs: dict[str, np.ndarray] | None = None

    @property
    def num_rows(self) -> int:
        return self.stop - self.start

    def rows(self, name: str) -> np.ndarray:
        return self.request.inputs[name][self.start : self.stop]


@dataclass(eq=False)
class _Batch:
    """Parts that run together; `queue` is the key of their queue."""

    queue: Hashable
    since: float
    parts: list[_Part] = field(default_factory=list)
    num_rows: int = 0

    def add(self, part: _Part) -> None:
        self.parts.append(part)
        self.num_rows += part.num_rows
        part.batch = self

    def remove(self, part: _Part) -> None:
        self.parts.remove(part)
        self.num_rows -= part.num_rows
        part.batch = None


class Batcher:
    """Joins requests of many threads into batches, which a few threads run.

    A request joins the last batch of its kind (same key, inputs, dtypes and, unless variable lengths are padded, shapes
    but for the first dimension) if it fits. A batch is due when another one follows it, when it is full, or when its
    time has passed; until a thread is free for it, it still grows. Kinds take turns.

    Args:
        parameters: the limits. That of waiting batches is for each kind.
        observer: told of each batch before it runs: the seconds since its first request, the rows of its requests,
            and the rows added to get an allowed size.

    Source: TensorFlow Serving 2.20.0, `batching_session.cc`, `batching_util.cc`, and TensorFlow 2.21,
        `shared_batch_scheduler.h`. There requests of different shapes share a queue and fail where they meet in a
        batch, and one that waited too long ends with RESOURCE_EXHAUSTED, and only if all of its batch did.
    """

    def __init__(self, parameters: BatchingParameters, observer: Callable[[float, int, int], None] | None = None):
        self.parameters, self.observer = parameters, observer
        self._changed = threading.Condition()
        # The waiting batches of each kind, never empty; in the order in which they are served.
        self._queues: OrderedDict[Hashable, deque[_Batch]] = OrderedDict()
        self._is_closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"batch-{index}", daemon=True)
            for index in range(parameters.num_batch_threads)
        ]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> "Batcher":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    @property
    def num_waiting_rows(self) -> int:
        """The rows for which no thread was free yet."""
        with self._changed:
            return sum(batch.num_rows for batches in self._queues.values() for batch in batches)

    def run(
        self, key: Hashable, execute: Execute, inputs: Arrays, timeout_seconds: float | None = None
    ) -> dict[str, np.ndarray]:
        """Run a request together with others, and wait for it.

        Args:
            key: says whose requests may be joined: model, version, signature and names of the outputs.
            execute: runs a batch; the same function for one key, as that of the batch's first request is called.
            inputs: arrays with the same first dimension, `(rows, ...)`.
            timeout_seconds: how long the request may wait for a thread; `None` is for ever. Once all of it runs,
                the answer is waited for.

        Returns:
            The request's rows of each output, `(rows, ...)`.

        Raises:
            ServingError: the request cannot be batched, is too large, found the queue full or waited too long, or
                the outputs cannot be told apart.
            Exception: what `execute` raised, for all requests of the batch.
        """
        deadline = math.inf if timeout_seconds is None else time.monotonic() + timeout_seconds
        request = _Request(execute, dict(inputs), _num_rows(inputs), deadline)
        with self._changed:
            self._enqueue((key, _kind(inputs, self.parameters.pad_variable_length_inputs)), request)
        if not request.done.wait(_wait_seconds(deadline)):
            with self._changed:
                # The rest of it would be too late. If there is no rest, it is already running.
                if any(part.batch is not None for part in request.parts):
                    self._fail(request, _too_late())
            request.done.wait()
        if isinstance(request.error, ServingError):
            # A new exception for each caller: a traceback grows with every raise.
            raise ServingError(request.error.code, request.error.message) from request.error
        if request.error is not None:
            raise request.error
        return _whole([part.outputs for part in request.parts])

    def close(self) -> None:
        """Finish waiting requests, then end the threads; no new request is accepted."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    # The methods up to `_work` require the lock.

    def _enqueue(self, key: Hashable, request: _Request) -> None:
        if self._is_closed:
            raise ServingError(Code.UNAVAILABLE, "The batcher is closed")
        batches = self._queues.get(key, deque())
        self._check_room(batches, request.num_rows)
        size = self.parameters.execution_size
        cuts = [request.num_rows]
        if self.parameters.enable_large_batch_splitting:
            room = size - batches[-1].num_rows if batches else size
            cuts = [*range(room, request.num_rows, size), request.num_rows]
        start = 0
        for stop in cuts:
            if stop == start and request.num_rows:
                continue
            if not batches or batches[-1].num_rows + stop - start > size:
                batches.append(_Batch(key, time.monotonic()))
            request.parts.append(_Part(request, start, stop))
            batches[-1].add(request.parts[-1])
            start = stop
        self._queues[key] = batches
        self._changed.notify(len(request.parts))

    def _check_room(self, batches: Sequence[_Batch], num_rows: int) -> None:
        limits = self.parameters
        if num_rows > limits.max_batch_size:
            message = f"Task size {num_rows} is larger than maximum input batch size {limits.max_batch_size}"
            raise ServingError(Code.INVALID_ARGUMENT, message)
        # TensorFlow Serving counts an empty open batch, too.
        num_batches, num_open_rows = (len(batches), batches[-1].num_rows) if batches else (1, 0)
        if limits.enable_large_batch_splitting:
            size = limits.execution_size
            capacity = (limits.max_enqueued_batches - num_batches) * size + size - num_open_rows
            if num_rows > capacity:
                raise ServingError(
                    Code.UNAVAILABLE,
                    f"{_FULL}task size is {num_rows} but scheduling capacity is only {capacity} "
                    f"(num_enqueued_batches={num_batches}, max_enqueued_batches={limits.max_enqueued_batches}, "
                    f"open_batch_size={num_open_rows}, max_execution_batch_size={size})",
                )
        elif num_open_rows + num_rows > limits.max_batch_size and num_batches >= limits.max_enqueued_batches:
            counts = f"{num_batches} batches enqueued and max_enqueued_batches is {limits.max_enqueued_batches}"
            raise ServingError(Code.UNAVAILABLE, f"{_FULL}currently {counts}")

    def _due(self, batches: Sequence[_Batch]) -> float:
        """Return when the first batch of a queue should run."""
        if self._is_closed or len(batches) > 1 or batches[0].num_rows >= self.parameters.execution_size:
            return -math.inf
        return batches[0].since + 1e-6 * self.parameters.batch_timeout_micros

    def _take(self, key: Hashable) -> _Batch:
        """Take the first batch out of a queue, without requests that waited too long."""
        batches = self._queues[key]
        batch = batches.popleft()
        if batches:
            self._queues.move_to_end(key)
        else:
            del self._queues[key]
        for part in batch.parts:
            part.batch = None
        now = time.monotonic()
        for part in batch.parts:
            if part.request.deadline <= now:
                self._fail(part.request, _too_late())
        batch.parts = [part for part in batch.parts if part.request.error is None]
        batch.num_rows = sum(part.num_rows for part in batch.parts)
        return batch

    def _fail(self, request: _Request, error: BaseException) -> None:
        """End a request, and remove its remaining parts from the queues."""
        if request.done.is_set():
            return
        for part in request.parts:
            batch = part.batch
            if batch is None:
                continue
            batch.remove(part)
            if not batch.parts:
                self._queues[batch.queue].remove(batch)
                if not self._queues[batch.queue]:
                    del self._queues[batch.queue]
        request.error = error
        request.done.set()

    def _work(self) -> None:
        # A call for each batch, so that none is kept in memory while the thread waits.
        while self._run_next():
            pass

    def _run_next(self) -> bool:
        """Wait for a batch and run it; return whether there was one."""
        batch = self._next()
        if batch is not None and batch.parts:
            self._run(batch)
        return batch is not None

    def _next(self) -> _Batch | None:
        with self._changed:
            while True:
                now, first = time.monotonic(), math.inf
                for key, batches in self._queues.items():
                    due = self._due(batches)
                    if due <= now:
                        batch = self._take(key)
                        if self._queues:
                            # While this thread runs the batch, another one must watch the timeouts of the rest.
                            self._changed.notify()
                        return batch
                    first = min(first, due)
                if self._is_closed:
                    return None
                self._changed.wait(_wait_seconds(first))

    def _run(self, batch: _Batch) -> None:
        num_rows, pads = batch.num_rows, self.parameters.pad_variable_length_inputs
        num_padded = self.parameters.padded_size(num_rows) - num_rows
        if self.observer is not None:
            try:
                self.observer(time.monotonic() - batch.since, num_rows, num_padded)
            except Exception:
                logger.exception("a batch could not be reported")
        try:
            outputs = batch.parts[0].request.execute(_join(batch.parts, num_padded, pads))
            found = _split(outputs, batch.parts, num_padded)
        except BaseException as error:
            # Of any kind: a thread that ended here would leave its callers waiting.
            with self._changed:
                for part in batch.parts:
                    self._fail(part.request, error)
            return
        with self._changed:
            for part, rows in zip(batch.parts, found, strict=True):
                part.outputs = rows
                if all(other.outputs is not None for other in part.request.parts):
                    part.request.done.set()


def _wait_seconds(moment: float) -> float | None:
    """Return the time until a moment of the monotonic clock, as a timeout for locks."""
    if math.isinf(moment):
        return None
    return min(max(0.0, moment - time.monotonic()), threading.TIMEOUT_MAX)


def _too_late() -> ServingError:
    return ServingError(Code.DEADLINE_EXCEEDED, "Run() timeout exceeded while waiting in batching queue")


def _num_rows(inputs: Arrays) -> int:
    needed = "Batching Run() input tensors must have "
    if not inputs:
        raise ServingError(Code.INVALID_ARGUMENT, "Batching Run() must have at least one input tensor")
    if any(array.ndim == 0 for array in inputs.values()):
        raise ServingError(Code.INVALID_ARGUMENT, f"{needed}at least one dimension")
    counts = {len(array) for array in inputs.values()}
    if len(counts) > 1:
        raise ServingError(Code.INVALID_ARGUMENT, f"{needed}equal 0th-dimension size")
    return counts.pop()


def _kind(inputs: Arrays, pads: bool) -> Hashable:
    """Return what two requests have in common if their inputs can be joined."""
    return tuple(
        # NumPy makes the length of the longest string part of a dtype.
        (name, array.dtype.kind if array.dtype.kind in "SU" else array.dtype, array.ndim if pads else array.shape[1:])
        for name, array in sorted(inputs.items())
    )


def _join(parts: Sequence[_Part], num_padded: int, pads: bool) -> dict[str, np.ndarray]:
    """Return the rows of all parts, followed by copies of the first row of the last part."""
    joined = {}
    last = max((index for index, part in enumerate(parts) if part.num_rows), default=0)
    for name in parts[0].request.inputs:
        arrays = [part.rows(name) for part in parts]
        if pads:
            arrays = _same_shape(arrays)
        arrays += [arrays[last][:1]] * num_padded
        joined[name] = np.concatenate(arrays) if len(arrays) > 1 else arrays[0]
    return joined


def _same_shape(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Fill arrays up to the largest of each dimension but the first, each with its own first element."""
    shape = tuple(max(sizes) for sizes in zip(*(array.shape[1:] for array in arrays), strict=True))
    filled = []
    for array in arrays:
        if array.shape[1:] != shape:
            if len(array) and not array.size:
                raise ServingError(Code.INVALID_ARGUMENT, "Got empty tensor in batch of non-empty tensors.")
            larger = np.empty((len(array), *shape), array.dtype)
            if array.size:
                larger[...] = array.flat[0]
            larger[tuple(map(slice, array.shape))] = array
            array = larger
        filled.append(array)
    return filled


def _split(outputs: Arrays, parts: Sequence[_Part], num_padded: int) -> list[dict[str, np.ndarray]]:
    """Return the rows of each part."""
    arrays = {name: np.asarray(array) for name, array in outputs.items()}
    stops = np.cumsum([part.num_rows for part in parts])
    for array in arrays.values():
        if array.ndim == 0:
            raise ServingError(Code.FAILED_PRECONDITION, "Batched output tensor has 0 dimensions")
        if len(array) != stops[-1] + num_padded:
            raise ServingError(
                Code.FAILED_PRECONDITION,
                "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the input "
                "tensors",
            )
    return [
        {name: array[stop - part.num_rows : stop] for name, array in arrays.items()}
        for part, stop in zip(parts, stops, strict=True)
    ]


def _whole(parts: Sequence[Arrays]) -> dict[str, np.ndarray]:
    """Join the outputs of a request that was split."""
    if len(parts) == 1:
        return dict(parts[0])
    try:
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    except ValueError as error:
        # Rows of different batches may be of different lengths.
        raise ServingError(Code.INTERNAL, f"Tensor concat operation failed: {error}") from error
