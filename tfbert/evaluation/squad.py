"""SQuAD's official scores of predicted answers, and the no-answer threshold."""

import re
import string
from collections import Counter
from collections.abc import Sequence

import numpy as np

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalize(text: str) -> str:
    """Return an answer in lower case, without ASCII punctuation, English articles and extra whitespace.

    Source: `normalize_answer` of SQuAD's official `evaluate-v2.0.py`; the same.
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_WITHOUT_PUNCTUATION)).split())


def exact_match(predicted: str, gold: Sequence[str]) -> float:
    """Return 1.0 if an answer equals a true answer after `normalize`, else 0.0.

    Args:
        predicted: "" means no answer.
        gold: the true answers; empty where the question has no answer.
    """
    return float(normalize(predicted) in map(normalize, _possible(gold)))


def f1(predicted: str, gold: Sequence[str]) -> float:
    """Return the highest F1 of the words of an answer with those of a true answer, after `normalize`.

    Words are separated by whitespace: in a language without spaces, an answer is one word and F1 equals exact match.

    Args:
        predicted: "" means no answer.
        gold: the true answers; empty where the question has no answer, for which "" scores 1.0.

    Source: `compute_f1` and `get_raw_scores` of SQuAD's official `evaluate-v2.0.py`; the same. The script for 1.1
        differs only for true answers that consist of punctuation and articles, which 2.0 ignores.
    """
    return max(_f1(normalize(predicted).split(), normalize(answer).split()) for answer in _possible(gold))


def score_all(predicted: Sequence[str], gold: Sequence[Sequence[str]]) -> dict[str, np.ndarray]:
    """Return `exact_match` and `f1` of every record, float64 `(records,)`."""
    pairs = list(zip(predicted, gold, strict=True))
    return {"exact_match": np.array([exact_match(*p) for p in pairs]), "f1": np.array([f1(*p) for p in pairs])}


def best_threshold(margins: np.ndarray, answered: np.ndarray, empty: np.ndarray) -> float:
    """Return the threshold of the margin above which no answer should be given.

    Args:
        margins: score of no answer minus that of the best answer, `(records,)`, not empty.
        answered: the score of each record's best answer, such as its F1.
        empty: the score of each record if no answer is given.

    Returns:
        The threshold with the highest total score: 0 if it is one, else halfway between two margins. If several are
        equally good, the one nearest to 0.

    Source: `find_best_thresh` of SQuAD's official `evaluate-v2.0.py`; ours reaches the same score. The script returns
        the first best margin that occurs.
    """
    order = np.argsort(margins, kind="stable")
    margins = np.asarray(margins, np.float64)[order]
    # For every cut, the gain of answering the records with the `cut` lowest margins.
    gained = np.concatenate([[0.0], np.cumsum(np.asarray(answered)[order] - np.asarray(empty)[order])])
    lows = np.concatenate([[-np.inf], margins])
    highs = np.concatenate([margins, [np.inf]])
    gained = np.where(lows < highs, gained, -np.inf)  # no threshold separates equal margins
    cuts = np.flatnonzero(gained > gained.max() - 1e-9)
    thresholds = [_within(lows[cut], highs[cut]) for cut in cuts]
    return float(min(thresholds, key=abs))


def threshold_curve(
    margins: np.ndarray, answered: np.ndarray, has_answer: np.ndarray, num_points: int = 200
) -> dict[str, np.ndarray]:
    """Return the scores by threshold.

    Args:
        margins: score of no answer minus that of the best answer, `(records,)`.
        answered: the score of each record's best answer; 0 where the question has no answer.
        has_answer: bool `(records,)`; both values occur.
        num_points: maximum number of thresholds.

    Returns:
        `threshold`, and for each the mean score over `all` records, over those with an answer (`has_answer`) and over
        those without (`no_answer`).
    """
    # Scores change only at the margins.
    thresholds = np.unique(np.quantile(margins, np.linspace(0, 1, num_points), method="nearest"))
    kept = margins[None, :] <= thresholds[:, None]
    with_answer = np.where(kept, answered, 0.0)[:, has_answer].mean(1)
    without_answer = 1.0 - kept[:, ~has_answer].mean(1)
    fraction = has_answer.mean()
    overall = fraction * with_answer + (1 - fraction) * without_answer
    return {"threshold": thresholds, "all": overall, "has_answer": with_answer, "no_answer": without_answer}


def _possible(gold: Sequence[str]) -> Sequence[str]:
    return [answer for answer in gold if normalize(answer)] or [""]


def _f1(predicted: list[str], gold: list[str]) -> float:
    if not predicted or not gold:
        return float(predicted == gold)
    common = (Counter(predicted) & Counter(gold)).total()
    return 2 * common / (len(predicted) + len(gold))


def _within(low: float, high: float) -> float:
    """Return a threshold that is at least `low` and less than `high`."""
    if low <= 0 < high:
        return 0.0
    if np.isinf(low):
        return high - 1.0
    return low + 1.0 if np.isinf(high) else (low + high) / 2
