"""Evaluation of similarities of scored pairs: only their order and their linear relation to the scores count."""

from collections.abc import Sequence

import numpy as np

from tfbert.evaluation.metric import Evaluation
from tfbert.evaluation.values import PEARSON, SPEARMAN, Values, scatter

METRICS = (SPEARMAN, PEARSON)


class SimilarityEvaluation(Evaluation):
    """The similarity and the score of each pair of texts.

    Args:
        similarity: float32 `(records,)`.
        gold: the score of each record.
    """

    def __init__(self, similarity: np.ndarray, gold: Sequence[float]):
        self._values = Values(np.asarray(gold), similarity)
        self._correlations = {"spearman": self._values.spearman, "pearson": self._values.pearson}

    def values(self) -> dict[str, float]:
        """Return both correlations."""
        once = np.ones(len(self._values.true), np.int64)
        return {name: correlation(once) for name, correlation in self._correlations.items()}

    def intervals(self) -> dict[str, dict[str, float]]:
        """Return both correlations with their intervals."""
        return {name: self._values.with_interval(score) for name, score in self._correlations.items()}

    def sections(self) -> dict:
        """Return a plot; there are no mistakes to list, since a similarity is in other units than a score."""
        caption = "Only the order counts: a similarity is no score."
        figure = {"title": "Similarity by score", "svg": scatter(self._values), "caption": caption}
        return {"figures": [figure], "worst": {}}
