"""Evaluation of text similarity: Spearman and Pearson correlation with the scores of the pairs."""

from collections.abc import Sequence

import numpy as np

from tfbert.evaluation import metrics
from tfbert.evaluation.metric import Evaluation, Outcome, ScoreFunction
from tfbert.evaluation.values import PEARSON, SPEARMAN, Values, scatter

METRICS = (SPEARMAN, PEARSON)


class SimilarityEvaluation(Evaluation):
    """The similarity and the score of each pair of texts.

    Args:
        similarity: float32 `(records,)`.
        gold: the true score of each record.
    """

    def __init__(self, similarity: np.ndarray, gold: Sequence[float]):
        self._values = Values(np.asarray(gold), similarity)
        self._correlations = {SPEARMAN.name: self._values.spearman, PEARSON.name: self._values.pearson}

    def values(self) -> dict[str, float]:
        """Return both correlations."""
        weights = np.ones(len(self._values.true), np.int64)
        return {name: correlation(weights) for name, correlation in self._correlations.items()}

    def intervals(self) -> dict[str, dict[str, float]]:
        """Return both correlations with their intervals."""
        return {name: self._values.with_interval(score) for name, score in self._correlations.items()}

    def score_functions(self) -> dict[str, ScoreFunction]:
        """Return a function for each correlation that computes it on resampled records."""
        num_records = len(self._values.true)
        return {name: metrics.of_records(score, num_records) for name, score in self._correlations.items()}

    def record_scores(self) -> np.ndarray:
        """Return 1 minus the difference of the ranks of similarity and score, as a fraction of the records."""
        return 1 - self._values.rank_errors()

    def outcome(self, record: int) -> Outcome:
        """Return the score and the similarity of a record."""
        return self._values.outcome(record)

    def sections(self) -> dict:
        """Return a plot. There are no mistakes: similarities and scores have different units."""
        caption = (
            "Similarities and scores have different units, so correct predictions need not lie on the dashed line."
        )
        figure = {"title": "Similarity by score", "svg": scatter(self._values), "caption": caption}
        return {"figures": [figure]}
