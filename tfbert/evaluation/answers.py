"""Evaluation of extractive question answering: exact match and F1, no-answer threshold, and mistakes."""

import functools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from tfbert.evaluation import drawing, metrics, squad
from tfbert.evaluation.formatting import percent
from tfbert.evaluation.metric import Confidences, Evaluation, LabelledSpan, Metric, Outcome, ScoreFunction

F1 = Metric("f1", "higher", "fraction", "mean F1 of the words of predicted and true answers, as in SQuAD", title="F1")
EXACT_MATCH = Metric(
    "exact_match",
    "higher",
    "fraction",
    "fraction of answers that equal a true answer, ignoring case, articles and punctuation",
    forecast="{} similar questions to get exactly a right answer",
)
HAS_ANSWER_F1 = Metric(
    "has_answer_f1", "higher", "fraction", "mean F1 of the questions that have an answer", title="has answer F1"
)
HAS_ANSWER_EXACT_MATCH = Metric(
    "has_answer_exact_match", "higher", "fraction", "exact match of the questions that have an answer"
)
NO_ANSWER_ACCURACY = Metric(
    "no_answer_accuracy", "higher", "fraction", "fraction of questions without an answer for which none is predicted"
)
METRICS = (F1, EXACT_MATCH, HAS_ANSWER_F1, HAS_ANSWER_EXACT_MATCH, NO_ANSWER_ACCURACY)
_ANSWER, _NO_ANSWER = "(answer)", "(no answer)"
_QUESTION_WORDS = ("how many", "how much", "how", "what", "which", "whose", "whom", "who", "when", "where", "why")
_LENGTHS = {"1 word": 1, "2 words": 2, "3 to 5 words": 5, "6 to 10 words": 10, "more than 10 words": math.inf}
# A context without words gets no answer at any threshold, and its huge margin would dominate the figure.
_LARGEST_MARGIN = 1e3


@dataclass(frozen=True, slots=True)
class Gold:
    """The question and the true answers of a record.

    Args:
        question: text for the report.
        answers: the true answers, the most frequent first; empty where the context has no answer.
        spans: where the answers are in the context.
    """

    question: str
    answers: tuple[str, ...]
    spans: tuple[LabelledSpan, ...] = ()


