"""One text or a pair of texts, any number of labels, none included: topics, tags, aspects, kinds of toxicity.

A record is a text, maybe a second one, and the names of its labels. The served answer is the labels whose probability
reaches a threshold of their own, and the probabilities of all.
"""

import bisect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfbert.config import Config
from tfbert.evaluation import labelsets
from tfbert.heads.pooled import start_with_label_probes
from tfbert.nearest import did_you_mean
from tfbert.space import COMMON, Choice
from tfbert.tasks.base import TaskModel
from tfbert.tasks.base_pooled import PooledTask, has_pair
from tfbert.text.cells import structured
from tfbert.text.columns import Column, shown, shown_json
from tfbert.text.records import Record, label_of
from tfbert.text.rows import Row

LABELS = Column(
    "labels",
    "labels, label, tags, categories, classes, topics, aspects, genres, keywords",
    several=True,
    is_target=True,
)
# Between the labels of one cell. A comma is none: names such as "food, drink" have it.
_SEPARATORS = ";|"
# What may be a list in some notation; a label in parentheses is none.
_BRACKETED = re.compile(r"\[.*\]|\{.*\}|\(.*,.*\)", re.DOTALL)
# Between the numbers of a cell that is a vector.
_VECTOR_GAPS = re.compile(r"[\s,]+")
_HELD, _NOT_HELD = ("1", "1.0", "true"), ("", "0", "0.0", "false")
# What `balanced` weighs an example at most, so that a label with three examples does not lead the whole training.
_MOST_WEIGHT = 20.0
# Examples that the head's start is fitted to: of each label, of all labels together, and whatever their labels.
_EXAMPLES_PER_LABEL, _EXAMPLES_OF_LABELS, _ANY_EXAMPLES = 50, 4000, 1000


