"""Predicted and true answers in, exact match, F1 and the threshold between an answer and none out."""

import re
import string
from collections import Counter
from collections.abc import Sequence

import numpy as np

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalize(text: str) -> str:
    """Return an answer in lower case without ASCII punctuation, English articles and extra blanks.

    Source: `normalize_answer` of SQuAD's official `evaluate-v2.0.py`; the same.
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_WITHOUT_PUNCTUATION)).split())


def exact_match(predicted: str, gold: Sequence[str]) -> float:
    """Return 1.0 if an answer equals one of the true ones after `normalize`, else 0.0.

    Args:
        predicted: "" says that there is no answer.
        gold: the true answers; none where the question has no answer.
    """
    return float(normalize(predicted) in map(normalize, _possible(gold)))


def f1(predicted: str, gold: Sequence[str]) -> float:
    """Return the best F1 of the words of an answer against those of each true one, after `normalize`.

    Words are what blanks separate: in a language without blanks an answer is one word, and this is its exact match.

    Args:
        predicted: "" says that there is no answer.
        gold: the true answers; none where the question has no answer, which is then worth 1.0 for "".

    Source: `compute_f1` and `get_raw_scores` of SQuAD's official `evaluate-v2.0.py`; the same. The script for 1.1
        differs from it only in true answers of nothing but punctuation and articles, which 2.0 does not count.
    """
    return max(_f1(normalize(predicted).split(), normalize(answer).split()) for answer in _possible(gold))


def score_all(predicted: Sequence[str], gold: Sequence[Sequence[str]]) -> dict[str, np.ndarray]:
    """Return `exact_match` and `f1` of every record, float64 `(records,)`."""
    pairs = list(zip(predicted, gold, strict=True))
    return {"exact_match": np.array([exact_match(*p) for p in pairs]), "f1": np.array([f1(*p) for p in pairs])}


def best_threshold(margins: np.ndarray, answered: np.ndarray, empty: np.ndarray) -> float:
    """Return the margin above which "no answer" should be said.

    Args:
        margins: by how much "no answer" beats the best answer, `(records,)`, at least one.
        answered: what the best answer of each record is worth, such as its F1.
        empty: what it is worth to say that there is none.

    Returns:
        The threshold for the highest sum: 0 if that is one, else the middle of the gap between two margins. Of
        several the nearest to 0.

    Source: `find_best_thresh` of SQuAD's official `evaluate-v2.0.py`, which ours equals in the score that is reached.
        It returns a margin that occurred, the first that is best.
    """
    order = np.argsort(margins, kind="stable")
    margins = np.asarray(margins, np.float64)[order]
    # What is reached when the records of the `cut` lowest margins are answered, for every cut.
    gained = np.concatenate([[0.0], np.cumsum(np.asarray(answered)[order] - np.asarray(empty)[order])])
    lows = np.concatenate([[-np.inf], margins])
    highs = np.concatenate([margins, [np.inf]])
    gained = np.where(lows < highs, gained, -np.inf)  # records of one margin cannot be told apart
    cuts = np.flatnonzero(gained > gained.max() - 1e-9)
    thresholds = [_within(lows[cut], highs[cut]) for cut in cuts]
    return float(min(thresholds, key=abs))


def threshold_curve(
    margins: np.ndarray, answered: np.ndarray, has_answer: np.ndarray, num_points: int = 200
) -> dict[str, np.ndarray]:
    """Return how scores change with the threshold.

    Args:
        margins: by how much "no answer" beats the best answer, `(records,)`.
        answered: what the best answer of each record is worth; 0 where there is none to be found.
        has_answer: bool `(records,)`; both kinds must be there.
        num_points: at most.

    Returns:
        `threshold` and, for each, the mean over `all` records, over `has_answer` and over `no_answer`.
    """
    # The margins themselves, so that the curve is drawn where records change sides.
    thresholds = np.unique(np.quantile(margins, np.linspace(0, 1, num_points), method="nearest"))
    kept = margins[None, :] <= thresholds[:, None]
    found = np.where(kept, answered, 0.0)[:, has_answer].mean(1)
    refused = 1.0 - kept[:, ~has_answer].mean(1)
    share = has_answer.mean()
    whole = share * found + (1 - share) * refused
    return {"threshold": thresholds, "all": whole, "has_answer": found, "no_answer": refused}


def _possible(gold: Sequence[str]) -> Sequence[str]:
    return [answer for answer in gold if normalize(answer)] or [""]


def _f1(predicted: list[str], gold: list[str]) -> float:
    if not predicted or not gold:
        return float(predicted == gold)
    common = (Counter(predicted) & Counter(gold)).total()
    return 2 * common / (len(predicted) + len(gold))


def _within(low: float, high: float) -> float:
    """Return a threshold that keeps margins up to `low` and not those from `high` on."""
    if low <= 0 < high:
        return 0.0
    if np.isinf(low):
        return high - 1.0
    return low + 1.0 if np.isinf(high) else (low + high) / 2