class AnswerEvaluation(Evaluation):
    """The predicted and the true answers of each record.

    Args:
        outputs: the served outputs by name.
        gold: the question and the true answers of each record.
        threshold: the margin above which no answer is given; infinity if every question has an answer.
    """

    def __init__(self, outputs: Mapping[str, np.ndarray], gold: Sequence[Gold], threshold: float):
        self._outputs, self._gold, self._threshold = outputs, gold, threshold

    def values(self) -> dict[str, float]:
        """Return the metrics, those for questions with and without an answer only if the records have both kinds."""
        return {name: float(values.mean()) for name, values in self._by_kind().items()}

    def intervals(self) -> dict[str, dict[str, float]]:
        """Return the same metrics with intervals over resampled records."""
        return {
            name: metrics.resampled(lambda records, values=values: float(values[records].mean()), len(values))
            for name, values in self._by_kind().items()
        }

    def score_functions(self) -> dict[str, ScoreFunction]:
        """Return a function for each metric that computes it on resampled records."""
        return {name: _mean_of(values, is_counted) for name, (values, is_counted) in self._by_record.items()}

    def record_scores(self) -> np.ndarray:
        """Return SQuAD's F1 of each record."""
        return self._by_record[F1.name][0]

    def outcome(self, record: int) -> Outcome:
        """Return the true answers and the predicted answer of a record."""
        gold, outputs = self._gold[record], self._outputs
        (predicted,) = _texts(outputs["best_answer"][record : record + 1])
        is_answered = bool(predicted)
        probability = outputs["probability"][record, 0] if is_answered else outputs["no_answer_probability"][record]
        kinds = _ANSWER if gold.answers else _NO_ANSWER, _ANSWER if is_answered else _NO_ANSWER
        span = LabelledSpan(int(outputs["start"][record, 0]), int(outputs["end"][record, 0]))
        return Outcome(
            " / ".join(gold.answers) or _NO_ANSWER,
            predicted or _NO_ANSWER,
            float(probability),
            gold.spans,
            (span,) if is_answered else (),
            confused=(kinds,),
        )

    def sections(self) -> dict:
        """Return scores by question word and answer length, F1 by threshold, and reliability."""
        gold = [item.answers for item in self._gold]
        predicted, probabilities = self._predictions()
        scores = squad.score_all(predicted, gold)
        return {
            "reliability": metrics.reliability_of(probabilities, scores["exact_match"] == 1),
            "tables": [
                question_word_table(scores, [item.question for item in self._gold]),
                length_table(scores, gold),
            ],
            "figures": self._figures(),
        }

    def confidences(self) -> Confidences:
        """Return the probability of the best span of each question, which is wrong if the question has no answer."""
        spans, gold = _texts(self._outputs["answer"][:, 0]), [item.answers for item in self._gold]
        is_right = [bool(true) and squad.exact_match(span, true) == 1 for span, true in zip(spans, gold, strict=True)]
        return Confidences(self._outputs["probability"][:, 0], np.array(is_right))

    def mistakes(self) -> list[int]:
        """Return the questions with an F1 below 1, lowest F1 first, then the highest probability."""
        f1, (_, probabilities) = self.record_scores(), self._predictions()
        return [int(record) for record in np.lexsort((-probabilities, f1)) if f1[record] < 1]

    @property
    def _best(self) -> list[str]:
        """The best span of each record, even if no answer is given. The metrics do not need it."""
        return _texts(self._outputs["answer"][:, 0])

    def _predictions(self) -> tuple[list[str], np.ndarray]:
        """Return the predicted answers, empty where none is given, and their probabilities."""
        outputs, predicted = self._outputs, _texts(self._outputs["best_answer"])
        is_answered = np.array([bool(text) for text in predicted])
        return predicted, np.where(is_answered, outputs["probability"][:, 0], outputs["no_answer_probability"])

    def _by_kind(self) -> dict[str, np.ndarray]:
        """Return the values that each metric averages, by name: of all records, and of those with or without answer."""
        return {name: values[is_counted] for name, (values, is_counted) in self._by_record.items()}

    @functools.cached_property
    def _by_record(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Return the value of each record and whether the metric counts the record, by name of the metric."""
        scores = squad.score_all(_texts(self._outputs["best_answer"]), [item.answers for item in self._gold])
        f1, exact_match = scores["f1"], scores["exact_match"]
        has_answer = np.array([bool(item.answers) for item in self._gold])
        is_any = np.ones(len(has_answer), bool)
        values = {F1.name: (f1, is_any), EXACT_MATCH.name: (exact_match, is_any)}
        if has_answer.all() or not has_answer.any():
            return values
        return values | {
            HAS_ANSWER_F1.name: (f1, has_answer),
            HAS_ANSWER_EXACT_MATCH.name: (exact_match, has_answer),
            NO_ANSWER_ACCURACY.name: (exact_match, ~has_answer),
        }

    def _figures(self) -> list[dict]:
        """Return F1 by threshold, if there is a threshold and the records have questions with and without an answer."""
        gold = [item.answers for item in self._gold]
        has_answer = np.array([bool(answers) for answers in gold])
        if math.isinf(self._threshold) or has_answer.all() or not has_answer.any():
            return []
        best = squad.score_all(self._best, gold)["f1"]
        curve = squad.threshold_curve(self._outputs["no_answer_margin"], best, has_answer)
        return [threshold_figure(curve, self._threshold)]


def best_threshold(best_answers: Sequence[str], margins: np.ndarray, gold: Sequence[Gold]) -> float:
    """Return the margin above which giving no answer has the highest F1; infinity if every question has an answer.

    Args:
        best_answers: the text of the best span of each record.
        margins: the logit of no answer minus that of the best span, float32 `(records,)`.
        gold: the question and the true answers of each record.
    """
    if all(item.answers for item in gold):
        return math.inf
    best = squad.score_all(best_answers, [item.answers for item in gold])["f1"]
    empty = np.array([squad.f1("", item.answers) for item in gold])
    return squad.best_threshold(margins, best, empty)


def question_word_table(scores: Mapping[str, np.ndarray], questions: Sequence[str]) -> dict:
    """Return a table of the scores by question word, the most frequent first.

    Args:
        scores: `f1` and `exact_match` of every record.
        questions: the questions of the same records.
    """
    words = np.array([question_word(question) for question in questions])
    rows = [_row(word, scores, words == word) for word in np.unique(words)]
    rows.sort(key=lambda row: -row[1])
    caption = 'The first English question word; "other" includes all questions in other languages.'
    return _table("Scores by question word", "question word", rows, caption)


def length_table(scores: Mapping[str, np.ndarray], answers: Sequence[Sequence[str]]) -> dict:
    """Return a table of the scores by the length of the true answer.

    Args:
        scores: `f1` and `exact_match` of every record.
        answers: the true answers of the same records, the most frequent first.
    """
    num_words = np.array([len(texts[0].split()) if texts else 0 for texts in answers])
    rows, previous = [], -1
    for name, max_words in {"no answer": 0, **_LENGTHS}.items():
        is_in_group = (num_words > previous) & (num_words <= max_words)
        previous = max_words
        if is_in_group.any():
            rows.append(_row(name, scores, is_in_group))
    caption = "The number of words, separated by whitespace, of the true answer, or of the most frequent of several."
    return _table("Scores by answer length", "true answer", rows, caption)


def question_word(question: str) -> str:
    """Return the first English question word of a question; `other` where there is none."""
    words = " ".join(["", *re.findall(r"[^\W_]+", question.lower()), ""])
    positions = {word: words.find(f" {word} ") for word in _QUESTION_WORDS}
    # `min` prefers the first of equal positions, and "how many" precedes "how" in the tuple.
    return min((word for word, position in positions.items() if position >= 0), key=positions.get, default="other")


def threshold_figure(curve: Mapping[str, np.ndarray], threshold: float) -> dict:
    """Return a figure of F1 by no-answer threshold.

    Args:
        curve: as returned by `squad.threshold_curve`.
        threshold: the threshold in use.
    """
    caption = (
        "The margin is the logit of no answer minus that of the best answer; a lower threshold gives fewer answers. "
        "The threshold in use has the highest F1 on the validation split."
    )
    return {"title": "No-answer threshold", "svg": _curve(curve, threshold), "caption": caption}


def _curve(curve: Mapping[str, np.ndarray], threshold: float) -> Markup:
    styles = {
        "all": ("all questions", drawing.ACCENT, "-", 1.8),
        "has_answer": ("with an answer", drawing.INK, "--", 1.3),
        "no_answer": ("without an answer", drawing.MUTED, ":", 1.5),
    }
    shown = np.abs(curve["threshold"]) < _LARGEST_MARGIN
    with drawing.report_style():
        figure, axes = drawing.new_axes(width=400)
        for name, (label, color, line, width) in styles.items():
            points = curve["threshold"][shown], curve[name][shown]
            axes.plot(*points, color=color, linestyle=line, linewidth=width, label=label, drawstyle="steps-post")
        axes.axvline(threshold, color=drawing.WARN, linewidth=1.2, linestyle=":", label=f"in use: {threshold:.2f}")
        axes.set(ylim=(-0.02, 1.03), title="F1 by no-answer threshold", xlabel="margin above which no answer is given")
        axes.yaxis.set_major_formatter(drawing.PercentFormatter())
        axes.legend(loc="best")
        return drawing.to_svg(figure, "F1 by no-answer threshold")


def _mean_of(values: np.ndarray, is_counted: np.ndarray) -> ScoreFunction:
    """Return the mean of the values that count, as a function of records; 0 if none of them counts."""

    def mean(records: np.ndarray) -> float:
        counted = records[is_counted[records]]
        return float(values[counted].mean()) if len(counted) else 0.0

    return mean


def _row(name: str, scores: Mapping[str, np.ndarray], is_in_group: np.ndarray) -> list:
    means = [percent(scores[metric][is_in_group].mean()) for metric in ("f1", "exact_match")]
    return [str(name), int(is_in_group.sum()), *means]


def _table(title: str, first_column: str, rows: list, caption: str) -> dict:
    return {
        "title": title,
        "columns": [first_column, "questions", "F1", "exact match"],
        "rows": rows,
        "caption": caption,
    }


def _texts(values: np.ndarray) -> list[str]:
    return [value.decode("utf-8", "replace") for value in values]
