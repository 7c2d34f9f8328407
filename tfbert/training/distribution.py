"""Data-parallel training on several devices and processes: sharding of batches, all-reduce, broadcast and barriers.

Every process has a copy of the weights, reads its own shard of every batch, and applies the same sums of gradients, so
all processes keep the same weights. TensorFlow's strategies run the replicas and sum over them. Variables are not
created by a strategy, so checkpoints, optimizers and single-device graphs do not depend on the number of machines.
"""

import collections
import contextlib
import functools
import hashlib
import itertools
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

logger = logging.getLogger(__name__)

# A batch; with several replicas, a list of pairs: a replica's shard and 1.0, or 0.0 if the shard does not count.
ReplicaBatches = Any


@dataclass(frozen=True)
class Replicas:
    """The devices that train together, seen from one of their processes.

    Args:
        kind: `none`, `mirrored` (the devices of one machine) or `multi_worker` (several processes).
        strategy: TensorFlow's strategy; `None` for a single device.
        worker: 0-based index of this process; 0 is the chief, the only one that writes files.
        num_workers: number of processes.
    """

    kind: str = "none"
    strategy: tf.distribute.Strategy | None = None
    worker: int = 0
    num_workers: int = 1

    @property
    def count(self) -> int:
        """The number of replicas in all processes."""
        return self.strategy.num_replicas_in_sync if self.strategy else 1

    @property
    def is_chief(self) -> bool:
        """Whether this process is the chief."""
        return self.worker == 0

    @property
    def _num_local(self) -> int:
        return self.count // self.num_workers

    @property
    def _first(self) -> int:
        return self.worker * self._num_local

    def check_batch_size(self, batch_size: int) -> None:
        """Refuse batches with fewer examples than there are replicas.

        Raises:
            ValueError: fewer examples than replicas.
        """
        if batch_size < self.count:
            raise ValueError(f"train.batch_size={batch_size}: expected {self.count} or more, one for each replica")

    def to_dict(self) -> dict[str, Any]:
        """Return the entry of `report.json`."""
        return {"kind": self.kind, "replicas": self.count, "workers": self.num_workers}

    def stream(
        self, plan: Iterable[tuple], make: Callable[[Iterable[tuple]], Iterable[Any]]
    ) -> Iterator[ReplicaBatches]:
        """Yield the batches of a plan: whole ones on a single device, else the shards of this process' replicas.

        The shard of a replica is every `count`-th example of a batch, so that shards have similar lengths. The same
        plan always gives the same shards; together they are the batch.

        Args:
            plan: one tuple per batch: the indices of its examples, and anything else that `make` needs.
            make: returns the batches of a plan in order; may run ahead in another thread.
        """
        if self.strategy is None:
            yield from make(plan)
            return
        is_counted: collections.deque[float] = collections.deque()

        def shards() -> Iterator[tuple]:
            for indices, *rest in plan:
                for rank in range(self._first, self._first + self._num_local):
                    shard = indices[rank :: self.count]
                    is_counted.append(float(len(shard) > 0))
                    # A graph cannot skip a replica: one without examples computes one that does not count.
                    yield (shard if len(shard) else indices[:1], *rest)

        batches = iter(make(shards()))
        while local := list(itertools.islice(batches, self._num_local)):
            yield [(batch, tf.constant(is_counted.popleft())) for batch in local]

    def counted(self, group: Iterable[ReplicaBatches]) -> list[Any]:
        """Return the batches or shards of a group that count in this process."""
        if self.strategy is None:
            return list(group)
        return [batch for shards in group for batch, factor in shards if factor > 0]

    def signature(self, batch_spec: Any) -> Any:
        """Return the `tf.function` signature of an element of `stream`, given that of a batch."""
        if self.strategy is None:
            return batch_spec
        return [(batch_spec, tf.TensorSpec([], tf.float32))] * self._num_local

    def sum_local(self, function: Callable[[Any, Any], Any], batches: ReplicaBatches) -> Any:
        """Return the sum of a function's results on the replicas of this process; for use inside `tf.function`.

        Args:
            function: takes a batch and a factor, 1.0 or a float32 scalar, and returns a structure of tensors.
            batches: an element of `stream`.
        """
        if self.strategy is None:
            return function(batches, 1.0)
        if self._num_local == 1:
            return function(*batches[0])
        distributed = self.strategy.experimental_distribute_values_from_function(
            lambda context: batches[context.replica_id_in_sync_group - self._first]
        )
        results = self.strategy.run(lambda shard: function(*shard), args=(distributed,))
        # Not inside the strategy: the sum is needed on the device that has the weights.
        return tf.nest.map_structure(lambda value: tf.add_n(self.strategy.experimental_local_results(value)), results)

    def sum_over_processes(self, values: Any) -> Any:
        """Return the sum over all processes; for use inside `tf.function`.

        Every process must call it, with the same shapes.

        Args:
            values: structure of tensors.
        """
        if self.num_workers == 1:
            return values
        tensors = tf.nest.flatten(values)
        summed: dict[int, tf.Tensor] = {}
        for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
            # One collective for all tensors of a dtype, since each one waits for the network.
            indices = [index for index, tensor in enumerate(tensors) if tensor.dtype == dtype]
            flat = self._all_reduce(tf.concat([tf.reshape(tensors[index], [-1]) for index in indices], 0))
            sizes = [tf.size(tensors[index]) for index in indices]
            for index, part in zip(indices, tf.split(flat, sizes, num=len(sizes)), strict=True):
                summed[index] = tf.reshape(part, tf.shape(tensors[index]))
        return tf.nest.pack_sequence_as(values, [summed[index] for index in range(len(tensors))])

    def _all_reduce(self, vector: tf.Tensor) -> tf.Tensor:
        # All replicas take part in a collective; the first replica of each process contributes its vector.
        def value_of(context):
            return vector if context.replica_id_in_sync_group == self._first else tf.zeros_like(vector)

        distributed = self.strategy.experimental_distribute_values_from_function(value_of)

        def reduce(value):
            # The strategy reads the device of a tensor, which a tensor from outside the replica may lack.
            return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(value))

        return self.strategy.experimental_local_results(self.strategy.run(reduce, args=(distributed,)))[0]

    def broadcast(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the chief's arrays in every process; every process must call it, with the same names and shapes.

        Args:
            arrays: numeric arrays; only the chief's values matter.

        Raises:
            ConnectionError: another process was lost.
        """
        if self.num_workers == 1:
            return dict(arrays)
        # float64 represents all integers that occur here exactly: counts and seeds.
        dtypes = {name: np.float32 if np.asarray(a).dtype == np.float32 else np.float64 for name, a in arrays.items()}
        sent = {name: np.asarray(a, dtypes[name]) for name, a in arrays.items()}
        if not self.is_chief:
            sent = {name: np.zeros_like(a) for name, a in sent.items()}
        with translated_worker_errors():
            received = _traced_sum(self)({name: tf.constant(a) for name, a in sent.items()})
        return {name: received[name].numpy().astype(np.asarray(a).dtype) for name, a in arrays.items()}

    def sum_numbers(self, values: Mapping[str, float]) -> dict[str, float]:
        """Return the sums of numbers over all processes; every process must call it, with the same names.

        Raises:
            ConnectionError: another process was lost.
        """
        if self.num_workers == 1:
            return dict(values)
        with translated_worker_errors():
            sums = _traced_sum(self)({name: tf.constant(value, tf.float64) for name, value in values.items()})
        return {name: float(value) for name, value in sums.items()}

    def check_same(self, fingerprint: str) -> None:
        """Refuse to train if this process has other data or another config than the chief.

        Args:
            fingerprint: text that differs between different data or configs.

        Raises:
            ValueError: the chief's fingerprint is another one.
            ConnectionError: another process was lost.
        """
        # Only as many digits of the hash as a float64 represents exactly.
        own = float(int(hashlib.sha256(fingerprint.encode()).hexdigest()[:12], 16))
        if self.broadcast({"fingerprint": np.float64(own)})["fingerprint"] != own:
            raise ValueError(f"worker {self.worker} has other data or another config than the chief; expected the same")

    def barrier(self) -> None:
        """Wait until the chief has written its files, so that either all processes succeed or none.

        Raises:
            ConnectionError: the chief was lost.
        """
        with contextlib.suppress(ConnectionError) if self.is_chief else contextlib.nullcontext():
            self.broadcast_decision(True)
        # After the first round a process knows that all have arrived, but not that the others know it too. Without a
        # second round, a process that exits at once could break the first round of a slower one.
        with contextlib.suppress(ConnectionError):
            self.broadcast_decision(True)

    def broadcast_decision(self, decision: bool) -> bool:
        """Return the chief's decision in every process; the others wait for it.

        Raises:
            ConnectionError: another process was lost.
        """
        return bool(self.broadcast({"decision": np.float32(decision)})["decision"])


@functools.cache
def _traced_sum(replicas: Replicas) -> Callable[[Any], Any]:
    return tf.function(replicas.sum_over_processes)


@contextlib.contextmanager
def translated_worker_errors() -> Iterator[None]:
    """Turn TensorFlow's errors about a lost process inside a `with` block into one that tells the user what to do.

    Raises:
        ConnectionError: another process was lost.
    """
    try:
        yield
    except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError) as error:
        reason = next((line.strip() for line in str(error).splitlines() if "aborted" in line), type(error).__name__)
        raise ConnectionError(
            f"another worker of TF_CONFIG was lost ({reason}); start all workers again: they resume from the checkpoint"
        ) from error


ALONE = Replicas()


def join(kind: str) -> Replicas:
    """Return the devices and processes that train together, after waiting for all processes that TF_CONFIG names.

    Must be called before TensorFlow computes anything.

    Args:
        kind: `auto`, `none`, `mirrored` or `multi_worker`, as for `OptimizationConfig.distribution`.

    Raises:
        ValueError: TF_CONFIG is missing or wrong; `mirrored` finds a single device.
    """
    text = os.environ.get("TF_CONFIG", "")
    if kind == "auto":
        kind = "mirrored" if len(tf.config.list_physical_devices("GPU")) > 1 else "none"
        if text and _read_cluster(text)[1] > 1:
            kind = "multi_worker"
    return ALONE if kind == "none" else _join(kind, text)


@functools.cache
def _join(kind: str, text: str) -> Replicas:
    """Start a strategy; possible only once per process."""
    if kind == "mirrored":
        devices = [device.name for device in tf.config.list_logical_devices("GPU")]
        devices = devices or [device.name for device in tf.config.list_logical_devices("CPU")]
        if len(devices) < 2:
            raise ValueError("train.distribution=mirrored: expected two devices or more; this machine has one")
        strategy = tf.distribute.MirroredStrategy(devices)
        logger.info("%d replicas on %s", len(devices), ", ".join(devices))
        return Replicas(kind, strategy)
    if not text:
        raise ValueError("train.distribution=multi_worker: expected TF_CONFIG in the environment; see docs/scale.md")
    worker, num_workers = _read_cluster(text)
    logger.info("worker %d of %d: waiting for the other workers", worker, num_workers)
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    logger.info("worker %d of %d: %d replicas", worker, num_workers, strategy.num_replicas_in_sync)
    return Replicas(kind, strategy, worker, num_workers)


def _read_cluster(text: str) -> tuple[int, int]:
    """Return the index of this process and the number of processes that TF_CONFIG gives.

    Raises:
        ValueError: it is not JSON, describes no cluster of a chief and workers, or does not list this process.
    """
    expected = 'expected {"cluster": {"worker": ["HOST:PORT", ...]}, "task": {"type": "worker", "index": 0}}'
    try:
        tree = json.loads(text)
        cluster, task = tree["cluster"], tree["task"]
        members = [(kind, index) for kind in ("chief", "worker") for index in range(len(cluster.get(kind, [])))]
        own = (task["type"], int(task["index"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"TF_CONFIG={text}: {type(error).__name__}: {error}; {expected}") from error
    others = sorted(set(cluster) - {"chief", "worker"})
    if others or own not in members:
        fault = f"training has no task of type {others[0]}" if others else f"no {own[0]} {own[1]} in the cluster"
        raise ValueError(f"TF_CONFIG={text}: {fault}; {expected}")
    return members.index(own), len(members)
