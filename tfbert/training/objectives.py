"""Training objectives: losses on a model's outputs, each with its batches in a repeatable order.

An update minimizes the weighted sum of the objectives' mean losses, on one group of batches of every objective. The
index of the update alone determines these batches, so training resumes at any update without further state. The first
objective determines the length of training; the others start their next epoch whenever they run out of data.
"""

import abc
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tfbert.training.distribution import ReplicaBatches, Replicas

Batch = Mapping[str, tf.Tensor]
# Everything that determines a batch: the indices of its examples and, for some objectives, further values.
PlannedBatch = tuple[Any, ...]


@dataclass(frozen=True)
class Group:
    """The batches of one objective whose gradients are accumulated into one update.

    Args:
        batches: as `Replicas.stream` yields them.
        counts: denominators of the loss terms over the whole group and all processes, such as its number of examples;
            0 for a term that does not apply to the group.
        num_tokens: tokens in the group without padding; 0 if the objective does not count them.
    """

    batches: Iterable[ReplicaBatches]
    counts: Mapping[str, float]
    num_tokens: int = 0


class Objective(abc.ABC):
    """A weighted loss on a model's outputs and the batches it is computed on.

    Attributes:
        name: unique among the objectives of a training.
        weight: factor of the loss in the weighted sum.
        terms: names of those results of `losses` that are minimized.
        batch_spec: `element_spec` of the batches.
        num_batches: batches per epoch.
        accumulation_steps: batches per update.
        num_epochs: epochs of training, if this is the first objective.
        num_head_updates: updates at the start that train only a new head.
    """

    name: str
    weight: float = 1.0
    terms: tuple[str, ...]
    batch_spec: Any
    num_batches: int
    accumulation_steps: int = 1
    num_epochs: int
    num_head_updates: int = 0

    @property
    def updates_per_epoch(self) -> int:
        """The number of updates in an epoch; the last one may have fewer batches."""
        return math.ceil(self.num_batches / self.accumulation_steps)

    @property
    def num_updates(self) -> int:
        """The number of updates in all epochs."""
        return self.updates_per_epoch * self.num_epochs

    @abc.abstractmethod
    def plan(self, epoch: int) -> list[PlannedBatch]:
        """Return the batches of a 0-based epoch in order; the result is always the same."""

    @abc.abstractmethod
    def batches(self, plan: Iterable[PlannedBatch]) -> Iterable[Batch]:
        """Yield the batches of a plan in order; may be called in another thread."""

    @abc.abstractmethod
    def losses(self, batch: Batch) -> Mapping[str, tf.Tensor]:
        """Return losses by name: float32 scalars summed over the batch, with dropout. Called in the graph."""

    @abc.abstractmethod
    def group(self, planned: Sequence[PlannedBatch], batches: Iterator[ReplicaBatches], replicas: Replicas) -> Group:
        """Return the group of an update.

        Args:
            planned: its batches before they are split into micro-batches.
            batches: its micro-batches, as `Replicas.stream` yields them.
            replicas: the devices that share each of them.
        """

    def micro_batches(self, planned: PlannedBatch, num_replicas: int) -> list[PlannedBatch]:
        """Split a batch into micro-batches, each of which is shared by the given number of devices."""
        return [planned]

    def means(self, sums: Mapping[str, float], counts: Mapping[str, float]) -> dict[str, float]:
        """Return mean losses and other reported values from summed `losses` and the `counts` of their groups."""
        return {term: sums[term] / counts[term] for term in self.terms if counts[term]}

    def loss(self, sums: Mapping[str, float], counts: Mapping[str, float]) -> float:
        """Return the weighted loss from summed `losses` and the `counts` of their groups."""
        return self.weight * sum(sums[term] / (counts[term] or 1.0) for term in self.terms)

    def token_ids(self) -> np.ndarray | None:
        """Return the sorted ids that are looked up in the token embedding.

        `None` means that the whole table is needed, for example because a head is tied to it.
        """
        return None

    def groups(self, update: int, num_updates: int) -> Iterator[list[PlannedBatch]]:
        """Yield the planned batches of each update, from a 0-based index up to the total number of updates."""
        while update < num_updates:
            epoch, num_done = divmod(update, self.updates_per_epoch)
            plan = self.plan(epoch)[num_done * self.accumulation_steps :]
            for start in range(0, len(plan), self.accumulation_steps):
                if update < num_updates:
                    yield plan[start : start + self.accumulation_steps]
                update += 1
