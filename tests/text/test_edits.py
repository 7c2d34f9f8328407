"""Edits of texts, and spans after them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfbert.text.edits import Edit, apply_edits, keeping_spans, shifted

TEXT = "in New York now"
SPAN = (3, 11)


@pytest.mark.parametrize(
    ("edits", "text", "span_text"),
    [
        ([], TEXT, "New York"),
        ([Edit(0, 0, "so, ")], "so, in New York now", "New York"),
        ([Edit(3, 3, "_")], "in _New York now", "New York"),
        ([Edit(11, 11, "_")], "in New York_ now", "New York"),
        ([Edit(3, 11, "Rome")], "in Rome now", "Rome"),
        ([Edit(6, 7, "  "), Edit(12, 15, "")], "in New  York ", "New  York"),
        ([Edit(2, 3, "  "), Edit(4, 5, "")], "in  Nw York now", "Nw York"),
        ([Edit(0, 4, "i")], "iew York now", "iew York"),
        ([Edit(10, 13, "KK")], "in New YorKKow", "New YorKK"),
        ([Edit(0, 15, "here")], "here", "here"),
    ],
)
def test_a_span_moves_with_the_edits(edits, text, span_text):
    assert apply_edits(TEXT, edits) == text
    start, end = shifted(*SPAN, edits)
    assert text[start:end] == span_text


def test_edits_that_cross_a_border_or_delete_a_span_are_left_out():
    inside, outside = Edit(4, 5, ""), Edit(0, 3, "")
    crossing, blanking, replacing = Edit(10, 13, "KK"), Edit(3, 11, " "), Edit(3, 11, "Rome")
    assert keeping_spans([SPAN], [outside, inside, crossing]) == [outside, inside]
    assert keeping_spans([SPAN], [blanking]) == []
    assert keeping_spans([SPAN], [replacing]) == [replacing]
    assert keeping_spans([SPAN, (0, 2)], [outside]) == []


@settings(deadline=None, derandomize=True)
@given(st.text("ab ", min_size=3, max_size=12), st.data())
def test_characters_of_a_span_that_are_not_edited_stay_in_it(text, data):
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    borders = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    pairs = list(zip(borders[::2], borders[1::2], strict=False))
    edits = [Edit(*pair, "-" * data.draw(st.integers(0, 3))) for pair in dict.fromkeys(pairs)]
    edits = [edit for edit in keeping_spans([(start, end)], edits) if edit.start < edit.end]
    new_start, new_end = shifted(start, end, edits)
    inside = [Edit(e.start - start, e.end - start, e.replacement) for e in edits if start <= e.start and e.end <= end]
    assert apply_edits(text, edits)[new_start:new_end] == apply_edits(text[start:end], inside)
