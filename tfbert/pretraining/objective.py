"""Pretraining objective (masked words and next sentence) and its evaluation on held-out sequences."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from tfbert.evaluation.metric import Metric
from tfbert.models.graph_functions import graph_function
from tfbert.pretraining.batches import SPEC, Batcher
from tfbert.pretraining.config import PretrainConfig
from tfbert.pretraining.heads import PretrainingModel
from tfbert.pretraining.masking import HELD_OUT_DRAW
from tfbert.text.batches import EVALUATION_BATCH_TOKENS, plan_evaluation, plan_training
from tfbert.training.distribution import ReplicaBatches, Replicas
from tfbert.training.monitoring import Evaluator, Schedule
from tfbert.training.objectives import Batch, Group, Objective, PlannedBatch
from tfbert.training.progress import EvaluationPoint

# Approximate maximum number of points in the learning curve of the report.
_MAX_POINTS = 1000
# Short sequences need room for the special tokens and something between them.
_MIN_LIMIT = 8
# Terms of the loss, and the prefixes of their metrics.
_TERMS = {"masked_words": "masked_word", "pairs": "pair"}
LOSS, ACCURACY = "masked_word_loss", "masked_word_accuracy"
METRICS = (
    Metric(LOSS, "lower", "nats", "mean cross-entropy of the masked words, in nats"),
    Metric(ACCURACY, "higher", "fraction", "fraction of the masked words whose first prediction is correct"),
    Metric("pair_loss", "lower", "nats", "mean cross-entropy of the pairs of segments; 0.693 is chance"),
    Metric("pair_accuracy", "higher", "fraction", "fraction of the pairs classified correctly as consecutive or not"),
    Metric("perplexity", "lower", "count", "number of equally likely words with the same uncertainty"),
)


class PretrainingObjective(Objective):
    """Masked words and, for sequences of two segments, whether these belong together.

    It is one objective with two loss terms because both are computed from a single pass of the encoder over a batch.

    Args:
        model: computes in training precision.
        config: config of the run.
        train: sequences to train on.
        has_new_head: whether the heads are new and the encoder is pretrained; only the heads are then trained at first.
    """

    name = "pretraining"
    batch_spec = SPEC

    def __init__(self, model: PretrainingModel, config: PretrainConfig, train: Batcher, has_new_head: bool = False):
        self.model, self.config, self.train = model, config, train
        self.terms = ("masked_words",) if model.head.pairs is None else ("masked_words", "pairs")
        num_sequences, settings = len(train.sequences), config.train
        self.num_batches = math.ceil(num_sequences / settings.batch_size)
        self.accumulation_steps, self.num_epochs = settings.accumulation_steps, settings.num_epochs(num_sequences)
        self.num_head_updates = round(settings.head_updates_fraction * self.num_updates) if has_new_head else 0

    def plan(self, epoch: int) -> list[PlannedBatch]:
        """Return sequence indices, draw of the masks, and length limit in tokens of every batch of an epoch."""
        settings, max_length = self.config.train, self.config.examples.sequence_length
        num_short_updates = round(settings.short_updates_fraction * self.num_updates)
        num_short_batches = (num_short_updates - epoch * self.updates_per_epoch) * self.accumulation_steps
        short = max(_MIN_LIMIT, max_length // 4)
        batches = plan_training(self.train.lengths(), settings.batch_size, settings.seed, epoch)
        return [
            (indices, epoch + 1, short if number < num_short_batches else max_length)
            for number, indices in enumerate(batches)
        ]

    def batches(self, plan: Iterable[PlannedBatch]) -> tf.data.Dataset:
        """Return masked batches in the order of a plan."""
        return self.train.stream(plan)

    def losses(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Return cross-entropies and numbers of correct predictions, summed over a batch."""
        return self.model.sums(batch, training=True)

    def group(self, planned: Sequence[PlannedBatch], batches: Iterator[ReplicaBatches], replicas: Replicas) -> Group:
        """Return the batches of an update with their numbers of masked words and pairs."""
        batches = list(batches)
        local = replicas.counted(batches)
        num_tokens = float(sum(int(tf.reduce_sum(batch["padding_mask"])) for batch in local))
        counts = replicas.sum_numbers({**_counts(local, self.terms), "tokens": num_tokens})
        return Group(batches, counts, int(counts.pop("tokens")))

    def means(self, sums: dict[str, float], counts: dict[str, float]) -> dict[str, float]:
        """Return mean loss and accuracy of masked words and, if there were any, of pairs."""
        return _means(sums, counts)


