"""Mitigations of bias in training: counterfactual copies of the training texts, and weights that balance groups."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from tfbert.config import Config
from tfbert.text.counterfactuals import TrainingRecords
from tfbert.text.datasets import TokenizedSplit
from tfbert.text.splits import Split
from tfbert.text.terms import TermList, listed_terms

logger = logging.getLogger(__name__)

_COPIES, _WEIGHTS = "train.counterfactuals", "train.group_weights"
# The value of `train.group_weights` that stands for the groups in `data.group_column`.
_COLUMN = "column"


@dataclass(frozen=True, kw_only=True)
class Mitigation:
    """What the mitigations of a run add to its training.

    Args:
        records: train and its copies.
        examples: their tokens.
        weights: the weight of each record of `examples`, float64 with mean 1; `None` for equal weights.
        digests: hex digests of the lists of terms.
    """

    records: TrainingRecords
    examples: TokenizedSplit
    weights: np.ndarray | None
    digests: tuple[str, ...]

    def combined_with(self, weights: np.ndarray | None, num_repeats: int = 1) -> np.ndarray | None:
        """Return the weight of each example, float32 with mean 1, together with weights for another purpose.

        Args:
            weights: the other weights of each example; `None` for equal weights.
            num_repeats: how often training repeats `examples`, each time with other typing errors.
        """
        if self.weights is None:
            return weights
        combined = np.tile(np.repeat(self.weights, np.diff(self.examples.records)), num_repeats)
        combined = combined if weights is None else combined * weights
        return (combined / combined.mean()).astype(np.float32)


def mitigate(
    splits: Mapping[str, Split],
    tokenized: TokenizedSplit,
    config: Config,
    tokenize: Callable[[TrainingRecords], TokenizedSplit],
) -> Mitigation | None:
    """Return what the mitigations in a config add to training; `None` without mitigations.

    Args:
        splits: records by split name.
        tokenized: the tokens of train.
        config: the config of the run.
        tokenize: returns the tokens of records, from the cache if it has them.

    Raises:
        ValueError: a list of terms is invalid, or a mitigation does not apply to any text.
    """
    copied = listed_terms(config.train.counterfactuals, _COPIES)
    if not copied and config.train.group_weights is None:
        return None
    train = splits["train"]
    held_out = tuple(split for name, split in splits.items() if name != "train")
    records = TrainingRecords(train=train, held_out=held_out if copied else (), copied=copied)
    examples = tokenized
    if copied:
        examples = tokenize(records)
        _check_copies(config, len(tokenized.num_tokens), len(examples.num_tokens))
    weights, weighted = None, ()
    if config.train.group_weights is not None:
        weights, weighted = _group_weights(records, config)
    digests = tuple(terms.sha256 for terms in (*copied, *weighted))
    return Mitigation(records=records, examples=examples, weights=weights, digests=digests)


def _check_copies(config: Config, num_records: int, num_examples: int) -> None:
    """Reject lists of terms without copies, and log the number of copies."""
    value = config.train.counterfactuals
    if num_examples == num_records:
        raise ValueError(f"{_COPIES}={value}: no text of train has a copy; expected texts with terms of these lists")
    logger.info("%s=%s: %s copies of %s texts", _COPIES, value, f"{num_examples - num_records:,}", f"{num_records:,}")


def _group_weights(records: TrainingRecords, config: Config) -> tuple[np.ndarray, tuple[TermList, ...]]:
    """Return a weight for each record with which groups and labels are independent, and the lists of terms.

    The weight is the expected frequency of the record's group and label, if they were independent, divided by the
    actual one. Records without a group form a group.

    Source: Kamiran and Calders 2012, "Data preprocessing techniques for classification without discrimination", 5.2.
    """
    value = config.train.group_weights
    lists = () if value == _COLUMN else listed_terms(value, _WEIGHTS)
    if len(lists) > 1:
        raise ValueError(f"{_WEIGHTS}={value}: expected {_COLUMN}, or one list of terms")
    if not lists and config.data.group_column is None:
        raise ValueError(f"{_WEIGHTS}={value}: expected the name of the column in data.group_column")
    pairs = [(lists[0].group_of(record.texts) if lists else record.subgroup, record.target) for record in records]
    groups, labels = Counter(group for group, _ in pairs), Counter(label for _, label in pairs)
    if len(groups) < 2:
        source = "contain terms of one group of the list" if lists else f"have a value in {config.data.group_column!r}"
        expected = "expected texts of at least two groups"
        raise ValueError(f"{_WEIGHTS}={value}: all training texts are of one group, or none {source}; {expected}")
    joint = Counter(pairs)
    weights = np.array([groups[group] * labels[label] / joint[group, label] for group, label in pairs])
    logger.info(
        "%s=%s: weights from %.2f to %.2f for %d groups",
        _WEIGHTS,
        value,
        *(bound * len(weights) / weights.sum() for bound in (weights.min(), weights.max())),
        len(groups),
    )
    return weights / weights.mean(), lists
