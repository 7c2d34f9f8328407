"""Table cells with lists, sets and objects in the notations of various programs."""

import pytest

from tfbert.text.readers.cells import parse_cell


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ('["late", "wet"]', ["late", "wet"]),
        ("['late', 'wet']", ["late", "wet"]),
        (" ['late' 'wet'\n 'cold'] ", ["late", "wet", "cold"]),
        ("['it''s']", ["its"]),
        ("{'wet', 'late'}", ["late", "wet"]),
        ("('late',)", ["late"]),
        ("frozenset({'late'})", ["late"]),
        ("array(['late', 'wet'], dtype=object)", ["late", "wet"]),
        ("[1 0 1]", [1, 0, 1]),
        ("[1. 0.]", [1.0, 0.0]),
        ("[]", []),
        ("()", []),
        ("{}", []),
        ("set()", []),
        ('{"text": ["a"], "answer_start": [3]}', {"text": ["a"], "answer_start": [3]}),
        ("{'text': array(['a b'], dtype=object), 'at': array([3])}", {"text": ["a b"], "at": [3]}),
        ("{'text': array(['a' 'b'], dtype=object)}", {"text": ["a", "b"]}),
    ],
)
def test_a_list_or_object_in_a_cell_is_parsed(cell, expected):
    assert parse_cell(cell) == expected


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("[b'late', b'wet']", ["late", "wet"]),
        ("[01 02]", [1, 2]),
        ("[-1. .5]", None),
        ("['a', ('b', {'c'})]", ["a", ["b", ["c"]]]),
        ("[1_000]", [1000]),
        ("[None, True]", [None, True]),
        (f"['a'{' ' * 40_000}x]", None),
        (f"[{'9' * 6_000}]", None),
        ("[" * 100_000, None),
    ],
)
def test_python_literals_become_json_values(cell, expected):
    assert parse_cell(cell) == expected


@pytest.mark.parametrize("cell", ["['a', 'b', ...]", "[1j, 2]", "{1: 'a', (1, 2): 'b'}", "[{1: 'a'}]"])
def test_a_value_that_json_lacks_is_rejected(cell):
    with pytest.raises(ValueError, match="contains values other than strings, numbers, true and false"):
        parse_cell(cell)


@pytest.mark.parametrize("cell", ["", " ", "plain", "(sic)", "[?]", "3", '"quoted"', "food; staff", "a [note]", "{x}"])
def test_plain_text_is_not_parsed(cell):
    assert parse_cell(cell) is None


@pytest.mark.parametrize("cell", ["['late', 'wet'", '["late", wet]', "{'a': open('x')}"])
def test_a_truncated_or_malformed_list_is_rejected(cell):
    with pytest.raises(ValueError, match="begins like a list but cannot be parsed"):
        parse_cell(cell)


def test_nothing_is_evaluated(tmp_path):
    made = tmp_path / "made"
    assert parse_cell(f"[open({str(made)!r}, 'w')]") is None
    assert not made.exists()