class HeldOutEvaluator(Evaluator):
    """Evaluates masked words and pairs on held-out sequences, always with the same masks.

    Args:
        model: computes in float32; may be the trained model itself.
        objective: determines the updates after which the model is evaluated.
        held_out: sequences to evaluate on.
        log: called after every evaluation with its entry of `held_out_history` and the points of the learning curve
            since the previous one.
        run_eagerly: whether to run without traced graphs, which for a few batches is faster.
    """

    monitor = METRICS[0]

    def __init__(
        self,
        model: PretrainingModel,
        objective: PretrainingObjective,
        held_out: Batcher,
        log: Callable[[dict, Sequence[dict]], None] = lambda *_: None,
        *,
        run_eagerly: bool = False,
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
        self._sums = graph_function(
            lambda batch: model.sums(batch, training=False), run_eagerly=run_eagerly, input_signature=[SPEC]
        )

    def measure(self, check: Callable[[], None] = lambda: None) -> dict[str, float]:
        """Return losses, accuracies and perplexity on the held-out sequences."""
        sums: dict[str, float] = {}
        counts: dict[str, float] = {}
        for batch in self._batches():
            check()
            sums = _add(sums, {name: float(value) for name, value in self._sums(batch).items()})
            counts = _add(counts, _counts([batch], self.objective.terms))
        means = _means(sums, counts)
        return {**means, "perplexity": math.exp(min(means[LOSS], 700.0)), "num_masked_words": counts["masked_words"]}

    def log(self, history: Sequence[EvaluationPoint], points: Sequence[dict]) -> None:
        """Call the callback."""
        self._log(held_out_history(history)[-1], points)

    def by_frequency(self) -> dict[str, float]:
        """Return loss and accuracy of predicting words by their frequency in the training sequences.

        This baseline uses no context; an encoder that is not better has not learned to use it.
        """
        train = self.objective.train
        counts = np.bincount(train.sequences.token_ids, minlength=train.masker.vocabulary_size) + 1.0
        counts[list(vars(train.masker.special).values())] = 0  # these are never masked
        losses = -np.log(np.maximum(counts, 1) / counts.sum())
        sums, num_words = np.zeros(2), 0.0
        for batch in self._batches():
            targets, weights = batch["targets"].numpy(), batch["weights"].numpy()
            sums += (losses[targets] * weights).sum(), ((targets == counts.argmax()) * weights).sum()
            num_words += weights.sum()
        return dict(zip((LOSS, ACCURACY), (sums / num_words).tolist(), strict=True))

    def _batches(self) -> Iterable[dict[str, tf.Tensor]]:
        """Return the batches of the held-out sequences to evaluate on, a fixed and evenly spread sample."""
        config = self.objective.config
        lengths, limit = self.held_out.lengths(), config.examples.sequence_length
        num_sequences = min(config.train.held_out_rows or len(lengths), len(lengths))
        sample = np.linspace(0, len(lengths) - 1, num_sequences).astype(np.int64)
        batch_size = max(1, EVALUATION_BATCH_TOKENS // min(int(lengths[sample].max()), limit))
        plan = plan_evaluation(lengths[sample], batch_size)
        return self.held_out.stream([(sample[indices], HELD_OUT_DRAW, limit) for indices in plan])


def held_out_history(history: Iterable[EvaluationPoint]) -> list[dict]:
    """Return one dict per evaluation for `report.json`."""
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
    """Return the numbers of masked words and pairs in some batches."""
    counts = {"masked_words": sum(float(tf.reduce_sum(batch["weights"])) for batch in batches)}
    if "pairs" in terms:
        counts["pairs"] = float(sum(np.count_nonzero(batch["pair_labels"].numpy() >= 0) for batch in batches))
    return counts


def _add(sums: dict[str, float], more: dict[str, float]) -> dict[str, float]:
    return {name: sums.get(name, 0.0) + value for name, value in more.items()}


def _means(sums: dict[str, float], counts: dict[str, float]) -> dict[str, float]:
    """Return mean losses and accuracies of the loss terms that occurred."""
    means = {}
    for term, name in _TERMS.items():
        if counts.get(term):
            means[f"{name}_loss"] = sums[term] / counts[term]
            means[f"{name}_accuracy"] = sums[f"{term}_right"] / counts[term]
    return means
