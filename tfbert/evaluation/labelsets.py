"""Evaluation of label sets: thresholds, F1, average precision, reliability, label pairs and the worst mistakes.

Tests compare the scores with scikit-learn's. They are functions of how often each record counts, so that resampling a
split for an interval needs no sorting.
"""

import enum
from collections.abc import Callable, Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.ticker import MaxNLocator

from tfbert.evaluation import drawing, metrics
from tfbert.evaluation.classification import MACRO_F1
from tfbert.evaluation.metric import Evaluation, Metric

DEFAULT_THRESHOLD = 0.5
# A threshold fitted to fewer texts that have the label would fit their noise.
MIN_EXAMPLES_FOR_OWN_THRESHOLD = 5
_MAX_ROWS, _MAX_PAIRS, _WORST_MISTAKES = 100, 25, 30
_CACHED_NUMBERS = 2**16

MICRO_F1 = Metric(
    "micro_f1", "higher", "fraction", "F1 over all labels of all texts together; common labels count more"
)
MEAN_AVERAGE_PRECISION = Metric(
    "mean_average_precision",
    "higher",
    "fraction",
    "mean average precision of the labels that occur: how well the probability of a label ranks the texts that have it",
)
SUBSET_ACCURACY = Metric("subset_accuracy", "higher", "fraction", "fraction of texts that get exactly the right labels")
LOSS = Metric("loss", "lower", "nats", "mean binary cross-entropy")
METRICS = (MICRO_F1, MACRO_F1, MEAN_AVERAGE_PRECISION, SUBSET_ACCURACY, LOSS)


class ThresholdSource(enum.IntEnum):
    """What a label's threshold was fitted to."""

    UNDECIDED = 0  # nothing: there is no validation split
    SHARED = 1  # the validation records with all labels together
    OWN = 2  # the validation records with this label


def best_threshold(has_label: np.ndarray, probabilities: np.ndarray, default: float = DEFAULT_THRESHOLD) -> np.float32:
    """Return a threshold of about the highest F1; a label is chosen where its probability reaches the threshold.

    The threshold lies halfway between the lowest probability that is chosen and the highest that is not. Among the
    thresholds whose F1 is the highest, or lower by less than about one example's share in it, the one nearest to
    `default` is taken, because smaller differences are noise.

    Args:
        has_label: bool `(examples,)`, at least one of them true.
        probabilities: float32 `(examples,)`.
        default: the threshold to stay close to, 0 to 1.

    Source: Lipton, Elkan and Naryanaswamy 2014, "Optimal Thresholding of Classifiers to Maximize F1 Measure". Ours is
        their optimum on the given examples, without assuming that the probabilities are calibrated. Staying close to
        the default keeps a label that was not learned from being chosen for everything (their section 5).
    """
    order = np.argsort(-probabilities, kind="stable")
    values = probabilities[order]
    chosen = np.arange(1, len(values) + 1)
    num_positive = np.count_nonzero(has_label)
    f1 = 2 * np.cumsum(has_label[order]) / (chosen + num_positive)
    below = np.append(values[1:], np.zeros(1, values.dtype))
    can_end = np.append(values[1:] < values[:-1], True)
    best = np.flatnonzero(can_end & (f1 >= f1[can_end].max() - 0.5 / num_positive))
    middle = (values[best] + below[best]) / 2
    # There is no number between two neighbouring float32 numbers.
    middle = np.where(middle > below[best], middle, values[best])
    return middle[np.argmin(np.abs(middle - default))]