class Multilabel(PooledTask):
    """Multi-label text classification: a sigmoid for each label of the training split.

    A target is float16 `(labels,)`: positive for a label that the record has, else negative. Its size is the weight
    that `train.class_weights=balanced` gives; otherwise only the sign counts.
    """

    title = "any number of labels for every text or pair of texts"
    aliases = ("multi_label", "multi_label_classification", "multilabel_classification")
    several_labels = True
    defaults = {}
    search_space = COMMON | {"head.pooling": Choice("mean", "cls", "max")}
    # It needs no thresholds, which are only decided after training.
    monitor = "mean_average_precision"

    def target_in(self, row: Row) -> tuple[str, ...]:
        """Return the labels of a row, sorted, each once.

        Raises:
            ValueError: they are neither a list, nor text, nor columns of yes and no; or a name is blank.
        """
        return tuple(sorted(set(_names_in(row.values.get("labels")))))

    def labels_of(self, record: Record) -> Iterable[str]:
        """Return the labels."""
        return record.target

    def known_labels(self, facts: dict) -> Sequence[str]:
        """Return `labels`."""
        return facts["labels"]

    def read_facts(self, records: Iterable[Record]) -> dict:
        """Return `labels`, sorted by name, their `counts` among `num_examples`, and `thresholds` as yet undecided.

        Raises:
            ValueError: no label at all, or all records have the same.
        """
        pair, records = has_pair(records)
        counts: dict[str, int] = {}
        number = 0
        for record in records:
            number += 1
            for label in record.target:
                counts[label] = counts.get(label, 0) + 1
        if not counts:
            raise ValueError("train has no labels; wanted at least one label that some texts have and others have not")
        if all(count == number for count in counts.values()):
            same = ", ".join(map(repr, sorted(counts)))
            raise ValueError(f"every text of train has the same labels: {same}; wanted a label that some have not")
        labels = sorted(counts)
        return {
            "labels": labels,
            "counts": [counts[label] for label in labels],
            "num_examples": number,
            "has_pair": pair,
            "thresholds": [labelsets.USUAL_THRESHOLD] * len(labels),
            "own_thresholds": None,
        }

    def target_of(self, record: Record, facts: dict) -> np.ndarray:
        """Return the labels with their weights, as the class describes.

        Raises:
            ValueError: train does not have one of the labels; a similar one is named.
        """
        ids = [_label_id(label, record, facts["labels"]) for label in record.target]
        counts, number = np.asarray(facts["counts"]), facts["num_examples"]
        target = -np.minimum(number / (2 * np.maximum(number - counts, 1)), _MOST_WEIGHT)
        target[ids] = np.minimum(number / (2 * counts[ids]), _MOST_WEIGHT)
        return target.astype(np.float16)

    def gold_of(self, record: Record, facts: dict) -> Any:
        """Return which labels the record has: bool `(labels,)`."""
        return self.target_of(record, facts) > 0

    def num_outputs(self, facts: dict) -> int:
        """Return one logit a label."""
        return len(facts["labels"])

    def start_head(
        self, model: TaskModel, embed: Callable[[np.ndarray], np.ndarray], targets: np.ndarray, config: Config
    ) -> None:
        """Start with a logistic regression for every label, unless `head.start` is `random`."""
        if config.head.start == "random":
            return
        has_label, number = targets > 0, len(targets)
        order = np.random.default_rng(config.train.seed).permutation(number)
        share = max(_EXAMPLES_OF_LABELS // targets.shape[1], 1)
        of_label = [
            order[has_label[order, label]][: min(_EXAMPLES_PER_LABEL, share)] for label in range(targets.shape[1])
        ]
        indices = np.unique(np.concatenate([order[:_ANY_EXAMPLES], *of_label]))
        weights = _weights(targets, config)
        prevalence = np.where(has_label, weights, 0).sum(0) / weights.sum(0)
        prevalence = np.clip(prevalence, 0.5 / number, 1 - 0.5 / number)
        start_with_label_probes(model.head, embed(indices), has_label[indices], prevalence)

    def loss(self, logits: tf.Tensor, batch: Mapping[str, tf.Tensor], config: Config) -> tf.Tensor:
        """Return binary cross entropy averaged over the labels, smoothed by `train.label_smoothing`."""
        targets = tf.cast(batch["targets"], tf.float32)
        smoothing = config.train.label_smoothing
        wanted = tf.where(targets > 0, 1 - smoothing / 2, smoothing / 2)
        losses = tf.nn.sigmoid_cross_entropy_with_logits(wanted, logits)
        if config.train.class_weights == "balanced":
            losses *= tf.abs(targets)
        return tf.reduce_mean(losses, axis=-1)

    def quick_scores(self, answers: Mapping[str, np.ndarray], gold: Sequence, facts: dict) -> dict[str, float]:
        """Return the metrics of `scores` and the mean binary cross entropy in nats."""
        sets, once = _label_sets(answers, gold, facts), np.ones(len(gold), np.int64)
        return {name: score(once) for name, score in _functions(sets).items()} | {"loss": sets.log_loss()}

    def scores(self, answers: Mapping[str, np.ndarray], gold: Sequence, facts: dict) -> dict:
        """Return the metrics with their intervals and precision, recall and F1 of every label."""
        sets = _label_sets(answers, gold, facts)
        return {
            "metrics": {name: sets.with_interval(score) for name, score in _functions(sets).items()},
            "per_label": sets.per_label(facts["labels"]),
        }

    def details(self, answers: Mapping[str, np.ndarray], gold: Sequence, facts: dict) -> dict:
        """Return thresholds, labels mixed up and together, reliability of the chosen ones, and the worst mistakes."""
        sets, labels = _label_sets(answers, gold, facts), facts["labels"]
        caption = "Many texts without any label, or with too many, speak of thresholds that do not fit these texts."
        plot = labelsets.sizes_plot(sets.gold, sets.chosen)
        return {
            "reliability": sets.reliability(),
            "figures": [{"title": "Labels a text", "svg": plot, "caption": caption}],
            "tables": labelsets.tables(sets, labels, facts["thresholds"], facts["own_thresholds"]),
            "worst": sets.worst(labels),
        }

    def settle(self, answers: Mapping[str, np.ndarray], gold: Sequence, facts: dict) -> dict:
        """Return facts with the `thresholds` of highest F1 on the validation split."""
        thresholds, is_own = labelsets.best_thresholds(np.stack(gold), answers["probabilities"])
        return facts | {"thresholds": thresholds, "own_thresholds": is_own}

    def decode(self, logits: tf.Tensor, facts: dict) -> dict[str, tf.Tensor]:
        """Return the chosen labels, most probable first, and what they were chosen from.

        Returns:
            `labels` string and `label_probabilities` float32 `(batch, most chosen, 1 or more)`, padded with "" and 0;
            `num_labels` int32 `(batch,)`; `probabilities` float32 `(batch, num_classes)`.
        """
        probabilities = tf.sigmoid(logits)
        is_chosen = probabilities >= tf.constant(facts["thresholds"], tf.float32)
        num_labels = tf.reduce_sum(tf.cast(is_chosen, tf.int32), axis=-1)
        # One column at least: not every client and server knows what to do with arrays without elements.
        width = tf.maximum(tf.reduce_max(num_labels), 1)
        # By logits, as probabilities near 1 become equal.
        order = tf.math.top_k(tf.where(is_chosen, logits, logits.dtype.min), width).indices
        is_filled = tf.sequence_mask(num_labels, width)
        names = tf.gather(tf.constant(facts["labels"]), order)
        return {
            "labels": tf.where(is_filled, names, ""),
            "label_probabilities": tf.where(is_filled, tf.gather(probabilities, order, batch_dims=1), 0.0),
            "num_labels": num_labels,
            "probabilities": probabilities,
        }

    def extra_signatures(self, answer: Callable[..., dict], facts: dict) -> dict:
        """Return `labels` (ids to names and thresholds) and `classify` (TF Serving's Classify and MultiInference)."""
        names, thresholds = tf.constant(facts["labels"]), tf.constant(facts["thresholds"], tf.float32)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, name="label_id")])
        def labels(label_id):
            is_known = (label_id >= 0) & (label_id < len(facts["labels"]))
            safe = tf.where(is_known, label_id, 0)
            return {
                "label": tf.where(is_known, tf.gather(names, safe), ""),
                "threshold": tf.where(is_known, tf.gather(thresholds, safe), 0.0),
            }

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
        def classify(inputs):
            features = {name: tf.io.FixedLenFeature([], tf.string) for name in self.input_ranks(facts)}
            probabilities = answer(**tf.io.parse_example(inputs, features))["probabilities"]
            return {"classes": tf.repeat(names[None, :], tf.shape(probabilities)[0], 0), "scores": probabilities}

        return {"labels": labels, "classify": classify}


