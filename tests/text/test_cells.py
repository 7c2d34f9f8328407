"""Cells that hold lists, sets and objects as other programs print them."""

import pytest

from tfbert.text.cells import structured


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
def test_a_cell_is_read_as_the_value_it_holds(cell, expected):
    assert structured(cell) == expected


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
def test_literals_of_python_become_those_of_json(cell, expected):
    assert structured(cell) == expected


@pytest.mark.parametrize("cell", ["['a', 'b', ...]", "[1j, 2]", "{1: 'a', (1, 2): 'b'}", "[{1: 'a'}]"])
def test_what_json_does_not_have_is_refused(cell):
    with pytest.raises(ValueError, match="holds something else than texts, numbers, true and false"):
        structured(cell)


@pytest.mark.parametrize("cell", ["", " ", "plain", "(sic)", "[?]", "3", '"quoted"', "food; staff", "a [note]", "{x}"])
def test_plain_text_holds_no_value(cell):
    assert structured(cell) is None


@pytest.mark.parametrize("cell", ["['late', 'wet'", '["late", wet]', "{'a': open('x')}"])
def test_a_broken_list_is_refused(cell):
    with pytest.raises(ValueError, match="begins like a list but cannot be read as one"):
        structured(cell)


def test_nothing_is_evaluated(tmp_path):
    made = tmp_path / "made"
    assert structured(f"[open({str(made)!r}, 'w')]") is None
    assert not made.exists()
