"""Evaluation of answer ranking (retrieval): MRR, recall, nDCG, abstention threshold, ranks and mistakes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from matplotlib.ticker import MaxNLocator

from tfbert.evaluation import drawing, metrics
from tfbert.evaluation.formatting import percent
from tfbert.evaluation.metric import Evaluation, Metric, Outcome, ScoreFunction
from tfbert.text.records import normalize_whitespace

MRR_AT_10 = Metric(
    "mrr_at_10",
    "higher",
    "fraction",
    "mean of 1 / rank of the first right answer, 0 if beyond rank 10",
    title="MRR at 10",
)
RECALL_AT_1 = Metric(
    "recall_at_1",
    "higher",
    "fraction",
    "fraction of questions whose first answer is right",
    forecast="{} similar questions to get a right first answer",
)
RECALL_AT_5 = Metric(
    "recall_at_5",
    "higher",
    "fraction",
    "fraction of questions with a right answer among the first 5",
    forecast="{} to have one among the first 5",
)
RECALL_AT_10 = Metric(
    "recall_at_10", "higher", "fraction", "fraction of questions with a right answer among the first 10"
)
NDCG_AT_10 = Metric(
    "ndcg_at_10",
    "higher",
    "fraction",
    "normalized discounted cumulative gain: all right answers count, less at lower ranks",
    title="nDCG at 10",
)
METRICS = (MRR_AT_10, RECALL_AT_1, RECALL_AT_5, RECALL_AT_10, NDCG_AT_10)


@dataclass(frozen=True)
class Ranking:
    """Whether the ranked answers to each question are right.

    Args:
        is_right: bool `(questions, answers)`, best rank first.
        num_right: int `(questions,)`, the number of right answers, including those that are not ranked; at least 1.
        similarity: the similarity of the first answer, float `(questions,)`; -1 where there is none.
    """

    is_right: np.ndarray
    num_right: np.ndarray
    similarity: np.ndarray

    def first_rank(self) -> np.ndarray:
        """Return the 1-based rank of the first right answer, 0 where there is none: int `(questions,)`."""
        if not self.is_right.shape[1]:
            return np.zeros(len(self.is_right), np.int64)
        return np.where(self.is_right.any(1), self.is_right.argmax(1) + 1, 0)

    def by_question(self) -> dict[str, np.ndarray]:
        """Return the metrics of each question by name, float `(questions,)`; the metric of a split is their mean.

        `mrr_at_10` is 1 / rank of the first right answer, `recall_at_K` is 1 if one is among the first K, and
        `ndcg_at_10` is the discounted gain of the first 10 answers, relative to that of a perfect ranking.

        Source: Järvelin and Kekäläinen 2002, "Cumulated gain-based evaluation of IR techniques", with gains 0 and 1 and
            the discount 1 / log2(rank + 1), as in scikit-learn's `ndcg_score`.
        """
        rank = self.first_rank()
        discount = 1 / np.log2(np.arange(10) + 2)
        top = self.is_right[:, :10]
        ideal = np.cumsum(discount)[np.minimum(self.num_right, 10) - 1]
        by_name = {MRR_AT_10.name: np.where((rank > 0) & (rank <= 10), 1 / np.maximum(rank, 1), 0.0)}
        for recall, k in ((RECALL_AT_1, 1), (RECALL_AT_5, 5), (RECALL_AT_10, 10)):
            by_name[recall.name] = ((rank > 0) & (rank <= k)).astype(float)
        return by_name | {NDCG_AT_10.name: top @ discount[: top.shape[1]] / ideal}

    def best_threshold(self) -> float:
        """Return the similarity below which to abstain; -1 if answering every question is best.

        It maximizes F1: precision is the fraction of answered questions whose first answer is right, and recall is the
        fraction of all questions that are answered correctly. It lies halfway between the similarities it separates.
        """
        order = np.argsort(-self.similarity, kind="stable")
        similarity, is_right = self.similarity[order], self.first_rank()[order] == 1
        f1 = 2 * np.cumsum(is_right) / (np.arange(1, len(order) + 1) + len(order))
        # No threshold separates equal similarities.
        f1[:-1][similarity[:-1] == similarity[1:]] = -1.0
        last = int(len(f1) - 1 - np.argmax(f1[::-1]))
        if last == len(order) - 1 or not is_right.any():
            return -1.0
        return float((similarity[last] + similarity[last + 1]) / 2)

    def worst(self) -> list[int]:
        """Return the indices of questions whose first answer is wrong, highest similarity first."""
        wrong = np.flatnonzero(self.first_rank() != 1)
        return wrong[np.argsort(-self.similarity[wrong], kind="stable")].tolist()

    def rank_table(self) -> dict:
        """Return a table of the ranks of the first right answer, for the report."""
        rank, rows = self.first_rank(), []
        for name, low, high in (("1", 1, 1), ("2 to 3", 2, 3), ("4 to 5", 4, 5), ("6 to 10", 6, 10)):
            rows.append((name, (rank >= low) & (rank <= high)))
        rows.append(("not among the first 10", (rank == 0) | (rank > 10)))
        return {
            "title": "Rank of the first right answer",
            "columns": ["rank", "questions", "fraction"],
            "rows": [[name, int(has_rank.sum()), percent(has_rank.mean())] for name, has_rank in rows],
            "caption": "For questions at ranks 2 to 10, showing several answers would help.",
        }

    def threshold_table(self, threshold: float) -> dict:
        """Return a table of the effect of abstaining below a threshold, for the report."""
        first = self.first_rank() == 1
        rows = []
        for name, is_answered in (
            ("all", first | True),
            ("above the threshold", ~abstains(self.similarity, threshold)),
        ):
            accuracy = first[is_answered].mean() if is_answered.any() else None
            rows.append([name, int(is_answered.sum()), percent(is_answered.mean()), percent(accuracy)])
        return {
            "title": "Abstention",
            "columns": ["answered questions", "number", "fraction", "first answer right"],
            "rows": rows,
            "caption": f"The threshold of {threshold:.4f} has the highest F1 on the validation split. "
            "Every question here has a right answer, so abstaining from unanswerable questions is not measured.",
        }


def abstains(similarity, threshold):
    """Return whether a similarity is too low for an answer; arrays, or tensors in the graph of a model."""
    return similarity < threshold


class RankingEvaluation(Evaluation):
    """The ranked and the right answers to the question of each record.

    Args:
        answers: UTF-8 `(records, answers)`, best first, padded with empty strings.
        similarity: float32 `(records, answers)`.
        gold: the question and the right answer of each record, with whitespace normalized.
        threshold: the similarity below which the model abstains.
    """

    def __init__(self, answers: np.ndarray, similarity: np.ndarray, gold: Sequence[tuple[str, str]], threshold: float):
        self._ranking, self._records = ranking_of(answers, similarity, gold)
        self._answers, self._gold, self._threshold = answers, gold, threshold

    def values(self) -> dict[str, float]:
        """Return the mean of each metric over the questions."""
        return {name: float(values.mean()) for name, values in self._ranking.by_question().items()}

    def intervals(self) -> dict[str, dict[str, float]]:
        """Return the metrics with their bootstrap intervals over the questions."""
        return {name: _with_interval(values) for name, values in self._ranking.by_question().items()}

    def score_functions(self) -> dict[str, ScoreFunction]:
        """Return a function for each metric that computes it on resampled records.

        A question in several records counts as one question.
        """
        question_of = self._question_of()
        weights = 1 / np.bincount(question_of)[question_of]

        def mean_of(values: np.ndarray) -> ScoreFunction:
            by_record = values[question_of]
            return lambda records: float(weights[records] @ by_record[records] / weights[records].sum())

        return {name: mean_of(values) for name, values in self._ranking.by_question().items()}

    def record_scores(self) -> np.ndarray:
        """Return 1 / rank of the first right answer to the question of each record, 0 beyond rank 10."""
        return self._ranking.by_question()[MRR_AT_10.name][self._question_of()]

    def outcome(self, record: int) -> Outcome:
        """Return the right answer and the first answer of a record."""
        predicted = _decoded(self._answers[record, 0]) if self._answers.shape[1] else ""
        return Outcome(self._gold[record][1], predicted)

    def _question_of(self) -> np.ndarray:
        """Return the index of the question of each record, int `(records,)`."""
        index = {self._gold[record][0]: question for question, record in enumerate(self._records)}
        return np.asarray([index[question] for question, _ in self._gold])

    def sections(self) -> dict:
        """Return similarities, ranks and the effect of abstaining."""
        caption = "The less the two overlap, the better a threshold separates wrong answers from right ones."
        plot = {"title": "Similarity", "svg": similarity_plot(self._ranking, self._threshold), "caption": caption}
        return {
            "figures": [plot],
            "tables": [self._ranking.rank_table(), self._ranking.threshold_table(self._threshold)],
        }

    def mistakes(self) -> list[int]:
        """Return the first record of each question whose first answer is wrong, highest similarity first."""
        return self._records[self._ranking.worst()].tolist() if self._answers.shape[1] else []


def ranking_of(
    answers: np.ndarray, similarity: np.ndarray, gold: Sequence[tuple[str, str]]
) -> tuple[Ranking, np.ndarray]:
    """Compare ranked answers with the right ones; a question in several records has several right answers.

    Args:
        answers: UTF-8 `(records, answers)`, best first, padded with empty strings.
        similarity: float `(records, answers)`.
        gold: the question and a right answer of each record, with whitespace normalized.

    Returns:
        The ranking of the distinct questions, and the index of the first record of each, int `(questions,)`.
    """
    first: dict[str, int] = {}
    right: dict[str, set[str]] = {}
    for record, (question, answer) in enumerate(gold):
        first.setdefault(question, record)
        right.setdefault(question, set()).add(answer)
    is_right = []
    for question, record in first.items():
        texts = [normalize_whitespace(_decoded(answer)) for answer in answers[record]]
        is_right.append([text != "" and text in right[question] for text in texts])
    records = np.fromiter(first.values(), np.int64)
    width = similarity.shape[1]
    return Ranking(
        np.asarray(is_right, bool).reshape(len(records), width),
        np.asarray([len(right[question]) for question in first]),
        similarity[records, 0] if width else np.full(len(records), -1.0),
    ), records


def similarity_plot(ranking: Ranking, threshold: float) -> Markup:
    """Draw histograms of the similarity of right and wrong first answers, and the threshold for abstaining."""
    is_right, similarity = ranking.first_rank() == 1, ranking.similarity
    low, high = float(similarity.min()), float(similarity.max())
    bins = np.linspace(low, high if high > low else low + 1e-3, 31)
    with drawing.report_style():
        figure, axes = drawing.new_axes()
        groups = ((is_right, drawing.ACCENT, "first answer right"), (~is_right, drawing.WARN, "first answer wrong"))
        for is_shown, color, name in groups:
            axes.hist(similarity[is_shown], bins, color=color, alpha=0.5, label=name)
        if threshold > -1:
            axes.axvline(threshold, color=drawing.INK, linewidth=1.2, linestyle="--", label="threshold")
        axes.set(title="Questions by similarity of the first answer", xlabel="similarity")
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.legend(loc="best")
        return drawing.to_svg(figure, "Questions by similarity of the first answer")


def _with_interval(values: np.ndarray) -> dict[str, float]:
    return metrics.resampled(lambda records: float(values[records].mean()), len(values))


def _decoded(text: bytes) -> str:
    return text.decode("utf-8", "replace")