def _names_in(value: Any) -> list[str]:
    """Return the names of the labels in a list, a cell, or several columns of yes and no."""
    if isinstance(value, str):
        held = structured(value)
        if held is None and _BRACKETED.fullmatch(value.strip()):
            wish = 'wanted JSON such as ["a", "b"], or names separated by ; or |'
            raise ValueError(f"labels is {shown(value)}, brackets that cannot be read as a list; {wish}")
        value = value if held is None else held
    if isinstance(value, Mapping):
        return [label_of(name, "labels") for name, cell in value.items() if _is_held(name, cell)]
    if isinstance(value, list):
        _refuse_vector(value, value)
        return [label_of(name, f"labels[{index}]") for index, name in enumerate(value)]
    if not isinstance(value, str):
        if value is None:
            raise ValueError("labels is null; wanted a list of names, which may be empty")
        return [label_of(value, "labels")]
    separators = [separator for separator in _SEPARATORS if separator in value]
    if len(separators) > 1:
        wish = "wanted one of them between labels, or a list in jsonl where they are part of names"
        raise ValueError(f"labels is {shown(value)}, with {' and '.join(separators)}; {wish}")
    names = value.split(separators[0]) if separators else [value]
    _refuse_vector(names if separators else _VECTOR_GAPS.split(value.strip()), value)
    return [label_of(name, "labels") for name in names if name.strip()]


def _refuse_vector(items: Sequence, value: Any) -> None:
    """Refuse a vector with a 0 or 1 for each label, which would be learned as labels with these names.

    Raises:
        ValueError: all items are 0 or 1 and one is repeated, as no list of names or ids would have it.
    """
    digits = ["1" if item is True else "0" if item is False else str(item).strip() for item in items]
    if len(digits) > len(set(digits)) and set(digits) <= {"0", "1", "0.0", "1.0"}:
        wish = "wanted names of labels, or a column for each label by --set data.columns=labels=NAME|NAME|..."
        raise ValueError(f"labels is {shown_json(value)}, a vector of 0 and 1; {wish}")


def _is_held(name: str, cell: Any) -> bool:
    """Return what a cell in the column of a label says: 1 and true are yes; 0, false and nothing are no."""
    said = "" if cell is None else str(cell).strip().lower()
    if isinstance(cell, list | Mapping) or said not in _HELD + _NOT_HELD:
        raise ValueError(f"label {shown(name)} is {shown_json(cell)}; wanted 1, 0, true, false or nothing")
    return said in _HELD


def _is_label(name: str, labels: Sequence[str]) -> bool:
    position = bisect.bisect_left(labels, name)
    return labels[position : position + 1] == [name]


def _label_id(label: str, record: Record, labels: Sequence[str]) -> int:
    if _is_label(label, labels):
        return bisect.bisect_left(labels, label)
    number = f"{len(labels):,} labels" if len(labels) != 1 else "1 label"
    hint = did_you_mean(label, labels)
    raise ValueError(f"{record.where}: label {label!r} is not one of the {number} of train{hint}")


def _weights(targets: np.ndarray, config: Config) -> np.ndarray:
    sizes = np.abs(targets.astype(np.float32))
    return sizes if config.train.class_weights == "balanced" else np.ones_like(sizes)


def _label_sets(answers: Mapping[str, np.ndarray], gold: Sequence, facts: dict) -> labelsets.LabelSets:
    probabilities = answers["probabilities"]
    return labelsets.LabelSets(np.stack(gold), probabilities >= np.float32(facts["thresholds"]), probabilities)


def _functions(sets: labelsets.LabelSets) -> dict[str, Callable[[np.ndarray], float]]:
    return {
        "micro_f1": sets.micro_f1,
        "macro_f1": sets.macro_f1,
        "mean_average_precision": sets.mean_average_precision,
        "subset_accuracy": sets.subset_accuracy,
    }


TASK = Multilabel(LABELS)
