"""Sets of labels in, true and chosen, with the probabilities behind them; thresholds, scores, tables and a plot out.

Scores are equal to scikit-learn's by test. They are functions of how often each record counts, so that a resampled
split costs no sorting.
"""

from collections.abc import Callable, Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.ticker import MaxNLocator

from tfbert.evaluation import drawing, metrics

# With fewer texts that have a label, a threshold of its own would follow their chance more than the label.
FEWEST_FOR_OWN_THRESHOLD = 5
USUAL_THRESHOLD = 0.5
_MOST_ROWS, _MOST_PAIRS, _MOST_MISTAKES = 100, 25, 30
_NUM_BINS = 10
_CACHED_NUMBERS = 2**16


def best_threshold(has_label: np.ndarray, probabilities: np.ndarray, usual: float = USUAL_THRESHOLD) -> float:
    """Return a threshold of about the highest F1: whatever reaches it is chosen.

    It lies in the middle between the last probability that is chosen and the first that is not. Of those whose F1 is
    the highest, or lower by less than about one example's share in it, it is the one nearest to `usual`: smaller
    differences are chance.

    Args:
        has_label: bool `(examples,)`, at least one of them true.
        probabilities: float32 `(examples,)`.
        usual: see above.

    Source: Lipton, Elkan and Naryanaswamy 2014, "Optimal Thresholding of Classifiers to Maximize F1 Measure"; ours is
        their optimum on the examples at hand, without the assumption that the probabilities are calibrated, and the
        nearness to a usual threshold keeps it from choosing everything, their section 5, where a label is not learned.
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
    # Between neighbouring float32 numbers there is no middle.
    middle = np.where(middle > below[best], middle, values[best])
    return float(middle[np.argmin(np.abs(middle - usual))])


def best_thresholds(gold: np.ndarray, probabilities: np.ndarray) -> tuple[list[float], list[bool]]:
    """Return a threshold for every label, and whether it is the label's own.

    A label that fewer than 5 examples have gets the threshold of highest F1 over all labels together, or 0.5 where
    all of them together are fewer.

    Args:
        gold: bool `(examples, labels)`.
        probabilities: float32 `(examples, labels)`.
    """
    is_own = np.count_nonzero(gold, axis=0) >= FEWEST_FOR_OWN_THRESHOLD
    common = USUAL_THRESHOLD
    if np.count_nonzero(gold) >= FEWEST_FOR_OWN_THRESHOLD:
        common = best_threshold(gold.ravel(), probabilities.ravel())
    thresholds = [
        best_threshold(gold[:, label], probabilities[:, label], common) if own else common
        for label, own in enumerate(is_own)
    ]
    return thresholds, is_own.tolist()


class LabelSets:
    """The labels of every record of a split.

    Args:
        gold: true ones, bool `(records, labels)`, at least one record.
        chosen: by the model, likewise.
        probabilities: float32, likewise.
    """

    def __init__(self, gold: np.ndarray, chosen: np.ndarray, probabilities: np.ndarray):
        self.gold, self.chosen, self.probabilities = gold, chosen, probabilities
        hits = gold & chosen
        self._hits, self._sizes = hits.astype(np.float32), gold.astype(np.float32) + chosen
        self._record_hits, self._record_sizes = hits.sum(1), gold.sum(1) + chosen.sum(1)
        self._is_exact = (gold == chosen).all(1)
        self._rank()

    def micro_f1(self, weights: np.ndarray) -> float:
        """Return F1 over all labels of all records; 0 where there are none.

        Args:
            weights: how often each record counts, int `(records,)`.
        """
        return float(2 * (weights @ self._record_hits) / max(weights @ self._record_sizes, 1))

    def macro_f1(self, weights: np.ndarray) -> float:
        """Return the mean F1 of the labels that occur, as truth or chosen; 0 where none does."""
        weights = weights.astype(np.float32)
        hits, sizes = weights @ self._hits, weights @ self._sizes
        return float((2 * hits / np.maximum(sizes, 1)).sum() / max(np.count_nonzero(sizes), 1))

    def mean_average_precision(self, weights: np.ndarray) -> float:
        """Return the mean average precision of the labels that some record has; 0 where none has any."""
        found = self.average_precisions(weights)
        return float(np.nanmean(found)) if np.isfinite(found).any() else 0.0

    def subset_accuracy(self, weights: np.ndarray) -> float:
        """Return the share of records whose chosen labels are exactly the true ones."""
        return float(weights @ self._is_exact / weights.sum())

    def average_precisions(self, weights: np.ndarray) -> np.ndarray:
        """Return the average precision of every label, `(labels,)`, NaN where no record has it.

        Records of equal probability are ranked together. Ours sums precision over the steps of recall, without
        interpolation, as scikit-learn's `average_precision_score` does.
        """
        num_labels = self.gold.shape[1]
        weights = weights.astype(np.int32)
        ranked = np.concatenate(
            [np.cumsum(weights[order], axis=1, dtype=np.int32).ravel()[ends] for order, ends in self._parts]
        )
        counts = weights[self._positive_record].astype(np.float64)
        # Up to the end of its group of ties: records of the label, and all records.
        summed = np.append(0.0, np.cumsum(counts))
        hits = summed[self._tie_end] - summed[self._label_start]
        precision = hits / np.maximum(ranked, 1)
        total = np.bincount(self._positive_label, counts, num_labels)
        area = np.bincount(self._positive_label, counts * precision, num_labels)
        return np.divide(area, total, out=np.full(num_labels, np.nan), where=total > 0)

    def with_interval(self, score: Callable[[np.ndarray], float]) -> dict[str, float]:
        """Return a score of these sets, one of the methods above, with its 95 % bootstrap interval."""
        number = len(self.gold)
        return metrics.resampled(lambda records: score(np.bincount(records, minlength=number)), number)

    def per_label(self, labels: Sequence[str]) -> dict[str, dict]:
        """Return precision, recall, F1 and the counts of every label; 0 where a ratio has no denominator."""
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

    def reliability(self) -> dict:
        """Compare how sure the model was of the labels it chose with how often these were right.

        Returns:
            `bins` and `calibration_error`, as `metrics.reliability` has them.
        """
        stated, right = self.probabilities[self.chosen], self.gold[self.chosen]
        which = np.minimum((stated * _NUM_BINS).astype(int), _NUM_BINS - 1)
        bins, error = [], 0.0
        for index in range(_NUM_BINS):
            inside = which == index
            count = int(inside.sum())
            mean = float(stated[inside].mean()) if count else 0.0
            share = float(right[inside].mean()) if count else 0.0
            error += count / max(len(stated), 1) * abs(mean - share)
            ends = {"low": index / _NUM_BINS, "high": (index + 1) / _NUM_BINS}
            bins.append(ends | {"num_examples": count, "mean_probability": mean, "accuracy": share})
        return {"bins": bins, "calibration_error": error}

    def worst(self, labels: Sequence[str]) -> dict[int, dict]:
        """Return the records with the surest wrong decision on a label, worst first, as `Task.details` wants them."""
        wrong = np.where(self.gold, 1 - self.probabilities, self.probabilities)
        surest = np.where(self.gold != self.chosen, wrong, -1).max(1)
        order = [int(i) for i in np.argsort(-surest, kind="stable")[:_MOST_MISTAKES] if surest[i] >= 0]
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
        of = self.probabilities[record]
        held = sorted(np.flatnonzero(sets[record]), key=lambda label: -of[label])
        return ", ".join(f"{labels[label]} ({100 * of[label]:.1f} %)" for label in held) or "no label"

    def _rank(self) -> None:
        """Sort the records by the probability of every label once, and note where the records that have it stand."""
        number = len(self.gold)
        order = np.argsort(-self.probabilities, axis=0, kind="stable").T
        values = np.take_along_axis(self.probabilities.T, order, axis=1)
        has_label = np.take_along_axis(self.gold.T, order, axis=1)
        # The rank at which each group of equal values ends, by searching backwards for the next end.
        is_end = np.append(values[:, 1:] < values[:, :-1], np.ones((len(values), 1), bool), axis=1)
        ends = np.where(is_end, np.arange(number), number)
        ends = np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1]
        label, rank = np.nonzero(has_label)
        counts = np.bincount(label, minlength=len(values))
        up_to_rank = np.cumsum(has_label, axis=1)
        starts = np.cumsum(counts) - counts
        # A few labels at a time, whose numbers stay in the processor's cache.
        step = max(1, _CACHED_NUMBERS // number)
        bounds = [slice(*np.searchsorted(label, [at, at + step])) for at in range(0, len(values), step)]
        flat_ends = (label % step) * number + ends[label, rank]
        order = order.astype(np.int32)
        self._parts = [(order[index * step :][:step], flat_ends[part]) for index, part in enumerate(bounds)]
        self._positive_label, self._positive_record = label, order[label, rank]
        self._label_start = starts[label]
        self._tie_end = starts[label] + up_to_rank[label, ends[label, rank]]


def tables(
    sets: LabelSets, labels: Sequence[str], thresholds: Sequence[float], is_own: Sequence[bool] | None
) -> list[dict]:
    """Return what a report lists of label sets: thresholds, labels mixed up, labels that go together.

    Args:
        sets: of the split.
        labels: by id.
        thresholds: likewise.
        is_own: whether each is the label's own; `None` where nothing was there to decide them by.
    """
    wholes = np.ones(len(sets.gold), np.int64)
    found = [_threshold_table(sets.gold.sum(0), sets.average_precisions(wholes), labels, thresholds, is_own)]
    missed = (sets.gold & ~sets.chosen).astype(np.float32)
    added = (sets.chosen & ~sets.gold).astype(np.float32)
    mixed = missed.T @ added
    if mixed.any():
        rows = [[labels[i], labels[j], int(mixed[i, j])] for i, j in _largest(mixed)]
        caption = "Counted for every pair of a missed and a wrongly chosen label of a text."
        columns = ["missed", "wrongly chosen in the same text", "texts"]
        found.append({"title": "Labels mixed up", "columns": columns, "rows": rows, "caption": caption})
    true, chosen = (np.triu(m.T @ m, 1) for m in (sets.gold.astype(np.float32), sets.chosen.astype(np.float32)))
    if true.any() or chosen.any():
        pairs = _largest(np.maximum(true, chosen))
        rows = [[labels[i], labels[j], int(true[i, j]), int(chosen[i, j])] for i, j in pairs]
        caption = "A pair that is chosen much more or less often than it occurs is one the model has not understood."
        columns = ["label", "label", "texts that have both", "texts for which both were chosen"]
        found.append({"title": "Labels that go together", "columns": columns, "rows": rows, "caption": caption})
    return found


def sizes_plot(gold: np.ndarray, chosen: np.ndarray) -> Markup:
    """Draw how many texts have how many labels, beside how many were chosen.

    Args:
        gold: bool `(records, labels)`.
        chosen: likewise.
    """
    true, found = (np.bincount(sets.sum(1)) for sets in (gold, chosen))
    with drawing.report_style():
        figure, axes = drawing.new_axes()
        axes.bar(np.arange(len(true)) - 0.2, true, 0.38, color=drawing.MUTED, label="true")
        axes.bar(np.arange(len(found)) + 0.2, found, 0.38, color=drawing.ACCENT, label="chosen")
        axes.set(title="Texts by their number of labels", xlabel="labels")
        axes.xaxis.set_major_locator(MaxNLocator(10, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.legend(loc="best")
        return drawing.to_svg(figure, "Texts by their number of labels")


def _threshold_table(
    counts: np.ndarray,
    precisions: np.ndarray,
    labels: Sequence[str],
    thresholds: Sequence[float],
    is_own: Sequence[bool] | None,
) -> dict:
    decided = ["nothing"] * len(labels) if is_own is None else ["its own F1" if own else "all labels" for own in is_own]
    order = sorted(np.argsort(-counts, kind="stable")[:_MOST_ROWS])
    rows = [
        [
            labels[index],
            thresholds[index],
            decided[index],
            int(counts[index]),
            float(precisions[index]) if np.isfinite(precisions[index]) else None,
        ]
        for index in order
    ]
    caption = "A label is chosen where its probability reaches its threshold"
    if is_own is None:
        caption += "; without a validation split nothing could decide it."
    else:
        few = f"labels that fewer than {FEWEST_FOR_OWN_THRESHOLD} texts there have share one"
        caption += f", one of about the highest F1 on the validation split; {few}."
    if len(order) < len(labels):
        caption += f" These are the {len(order)} most frequent of {len(labels):,} labels."
    columns = ["label", "threshold", "decided by", "examples", "average precision"]
    return {"title": "Thresholds", "columns": columns, "rows": rows, "caption": caption}


def _largest(counts: np.ndarray) -> list[tuple[int, int]]:
    """Return the places of the largest counts that are not 0, largest first."""
    order = np.argsort(-counts.ravel(), kind="stable")[:_MOST_PAIRS]
    return [divmod(int(place), counts.shape[1]) for place in order if counts.ravel()[place]]
