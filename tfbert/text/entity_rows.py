"""Parser for named entity records in CoNLL columns, JSON spans or CLUENER's layout."""

import functools
import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tfbert.config import DataConfig
from tfbert.text.readers.cells import parse_cell
from tfbert.text.readers.columns import Column, shown, shown_json
from tfbert.text.readers.conll import TAG
from tfbert.text.readers.rows import Row, RowError
from tfbert.text.records import TEXT, Record, one_label_of, text_of
from tfbert.text.spans import Span, TagError, outermost, scheme_of, spans_of_tags, trimmed

COLUMNS = (
    Column(TEXT.role, TEXT.usual_names, required=False),
    Column("words", "words, tokens", required=False),
    Column("tags", "tags, ner_tags", required=False, is_target=True),
    Column("entities", "entities, spans, annotations, label, labels", required=False, is_target=True),
)
# Keys of an entity in the files of various annotation tools.
_START, _END, _LABEL = ("start", "start_offset"), ("end", "end_offset"), ("label", "type", "entity", "labels")


class EntityRows:
    """Parser for the rows of one file; the target of a record is the tuple of its spans in file order.

    Args:
        data: data settings with the notation of spans and tags.
        rows: function that returns an iterator over all rows of the file, from which the tag scheme is detected if
            `data` does not give it.
    """

    def __init__(self, data: DataConfig, rows: Callable[[], Iterable[Row]]):
        self._data, self._rows = data, rows

    def __call__(self, row: Row) -> Record:
        """Return the record of a row with `words` and `tags`, or with `text` and `entities`.

        Raises:
            RowError: a tag is invalid; `where` is the line of its word.
            ValueError: the row is invalid for another reason.
        """
        # A text may be in brackets, so it is not parsed; only words, tags and entities may be lists or objects.
        values = {role: value if role == TEXT.role else _parsed(value) for role, value in row.values.items()}
        has_spans = isinstance(values.get("entities"), list | dict)
        if isinstance(values.get("words"), list) and (values.get("tags") is not None or not has_spans):
            text, spans = self._from_words(row, values["words"], values.get("tags"))
        elif has_spans:
            text = text_of(row)
            spans = [_checked(span, text, stated, self._data) for span, stated in self._spans(values["entities"])]
        else:
            raise ValueError(_missing(row))
        if self._data.nested_spans == "refuse" and len(kept := outermost(spans)) < len(set(spans)):
            inner = next(span for span in spans if span not in kept)
            described = f"[{inner.start}:{inner.end}] {shown(text[inner.start : inner.end])}"
            raise ValueError(f"entity {described} overlaps another, which data.nested_spans=refuse forbids")
        return Record(text, tuple(dict.fromkeys(spans)), row.where)

    def _from_words(self, row: Row, words: list, tags: Any) -> tuple[str, list[Span]]:
        """Return the text of joined words and the spans of its entities."""
        if not isinstance(tags, list) or len(tags) != len(words):
            count = len(tags) if isinstance(tags, list) else "no"
            raise ValueError(f"{len(words)} words and {count} tags; expected a tag for every word")
        for value in (*words, *tags):
            if not isinstance(value, str) or not value:
                hint = "; give the names of integer tags with --set data.label_names=O,B-...,I-..."
                hint = hint if type(value) is int else ""
                raise ValueError(f"{shown_json(value)} among words and tags; expected strings{hint}")
        separators = row.values.get("separators") or [self._data.word_separator] * len(words)
        joined = "".join(itertools.chain.from_iterable(zip(words, separators, strict=True)))
        text = text_of(Row(row.where, {"text": joined.removesuffix(separators[-1] if separators else "")}))
        try:
            word_spans = spans_of_tags(tags, self._scheme)
        except TagError as error:
            word = shown(words[error.index])
            lines = row.values.get("lines")
            where = f"{row.where.rpartition(':')[0]}:{lines[error.index]}" if lines else row.where
            raise RowError(f"{error} for the word {word}", where) from None
        starts, position = [], 0
        for word, separator in zip(words, separators, strict=True):
            starts.append(position)
            position += len(word) + len(separator)
        return text, [
            Span(starts[span.start], starts[span.end - 1] + len(words[span.end - 1]), span.label) for span in word_spans
        ]

    @functools.cached_property
    def _scheme(self) -> str:
        if self._data.tag_scheme != "auto":
            return self._data.tag_scheme
        sentences = (row.values.get("tags") for row in self._rows())
        return scheme_of([tag for tag in tags if isinstance(tag, str)] for tags in sentences if isinstance(tags, list))

    def _spans(self, entities: list | Mapping) -> Iterable[tuple[Span, Any]]:
        """Yield the span of each entity and the text that the file states for it, or `None`.

        Source: CLUENER2020, Xu et al. 2020, for dicts: type to text to `[start, end]` pairs with inclusive ends.
        """
        if isinstance(entities, list):
            inclusive = self._data.span_end == "inclusive"
            for index, item in enumerate(entities):
                yield _span_of(item, f"entities[{index}]", inclusive)
            return
        for label, by_text in entities.items():
            if not isinstance(by_text, Mapping) or not all(isinstance(pairs, list) for pairs in by_text.values()):
                raise ValueError(f"{shown(label)} is {shown_json(by_text)}; expected texts with lists of [start, end]")
            for stated, pairs in by_text.items():
                for pair in pairs:
                    yield _span_of([*pair, label] if isinstance(pair, list) else pair, shown(label), True)[0], stated


