"""TensorFlow Serving's batching parameters file, read and validated."""

import bisect
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfbert.serving.server.protos import empty, read_proto

_WRAPPED = (
    "max_batch_size",
    "batch_timeout_micros",
    "max_enqueued_batches",
    "num_batch_threads",
    "enable_large_batch_splitting",
    "max_execution_batch_size",
)


@dataclass(frozen=True, kw_only=True)
class BatchingParameters:
    """How requests become batches.

    Args:
        max_batch_size: most rows of a request, and of a batch if `max_execution_batch_size` does not say otherwise.
        batch_timeout_micros: how long a batch waits for more requests after its first one, in microseconds.
        max_enqueued_batches: most batches of one kind that wait for a thread.
        num_batch_threads: how many batches run at once, those of all models together.
        allowed_batch_sizes: sizes in rows up to which batches are filled, in increasing order; empty allows all.
        enable_large_batch_splitting: lets the rows of one request be of several batches.
        max_execution_batch_size: most rows of a batch where requests are split; `None` is `max_batch_size`. It is
            ignored where they are not.
        pad_variable_length_inputs: joins requests whose inputs differ in dimensions other than the first one, filled
            up with the first element of the request's own input, which need not be a padding value at all.

    Raises:
        ValueError: a number is not positive, the allowed sizes do not increase or end elsewhere than at the largest
            batch, or a batch is larger than a request may be.

    Source: TensorFlow Serving 2.20.0, `session_bundle_config.proto`, with the defaults of `shared_batch_scheduler.h`.
        There a `max_enqueued_batches` of 0 is taken for 1 where requests are not split; here it is refused.
    """

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    num_batch_threads: int = field(default_factory=lambda: os.cpu_count() or 1)
    allowed_batch_sizes: tuple[int, ...] = ()
    enable_large_batch_splitting: bool = False
    max_execution_batch_size: int | None = None
    pad_variable_length_inputs: bool = False

    def __post_init__(self):
        for name in ("max_batch_size", "max_enqueued_batches", "num_batch_threads", "max_execution_batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be positive; was {value}")
        if self.batch_timeout_micros < 0:
            raise ValueError(f"batch_timeout_micros must be non-negative; was {self.batch_timeout_micros}")
        if self.execution_size > self.max_batch_size:
            raise ValueError(
                "When enable_large_batch_splitting is true, max_batch_size must be greater than or equal to "
                f"max_execution_batch_size; they are {self.max_batch_size} and {self.execution_size}"
            )
        sizes = self.allowed_batch_sizes
        if not sizes:
            return
        if sizes[0] < 1:
            raise ValueError(f"allowed_batch_sizes must be positive; the first entry was {sizes[0]}")
        if list(sizes) != sorted(set(sizes)):
            shown = ", ".join(map(str, sizes))
            raise ValueError(f"allowed_batch_sizes entries must be monotonically increasing; they are {shown}")
        if sizes[-1] != self.execution_size:
            is_split = self.enable_large_batch_splitting
            wanted = "be equal to max_execution_batch_size" if is_split else "match max_batch_size"
            raise ValueError(
                f"Last entry in allowed_batch_sizes must {wanted}; last entry was {sizes[-1]}; "
                f"expected {self.execution_size}"
            )

    @property
    def execution_size(self) -> int:
        """The maximum number of rows of a batch."""
        if self.enable_large_batch_splitting and self.max_execution_batch_size is not None:
            return self.max_execution_batch_size
        return self.max_batch_size

    def padded_size(self, num_rows: int) -> int:
        """Return how many rows a batch has once it is filled up to an allowed size."""
        sizes = self.allowed_batch_sizes
        return sizes[bisect.bisect_left(sizes, num_rows)] if sizes and num_rows else num_rows


def read_parameters(path: str | os.PathLike) -> BatchingParameters:
    """Read TensorFlow Serving's batching parameters file.

    Args:
        path: of a text proto of `tensorflow.serving.BatchingParameters`. What it does not set has its default;
            `thread_pool_name` is ignored.

    Raises:
        ValueError: the file cannot be read or parsed, or its values do not go together.
    """
    message = read_proto(Path(path), empty("BatchingParameters"))
    values: dict[str, Any] = {name: getattr(message, name).value for name in _WRAPPED if message.HasField(name)}
    values["allowed_batch_sizes"] = tuple(message.allowed_batch_sizes)
    values["pad_variable_length_inputs"] = message.pad_variable_length_inputs
    try:
        return BatchingParameters(**values)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
