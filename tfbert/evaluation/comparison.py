"""Answers of two ways to the same records in, by how much one is better out, and whether that may be chance."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from tfbert.evaluation.metrics import bounds

Answers = TypeVar("Answers")

_RESAMPLES = 1000


def paired_bootstrap(
    score: Callable[[Answers, np.ndarray], float],
    ours: Sequence[Answers],
    theirs: Sequence[Answers],
    num_records: int,
    num_resamples: int = _RESAMPLES,
) -> dict[str, float]:
    """Compare two ways by the records of one test split and by their trainings.

    Every resample draws records, the same for both ways, and trainings of each way: what is asked is how the difference
    of the means would vary with another test split and other seeds. The draw has a fixed seed.

    Args:
        score: what one training answered, and indices of records, some maybe several times, to a score of these.
        ours: what each training of the one way answered.
        theirs: of the other, with the same number of trainings; training i of both shares seed and data.
        num_records: of the test split, at least one.
        num_resamples: more give smoother bounds.

    Returns:
        `difference`, the mean of ours less that of theirs; its 95 % interval `low`, `high`; and `better_fraction` of
        the resamples in which ours was better, ties counting half.

    Raises:
        ValueError: the numbers of trainings differ, or there are none.

    Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13, for percentile intervals; Koehn
        2004, "Statistical Significance Tests for Machine Translation Evaluation", for pairing. Ours draws trainings as
        well, since fine-tuning differs from seed to seed.
    """
    if not ours or len(ours) != len(theirs):
        raise ValueError(f"{len(ours)} trainings beside {len(theirs)}; wanted as many of both, one or more")
    rng = np.random.default_rng(0)

    def difference(trainings: np.ndarray, records: np.ndarray) -> float:
        return float(np.mean([score(ours[i], records) - score(theirs[i], records) for i in trainings]))

    everything = difference(np.arange(len(ours)), np.arange(num_records))
    drawn = np.asarray(
        [
            difference(rng.integers(0, len(ours), len(ours)), rng.integers(0, num_records, num_records))
            for _ in range(num_resamples)
        ]
    )
    return {
        "difference": everything,
        **bounds(drawn, everything),
        "better_fraction": float(np.mean((drawn > 0) + (drawn == 0) / 2)),
    }
