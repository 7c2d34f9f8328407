"""What a file says of the answers to a question in, spans of characters of the context out."""

from collections import Counter
from typing import Any

from tfbert.text.cells import structured
from tfbert.text.columns import shown, shown_json

_WISH = (
    'wanted a list of {"text", "answer_start"}, of strings, or one string; [] or null where the context has no answer'
)
_START_KEYS = ("answer_start", "start")
_EXCERPT_CHARACTERS = 20
_TRUE, _FALSE = ("true", "1", "1.0", "yes"), ("false", "0", "0.0", "no", "", "nan", "null", "none")

Span = tuple[int, int]


def spans_of(answers: Any, start: Any, context: str) -> tuple[Span, ...]:
    """Return the different true answers, the most frequent first, of equally frequent ones the first.

    Args:
        answers: a list of `{"text", "answer_start"}` or of strings, `{"text": [...], "answer_start": [...]}`, or one
            string, which may hold such a list as JSON or as Python prints it; `None`, blank or an empty list where
            there is no answer.
        start: first character of the answer, if `answers` is one string and the file says where it is; a whole number,
            maybe as text; `None` otherwise.
        context: in which the answers are.

    Returns:
        First character and the one behind the last, of each.

    Raises:
        ValueError: another layout, an answer that is not where it is said to be, not in the context at all, or in it
            several times when nothing says which.
    """
    if answers is None or (isinstance(answers, str) and not answers.strip()):
        return ()
    if isinstance(answers, str) and answers not in context:
        held = structured(answers)
        answers = answers if held is None else held
    found = [_span(text, place, context) for text, place in _pairs(answers, start)]
    return tuple(span for span, _ in Counter(found).most_common())


def is_impossible(value: Any) -> bool:
    """Return what a file says of whether the context has no answer.

    Args:
        value: `true` or `false`, 0 or 1, also as text, as spreadsheets write them; `None`, blank or NaN say nothing.

    Raises:
        ValueError: something else.
    """
    if value is None or value != value:  # NaN, by which pandas writes what is missing
        return False
    text = str(value).strip().lower()
    if isinstance(value, list | dict) or text not in (*_TRUE, *_FALSE):
        raise ValueError(f"is_impossible is {shown_json(value)}; wanted true or false")
    return text in _TRUE


def _pairs(answers: Any, start: Any) -> list[tuple[Any, Any]]:
    """Return texts and what is said of their starts, from any of the layouts."""
    if isinstance(answers, str):
        return [(answers, start)]
    if isinstance(answers, dict) and isinstance(texts := answers.get("text"), list):
        # As the library `datasets` writes SQuAD.
        starts = _start_in(answers)
        starts = [None] * len(texts) if starts is None else starts
        if not isinstance(starts, list) or len(starts) != len(texts):
            said = f"answers have {len(texts)} texts and the starts {shown_json(starts)}"
            raise ValueError(f"{said}; wanted one start for each text")
        return list(zip(texts, starts, strict=True))
    answers = [answers] if isinstance(answers, dict) else answers
    if not isinstance(answers, list):
        raise ValueError(f"answers are {shown_json(answers)}; {_WISH}")
    return [(item.get("text"), _start_in(item)) if isinstance(item, dict) else (item, None) for item in answers]


def _start_in(item: dict) -> Any:
    return next((item[key] for key in _START_KEYS if item.get(key) is not None), None)


def _span(text: Any, start: Any, context: str) -> Span:
    if not isinstance(text, str):
        raise ValueError(f"an answer is {shown_json(text)}; {_WISH}")
    if not text.strip():
        raise ValueError(f"an answer is {shown(text)}; wanted at least one character that is not blank")
    places = _places(text, context)
    if not places:
        raise ValueError(f"answer {shown(text)} is not in the context; wanted a part of it, letter by letter")
    if start is None or start == "":
        if len(places) > 1:
            several = ", ".join(map(str, places[:5])) + ", ..." * (len(places) > 5)
            wish = "wanted an answer_start that says which"
            raise ValueError(f"answer {shown(text)} is in the context {len(places)} times, at {several}; {wish}")
        return places[0], places[0] + len(text)
    start = _number(start)
    if start not in places:
        there = context[start : start + max(len(text), 1)][:_EXCERPT_CHARACTERS]
        nearest = min(places, key=lambda place: abs(place - start))
        said = f"where the context has {there!r}" if there else f"beyond the context's {len(context)} characters"
        raise ValueError(f"answer {shown(text)} is not at answer_start {start}, {said}; the nearest is at {nearest}")
    return start, start + len(text)


def _number(start: Any) -> int:
    if isinstance(start, str) and start.strip().isdecimal():
        return int(start)
    if isinstance(start, bool) or not isinstance(start, int) or start < 0:
        raise ValueError(f"answer_start is {shown_json(start)}; wanted the first character's number, 0 or more")
    return start


def _places(text: str, context: str) -> list[int]:
    """Return every position at which a text begins, overlapping ones too."""
    places, at = [], context.find(text)
    while at >= 0:
        places.append(at)
        at = context.find(text, at + 1)
    return places
