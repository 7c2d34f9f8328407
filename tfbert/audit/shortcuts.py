"""Shortcuts: words that give the label of training texts away more often than chance allows.

Source: Gardner et al. 2021, "Competency problems: on finding and removing artifacts in language data". Differences: the
    z-statistic is relative to the frequency of the label instead of a uniform one, and significance is that of an exact
    binomial test, because the normal approximation is too small for rare words and labels.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from tfbert.audit.statistics import CONFIDENCE, Estimate
from tfbert.evaluation.metric import ScoreFunction
from tfbert.evaluation.metrics import resampled
from tfbert.text.records import Record

# A word, a number, one character of Chinese or Japanese, or a punctuation mark.
_TOKEN = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+|[^\w\s]")
# Rarer tokens are not tested.
_MIN_TEXTS = 10
_MAX_LISTED = 20
# Names of the two directions of a regression.
LOW, HIGH = "low values", "high values"


@dataclass(frozen=True)
class Shortcut:
    """A token that occurs with a label more often than chance allows.

    Args:
        token: the token in lower case.
        label: the label; `HIGH` or `LOW` for a regression.
        num_texts: number of training texts with the token.
        fraction: the fraction of them that have the label; for a regression, their mean value.
        expected: the same of all training texts.
        z: the difference, in standard errors.
    """

    token: str
    label: str
    num_texts: int
    fraction: float
    expected: float
    z: float


@dataclass(frozen=True)
class ShortcutAudit:
    """Tokens that give labels away, and how a model does where they mislead.

    Args:
        source: the data that the tokens were counted in, in words.
        num_texts: number of texts counted.
        num_tokens: number of tokens tested.
        num_found: number of pairs of token and label that are significant together (Bonferroni).
        listed: those with the largest z.
        num_misleading: number of evaluated texts whose strongest token points to another label.
        misleading: the main metric on these texts; `None` if there are too few.
        num_other: number of other texts with such a token.
        other: the main metric on them.
    """

    source: str
    num_texts: int
    num_tokens: int
    num_found: int
    listed: tuple[Shortcut, ...]
    num_misleading: int
    misleading: Estimate | None
    num_other: int
    other: Estimate | None


def tokens_of(record: Record) -> set[str]:
    """Return the tokens in the texts of a record, in lower case."""
    return {token.casefold() for text in record.texts for token in _TOKEN.findall(text)}


def find_shortcuts(records: Iterable[Record], labels: Sequence[str], gold: np.ndarray) -> tuple[list[Shortcut], int]:
    """Return the significant tokens, largest z first, and the number of tokens tested.

    Args:
        records: the training records; read once.
        labels: the names of the labels; none for a regression.
        gold: which labels each record has, bool `(records, labels)`; for a regression its value, `(records, 1)`.
    """
    rows: dict[str, list[int]] = {}
    for row, record in enumerate(records):
        for token in tokens_of(record):
            rows.setdefault(token, []).append(row)
    # A token in every text cannot tell labels apart.
    tested = {token: texts for token, texts in rows.items() if _MIN_TEXTS <= len(texts) < len(gold)}
    find = _of_labels if labels else _of_values
    found = [shortcut for token, texts in tested.items() for shortcut in find(token, texts, labels, gold, len(tested))]
    return sorted(found, key=lambda shortcut: (-shortcut.z, shortcut.token)), len(tested)


def _of_labels(
    token: str, texts: list[int], labels: Sequence[str], gold: np.ndarray, num_tokens: int
) -> list[Shortcut]:
    number, expected, hits = len(texts), gold.mean(axis=0), gold[texts].sum(axis=0)
    p_values = stats.binom.sf(hits - 1, number, expected)
    errors = np.sqrt(expected * (1 - expected) / number)
    found = np.flatnonzero((p_values * num_tokens * len(labels) < 1 - CONFIDENCE) & (errors > 0))
    return [
        Shortcut(
            token,
            labels[index],
            number,
            float(hits[index] / number),
            float(expected[index]),
            float((hits[index] / number - expected[index]) / errors[index]),
        )
        for index in found.tolist()
    ]


def _of_values(
    token: str, texts: list[int], labels: Sequence[str], gold: np.ndarray, num_tokens: int
) -> list[Shortcut]:
    mean, expected = float(gold[texts, 0].mean()), float(gold[:, 0].mean())
    deviation = float(gold[:, 0].std())
    z = (mean - expected) * np.sqrt(len(texts)) / deviation if deviation else 0.0
    if 2 * stats.norm.sf(abs(z)) * num_tokens >= 1 - CONFIDENCE:
        return []
    return [Shortcut(token, HIGH if z > 0 else LOW, len(texts), mean, expected, abs(float(z)))]


def audit_shortcuts(
    source: str,
    training: Sequence[Record],
    training_gold: np.ndarray,
    labels: Sequence[str],
    records: Sequence[Record],
    gold: np.ndarray,
    score: ScoreFunction,
    is_fraction: bool = True,
) -> ShortcutAudit:
    """Find the tokens that give labels away, and score the texts that they mislead about.

    Args:
        source: the origin of the training records, in words.
        training: the training records.
        training_gold: as for `find_shortcuts`.
        labels: as for `find_shortcuts`.
        records: the evaluated records.
        gold: their labels or values, in the same form.
        score: computes the main metric on evaluated records, given by their indices.
        is_fraction: whether that is a fraction of the records.
    """
    shortcuts, num_tokens = find_shortcuts(training, labels, training_gold)
    strongest: dict[str, Shortcut] = {}
    for shortcut in shortcuts:
        strongest.setdefault(shortcut.token, shortcut)
    has_label = _label_tests(labels, gold, float(training_gold.mean()))
    misleading, other = [], []
    for row, record in enumerate(records):
        found = [strongest[token] for token in tokens_of(record) if token in strongest]
        if found:
            pointing = max(found, key=lambda shortcut: (shortcut.z, shortcut.token))
            (other if has_label[pointing.label][row] else misleading).append(row)
    scores = [_score(score, np.array(rows, int), is_fraction) for rows in (misleading, other)]
    return ShortcutAudit(
        source=source,
        num_texts=len(training),
        num_tokens=num_tokens,
        num_found=len(shortcuts),
        listed=tuple(shortcuts[:_MAX_LISTED]),
        num_misleading=len(misleading),
        misleading=scores[0],
        num_other=len(other),
        other=scores[1],
    )


def _label_tests(labels: Sequence[str], gold: np.ndarray, mean: float) -> Mapping[str, np.ndarray]:
    """Return whether each record has a label, bool `(records,)`, by the name of the label or of the direction."""
    if not labels:
        return {HIGH: gold[:, 0] > mean, LOW: gold[:, 0] < mean}
    return {label: gold[:, index] for index, label in enumerate(labels)}


def _score(score: ScoreFunction, rows: np.ndarray, is_fraction: bool) -> Estimate | None:
    if len(rows) < _MIN_TEXTS:
        return None
    return Estimate(**resampled(lambda positions: score(rows[positions]), len(rows), is_fraction=is_fraction))
