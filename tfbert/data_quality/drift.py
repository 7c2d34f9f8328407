"""Drift between splits: a classifier two-sample test on vectors, and shifts of label frequencies."""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import chi2_contingency
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from tfbert.data_quality.probe import fitting, new_probe

# Rows of each split that the classifier sees, which limits its time.
_MAX_ROWS = 2000
_NUM_FOLDS = 5
# Of the normal distribution, for 95 % intervals.
_Z = 1.96
_MIN_AUROC, _MAX_P_VALUE, _MIN_SHIFT = 0.55, 0.01, 0.05


@dataclass(frozen=True)
class LabelShift:
    """Difference between the label frequencies of two splits.

    Args:
        distance: total variation distance, 0 for equal frequencies and 1 for different labels.
        p_value: of a chi-squared test, which assumes independent rows.
        label: the label whose frequency differs most.
        first: its fraction of the first split.
        second: its fraction of the second split.
    """

    distance: float
    p_value: float
    label: str
    first: float
    second: float


@dataclass(frozen=True)
class Drift:
    """Difference between two splits.

    Args:
        splits: their names.
        auroc: how well a linear classifier tells from a vector which split a row is from: 0.5 is chance. `None` if
            there are too few rows.
        low: lower end of its 95 % interval.
        high: upper end of its 95 % interval.
        labels: the shift of label frequencies; `None` for records without labels.
    """

    splits: tuple[str, str]
    auroc: float | None
    low: float | None
    high: float | None
    labels: LabelShift | None

    def to_dict(self) -> dict[str, Any]:
        """Return the values for JSON."""
        return dataclasses.asdict(self)

    @property
    def has_other_texts(self) -> bool:
        """Whether the texts of the two splits differ noticeably."""
        return self.low is not None and self.low > 0.5 and self.auroc >= _MIN_AUROC

    @property
    def has_other_labels(self) -> bool:
        """Whether the label frequencies of the two splits differ noticeably."""
        return self.labels is not None and self.labels.p_value < _MAX_P_VALUE and self.labels.distance >= _MIN_SHIFT

    def line(self) -> str:
        """Return a sentence about the drift."""
        first, second = self.splits
        parts = []
        if self.auroc is not None:
            verdict = "differ" if self.has_other_texts else "hardly differ"
            parts.append(
                f"texts {verdict}: a classifier tells the splits apart with AUROC {self.auroc:.3f} ({self.low:.3f} to "
                f"{self.high:.3f}; 0.5 is chance)"
            )
        if self.labels is not None:
            shift = self.labels
            verdict = "differ" if self.has_other_labels else "differ no more than by chance"
            if shift.p_value < _MAX_P_VALUE and not self.has_other_labels:
                verdict = "hardly differ"
            parts.append(
                f"label frequencies {verdict}: total variation distance {shift.distance:.3f}, most for "
                f"{shift.label!r} ({100 * shift.first:.1f}% and {100 * shift.second:.1f}%)"
            )
        return f"{first} and {second}: {'; '.join(parts)}"


def measure_drift(
    splits: tuple[str, str],
    first: np.ndarray,
    second: np.ndarray,
    first_labels: Sequence[str],
    second_labels: Sequence[str],
    seed: int = 0,
) -> Drift:
    """Return the drift between two splits.

    Args:
        splits: their names.
        first: unit vectors of the rows of the first split, float32 `(rows, size)`.
        second: unit vectors of the rows of the second split.
        first_labels: all labels of the rows of the first split.
        second_labels: all labels of the rows of the second split.
        seed: random seed for the choice of rows and folds.

    Source: Lopez-Paz and Oquab 2017, "Revisiting Classifier Two-Sample Tests". Ours measures the AUROC instead of the
        accuracy, so that splits of different sizes need no correction.
    """
    rng = np.random.default_rng(seed)
    samples = [vectors[rng.permutation(len(vectors))[:_MAX_ROWS]] for vectors in (first, second)]
    auroc = low = high = None
    if min(map(len, samples)) >= 2 * _NUM_FOLDS:
        is_second = np.repeat([0, 1], [len(sample) for sample in samples])
        folds = StratifiedKFold(_NUM_FOLDS, shuffle=True, random_state=seed)
        with fitting():
            scores = cross_val_predict(
                new_probe(1.0), np.concatenate(samples), is_second, cv=folds, method="decision_function"
            )
        auroc = float(roc_auc_score(is_second, scores))
        half = _Z * _standard_error(auroc, *map(len, samples))
        low, high = max(0.0, auroc - half), min(1.0, auroc + half)
    return Drift(splits, auroc, low, high, _label_shift(first_labels, second_labels))


def _standard_error(auroc: float, num_negative: int, num_positive: int) -> float:
    """Return the standard error of an AUROC.

    Source: Hanley and McNeil 1982, "The meaning and use of the area under a ROC curve", equation 1.
    """
    first, second = auroc / (2 - auroc), 2 * auroc**2 / (1 + auroc)
    variance = auroc * (1 - auroc)
    variance += (num_positive - 1) * (first - auroc**2) + (num_negative - 1) * (second - auroc**2)
    return float(np.sqrt(max(variance, 0.0) / (num_positive * num_negative)))


def _label_shift(first: Sequence[str], second: Sequence[str]) -> LabelShift | None:
    if not first or not second:
        return None
    counts = [Counter(labels) for labels in (first, second)]
    labels = sorted(set(first) | set(second))
    table = np.asarray([[count[label] for label in labels] for count in counts], np.float64)
    fractions = table / table.sum(axis=1, keepdims=True)
    differences = np.abs(fractions[0] - fractions[1])
    most = int(differences.argmax())
    p_value = float(chi2_contingency(table).pvalue) if len(labels) > 1 else 1.0
    return LabelShift(float(differences.sum() / 2), p_value, labels[most], *map(float, fractions[:, most]))
