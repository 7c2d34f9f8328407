"""One text or a pair of texts, one label: intents, topics, sentiment, entailment, paraphrase.

A record is a text, maybe a second one, and the name of its label. The served answer is the label, its probability and
those of all labels.
"""

import bisect
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from tfbert.config import Config
from tfbert.evaluation import metrics
from tfbert.heads.pooled import start_with_probe
from tfbert.nearest import did_you_mean
from tfbert.space import COMMON, Choice
from tfbert.tasks.base import TaskModel
from tfbert.tasks.base_pooled import PooledTask, has_pair
from tfbert.text.records import LABEL, Record, one_label_of
from tfbert.text.rows import Row

_WORST_MISTAKES = 30
# Examples that the head's start is fitted to: of each label at most and at least, and about so many of all labels
# together. It is enough for a start: on 77 labels of banking77 20 of each started as well as 50.
_MOST_EXAMPLES, _LEAST_EXAMPLES, _EXAMPLES_OF_LABELS = 50, 10, 1500


class Classification(PooledTask):
    """Single-label text classification: softmax over the labels of the training split."""

    title = "one label for every text or pair of texts"
    aliases = ("intent", "intents", "sentiment", "topic", "text_classification", "sequence_classification")
    defaults = {}
    search_space = COMMON | {"head.pooling": Choice("mean", "cls", "max"), "train.label_smoothing": Choice(0.0, 0.1)}
    monitor = "accuracy"

    def target_in(self, row: Row) -> str:
        """Return the label of a row.

        Raises:
            ValueError: it is blank or no label.
        """
        return one_label_of(row.values.get("label"))

    def labels_of(self, record: Record) -> Iterable[str]:
        """Return the label."""
        return (record.target,)

    def known_labels(self, facts: dict) -> Sequence[str]:
        """Return `labels`."""
        return facts["labels"]

    def read_facts(self, records: Iterable[Record]) -> dict:
        """Return `labels`, sorted by name so that the order does not depend on that of the rows, and their `counts`.

        Raises:
            ValueError: fewer than two labels.
        """
        pair, records = has_pair(records)
        counts: dict[str, int] = {}
        for record in records:
            counts[record.target] = counts.get(record.target, 0) + 1
        if len(counts) < 2:
            raise ValueError(f"train has only the label {list(counts)}; wanted at least two labels to tell apart")
        labels = sorted(counts)
        return {"labels": labels, "counts": [counts[label] for label in labels], "has_pair": pair}

    def target_of(self, record: Record, facts: dict) -> int:
        """Return the label's id.

        Raises:
            ValueError: train does not have the label; a similar one is named.
        """
        labels = facts["labels"]
        position = bisect.bisect_left(labels, record.target)
        if labels[position : position + 1] == [record.target]:
            return position
        number = f"{len(labels):,} labels" if len(labels) != 1 else "1 label"
        hint = did_you_mean(record.target, labels)
        raise ValueError(f"{record.where}: label {record.target!r} is not one of the {number} of train{hint}")

    def num_outputs(self, facts: dict) -> int:
        """Return one logit a label."""
        return len(facts["labels"])

    def unit_weights(self, targets: np.ndarray, facts: dict, config: Config) -> np.ndarray | None:
        """Return weights that make every label count alike for `balanced`, else `None`."""
        if config.train.class_weights == "none":
            return None
        counts = np.bincount(targets, minlength=len(facts["labels"]))
        return (len(targets) / (np.count_nonzero(counts) * counts[targets])).astype(np.float32)

    def start_head(
        self, model: TaskModel, embed: Callable[[np.ndarray], np.ndarray], targets: np.ndarray, config: Config
    ) -> None:
        """Start with logistic regression on some examples of every label, unless `head.start` is `random`."""
        if config.head.start == "random":
            return
        order, labels = np.random.default_rng(config.train.seed).permutation(len(targets)), np.unique(targets)
        number = min(_MOST_EXAMPLES, max(_LEAST_EXAMPLES, _EXAMPLES_OF_LABELS // len(labels)))
        indices = np.concatenate([order[targets[order] == label][:number] for label in labels])
        start_with_probe(model.head, embed(indices), targets[indices])

    def loss(self, logits: tf.Tensor, batch: Mapping[str, tf.Tensor], config: Config) -> tf.Tensor:
        """Return cross entropy against the label, smoothed by `train.label_smoothing`."""
        log_probabilities = tf.nn.log_softmax(logits)
        nll = -tf.gather(log_probabilities, batch["targets"], batch_dims=1)
        smoothing = config.train.label_smoothing
        return (1 - smoothing) * nll - smoothing * tf.reduce_mean(log_probabilities, axis=-1)

    def quick_scores(self, answers: Mapping[str, np.ndarray], gold: Sequence, facts: dict) -> dict[str, float]:
        """Return accuracy, macro F1, Matthews' correlation and the mean cross entropy in nats."""
        confusion = self._confusion(answers, gold, facts)
        log_likelihood = np.log(np.maximum(answers["probabilities"][np.arange(len(gold)), gold], 1e-12))
        return {
            "accuracy": float(metrics.accuracy(confusion)),
            "macro_f1": float(metrics.macro_f1(confusion)),
            "mcc": float(metrics.matthews(confusion)),
            "loss": float(-log_likelihood.mean()),
        }

    def scores(self, answers: Mapping[str, np.ndarray], gold: Sequence, facts: dict) -> dict:
        """Return the metrics with their intervals and precision, recall and F1 of every label."""
        confusion = self._confusion(answers, gold, facts)
        functions = {"accuracy": metrics.accuracy, "macro_f1": metrics.macro_f1, "mcc": metrics.matthews}
        return {
            "metrics": {name: metrics.with_interval(score, confusion) for name, score in functions.items()},
            "per_label": metrics.per_label(confusion, facts["labels"]),
        }

    def details(self, answers: Mapping[str, np.ndarray], gold: Sequence, facts: dict) -> dict:
        """Return confusion matrix, reliability, and the mistakes the model was surest of."""
        probabilities, targets = answers["probabilities"], np.asarray(gold)
        predicted = probabilities.argmax(1)
        wrong = np.flatnonzero(predicted != targets)
        worst = wrong[np.argsort(-probabilities[wrong, predicted[wrong]], kind="stable")][:_WORST_MISTAKES]
        labels = facts["labels"]
        return {
            "labels": labels,
            "confusion": self._confusion(answers, gold, facts),
            "reliability": metrics.reliability(targets, probabilities),
            "worst": {
                int(index): {
                    "label": labels[targets[index]],
                    "predicted": labels[predicted[index]],
                    "probability": float(probabilities[index, predicted[index]]),
                    "label_probability": float(probabilities[index, targets[index]]),
                }
                for index in worst
            },
        }

    def decode(self, logits: tf.Tensor, facts: dict) -> dict[str, tf.Tensor]:
        """Return `label`, `label_id`, `probability` `(batch,)` and `probabilities` `(batch, num_classes)`."""
        probabilities = tf.nn.softmax(logits)
        label_id = tf.argmax(logits, axis=-1, output_type=tf.int32)
        return {
            "label": tf.gather(tf.constant(facts["labels"]), label_id),
            "label_id": label_id,
            "probability": tf.reduce_max(probabilities, axis=-1),
            "probabilities": probabilities,
        }

    def extra_signatures(self, answer: Callable[..., dict], facts: dict) -> dict:
        """Return `labels` (ids to names) and `classify` (TF Serving's Classify and MultiInference calls)."""
        names = tf.constant(facts["labels"])

        @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, name="label_id")])
        def labels(label_id):
            known = (label_id >= 0) & (label_id < len(facts["labels"]))
            return {"label": tf.where(known, tf.gather(names, tf.where(known, label_id, 0)), "")}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
        def classify(inputs):
            features = {name: tf.io.FixedLenFeature([], tf.string) for name in self.input_ranks(facts)}
            scores = answer(**tf.io.parse_example(inputs, features))["probabilities"]
            return {"classes": tf.tile(names[None, :], [tf.shape(scores)[0], 1]), "scores": scores}

        return {"labels": labels, "classify": classify}

    def _confusion(self, answers: Mapping[str, np.ndarray], gold: Sequence, facts: dict) -> np.ndarray:
        return metrics.confusion_matrix(np.asarray(gold), answers["label_id"], len(facts["labels"]))


TASK = Classification(LABEL)
