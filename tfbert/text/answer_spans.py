"""Answers to a question as files give them, in any layout, and their spans of characters in the context."""

from collections import Counter
from typing import Any

from tfbert.text.cells import structured
from tfbert.text.columns import shown, shown_json

_EXPECTED = (
    'wanted a list of {"text", "answer_start"}, of strings, or one string; [] or null where the context has no answer'
)
_START_KEYS = ("answer_start", "start")
_EXCERPT_CHARACTERS = 20
_TRUE, _FALSE = ("true", "1", "1.0", "yes"), ("false", "0", "0.0", "no", "", "nan", "null", "none")

Span = tuple[int, int]


def spans_of(answers: Any, start: Any, context: str) -> tuple[Span, ...]:
    """Return the distinct true answers, the most frequent first; equally frequent answers stay in order.

    Args:
        answers: a list of `{"text", "answer_start"}` or of strings, `{"text": [...], "answer_start": [...]}`, or one
            string, which may hold such a list as JSON or as Python prints it; `None`, an empty list or a string of
            whitespace where there is no answer.
        start: the first character of the answer, if `answers` is one string and the file gives its position; a whole
            number, possibly as text; `None` otherwise.
        context: the text that contains the answers.

    Returns:
        The first character and the end, exclusive, of each answer.

    Raises:
        ValueError: another layout, an answer that is not at its stated position or not in the context at all, or an
            answer without a position that occurs several times.
    """
    if answers is None or (isinstance(answers, str) and not answers.strip()):
        return ()
    if isinstance(answers, str) and answers not in context:
        parsed = structured(answers)
        answers = answers if parsed is None else parsed
    spans = [_span(text, position, context) for text, position in _pairs(answers, start)]
    return tuple(span for span, _ in Counter(spans).most_common())


def is_impossible(value: Any) -> bool:
    """Return whether a file marks a question as one without an answer.

    Args:
        value: `true` or `false`, 0 or 1, also as text, as spreadsheets write them; `None`, whitespace and NaN count as
            false.

    Raises:
        ValueError: any other value.
    """
    if value is None or value != value:  # NaN, which pandas writes for a missing value
        return False
    text = str(value).strip().lower()
    if isinstance(value, list | dict) or text not in (*_TRUE, *_FALSE):
        raise ValueError(f"is_impossible is {shown_json(value)}; wanted true or false")
    return text in _TRUE


def _pairs(answers: Any, start: Any) -> list[tuple[Any, Any]]:
    """Return the texts of answers and their stated starts, from any of the layouts."""
    if isinstance(answers, str):
        return [(answers, start)]
    if isinstance(answers, dict) and isinstance(texts := answers.get("text"), list):
        # The layout of SQuAD in the library `datasets`.
        starts = _start_in(answers)
        starts = [None] * len(texts) if starts is None else starts
        if not isinstance(starts, list) or len(starts) != len(texts):
            raise ValueError(
                f"answers have {len(texts)} texts and the starts {shown_json(starts)}; wanted one start for each text"
            )
        return list(zip(texts, starts, strict=True))
    answers = [answers] if isinstance(answers, dict) else answers
    if not isinstance(answers, list):
        raise ValueError(f"answers are {shown_json(answers)}; {_EXPECTED}")
    return [(item.get("text"), _start_in(item)) if isinstance(item, dict) else (item, None) for item in answers]


def _start_in(item: dict) -> Any:
    return next((item[key] for key in _START_KEYS if item.get(key) is not None), None)


def _span(text: Any, start: Any, context: str) -> Span:
    if not isinstance(text, str):
        raise ValueError(f"an answer is {shown_json(text)}; {_EXPECTED}")
    if not text.strip():
        raise ValueError(f"an answer is {shown(text)}; wanted at least one character that is not blank")
    positions = _positions(text, context)
    if not positions:
        raise ValueError(f"answer {shown(text)} is not in the context; wanted a part of it, letter by letter")
    if start is None or start == "":
        if len(positions) > 1:
            several = ", ".join(map(str, positions[:5])) + ", ..." * (len(positions) > 5)
            raise ValueError(
                f"answer {shown(text)} is in the context {len(positions)} times, at {several}; "
                "wanted an answer_start that says which"
            )
        return positions[0], positions[0] + len(text)
    start = _number(start)
    if start not in positions:
        actual = context[start : start + max(len(text), 1)][:_EXCERPT_CHARACTERS]
        nearest = min(positions, key=lambda position: abs(position - start))
        place = f"where the context has {actual!r}" if actual else f"beyond the context's {len(context)} characters"
        raise ValueError(f"answer {shown(text)} is not at answer_start {start}, {place}; the nearest is at {nearest}")
    return start, start + len(text)


def _number(start: Any) -> int:
    if isinstance(start, str) and start.strip().isdecimal():
        return int(start)
    if isinstance(start, bool) or not isinstance(start, int) or start < 0:
        raise ValueError(f"answer_start is {shown_json(start)}; wanted the first character's number, 0 or more")
    return start


def _positions(text: str, context: str) -> list[int]:
    """Return every position at which a text begins, including overlapping occurrences."""
    positions, position = [], context.find(text)
    while position >= 0:
        positions.append(position)
        position = context.find(text, position + 1)
    return positions
