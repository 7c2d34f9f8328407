"""Answer spans: positions of answers in their context, parsed from all layouts of answers in files."""

import re
from collections import Counter
from typing import Any

from tfbert.text.readers.cells import parse_cell
from tfbert.text.readers.columns import shown, shown_json

_EXPECTED = (
    'expected a list of {"text", "answer_start"}, of strings, or one string; [] or null where the context has no answer'
)
_START_KEYS = ("answer_start", "start")
_EXCERPT_CHARACTERS = 20
# Approximates a word piece: up to six letters of a word, a character of another script, or a punctuation mark.
_PIECE = re.compile(r"[A-Za-z0-9]{1,6}|\S")
_TRUE, _FALSE = ("true", "1", "1.0", "yes"), ("false", "0", "0.0", "no", "", "nan", "null", "none")

Span = tuple[int, int]


def spans_of(answers: Any, start: Any, context: str) -> tuple[Span, ...]:
    """Return the spans of the distinct gold answers, sorted by frequency, then by order in the file.

    Args:
        answers: a list of `{"text", "answer_start"}` or of strings, `{"text": [...], "answer_start": [...]}`, or one
            string, which may contain such a list as JSON or as Python prints it; `None`, an empty list or whitespace if
            the question has no answer.
        start: the position of the answer's first character, an integer or its decimal text, if `answers` is one string
            and the file gives the position; `None` otherwise.
        context: the text that contains the answers.

    Returns:
        The position of the first character and the exclusive end of each answer.

    Raises:
        ValueError: `answers` has another layout, or an answer is not in the context, is not at its stated position, or
            occurs several times and has no position.
    """
    if answers is None or (isinstance(answers, str) and not answers.strip()):
        return ()
    if isinstance(answers, str) and answers not in context:
        parsed = parse_cell(answers)
        answers = answers if parsed is None else parsed
    spans = [_span(text, position, context) for text, position in _pairs(answers, start)]
    return tuple(span for span, _ in Counter(spans).most_common())


def num_pieces(answer: str) -> int:
    """Return approximately the number of word pieces of an answer in any vocabulary."""
    return len(_PIECE.findall(answer))


def is_impossible(value: Any) -> bool:
    """Return whether a file marks a question as one without an answer.

    Args:
        value: a boolean, 0 or 1, or one of these as text; `None`, whitespace and NaN count as false.

    Raises:
        ValueError: any other value.
    """
    if value is None or value != value:  # NaN, which pandas writes for a missing value
        return False
    text = str(value).strip().lower()
    if isinstance(value, list | dict) or text not in (*_TRUE, *_FALSE):
        raise ValueError(f"is_impossible is {shown_json(value)}; expected true or false")
    return text in _TRUE


def _pairs(answers: Any, start: Any) -> list[tuple[Any, Any]]:
    """Return the text and stated start of each answer; the start is `None` if the file does not state it."""
    if isinstance(answers, str):
        return [(answers, start)]
    if isinstance(answers, dict) and isinstance(texts := answers.get("text"), list):
        # SQuAD's layout in the `datasets` library.
        starts = _start_in(answers)
        starts = [None] * len(texts) if starts is None else starts
        if not isinstance(starts, list) or len(starts) != len(texts):
            raise ValueError(
                f"{len(texts)} answer texts but the starts {shown_json(starts)}; expected one start for each text"
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
        raise ValueError(f"an answer is {shown(text)}; expected at least one non-whitespace character")
    positions = _positions(text, context)
    if not positions:
        raise ValueError(f"answer {shown(text)} is not in the context; expected an exact excerpt from it")
    if start is None or start == "":
        if len(positions) > 1:
            several = ", ".join(map(str, positions[:5])) + ", ..." * (len(positions) > 5)
            raise ValueError(
                f"answer {shown(text)} occurs in the context {len(positions)} times, at {several}; "
                "expected an answer_start that selects one"
            )
        return positions[0], positions[0] + len(text)
    start = _number(start)
    if start not in positions:
        actual = context[start : start + max(len(text), 1)][:_EXCERPT_CHARACTERS]
        nearest = min(positions, key=lambda position: abs(position - start))
        reason = f"where the context has {actual!r}" if actual else f"beyond the context's {len(context)} characters"
        raise ValueError(
            f"answer {shown(text)} is not at answer_start {start}, {reason}; its nearest occurrence is at {nearest}"
        )
    return start, start + len(text)


def _number(start: Any) -> int:
    if isinstance(start, str) and start.strip().isdecimal():
        return int(start)
    if isinstance(start, bool) or not isinstance(start, int) or start < 0:
        raise ValueError(
            f"answer_start is {shown_json(start)}; expected the position of the first character, 0 or more"
        )
    return start


def _positions(text: str, context: str) -> list[int]:
    """Return the start of every occurrence of a text, including overlapping ones."""
    positions, position = [], context.find(text)
    while position >= 0:
        positions.append(position)
        position = context.find(text, position + 1)
    return positions


def has_whole_words(context: str, start: int, end: int) -> bool:
    """Return whether a span of a text starts and ends at word boundaries."""
    is_start = start == 0 or not (context[start - 1].isalnum() and context[start].isalnum())
    return is_start and (end == len(context) or not (context[end - 1].isalnum() and context[end].isalnum()))
