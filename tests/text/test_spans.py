"""Conversions between tags of words, character spans and tags of tokens; rejected tags."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfbert.text.spans import (
    Span,
    TagError,
    cuts_word,
    outermost,
    read_tag,
    scheme_of,
    spans_of_tags,
    tag_tokens,
    tags_of_types,
    token_ranges,
    trimmed,
    types_of_tags,
)

REPEATABLE = settings(deadline=None, derandomize=True, max_examples=300)
SCHEMES = ["iob1", "iob2", "iobes"]


def write_tags(spans, num_words, scheme):
    """Return the word tags that mark spans in a scheme."""
    tags = ["O"] * num_words
    previous = None
    for span in sorted(spans):
        touches = previous is not None and previous.end == span.start and previous.label == span.label
        for index in range(span.start, span.end):
            first, last = index == span.start, index == span.end - 1
            prefix = {
                "iob1": "B" if first and touches else "I",
                "iob2": "B" if first else "I",
                "iobes": "S" if first and last else "B" if first else "E" if last else "I",
            }[scheme]
            tags[index] = f"{prefix}-{span.label}"
        previous = span
    return tags


@st.composite
def sentences(draw):
    """Draw the number of words of a sentence and its entities, without overlap."""
    spans, position = [], 0
    for gap, length, label in draw(
        st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3), st.sampled_from(["per", "loc", "creative-work"])))
    ):
        spans.append(Span(position + gap, position + gap + length, label))
        position += gap + length
    return position + draw(st.integers(0, 2)), spans


@given(sentences(), st.sampled_from(SCHEMES))
@REPEATABLE
def test_every_scheme_gives_the_same_spans(sentence, scheme):
    num_words, spans = sentence
    assert spans_of_tags(write_tags(spans, num_words, scheme), scheme) == spans


@given(st.lists(sentences(), min_size=1), st.sampled_from(SCHEMES))
@REPEATABLE
def test_the_detected_scheme_reads_the_file(drawn, scheme):
    tags = [write_tags(spans, num_words, scheme) for num_words, spans in drawn]
    detected = scheme_of(tags)
    assert [spans_of_tags(sentence_tags, detected) for sentence_tags in tags] == [spans for _, spans in drawn]


@pytest.mark.parametrize(
    ("sentences", "expected"),
    [
        ([["B-x", "I-x", "O"]], "iob2"),
        ([["I-x", "I-x", "O"]], "iob1"),
        ([["I-x", "B-x", "O"]], "iob1"),
        ([["S-x", "O"], ["B-x", "E-x"]], "iobes"),
        ([["U-x", "O"], ["B-x", "L-x"]], "iobes"),
        ([["B-x"], ["B-x"], ["I-x"]], "iob2"),  # the last one is an error
        ([["B-x"], ["I-x"], ["I-x"]], "iob1"),
        ([["B-x", "I-x"], ["B-x", "I-x"], ["S-x"]], "iob2"),
        ([["O", "odd", ""]], "iob2"),
        ([], "iob2"),
    ],
)
def test_scheme_of_a_file(sentences, expected):
    assert scheme_of(sentences) == expected


@pytest.mark.parametrize(
    ("tags", "scheme", "expected"),
    [
        ("I-a I-b O", "iob1", [(0, 1, "a"), (1, 2, "b")]),
        ("B-a I-a", "iob1", [(0, 2, "a")]),
        ("B-a B-a I-a", "iob2", [(0, 1, "a"), (1, 3, "a")]),
        ("U-a B-a M-a L-a", "iobes", [(0, 1, "a"), (1, 4, "a")]),
        ("", "iob2", []),
    ],
)
def test_spans_of_tags(tags, scheme, expected):
    assert spans_of_tags(tags.split(), scheme) == [Span(*span) for span in expected]


@pytest.mark.parametrize(
    ("tags", "scheme", "index", "message"),
    [
        ("O I-a", "iob2", 1, "tag 'I-a' cannot follow 'O' in iob2; expected B-a, or --set data.tag_scheme=iob1"),
        ("I-a", "iob2", 0, "tag 'I-a' cannot follow the beginning of a sentence in iob2; expected B-a, "),
        ("B-a I-b", "iob2", 1, "tag 'I-b' cannot follow 'B-a' in iob2; expected B-b, "),
        ("B-a E-a", "iob2", 1, "tag 'E-a' cannot follow 'B-a' in iob2; expected B-a or I-a, or --set .*=iobes"),
        ("B-a O", "iobes", 1, "tag 'O' cannot follow 'B-a' in iobes; expected I-a or E-a after B-a"),
        ("S-a I-a", "iobes", 1, "tag 'I-a' cannot follow 'S-a' in iobes; expected B-a or S-a first"),
        ("S-a B-a I-a", "iobes", 2, "tag 'I-a' cannot end a sentence in iobes; expected I-a or E-a after I-a"),
        ("O PER", "iob1", 1, "tag 'PER' is neither O nor B-, I-, E- or S- with a type"),
        ("O B-", "iob2", 1, "tag 'B-' is neither"),
        ("X-a", "iob2", 0, "tag 'X-a' is neither"),
    ],
)
def test_an_invalid_tag_is_rejected_with_its_position(tags, scheme, index, message):
    with pytest.raises(TagError, match=message) as caught:
        spans_of_tags(tags.split(), scheme)
    assert caught.value.index == index


def test_a_type_may_contain_hyphens():
    assert read_tag("B-creative-work") == ("B", "creative-work")


any_spans = st.lists(
    st.builds(lambda start, length, label: Span(start, start + length, label), *[st.integers(0, 12), st.integers(1, 6)],
              st.sampled_from("ab"))
)  # fmt: skip


@given(any_spans)
@REPEATABLE
def test_outermost_drops_only_spans_that_overlap_a_longer_one(spans):
    kept = outermost(spans)
    assert kept == sorted(kept)
    assert all(one.end <= two.start for one, two in zip(kept, kept[1:], strict=False))
    for span in set(spans) - set(kept):
        assert any(
            span.start < other.end and other.start < span.end and other.end - other.start >= span.end - span.start
            for other in kept
        )


def test_outermost_of_nested_crossing_and_equal_spans():
    inner, outer, crossing = Span(3, 5, "a"), Span(0, 6, "b"), Span(5, 9, "a")
    assert outermost([inner, outer, crossing]) == [outer]
    assert outermost([Span(1, 3, "b"), Span(1, 3, "a"), Span(3, 4, "c")]) == [Span(1, 3, "b"), Span(3, 4, "c")]


@pytest.mark.parametrize(
    ("start", "end", "expected"), [(0, 4, (1, 3)), (1, 3, (1, 3)), (3, 7, (4, 7)), (3, 4, (3, 4)), (6, 8, (6, 7))]
)
def test_trimmed(start, end, expected):
    assert trimmed(Span(start, end, "x"), " ab cde ")[:2] == expected


@pytest.mark.parametrize(
    ("text", "position", "expected"),
    [
        ("abc", 1, True),
        ("abc", 0, False),
        ("abc", 3, False),
        ("a b", 1, False),
        ("a-b", 1, False),
        ("a$b", 2, False),
        ("a€b", 2, True),  # to BERT, a non-ASCII symbol is part of a word
        ("东京", 1, False),
        ("2京", 1, False),
        ("タワー", 1, True),
        ("東タ", 1, False),
        ("cafe\u0301s", 5, True),
        ("한국", 1, True),
    ],
)
def test_cuts_word(text, position, expected):
    assert cuts_word(text, position) is expected


def test_tags_of_types():
    assert tags_of_types(["a", "b-c"]) == ["O", "B-a", "I-a", "B-b-c", "I-b-c"]


def test_spans_have_token_ranges_and_tags():
    # Trump2016 hotel New York  as  #  trump ##2016  hotel  new  york
    starts, ends = np.array([0, 1, 6, 11, 17, 21]), np.array([1, 6, 10, 16, 20, 25])
    spans = [Span(1, 6, "a"), Span(8, 10, "b"), Span(17, 25, "a")]
    ranges = token_ranges(starts, ends, spans)
    assert ranges == [(1, 2), (2, 3), (4, 6)]  # the second begins inside a piece, which belongs to it
    assert tag_tokens(ranges, [0, 1, 0], 6).tolist() == [0, 1, 3, 0, 1, 2]


def test_a_piece_belongs_to_the_first_span_that_overlaps_it():
    starts, ends = np.array([0, 5]), np.array([4, 9])
    ranges = token_ranges(starts, ends, [Span(0, 2, "a"), Span(2, 4, "b"), Span(4, 5, "a"), Span(5, 9, "b")])
    assert ranges == [(0, 1), (1, 1), (1, 1), (1, 2)]
    assert tag_tokens(ranges, [0, 1, 0, 1], 2).tolist() == [1, 3]
    assert token_ranges(np.zeros(0, int), np.zeros(0, int), [Span(0, 2, "a")]) == [(0, 0)]


@given(st.lists(st.integers(0, 3), max_size=12), any_spans)
@REPEATABLE
def test_spans_with_token_boundaries_survive_tagging(lengths, drawn):
    # Spans with token boundaries, as a model predicts them.
    ends = np.cumsum(np.asarray([length + 1 for length in lengths], int))
    starts = ends - [length + 1 for length in lengths]
    by_token = [span for span in outermost(drawn) if span.end <= len(lengths)]
    spans = [Span(int(starts[span.start]), int(ends[span.end - 1]), span.label) for span in by_token]
    ranges = token_ranges(starts, ends, spans)
    assert ranges == [span[:2] for span in by_token]
    tags = tag_tokens(ranges, ["ab".index(span.label) for span in spans], len(lengths))
    named = np.array(tags_of_types("ab"))[tags].tolist()
    assert spans_of_tags(named, "iob2") == by_token


def test_types_of_tags_in_any_order():
    assert types_of_tags(["I-b-c", "B-a", "O", "B-b-c"]) == ("b-c", "a")
    assert types_of_tags(tags_of_types(["z", "a"])) == ("z", "a")
    for tags in (["O", "E-a", "B-a"], ["O", ""], ["O", "B"], ["O", "B-"]):
        with pytest.raises(ValueError, match="expected O, B-TYPE or I-TYPE"):
            types_of_tags(tags)
