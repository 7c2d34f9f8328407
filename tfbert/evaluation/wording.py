"""Names and numbers in, words for a reader of the report out."""

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from markupsafe import Markup, escape

from tfbert.evaluation.drawing import short_number

MEANINGS = {
    "accuracy": "share of examples that are answered rightly",
    "macro_f1": "F1 averaged over the labels, rare ones counting as much as common ones",
    "mcc": "correlation of predicted and true labels: 0 is chance, 1 is perfect",
    "loss": "mean cross-entropy; lower is better",
    "micro_f1": "F1 over all labels of all texts together, common labels counting more",
    "mean_average_precision": "how well each label ranks the texts that have it, averaged over the labels",
    "subset_accuracy": "share of texts with exactly the right labels",
    "pearson": "linear correlation of predicted and true values: 0 is none, 1 is perfect",
    "spearman": "correlation of the order of predicted and true values: 0 is none, 1 is perfect",
    "mae": "mean distance from the true value, in its units; lower is better",
    "f1": "harmonic mean of precision and recall",
    "precision": "share of what was found that is right",
    "recall": "share of what is there that was found",
    "exact_match": "share of answers equal to a true one but for case, articles and punctuation",
    "mrr_at_10": "mean of one over the rank of the first right answer, 0 beyond rank 10",
    "recall_at_1": "share of questions with a right answer in first place",
    "recall_at_5": "share of questions with a right answer among the first 5",
    "recall_at_10": "share of questions with a right answer among the first 10",
    "ndcg_at_10": "like MRR, but gain falls with the logarithm of the rank",
    "masked_word_loss": "mean cross-entropy of the masked words, in nats; lower is better",
    "masked_word_accuracy": "share of the masked words that are guessed right at once",
    "perplexity": "among how many equally likely words it would be guessing; lower is better",
    "pair_loss": "mean cross-entropy of the pairs of segments; a coin has 0.693; lower is better",
    "pair_accuracy": "share of the pairs that are told right: belong together or not",
    "calibration_error": "how far stated probabilities are from the truth on average; lower is better",
}
_FRACTIONS = {"accuracy", "f1", "precision", "recall", "match", "calibration", "mrr", "ndcg"}
_LOWER_IS_BETTER = {"loss", "error", "perplexity", "mae"}
_SPELLING = {"f1": "F1", "mcc": "MCC", "mae": "MAE", "mrr": "MRR", "ndcg": "nDCG"}


def percent(fraction: float | None, digits: int = 1) -> str:
    """Return a fraction as percent, such as `92.5 %`; `–` for `None` and NaN."""
    return "–" if fraction is None or math.isnan(fraction) else f"{100 * fraction:.{digits}f} %"


def number(value: float | None) -> str:
    """Return a number for a reader, such as `12,345`, `0.25` or `2e-4`; `–` for `None`."""
    if value is None:
        return "–"
    if isinstance(value, float | np.floating):
        return short_number(value) if math.isfinite(value) else str(value)
    return f"{value:,}"


def setting(value: Any) -> str:
    """Return a config value in full, as one would type it; text with odd white space is quoted."""
    if isinstance(value, str):
        return value if value.isprintable() and value.strip() == value != "" else repr(value)
    return "none" if value is None else json.dumps(value, ensure_ascii=False, default=str)


def score(name: str, value: float | None) -> str:
    """Return a metric's value: shares as percent, everything else with three decimals."""
    if value is None or math.isnan(value):
        return "–"
    return percent(value) if is_fraction(name) else f"{value:.3f}"


def score_line(scores: Mapping[str, float]) -> str:
    """Return scores for a line of a log, such as `accuracy 0.9180  loss 0.2772`."""
    return "  ".join(f"{name} {value:.4f}" for name, value in scores.items())


def duration(seconds: float) -> str:
    """Return a duration such as `1.2 s`, `3 min 20 s` or `2 h 05 min`."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def size(num_bytes: float) -> str:
    """Return a number of bytes such as `1.4 GB`, by thousands."""
    for unit in ("bytes", "kB", "MB"):
        if num_bytes < 999.5:
            return f"{num_bytes:.0f} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:,.1f} GB"


def words(name: str) -> str:
    """Return a metric's or field's name as words, such as `macro F1`."""
    return " ".join(_SPELLING.get(word, word) for word in str(name).split("_"))


def breakable(label: str) -> Markup:
    """Return a label escaped; a long one may break after its underscores."""
    label = escape(label)
    return label.replace("_", Markup("_<wbr>")) if len(label) > 16 else label


def is_fraction(name: str) -> bool:
    """Return whether a metric is a share, shown as percent."""
    return not _FRACTIONS.isdisjoint(name.split("_"))


def is_gain(name: str) -> bool:
    """Return whether more of a metric is better."""
    return _LOWER_IS_BETTER.isdisjoint(name.split("_"))
