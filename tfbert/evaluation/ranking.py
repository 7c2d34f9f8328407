"""Ranked answers and the right ones in; scores of the ranking, a threshold for abstaining, a plot and tables out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from matplotlib.ticker import MaxNLocator

from tfbert.evaluation import drawing, metrics
from tfbert.evaluation.formatting import percent

_MOST_MISTAKES = 30
_RECALLED = (1, 5, 10)


@dataclass(frozen=True)
class Ranking:
    """What was found for every question.

    Args:
        is_right: bool `(questions, found)`, whether the answer at each rank is a right one, best rank first.
        num_right: int `(questions,)`, how many right answers there are, found or not; at least one each.
        similarity: float `(questions,)`, of the first answer; -1 where none was found.
    """

    is_right: np.ndarray
    num_right: np.ndarray
    similarity: np.ndarray

    def first_rank(self) -> np.ndarray:
        """Return the rank of the first right answer, from 1, and 0 where none was found: int `(questions,)`."""
        if not self.is_right.shape[1]:
            return np.zeros(len(self.is_right), np.int64)
        return np.where(self.is_right.any(1), self.is_right.argmax(1) + 1, 0)

    def by_question(self) -> dict[str, np.ndarray]:
        """Return the metrics of every question, by name, float `(questions,)`; a mean of them is the metric.

        `mrr_at_10` is one over the rank of the first right answer, `recall_at_K` whether one is among the first K, and
        `ndcg_at_10` the gain of all that are, against that of a perfect ranking.

        Source: Järvelin and Kekäläinen 2002, "Cumulated gain-based evaluation of IR techniques", with gains 0 and 1 and
            the discount of one over the logarithm of rank plus 1, as scikit-learn's `ndcg_score` has it.
        """
        rank = self.first_rank()
        discount = 1 / np.log2(np.arange(10) + 2)
        top = self.is_right[:, :10]
        ideal = np.cumsum(discount)[np.minimum(self.num_right, 10) - 1]
        by_name = {"mrr_at_10": np.where((rank > 0) & (rank <= 10), 1 / np.maximum(rank, 1), 0.0)}
        by_name |= {f"recall_at_{most}": ((rank > 0) & (rank <= most)).astype(float) for most in _RECALLED}
        return by_name | {"ndcg_at_10": top @ discount[: top.shape[1]] / ideal}

    def means(self) -> dict[str, float]:
        """Return the metrics."""
        return {name: float(values.mean()) for name, values in self.by_question().items()}

    def with_intervals(self) -> dict[str, dict[str, float]]:
        """Return the metrics with their 95 % bootstrap intervals over the questions."""
        return {name: _with_interval(values) for name, values in self.by_question().items()}

    def best_threshold(self) -> float:
        """Return the similarity below which it is best not to answer, and -1 if it is best to answer always.

        It is that of the highest F1: precision is the share of right ones among the first answers that are given,
        recall that among all questions. It lies half way between the similarities that it parts.
        """
        order = np.argsort(-self.similarity, kind="stable")
        similarity, is_right = self.similarity[order], self.first_rank()[order] == 1
        f1 = 2 * np.cumsum(is_right) / (np.arange(1, len(order) + 1) + len(order))
        # Questions that are equally similar cannot be parted.
        f1[:-1][similarity[:-1] == similarity[1:]] = -1.0
        last = int(len(f1) - 1 - np.argmax(f1[::-1]))
        if last == len(order) - 1 or not is_right.any():
            return -1.0
        return float((similarity[last] + similarity[last + 1]) / 2)

    def worst(self) -> list[int]:
        """Return questions whose first answer is wrong, the most similar one first."""
        wrong = np.flatnonzero(self.first_rank() != 1)
        return wrong[np.argsort(-self.similarity[wrong], kind="stable")][:_MOST_MISTAKES].tolist()

    def rank_table(self) -> dict:
        """Return what a report lists of the ranks at which the first right answer was found."""
        rank, rows = self.first_rank(), []
        for name, low, high in (("1", 1, 1), ("2 to 3", 2, 3), ("4 to 5", 4, 5), ("6 to 10", 6, 10)):
            rows.append((name, (rank >= low) & (rank <= high)))
        rows.append(("not among the first 10", (rank == 0) | (rank > 10)))
        return {
            "title": "Rank of the first right answer",
            "columns": ["rank", "questions", "share"],
            "rows": [[name, int(of.sum()), percent(of.mean())] for name, of in rows],
            "caption": "Questions at ranks 2 to 10 are those that showing more than one answer would help.",
        }

    def threshold_table(self, threshold: float) -> dict:
        """Return what a report lists of abstaining below a threshold."""
        first = self.first_rank() == 1
        rows = []
        for name, given in (("every question", first | True), ("the tuned threshold", self.similarity >= threshold)):
            share = first[given].mean() if given.any() else None
            rows.append([name, int(given.sum()), percent(given.mean()), percent(share)])
        return {
            "title": "Abstaining",
            "columns": ["answered", "questions", "share", "first answer right"],
            "rows": rows,
            "caption": f"The threshold is a similarity of {threshold:.4f}, tuned on the validation split for the F1 of "
            "answering rightly. Every question here has a right answer, so questions that have none are not measured.",
        }


def ranking_of(
    found: Sequence[Sequence[str]], similarity: np.ndarray, gold: Sequence[tuple[str, str]]
) -> tuple[Ranking, np.ndarray]:
    """Compare what was found with what is right; a question that is there several times has several right answers.

    Args:
        found: of every record, the answers, best first, padded with "".
        similarity: float `(records, found)`.
        gold: of every record, the question and a right answer, written as in `found`.

    Returns:
        The ranking of every different question, and the first record of each, int `(questions,)`.
    """
    first: dict[str, int] = {}
    right: dict[str, set[str]] = {}
    for record, (question, answer) in enumerate(gold):
        first.setdefault(question, record)
        right.setdefault(question, set()).add(answer)
    records = np.fromiter(first.values(), np.int64)
    is_right = [[answer != "" and answer in right[question] for answer in found[at]] for question, at in first.items()]
    width = similarity.shape[1]
    return Ranking(
        np.asarray(is_right, bool).reshape(len(records), width),
        np.asarray([len(right[question]) for question in first]),
        similarity[records, 0] if width else np.full(len(records), -1.0),
    ), records


def similarity_plot(ranking: Ranking, threshold: float) -> Markup:
    """Draw how similar right and wrong first answers are, with the threshold of abstaining."""
    is_first, similar = ranking.first_rank() == 1, ranking.similarity
    low, high = float(similar.min()), float(similar.max())
    bins = np.linspace(low, high if high > low else low + 1e-3, 31)
    with drawing.report_style():
        figure, axes = drawing.new_axes()
        kinds = ((is_first, drawing.ACCENT, "first answer right"), (~is_first, drawing.WARN, "first answer wrong"))
        for of, color, name in kinds:
            axes.hist(similar[of], bins, color=color, alpha=0.5, label=name)
        if threshold > -1:
            axes.axvline(threshold, color=drawing.INK, linewidth=1.2, linestyle="--", label="threshold")
        axes.set(title="Questions by similarity of the first answer", xlabel="similarity")
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.legend(loc="best")
        return drawing.to_svg(figure, "Questions by similarity of the first answer")


def _with_interval(values: np.ndarray) -> dict[str, float]:
    score: Callable[[np.ndarray], float] = lambda records: float(values[records].mean())  # noqa: E731
    return metrics.resampled(score, len(values))
