"""Paired bootstrap: how much better one system is than another on the same records, with a confidence interval."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tfbert.evaluation.metric import ScoreFunction
from tfbert.evaluation.metrics import bounds

# The score functions of the trainings of one system.
System = Sequence[ScoreFunction]

RESAMPLES = 1000


@dataclass(frozen=True)
class Difference:
    """The difference of the mean scores of two systems.

    Args:
        difference: the mean score of ours minus that of theirs.
        low: lower bound of its 95% interval.
        high: upper bound of its 95% interval.
        better_fraction: the fraction of resamples in which ours was better, where ties count half.
        p_value: twice the smaller of the fractions of resamples in which ours was not better and not worse. The
            observed scores count as such a resample, so it is never 0.
    """

    difference: float
    low: float
    high: float
    better_fraction: float
    p_value: float


@dataclass(frozen=True)
class ResampledScores:
    """The mean scores of several systems on the records and on the same resamples of records and trainings.

    Args:
        observed: the mean score of each system over its trainings, float64 `(systems,)`.
        drawn: the same in each resample, float64 `(resamples, systems)`.
        num_records: number of records.
    """

    observed: np.ndarray
    drawn: np.ndarray
    num_records: int

    def interval(self, system: int, is_fraction: bool) -> dict[str, float]:
        """Return the `value` of a system's mean score and its 95% interval `low`, `high`.

        Args:
            system: the index of the system.
            is_fraction: whether the score is a fraction of the records, or a mean of such fractions.
        """
        value = float(self.observed[system])
        return {"value": value, **bounds(self.drawn[:, system], value, self.num_records if is_fraction else None)}

    def difference(self, ours: int, theirs: int) -> Difference:
        """Return the difference of two systems, given by their indices."""
        observed = float(self.observed[ours] - self.observed[theirs])
        drawn = self.drawn[:, ours] - self.drawn[:, theirs]
        return Difference(
            difference=observed,
            **bounds(drawn, observed),
            better_fraction=float(np.mean((drawn > 0) + (drawn == 0) / 2)),
            p_value=min(1.0, 2 * (1 + min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))) / (1 + len(drawn))),
        )


def resample(systems: Sequence[System], num_records: int, num_resamples: int = RESAMPLES) -> ResampledScores:
    """Compute the scores of systems, each trained several times, by the paired bootstrap over records and trainings.

    Every resample draws records and trainings, the same ones for all systems, so the interval of a difference tells how
    it varies with another test split and other seeds. The random seed is fixed.

    Args:
        systems: for each system the score functions of its trainings; training i of all systems has the same data and,
            if there are several, the same seed.
        num_records: number of records of the test split, at least one.
        num_resamples: number of bootstrap samples.

    Raises:
        ValueError: the systems have different numbers of trainings, or none.

    Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13, for percentile intervals; Koehn
        2004, "Statistical Significance Tests for Machine Translation Evaluation", for pairing. Ours also draws
        trainings, since fine-tuning varies with the seed.
    """
    numbers = {len(system) for system in systems}
    if len(numbers) != 1 or 0 in numbers:
        counts = " and ".join(str(len(system)) for system in systems)
        raise ValueError(f"{counts} trainings; expected the same number, one or more")
    (num_trainings,) = numbers
    rng = np.random.default_rng(0)

    def scores(trainings: np.ndarray, records: np.ndarray) -> list[float]:
        return [sum(system[i](records) for i in trainings) / num_trainings for system in systems]

    observed = scores(np.arange(num_trainings), np.arange(num_records))
    drawn = [
        scores(rng.integers(0, num_trainings, num_trainings), rng.integers(0, num_records, num_records))
        for _ in range(num_resamples)
    ]
    return ResampledScores(np.asarray(observed), np.asarray(drawn).reshape(num_resamples, len(systems)), num_records)


def paired_bootstrap(ours: System, theirs: System, num_records: int) -> Difference:
    """Compare two systems by the paired bootstrap; the arguments and errors are those of `resample`.

    Raises:
        ValueError: the systems have different numbers of trainings, or none.
    """
    return resample([ours, theirs], num_records).difference(0, 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for the number of comparisons: at level 5 %, the chance of any wrong claim is 5 %.

    Source: Holm 1979, "A Simple Sequentially Rejective Multiple Test Procedure".
    """
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def smallest_p_value(num_differing: int) -> float:
    """Return the smallest p-value that a paired test can reach if two systems differ on this many records only.

    The bootstrap underestimates p-values of few records: if ours is better on 5 records and never worse, that is as
    likely by chance as 5 equal tosses of a coin, 6 %.
    """
    return min(1.0, 2 * 0.5**num_differing)
