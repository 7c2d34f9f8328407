"""Pretraining's objective, and its evaluation on held-out rows."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from tfbert.evaluation.metric import Metric
from tfbert.pretraining.batches import SPEC, Batcher
from tfbert.pretraining.config import PretrainConfig
from tfbert.pretraining.heads import PretrainingModel
from tfbert.pretraining.masking import HELD_OUT_DRAW
from tfbert.text.batches import plan_evaluation, plan_training
from tfbert.training.distribution import ReplicaBatches, Replicas
from tfbert.training.monitoring import Evaluator, Schedule
from tfbert.training.objectives import Batch, Group, Objective, PlannedBatch
from tfbert.training.progress import EvaluationPoint

_EVALUATION_BATCH_TOKENS = 8192
# The learning curve of the report has at most about this many points, whatever the length of the training.
_MAX_POINTS = 1000
# Rows of a quarter of the sequence length need at least the special tokens and something between them.
_MIN_LIMIT = 8
# The terms of the loss, and what reports call them.
_TERMS = {"masked_words": "masked_word", "pairs": "pair"}
LOSS, ACCURACY = "masked_word_loss", "masked_word_accuracy"
METRICS = (
    Metric(LOSS, "lower", "nats", "mean cross-entropy of the masked words, in nats"),
    Metric(ACCURACY, "higher", "fraction", "share of the masked words that are guessed right at once"),
    Metric("pair_loss", "lower", "nats", "mean cross-entropy of the pairs of segments; a coin has 0.693"),
    Metric("pair_accuracy", "higher", "fraction", "share of the pairs that are told right: belong together or not"),
    Metric("perplexity", "lower", "count", "among how many equally likely words it would be guessing"),
)


class PretrainingObjective(Objective):
    """Masked words and, where rows have two segments, whether these belong together.

    It is one objective with two loss terms because both are computed from a single pass of the encoder over a batch.

    Args:
        model: encoder and heads, in training precision.
        config: of the run.
        train: rows to learn from.
        has_new_head: whether the heads are new and the encoder is not: the heads then learn alone at first.
    """

    name = "pretraining"
    batch_spec = SPEC

    def __init__(self, model: PretrainingModel, config: PretrainConfig, train: Batcher, has_new_head: bool = False):
        self.model, self.config, self.train = model, config, train
        self.terms = ("masked_words",) if model.head.pairs is None else ("masked_words", "pairs")
        num_rows, settings = len(train.rows), config.train
        self.num_batches = math.ceil(num_rows / settings.batch_size)
        self.accumulation_steps, self.num_epochs = settings.accumulation_steps, settings.num_epochs(num_rows)
        self.num_head_updates = round(settings.head_updates_fraction * self.num_updates) if has_new_head else 0

    def plan(self, epoch: int) -> list[PlannedBatch]:
        """Return row indices, number of the random masks, and length limit in tokens of every batch of an epoch."""
        settings, max_length = self.config.train, self.config.examples.sequence_length
        num_short_updates = round(settings.short_updates_fraction * self.num_updates)
        num_short_batches = (num_short_updates - epoch * self.updates_per_epoch) * self.accumulation_steps
        short = max(_MIN_LIMIT, max_length // 4)
        batches = plan_training(self.train.lengths(), settings.batch_size, settings.seed, epoch)
        return [
            (rows, epoch + 1, short if index < num_short_batches else max_length) for index, rows in enumerate(batches)
        ]

    def batches(self, plan: Iterable[PlannedBatch]) -> tf.data.Dataset:
        """Return masked batches in the order of a plan."""
        return self.train.stream(plan)

    def losses(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Return cross-entropies and numbers of right guesses, summed over a batch."""
        return self.model.sums(batch, training=True)

    def group(self, planned: Sequence[PlannedBatch], batches: Iterator[ReplicaBatches], replicas: Replicas) -> Group:
        """Return the group of an update, with the number of its masked words and pairs."""
        batches = list(batches)
        local = replicas.counted(batches)
        num_tokens = float(sum(int(tf.reduce_sum(batch["padding_mask"])) for batch in local))
        counts = replicas.sum_numbers({**_counts(local, self.terms), "tokens": num_tokens})
        return Group(batches, counts, int(counts.pop("tokens")))

    def means(self, sums: dict[str, float], counts: dict[str, float]) -> dict[str, float]:
        """Return mean loss and accuracy of masked words, and of pairs where there were any."""
        return _means(sums, counts)


