"""What a training minimizes: objectives, each with batches in a repeatable order and a loss on a model's outputs.

An update minimizes the weighted sum of the objectives' mean losses: it takes one group of batches of every objective.
Which batches these are depends on the number of the update alone, so a training resumes at any update without further
state, and a training with a single objective is the special case of a sum with one term. The first objective determines
the length of the training; the others start another epoch of their own whenever they have run through their data.
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
# A batch that has not been made yet: the indices of its units, and whatever else decides what is made of them.
PlannedBatch = tuple[Any, ...]


@dataclass(frozen=True)
class Group:
    """The batches of one objective whose gradients are accumulated into one update.

    Args:
        batches: as `Replicas.stream` yields them.
        counts: denominators of the loss terms over the whole group and all processes, such as its number of examples;
            0 where the group has nothing that the term is about.
        num_tokens: tokens in the group, padding excluded; 0 where the objective does not count them.
    """

    batches: Iterable[ReplicaBatches]
    counts: Mapping[str, float]
    num_tokens: int = 0


class Objective(abc.ABC):
    """A weighted loss on a model's outputs, and the batches it is computed on.

    Attributes:
        name: unique among the objectives of a training.
        weight: factor of the loss in the sum that is minimized.
        terms: names of the loss terms that are minimized, among those that `losses` returns.
        batch_spec: `element_spec` of the batches.
        num_batches: batches per epoch.
        accumulation_steps: batches per update.
        num_epochs: epochs of the training, if this is the first objective.
        num_head_updates: updates at the start in which the encoder keeps its weights while a new head learns.
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
        """Return the batches of a 0-based epoch in their order: the same ones whenever it is called."""

    @abc.abstractmethod
    def batches(self, plan: Iterable[PlannedBatch]) -> Iterable[Batch]:
        """Yield planned batches in their order; another thread may make them ahead of time."""

    @abc.abstractmethod
    def losses(self, batch: Batch) -> Mapping[str, tf.Tensor]:
        """Return float32 scalars by name, each summed over the batch, with dropout; called in the graph."""

    @abc.abstractmethod
    def group(self, planned: Sequence[PlannedBatch], batches: Iterator[ReplicaBatches], replicas: Replicas) -> Group:
        """Return the group of an update.

        Args:
            planned: its batches, before they are cut into micro-batches.
            batches: its micro-batches.
            replicas: the devices that share each of them.
        """

    def micro_batches(self, planned: PlannedBatch, num_replicas: int) -> list[PlannedBatch]:
        """Return a batch in parts whose gradients are computed one after the other, for as many devices."""
        return [planned]

    def means(self, sums: Mapping[str, float], counts: Mapping[str, float]) -> dict[str, float]:
        """Return mean losses and what else is reported, from summed `losses` and the `counts` of their groups."""
        return {term: sums[term] / counts[term] for term in self.terms if counts[term]}

    def loss(self, sums: Mapping[str, float], counts: Mapping[str, float]) -> float:
        """Return the weighted loss that is minimized, from summed `losses` and the `counts` of their groups."""
        return self.weight * sum(sums[term] / (counts[term] or 1.0) for term in self.terms)

    def token_ids(self) -> np.ndarray | None:
        """Return all ids that are looked up in the token embedding, sorted.

        `None` if the whole table is needed, for example because a head is tied to it.
        """
        return None

    def groups(self, update: int, num_updates: int) -> Iterator[list[PlannedBatch]]:
        """Yield the planned batches of every update from a 0-based one on, up to a total number of updates."""
        while update < num_updates:
            epoch, done = divmod(update, self.updates_per_epoch)
            plan = self.plan(epoch)[done * self.accumulation_steps :]
            for start in range(0, len(plan), self.accumulation_steps):
                if update < num_updates:
                    yield plan[start : start + self.accumulation_steps]
                update += 1