def _parsed(value: Any) -> Any:
    """Return the list or object that a table cell contains, or the value itself."""
    parsed = parse_cell(value) if isinstance(value, str) else None
    return value if parsed is None else parsed


def _missing(row: Row) -> str:
    """Return the error message for a row that has neither entities nor words with tags."""
    entities = row.values.get("entities")
    expected = "expected a text and a list of entities, or lists of words and tags"
    hint = ""
    if isinstance(entities, str) and TAG.fullmatch(entities.strip()):
        hint = "; for files with one word and its tag per line use --set data.format=conll"
    if not row.values.keys() & {"entities", "words", "tags"}:
        return f"none of the columns or keys that the task reads; {expected} (see data.columns)"
    return f"entities is {shown_json(entities)}; {expected}{hint}"


def _span_of(item: Any, name: str, inclusive: bool) -> tuple[Span, Any]:
    """Return the span of an entity and the text that the file states for it, or `None`."""
    if isinstance(item, list):
        start, end, label, stated = (*item, None) if len(item) == 3 else (None, None, None, None)
    elif isinstance(item, Mapping):
        start, end, label = (next((item[key] for key in keys if key in item), None) for keys in (_START, _END, _LABEL))
        stated = item.get("text")
    else:
        start, end, label, stated = None, None, None, None
    if type(start) is not int or type(end) is not int or label is None:
        raise ValueError(f"{name} is {shown_json(item)}; expected start and end as integers and label as a string")
    return Span(start, end + inclusive, one_label_of(label)), stated


def _checked(span: Span, text: str, stated: Any, data: DataConfig) -> Span:
    """Return a span after checking that it lies inside the text and covers the stated text.

    Raises:
        ValueError: the span is outside the text, contains only whitespace, or does not cover the stated text.
    """
    described = f"entity [{span.start}:{span.end}] {shown(span.label)}"
    if not 0 <= span.start <= span.end <= len(text):
        raise ValueError(f"{described} is outside the text; expected positions from 0 to {len(text)}")
    if not text[span.start : span.end].strip():
        covered = shown(text[span.start : span.end])
        raise ValueError(f"{described} is {covered}; expected at least one non-whitespace character")
    actual = text[span.start : span.end]
    if isinstance(stated, str) and stated != actual:
        hint = ""
        if text[span.start : span.end + 1] == stated and data.span_end == "exclusive":
            hint = ", or --set data.span_end=inclusive"
        raise ValueError(
            f"{described} is {shown(actual)} but the file states {shown(stated)}; expected the same text{hint}"
        )
    return span


def spans_in(record: Record) -> list[Span]:
    """Return the spans that are learned from a record: trimmed of whitespace, and the outermost of overlapping ones."""
    return outermost(dict.fromkeys(trimmed(span, record.text) for span in record.target))