def best_thresholds(gold: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a threshold for each label, float32 `(labels,)`, and its `ThresholdSource`, int32 `(labels,)`.

    Labels that fewer than 5 examples have share the threshold of about the highest F1 over all labels together, or 0.5
    if fewer than 5 labels are given in total.

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


class LabelSetEvaluation(Evaluation):
    """Chosen and true labels of each record.

    Args:
        probabilities: float32 `(records, labels)`.
        gold: the true labels, bool `(records, labels)`.
        labels: names by id.
        thresholds: float32 `(labels,)`; a label is chosen where its probability reaches its threshold.
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
        self._sets = LabelSets(gold, probabilities >= thresholds, probabilities)
        self._labels, self._thresholds, self._sources = labels, thresholds, sources
        self._functions = {
            "micro_f1": self._sets.micro_f1,
            "macro_f1": self._sets.macro_f1,
            "mean_average_precision": self._sets.mean_average_precision,
            "subset_accuracy": self._sets.subset_accuracy,
        }

    def values(self) -> dict[str, float]:
        """Return the metrics of the report and the mean binary cross-entropy in nats."""
        once = np.ones(len(self._sets.gold), np.int64)
        return {name: score(once) for name, score in self._functions.items()} | {"loss": self._sets.log_loss()}

    def intervals(self) -> dict[str, dict[str, float]]:
        """Return F1, mean average precision and subset accuracy with their intervals."""
        return {name: self._sets.with_interval(score) for name, score in self._functions.items()}

    def per_label(self) -> dict[str, dict]:
        """Return precision, recall and F1 of each label."""
        return self._sets.per_label(self._labels)

    def sections(self) -> dict:
        """Return thresholds, label pairs, the reliability of the chosen labels, and the worst mistakes."""
        sets = self._sets
        caption = "Many texts without any label, or with too many, speak of thresholds that do not fit these texts."
        plot = sizes_plot(sets.gold, sets.chosen)
        return {
            "reliability": metrics.reliability_of(sets.probabilities[sets.chosen], sets.gold[sets.chosen]),
            "figures": [{"title": "Labels a text", "svg": plot, "caption": caption}],
            "tables": tables(sets, self._labels, self._thresholds, self._sources),
            "worst": sets.worst(self._labels),
        }


class LabelSets:
    """The true and the chosen labels of the records of a split.

    Args:
        gold: the true labels, bool `(records, labels)`, at least one record.
        chosen: the labels that the model chose, bool `(records, labels)`.
        probabilities: float32 `(records, labels)`.
    """

    def __init__(self, gold: np.ndarray, chosen: np.ndarray, probabilities: np.ndarray):
        self.gold, self.chosen, self.probabilities = gold, chosen, probabilities
        hits = gold & chosen
        self._hits, self._sizes = hits.astype(np.float32), gold.astype(np.float32) + chosen
        self._record_hits, self._record_sizes = hits.sum(1), gold.sum(1) + chosen.sum(1)
        self._is_exact = (gold == chosen).all(1)
        self._rank()

    def micro_f1(self, weights: np.ndarray) -> float:
        """Return F1 over all labels of all records; 0 if there are none.

        Args:
            weights: how often each record counts, int `(records,)`.
        """
        return float(2 * (weights @ self._record_hits) / max(weights @ self._record_sizes, 1))

    def macro_f1(self, weights: np.ndarray) -> float:
        """Return the mean F1 of the labels that are true or chosen anywhere; 0 if there are none."""
        weights = weights.astype(np.float32)
        hits, sizes = weights @ self._hits, weights @ self._sizes
        return float((2 * hits / np.maximum(sizes, 1)).sum() / max(np.count_nonzero(sizes), 1))

    def mean_average_precision(self, weights: np.ndarray) -> float:
        """Return the mean average precision of the labels that any record has; 0 if there are none."""
        precisions = self.average_precisions(weights)
        return float(np.nanmean(precisions)) if np.isfinite(precisions).any() else 0.0

    def subset_accuracy(self, weights: np.ndarray) -> float:
        """Return the share of records whose chosen labels are exactly the true ones."""
        return float(weights @ self._is_exact / weights.sum())

    def average_precisions(self, weights: np.ndarray) -> np.ndarray:
        """Return the average precision of each label, float64 `(labels,)`; NaN for a label that no record has.

        Records with equal probabilities share a rank. Precision is summed over the steps of recall without
        interpolation, as in scikit-learn's `average_precision_score`.
        """
        num_labels = self.gold.shape[1]
        weights = weights.astype(np.int32)
        ranked = np.concatenate(
            [np.cumsum(weights[order], axis=1, dtype=np.int32).ravel()[ends] for order, ends in self._parts]
        )
        counts = weights[self._positive_record].astype(np.float64)
        # Counts up to the end of each group of equal probabilities: of records with the label, and of all records.
        summed = np.append(0.0, np.cumsum(counts))
        hits = summed[self._tie_end] - summed[self._label_start]
        precision = hits / np.maximum(ranked, 1)
        total = np.bincount(self._positive_label, counts, num_labels)
        area = np.bincount(self._positive_label, counts * precision, num_labels)
        return np.divide(area, total, out=np.full(num_labels, np.nan), where=total > 0)

    def with_interval(self, score: Callable[[np.ndarray], float]) -> dict[str, float]:
        """Return one of the scores above with its 95 % bootstrap interval."""
        number = len(self.gold)
        return metrics.resampled(lambda records: score(np.bincount(records, minlength=number)), number)

    def per_label(self, labels: Sequence[str]) -> dict[str, dict]:
        """Return precision, recall, F1 and the counts of each label; a ratio with denominator 0 is 0."""
        hits, true, chosen = self._hits.sum(0), self.gold.sum(0), self.chosen.sum(0)
        return {
            label: {
                "precision": float(hits[index] / max(chosen[index], 1)),
                "recall": float(hits[index] / max(true[index], 1)),
                "f1": float(2 * hits[index] / max(true[index] + chosen[index], 1)),
                "num_examples": int(true[index]),
                "num_predicted": int(chosen[index]),
            }
            for index, label in enumerate(labels)
        }

    def log_loss(self) -> float:
        """Return the mean binary cross entropy in nats."""
        given = np.where(self.gold, self.probabilities, 1 - self.probabilities)
        return float(-np.log(np.maximum(given, 1e-7)).mean())

    def worst(self, labels: Sequence[str]) -> dict[int, dict]:
        """Return the records with the most confident wrong decision on a label, worst first, for `sections`."""
        wrong = np.where(self.gold, 1 - self.probabilities, self.probabilities)
        confidence = np.where(self.gold != self.chosen, wrong, -1).max(1)
        order = [int(i) for i in np.argsort(-confidence, kind="stable")[:_WORST_MISTAKES] if confidence[i] >= 0]
        return {
            index: {
                "label": self._listed(index, self.gold, labels),
                "predicted": self._listed(index, self.chosen, labels),
                "probability": None,
                "label_probability": None,
            }
            for index in order
        }

    def _listed(self, record: int, sets: np.ndarray, labels: Sequence[str]) -> str:
        probabilities = self.probabilities[record]
        label_ids = sorted(np.flatnonzero(sets[record]), key=lambda label_id: -probabilities[label_id])
        named = [f"{labels[label_id]} ({100 * probabilities[label_id]:.1f} %)" for label_id in label_ids]
        return ", ".join(named) or "no label"

    def _rank(self) -> None:
        """Rank the records by the probability of each label, once for all resampled splits."""
        number = len(self.gold)
        order = np.argsort(-self.probabilities, axis=0, kind="stable").T
        values = np.take_along_axis(self.probabilities.T, order, axis=1)
        has_label = np.take_along_axis(self.gold.T, order, axis=1)
        # The rank at which each group of equal values ends: the next end, searched for backwards.
        is_end = np.append(values[:, 1:] < values[:, :-1], np.ones((len(values), 1), bool), axis=1)
        ends = np.where(is_end, np.arange(number), number)
        ends = np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1]
        label, rank = np.nonzero(has_label)
        counts = np.bincount(label, minlength=len(values))
        up_to_rank = np.cumsum(has_label, axis=1)
        starts = np.cumsum(counts) - counts
        # Few enough labels at a time that their numbers stay in the processor's cache.
        step = max(1, _CACHED_NUMBERS // number)
        bounds = [slice(*np.searchsorted(label, [at, at + step])) for at in range(0, len(values), step)]
        flat_ends = (label % step) * number + ends[label, rank]
        order = order.astype(np.int32)
        self._parts = [(order[index * step :][:step], flat_ends[part]) for index, part in enumerate(bounds)]
        self._positive_label, self._positive_record = label, order[label, rank]
        self._label_start = starts[label]
        self._tie_end = starts[label] + up_to_rank[label, ends[label, rank]]


def tables(sets: LabelSets, labels: Sequence[str], thresholds: np.ndarray, sources: np.ndarray) -> list[dict]:
    """Return the tables of the report: thresholds, labels that are mixed up, labels that occur together.

    Args:
        sets: true and chosen labels.
        labels: names by id.
        thresholds: float32 `(labels,)`.
        sources: the `ThresholdSource` of each threshold.
    """
    once = np.ones(len(sets.gold), np.int64)
    result = [_threshold_table(sets.gold.sum(0), sets.average_precisions(once), labels, thresholds, sources)]
    missed = (sets.gold & ~sets.chosen).astype(np.float32)
    added = (sets.chosen & ~sets.gold).astype(np.float32)
    mixed = missed.T @ added
    if mixed.any():
        rows = [[labels[i], labels[j], int(mixed[i, j])] for i, j in _largest(mixed)]
        caption = "Counted for every pair of a missed and a wrongly chosen label of a text."
        columns = ["missed", "wrongly chosen in the same text", "texts"]
        result.append({"title": "Labels mixed up", "columns": columns, "rows": rows, "caption": caption})
    true, chosen = (np.triu(m.T @ m, 1) for m in (sets.gold.astype(np.float32), sets.chosen.astype(np.float32)))
    if true.any() or chosen.any():
        pairs = _largest(np.maximum(true, chosen))
        rows = [[labels[i], labels[j], int(true[i, j]), int(chosen[i, j])] for i, j in pairs]
        caption = "A pair that is chosen much more or less often than it occurs is one the model has not understood."
        columns = ["label", "label", "texts that have both", "texts for which both were chosen"]
        result.append({"title": "Labels that go together", "columns": columns, "rows": rows, "caption": caption})
    return result


def sizes_plot(gold: np.ndarray, chosen: np.ndarray) -> Markup:
    """Draw how many texts have how many labels, next to how many labels were chosen.

    Args:
        gold: bool `(records, labels)`.
        chosen: bool `(records, labels)`.
    """
    num_true, num_chosen = (np.bincount(sets.sum(1)) for sets in (gold, chosen))
    with drawing.report_style():
        figure, axes = drawing.new_axes()
        axes.bar(np.arange(len(num_true)) - 0.2, num_true, 0.38, color=drawing.MUTED, label="true")
        axes.bar(np.arange(len(num_chosen)) + 0.2, num_chosen, 0.38, color=drawing.ACCENT, label="chosen")
        axes.set(title="Texts by their number of labels", xlabel="labels")
        axes.xaxis.set_major_locator(MaxNLocator(10, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.legend(loc="best")
        return drawing.to_svg(figure, "Texts by their number of labels")


def _threshold_table(
    counts: np.ndarray, precisions: np.ndarray, labels: Sequence[str], thresholds: np.ndarray, sources: np.ndarray
) -> dict:
    source_names = {
        ThresholdSource.UNDECIDED: "nothing",
        ThresholdSource.SHARED: "all labels",
        ThresholdSource.OWN: "its own F1",
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
    caption = "A label is chosen where its probability reaches its threshold"
    if ThresholdSource.UNDECIDED in sources:
        caption += "; without a validation split nothing could decide it."
    else:
        few = f"labels that fewer than {MIN_EXAMPLES_FOR_OWN_THRESHOLD} texts there have share one"
        caption += f", one of about the highest F1 on the validation split; {few}."
    if len(order) < len(labels):
        caption += f" These are the {len(order)} most frequent of {len(labels):,} labels."
    columns = ["label", "threshold", "decided by", "examples", "average precision"]
    return {"title": "Thresholds", "columns": columns, "rows": rows, "caption": caption}


def _largest(counts: np.ndarray) -> list[tuple[int, int]]:
    """Return the positions of the largest counts that are not 0, largest first."""
    order = np.argsort(-counts.ravel(), kind="stable")[:_MAX_PAIRS]
    return [divmod(int(index), counts.shape[1]) for index in order if counts.ravel()[index]]
