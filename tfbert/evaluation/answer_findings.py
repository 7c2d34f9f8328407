"""Scores of extracted answers in, what the report page shows of them out: tables by kind, and the threshold's curve."""

import math
import re
from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.ticker import FuncFormatter

from tfbert.evaluation import drawing

_QUESTION_WORDS = ("how many", "how much", "how", "what", "which", "whose", "whom", "who", "when", "where", "why")
_LENGTHS = {"1 word": 1, "2 words": 2, "3 to 5 words": 5, "6 to 10 words": 10, "more than 10 words": math.inf}
# A context without a word has no answer by any threshold; its margin would squeeze all others together.
_LARGEST_MARGIN = 1e3


def by_question_word(scores: Mapping[str, np.ndarray], questions: Sequence[str]) -> dict:
    """Return a table of the scores by the word that asks, the most frequent first.

    Args:
        scores: `f1` and `exact_match` of every record.
        questions: of the same records.
    """
    words = np.array([question_word(question) for question in questions])
    rows = [_row(word, scores, words == word) for word in np.unique(words)]
    rows.sort(key=lambda row: -row[1])
    caption = "The first English question word of each question; other languages are all other."
    return _table("By question word", "question word", rows, caption)


def by_length(scores: Mapping[str, np.ndarray], answers: Sequence[Sequence[str]]) -> dict:
    """Return a table of the scores by the length of the true answer.

    Args:
        scores: `f1` and `exact_match` of every record.
        answers: the true ones of the same records, the most frequent first.
    """
    sizes = np.array([len(texts[0].split()) if texts else 0 for texts in answers])
    rows, low = [], -1
    for name, most in {"no answer": 0, **_LENGTHS}.items():
        chosen = (sizes > low) & (sizes <= most)
        low = most
        if chosen.any():
            rows.append(_row(name, scores, chosen))
    caption = "Words, as blanks separate them, of the true answer; of several true answers, of the most frequent."
    return _table("By length of the answer", "true answer", rows, caption)


def question_word(question: str) -> str:
    """Return the English word that asks, the first of them wherever it stands; `other` where there is none."""
    words = " ".join(["", *re.findall(r"[^\W_]+", question.lower()), ""])
    places = {word: words.find(f" {word} ") for word in _QUESTION_WORDS}
    # Of two at the same place the longer, such as "how many", is listed first.
    return min((word for word, place in places.items() if place >= 0), key=places.get, default="other")


def threshold_figure(curve: Mapping[str, np.ndarray], threshold: float) -> dict:
    """Return a figure of F1 by the threshold between an answer and none.

    Args:
        curve: as `squad.threshold_curve` gives it.
        threshold: that the model uses.
    """
    caption = (
        "The margin is the logit of no answer less that of the best answer; a lower threshold refuses more. "
        "The one in use is the best on validation."
    )
    return {"title": "An answer or none", "svg": _curve(curve, threshold), "caption": caption}


def _curve(curve: Mapping[str, np.ndarray], threshold: float) -> Markup:
    looks = {
        "all": ("all questions", drawing.ACCENT, "-", 1.8),
        "has_answer": ("with an answer", drawing.INK, "--", 1.3),
        "no_answer": ("without an answer", drawing.MUTED, ":", 1.5),
    }
    shown = np.abs(curve["threshold"]) < _LARGEST_MARGIN
    with drawing.report_style():
        figure, axes = drawing.new_axes(width=400)
        for name, (label, color, line, width) in looks.items():
            points = curve["threshold"][shown], curve[name][shown]
            axes.plot(*points, color=color, linestyle=line, linewidth=width, label=label, drawstyle="steps-post")
        axes.axvline(threshold, color=drawing.WARN, linewidth=1.2, linestyle=":", label=f"in use: {threshold:.2f}")
        axes.set(ylim=(-0.02, 1.03), title="F1 by threshold", xlabel="margin above which no answer is given")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f} %"))
        axes.legend(loc="best")
        return drawing.to_svg(figure, "F1 by the threshold between an answer and none")


def _row(name: str, scores: Mapping[str, np.ndarray], chosen: np.ndarray) -> list:
    shares = [f"{100 * scores[metric][chosen].mean():.1f} %" for metric in ("f1", "exact_match")]
    return [str(name), int(chosen.sum()), *shares]


def _table(title: str, first: str, rows: list, caption: str) -> dict:
    return {"title": title, "columns": [first, "questions", "F1", "exact match"], "rows": rows, "caption": caption}
