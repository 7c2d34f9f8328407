"""Evaluation of multi-label classification: F1, average precision, thresholds, reliability and mistakes.

Each score is a function of the weights of the records, so that bootstrap resampling needs no sorting. Tests compare the
scores with scikit-learn's.
"""

import enum
import functools
import itertools
from collections.abc import Callable, Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.ticker import MaxNLocator

from tfbert.evaluation import drawing, metrics
from tfbert.evaluation.classification import MACRO_F1
from tfbert.evaluation.formatting import percent
from tfbert.evaluation.metric import NONE, Confidences, Evaluation, Metric, Outcome, ScoreFunction

DEFAULT_THRESHOLD = 0.5
# A threshold fitted to fewer texts with the label would overfit.
MIN_EXAMPLES_FOR_OWN_THRESHOLD = 5
NO_LABEL = "no label"
_MAX_ROWS, _MAX_PAIRS = 100, 25
# Blocks of this many ranks stay in the processor's cache.
_BLOCK_SIZE = 2**16

MICRO_F1 = Metric(
    "micro_f1",
    "higher",
    "fraction",
    "F1 over all labels of all texts together; common labels count more",
    title="micro F1",
)
MEAN_AVERAGE_PRECISION = Metric(
    "mean_average_precision",
    "higher",
    "fraction",
    "average precision, averaged over the labels that occur: how well probabilities rank texts with a label first",
)
SUBSET_ACCURACY = Metric(
    "subset_accuracy",
    "higher",
    "fraction",
    "fraction of texts that get exactly the right labels",
    forecast="{} similar texts to get exactly the right labels",
)
LOSS = Metric("loss", "lower", "nats", "mean binary cross-entropy")
METRICS = (MICRO_F1, MACRO_F1, MEAN_AVERAGE_PRECISION, SUBSET_ACCURACY, LOSS)


class ThresholdSource(enum.IntEnum):
    """What a label's threshold was fitted to."""

    UNDECIDED = 0  # nothing: there is no validation split
    SHARED = 1  # the validation records with all labels together
    OWN = 2  # the validation records with this label


def best_threshold(has_label: np.ndarray, probabilities: np.ndarray, default: float = DEFAULT_THRESHOLD) -> np.float32:
    """Return a threshold with about the highest F1; a label is chosen if its probability is at least the threshold.

    The threshold lies halfway between the lowest chosen probability and the highest one that is not chosen. Of the
    thresholds whose F1 is at most 0.5 / (number of examples with the label) below the highest, about the effect of one
    example, the one nearest to `default` is returned, because smaller differences are noise.

    Args:
        has_label: bool `(examples,)`, at least one true.
        probabilities: float32 `(examples,)`.
        default: the preferred threshold, 0 to 1.

    Source: Lipton, Elkan and Naryanaswamy 2014, "Optimal Thresholding of Classifiers to Maximize F1 Measure". Ours
        finds the optimum on the examples, without assuming that the probabilities are calibrated. The preference for
        the default prevents a label that was not learned from being chosen for every text (their section 5).
    """
    order = np.argsort(-probabilities, kind="stable")
    descending = probabilities[order]
    num_chosen = np.arange(1, len(descending) + 1)
    num_positive = np.count_nonzero(has_label)
    f1 = 2 * np.cumsum(has_label[order]) / (num_chosen + num_positive)
    next_lower = np.append(descending[1:], np.zeros(1, descending.dtype))
    is_last_of_ties = np.append(descending[1:] < descending[:-1], True)
    best = np.flatnonzero(is_last_of_ties & (f1 >= f1[is_last_of_ties].max() - 0.5 / num_positive))
    thresholds = (descending[best] + next_lower[best]) / 2
    # The mean of two neighbouring float32 numbers may round to the lower one.
    thresholds = np.where(thresholds > next_lower[best], thresholds, descending[best])
    return thresholds[np.argmin(np.abs(thresholds - default))]


