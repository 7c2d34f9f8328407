"""Paired bootstrap: how much better one system is than another on the same records, with a confidence interval."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from tfbert.evaluation.metrics import bounds

Predictions = TypeVar("Predictions")

_RESAMPLES = 1000


def paired_bootstrap(
    score: Callable[[Predictions, np.ndarray], float],
    ours: Sequence[Predictions],
    theirs: Sequence[Predictions],
    num_records: int,
    num_resamples: int = _RESAMPLES,
) -> dict[str, float]:
    """Compare two systems, each trained several times, by the paired bootstrap over records and trainings.

    Every resample draws records and trainings, the same ones for both systems, so the interval tells how the difference
    of the means varies with another test split and other seeds. The random seed is fixed.

    Args:
        score: returns the score of one training's predictions on records given by index, with repetitions.
        ours: the predictions of each training of one system.
        theirs: those of the other system; training i of both systems has the same seed and data.
        num_records: number of records of the test split, at least one.
        num_resamples: number of bootstrap samples.

    Returns:
        `difference`, the mean score of ours minus that of theirs; its 95 % interval `low`, `high`; and
        `better_fraction`, the fraction of resamples in which ours was better, where ties count half.

    Raises:
        ValueError: the systems have different numbers of trainings, or none.

    Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13, for percentile intervals; Koehn
        2004, "Statistical Significance Tests for Machine Translation Evaluation", for pairing. Ours also draws
        trainings, since fine-tuning varies with the seed.
    """
    if not ours or len(ours) != len(theirs):
        raise ValueError(f"{len(ours)} and {len(theirs)} trainings; expected the same number, one or more")
    rng = np.random.default_rng(0)

    def difference(trainings: np.ndarray, records: np.ndarray) -> float:
        return float(np.mean([score(ours[i], records) - score(theirs[i], records) for i in trainings]))

    observed = difference(np.arange(len(ours)), np.arange(num_records))
    drawn = np.asarray(
        [
            difference(rng.integers(0, len(ours), len(ours)), rng.integers(0, num_records, num_records))
            for _ in range(num_resamples)
        ]
    )
    return {
        "difference": observed,
        **bounds(drawn, observed),
        "better_fraction": float(np.mean((drawn > 0) + (drawn == 0) / 2)),
    }