class HeldOutEvaluator(Evaluator):
    """Evaluates masked words and pairs on held-out rows, always with the same masks.

    Args:
        model: float32, or the trained model itself.
        objective: determines when it is evaluated.
        held_out: rows to measure on.
        log: called after every evaluation with its entry of `held_out_history` and the points of the learning curve
            since the previous one.
    """

    monitor = METRICS[0]

    def __init__(
        self,
        model: PretrainingModel,
        objective: PretrainingObjective,
        held_out: Batcher,
        log: Callable[[dict, Sequence[dict]], None] = lambda *_: None,
    ):
        self.model, self.objective, self.held_out, self._log = model, objective, held_out, log
        settings, num_updates = objective.config.train, objective.num_updates
        points = {round(point * num_updates / settings.evaluations) for point in range(1, settings.evaluations + 1)}
        self.schedule = Schedule(
            updates=frozenset(points | {0, objective.num_head_updates}),
            updates_per_epoch=objective.updates_per_epoch,
            by_epoch=False,
            patience=settings.patience_evaluations,
            updates_per_point=math.ceil(num_updates / _MAX_POINTS),
        )
        self._sums = tf.function(
            lambda batch: model.sums(batch, training=False), input_signature=[SPEC], autograph=False
        )

    def measure(self, check: Callable[[], None] = lambda: None) -> dict[str, float]:
        """Return losses, accuracies and perplexity on the held-out rows."""
        sums: dict[str, float] = {}
        counts: dict[str, float] = {}
        for batch in self._batches():
            check()
            sums = _added(sums, {name: float(value) for name, value in self._sums(batch).items()})
            counts = _added(counts, _counts([batch], self.objective.terms))
        means = _means(sums, counts)
        return {**means, "perplexity": math.exp(min(means[LOSS], 700.0)), "num_masked_words": counts["masked_words"]}

    def log(self, history: Sequence[EvaluationPoint], points: Sequence[dict]) -> None:
        """Call the callback."""
        self._log(held_out_history(history)[-1], points)

    def by_frequency(self) -> dict[str, float]:
        """Return loss and accuracy of guessing words by their frequency in the training rows, without any context.

        An encoder has learned to read only as far as it is better than this.
        """
        train = self.objective.train
        counts = np.bincount(train.rows.token_ids, minlength=train.masker.vocabulary_size) + 1.0
        counts[list(vars(train.masker.special).values())] = 0  # these are never masked
        losses = -np.log(np.maximum(counts, 1) / counts.sum())
        sums, num_words = np.zeros(2), 0.0
        for batch in self._batches():
            targets, weights = batch["targets"].numpy(), batch["weights"].numpy()
            sums += (losses[targets] * weights).sum(), ((targets == counts.argmax()) * weights).sum()
            num_words += weights.sum()
        return dict(zip((LOSS, ACCURACY), (sums / num_words).tolist(), strict=True))

    def _batches(self) -> Iterable[dict[str, tf.Tensor]]:
        """Return the batches of held-out rows that are measured on."""
        config = self.objective.config
        lengths, limit = self.held_out.lengths(), config.examples.sequence_length
        num_rows = min(config.train.held_out_rows or len(lengths), len(lengths))
        # Evenly spread, so that it is the same sample whenever it is taken.
        rows = np.linspace(0, len(lengths) - 1, num_rows).astype(np.int64)
        batch_size = max(1, _EVALUATION_BATCH_TOKENS // min(int(lengths[rows].max()), limit))
        plan = plan_evaluation(lengths[rows], batch_size)
        return self.held_out.stream([(rows[indices], HELD_OUT_DRAW, limit) for indices in plan])


def held_out_history(history: Iterable[EvaluationPoint]) -> list[dict]:
    """Return one dict per evaluation, as `report.json` has them."""
    return [
        {
            "update": point.update,
            "epoch": point.epoch,
            "num_tokens": point.num_tokens,
            "seconds": point.seconds,
            "held_out": point.scores,
        }
        for point in history
    ]


def _counts(batches: Iterable[Batch], terms: Iterable[str]) -> dict[str, float]:
    """Return how many masked words and pairs there are in some batches."""
    counts = {"masked_words": sum(float(tf.reduce_sum(batch["weights"])) for batch in batches)}
    if "pairs" in terms:
        counts["pairs"] = float(sum(np.count_nonzero(batch["pair_labels"].numpy() >= 0) for batch in batches))
    return counts


def _added(sums: dict[str, float], more: dict[str, float]) -> dict[str, float]:
    return {name: sums.get(name, 0.0) + value for name, value in more.items()}


def _means(sums: dict[str, float], counts: dict[str, float]) -> dict[str, float]:
    """Return mean losses and accuracies of the terms that occurred."""
    means = {}
    for term, name in _TERMS.items():
        if counts.get(term):
            means[f"{name}_loss"] = sums[term] / counts[term]
            means[f"{name}_accuracy"] = sums[f"{term}_right"] / counts[term]
    return means