def best_thresholds(gold: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a threshold for each label, float32 `(labels,)`, and its `ThresholdSource`, int32 `(labels,)`.

    Labels with fewer than 5 examples share one threshold: the one with about the highest F1 over all labels together,
    or 0.5 if all examples together have fewer than 5 labels.

    Args:
        gold: bool `(examples, labels)`.
        probabilities: float32 `(examples, labels)`.
    """
    is_own = np.count_nonzero(gold, axis=0) >= MIN_EXAMPLES_FOR_OWN_THRESHOLD
    shared = np.float32(DEFAULT_THRESHOLD)
    if np.count_nonzero(gold) >= MIN_EXAMPLES_FOR_OWN_THRESHOLD:
        shared = best_threshold(gold.ravel(), probabilities.ravel())
    thresholds = [
        best_threshold(gold[:, label], probabilities[:, label], shared) if own else shared
        for label, own in enumerate(is_own)
    ]
    sources = np.where(is_own, ThresholdSource.OWN, ThresholdSource.SHARED)
    return np.asarray(thresholds, np.float32), sources.astype(np.int32)


def is_chosen(probabilities, thresholds):
    """Return whether each label is chosen: arrays, or tensors in the graph of a model, `(examples, labels)`."""
    return probabilities >= thresholds


class LabelSetEvaluation(Evaluation):
    """The chosen and the true labels of each record.

    Args:
        probabilities: float32 `(records, labels)`.
        gold: the true labels, bool `(records, labels)`.
        labels: names by id.
        thresholds: float32 `(labels,)`.
        sources: the `ThresholdSource` of each threshold, int32 `(labels,)`.
    """

    def __init__(
        self,
        probabilities: np.ndarray,
        gold: np.ndarray,
        *,
        labels: Sequence[str],
        thresholds: np.ndarray,
        sources: np.ndarray,
    ):
        self._sets = LabelSets(gold, is_chosen(probabilities, thresholds), probabilities)
        self._labels, self._thresholds, self._sources = labels, thresholds, sources
        self._functions = {
            MICRO_F1.name: self._sets.micro_f1,
            MACRO_F1.name: self._sets.macro_f1,
            MEAN_AVERAGE_PRECISION.name: self._sets.mean_average_precision,
            SUBSET_ACCURACY.name: self._sets.subset_accuracy,
        }

    def values(self) -> dict[str, float]:
        """Return the metrics of the report and the mean binary cross-entropy in nats."""
        weights = np.ones(len(self._sets.gold), np.int64)
        scores = {name: score(weights) for name, score in self._functions.items()}
        return scores | {LOSS.name: float(self._sets.log_losses().mean())}

    def intervals(self) -> dict[str, dict[str, float]]:
        """Return both F1 scores, mean average precision and subset accuracy with their intervals."""
        return {name: self._sets.with_interval(score) for name, score in self._functions.items()}

    def score_functions(self) -> dict[str, ScoreFunction]:
        """Return a function for each metric that computes it on resampled records."""
        losses = self._sets.log_losses()
        functions = {name: metrics.of_records(score, len(losses)) for name, score in self._functions.items()}
        return functions | {LOSS.name: lambda records: float(losses[records].mean())}

    def record_scores(self) -> np.ndarray:
        """Return F1 of the labels of each record; 1 if none is true and none is chosen."""
        return self._sets.record_f1()

    def outcome(self, record: int) -> Outcome:
        """Return the true and the chosen labels of a record."""
        sets = self._sets
        gold, chosen, probabilities = (of_all[record] for of_all in (sets.gold, sets.chosen, sets.probabilities))
        missed, spurious = self._names(gold & ~chosen), self._names(chosen & ~gold)
        confused = tuple(itertools.product(missed or [NONE], spurious or [NONE])) if missed or spurious else ()
        confidence = float(sets.wrong_confidence[record]) if confused else None
        shown = sorted(np.flatnonzero(gold | chosen), key=lambda label: -probabilities[label])
        note = ", ".join(f"{self._labels[label]} {percent(float(probabilities[label]))}" for label in shown)
        names = (", ".join(self._names(labels)) or NO_LABEL for labels in (gold, chosen))
        return Outcome(*names, confidence, confused=confused, note=note)

    def _names(self, is_in_set: np.ndarray) -> list[str]:
        return [self._labels[label] for label in np.flatnonzero(is_in_set)]

    def confidences(self) -> Confidences:
        """Return the probability of the more probable answer to the question whether a text has a label, for each."""
        probabilities, has_label = self._sets.probabilities.ravel(), self._sets.gold.ravel()
        says_yes = probabilities >= 0.5
        return Confidences(np.where(says_yes, probabilities, 1 - probabilities), says_yes == has_label)

    def per_label(self) -> dict[str, dict]:
        """Return F1, precision and recall of each label."""
        return self._sets.per_label(self._labels)

    def sections(self) -> dict:
        """Return thresholds, label pairs and the reliability of the chosen labels."""
        sets = self._sets
        caption = "If many texts get no label or too many, the thresholds do not suit these texts."
        plot = label_count_plot(sets.gold, sets.chosen)
        return {
            "reliability": metrics.reliability_of(sets.probabilities[sets.chosen], sets.gold[sets.chosen]),
            "figures": [{"title": "Labels per text", "svg": plot, "caption": caption}],
            "tables": tables(sets, self._labels, self._thresholds, self._sources),
        }

    def mistakes(self) -> list[int]:
        """Return the records with wrong labels, the most confident wrong decision first."""
        confidence = self._sets.wrong_confidence
        return [int(record) for record in np.argsort(-confidence, kind="stable") if confidence[record] >= 0]


class LabelSets:
    """The true and the chosen labels of the records of a split.

    Args:
        gold: the true labels, bool `(records, labels)`, at least one record.
        chosen: the labels chosen by the model, bool `(records, labels)`.
        probabilities: float32 `(records, labels)`.
    """

    def __init__(self, gold: np.ndarray, chosen: np.ndarray, probabilities: np.ndarray):
        self.gold, self.chosen, self.probabilities = gold, chosen, probabilities
        hits = gold & chosen
        self._hits, self._sizes = hits.astype(np.float32), gold.astype(np.float32) + chosen
        self._record_hits, self._record_sizes = hits.sum(1), gold.sum(1) + chosen.sum(1)
        self._is_exact = (gold == chosen).all(1)
        self._precompute_ranks()

    def micro_f1(self, weights: np.ndarray) -> float:
        """Return F1 over all labels of all records; 0 if no label is true or chosen.

        Args:
            weights: how often each record counts, int `(records,)`.
        """
        return float(2 * (weights @ self._record_hits) / max(weights @ self._record_sizes, 1))

    def macro_f1(self, weights: np.ndarray) -> float:
        """Return the mean F1 of the labels that are true or chosen for any record; 0 if there are none."""
        weights = weights.astype(np.float32)
        hits, sizes = weights @ self._hits, weights @ self._sizes
        return float((2 * hits / np.maximum(sizes, 1)).sum() / max(np.count_nonzero(sizes), 1))

    def mean_average_precision(self, weights: np.ndarray) -> float:
        """Return the mean average precision of the labels that occur; 0 if there are none."""
        precisions = self.average_precisions(weights)
        return float(np.nanmean(precisions)) if np.isfinite(precisions).any() else 0.0

    def subset_accuracy(self, weights: np.ndarray) -> float:
        """Return the fraction of records whose chosen labels are exactly the true ones."""
        return float(weights @ self._is_exact / weights.sum())

    def average_precisions(self, weights: np.ndarray) -> np.ndarray:
        """Return the average precision of each label, float64 `(labels,)`; NaN for a label that does not occur.

        Records with equal probabilities share a rank. Precision is summed over the steps of recall without
        interpolation, as in scikit-learn's `average_precision_score`.
        """
        num_labels = self.gold.shape[1]
        weights = weights.astype(np.int32)
        num_ranked = np.concatenate(
            [np.cumsum(weights[order], axis=1, dtype=np.int32).ravel()[ends] for order, ends in self._blocks]
        )
        counts = weights[self._positive_record].astype(np.float64)
        # Of the records up to the end of each group of equal probabilities, how many have the label.
        cumulative = np.append(0.0, np.cumsum(counts))
        hits = cumulative[self._tie_end] - cumulative[self._label_start]
        precision = hits / np.maximum(num_ranked, 1)
        total = np.bincount(self._positive_label, counts, num_labels)
        area = np.bincount(self._positive_label, counts * precision, num_labels)
        return np.divide(area, total, out=np.full(num_labels, np.nan), where=total > 0)

    def with_interval(self, score: Callable[[np.ndarray], float]) -> dict[str, float]:
        """Return a score, one of the methods above, with its 95% bootstrap interval."""
        num_records = len(self.gold)
        return metrics.resampled(metrics.of_records(score, num_records), num_records)

    def record_f1(self) -> np.ndarray:
        """Return F1 of the labels of each record; 1 if none is true and none is chosen."""
        return np.where(self._record_sizes > 0, 2 * self._record_hits / np.maximum(self._record_sizes, 1), 1.0)

    def per_label(self, labels: Sequence[str]) -> dict[str, dict]:
        """Return F1, precision, recall and the counts of each label; a ratio with denominator 0 is 0."""
        return metrics.label_scores(labels, self._hits.sum(0), self.gold.sum(0), self.chosen.sum(0))

    def log_losses(self) -> np.ndarray:
        """Return the mean binary cross-entropy of the labels of each record in nats."""
        likelihood = np.where(self.gold, self.probabilities, 1 - self.probabilities)
        return -np.log(np.maximum(likelihood, 1e-7)).mean(1)

    @functools.cached_property
    def wrong_confidence(self) -> np.ndarray:
        """The probability of the most confident wrong decision about each record; -1 if all are right."""
        error = np.where(self.gold, 1 - self.probabilities, self.probabilities)
        return np.where(self.gold != self.chosen, error, -1).max(1)

    def _precompute_ranks(self) -> None:
        """Rank the records by the probability of each label, once for all bootstrap samples."""
        num_records = len(self.gold)
        order = np.argsort(-self.probabilities, axis=0, kind="stable").T
        descending = np.take_along_axis(self.probabilities.T, order, axis=1)
        has_label = np.take_along_axis(self.gold.T, order, axis=1)
        # For each rank, the last rank with the same probability.
        is_end = np.append(descending[:, 1:] < descending[:, :-1], np.ones((len(descending), 1), bool), axis=1)
        ends = np.where(is_end, np.arange(num_records), num_records)
        ends = np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1]
        label, rank = np.nonzero(has_label)
        counts = np.bincount(label, minlength=len(descending))
        up_to_rank = np.cumsum(has_label, axis=1)
        starts = np.cumsum(counts) - counts
        step = max(1, _BLOCK_SIZE // num_records)
        slices = [slice(*np.searchsorted(label, [first, first + step])) for first in range(0, len(descending), step)]
        flat_ends = (label % step) * num_records + ends[label, rank]
        order = order.astype(np.int32)
        self._blocks = [(order[index * step :][:step], flat_ends[block]) for index, block in enumerate(slices)]
        self._positive_label, self._positive_record = label, order[label, rank]
        self._label_start = starts[label]
        self._tie_end = starts[label] + up_to_rank[label, ends[label, rank]]


def tables(sets: LabelSets, labels: Sequence[str], thresholds: np.ndarray, sources: np.ndarray) -> list[dict]:
    """Return the tables of the report: thresholds, confused labels, and labels that occur together.

    Args:
        sets: true and chosen labels.
        labels: names by id.
        thresholds: float32 `(labels,)`.
        sources: the `ThresholdSource` of each threshold.
    """
    weights = np.ones(len(sets.gold), np.int64)
    result = [_threshold_table(sets.gold.sum(0), sets.average_precisions(weights), labels, thresholds, sources)]
    missed = (sets.gold & ~sets.chosen).astype(np.float32)
    spurious = (sets.chosen & ~sets.gold).astype(np.float32)
    confused = missed.T @ spurious
    if confused.any():
        rows = [[labels[i], labels[j], int(confused[i, j])] for i, j in _largest(confused)]
        caption = "Every pair of a missed and a wrongly predicted label of the same text is counted."
        columns = ["missed label", "wrongly predicted label", "texts"]
        table = {"title": "Confused labels", "columns": columns, "rows": rows, "caption": caption}
        result.append(table | {"finds_mistakes": True})
    true, chosen = (np.triu(m.T @ m, 1) for m in (sets.gold.astype(np.float32), sets.chosen.astype(np.float32)))
    if true.any() or chosen.any():
        pairs = _largest(np.maximum(true, chosen))
        rows = [[labels[i], labels[j], int(true[i, j]), int(chosen[i, j])] for i, j in pairs]
        caption = (
            "A pair that is predicted much more or less often than it occurs is one that the model has not learned."
        )
        columns = ["label", "label", "texts with both", "texts predicted to have both"]
        result.append({"title": "Labels that occur together", "columns": columns, "rows": rows, "caption": caption})
    return result


def label_count_plot(gold: np.ndarray, chosen: np.ndarray) -> Markup:
    """Draw a bar chart of the number of texts by number of true and of chosen labels, bool `(records, labels)` each."""
    num_true, num_chosen = (np.bincount(sets.sum(1)) for sets in (gold, chosen))
    with drawing.report_style():
        figure, axes = drawing.new_axes()
        axes.bar(np.arange(len(num_true)) - 0.2, num_true, 0.38, color=drawing.MUTED, label="true")
        axes.bar(np.arange(len(num_chosen)) + 0.2, num_chosen, 0.38, color=drawing.ACCENT, label="chosen")
        axes.set(title="Texts by number of labels", xlabel="labels")
        axes.xaxis.set_major_locator(MaxNLocator(10, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.legend(loc="best")
        return drawing.to_svg(figure, "Texts by number of labels")


def _threshold_table(
    counts: np.ndarray, precisions: np.ndarray, labels: Sequence[str], thresholds: np.ndarray, sources: np.ndarray
) -> dict:
    source_names = {
        ThresholdSource.UNDECIDED: "nothing (default)",
        ThresholdSource.SHARED: "all labels",
        ThresholdSource.OWN: "this label",
    }
    order = sorted(np.argsort(-counts, kind="stable")[:_MAX_ROWS])
    rows = [
        [
            labels[index],
            float(thresholds[index]),
            source_names[sources[index]],
            int(counts[index]),
            float(precisions[index]) if np.isfinite(precisions[index]) else None,
        ]
        for index in order
    ]
    caption = "A label is chosen if its probability is at least its threshold. "
    if ThresholdSource.UNDECIDED in sources:
        caption += "Thresholds are fitted to a validation split, and there is none."
    else:
        caption += (
            "Thresholds have about the highest F1 on the validation split; labels with fewer than "
            f"{MIN_EXAMPLES_FOR_OWN_THRESHOLD} texts in it share one."
        )
    if len(order) < len(labels):
        caption += f" The table shows the {len(order)} most frequent of {len(labels):,} labels."
    columns = ["label", "threshold", "fitted to", "examples", "average precision"]
    return {"title": "Thresholds", "columns": columns, "rows": rows, "caption": caption}


def _largest(counts: np.ndarray) -> list[tuple[int, int]]:
    """Return the indices (row, column) of the largest nonzero counts, largest first."""
    order = np.argsort(-counts.ravel(), kind="stable")[:_MAX_PAIRS]
    return [divmod(int(index), counts.shape[1]) for index in order if counts.ravel()[index]]
