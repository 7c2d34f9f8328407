"""Layout of a file: description in two lines, and unused columns that may matter."""

import pytest

from tfbert.text.readers.columns import Column
from tfbert.text.readers.layout import Layout, Values

COLUMNS = (
    Column("text", "text"),
    Column("label", "label, category", is_target=True),
    Column("score", "score", required=False, is_number=True),
)


def layout_of(unused, used=("text", "label")):
    """Return the layout of a table with a text, a label and the given unused columns."""
    layout = Layout("a.csv", kind="csv with ',' between columns", encoding="utf-8")
    names = [*used, *unused]
    layout.set_used(names, {name: names.index(name) for name in used})
    for name, values in unused.items():
        for value in values:
            layout.unused[name].add(value)
    return layout


def refusal(unused, used=("text", "label"), ignored=(), assigned_roles=()):
    return layout_of(unused, used).refusal(COLUMNS, ignored, assigned_roles)


def test_a_file_is_described_in_two_lines():
    layout = Layout("a.csv", kind="csv with ';' between columns", encoding="utf-8", header="column names on line 1")
    layout.set_used(["id", "a", "b", "c"], {"text": 1, "tags": {"b": 2, "c": 3}})
    for note in ("comment line", "empty line", "comment line"):
        layout.count(note)
    assert layout.lines() == [
        "csv with ';' between columns, utf-8, column names on line 1, 2 comment lines skipped, 1 empty line skipped",
        "reads text from 'a', tags from 'b' | 'c'; unused columns: 'id'",
    ]
    assert Layout("b.txt", kind="one text per line", noun="key").lines()[1] == "reads nothing; unused keys: none"


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        ("split", ["train", "test", "train"], "names splits ('train' 2, 'test' 1)"),
        ("is_duplicate", [0, 1, 1], "has the name of a label or flag ('1' 2, '0' 1)"),
        ("x", [True, False], "contains flags ('false' 1, 'true' 1)"),
        ("x", ["accepted", "rejected"], "contains verdicts ('accepted' 1, 'rejected' 1)"),
        ("x", ["positive", "neutral", "Negative"], "contains labels ('Negative' 1, 'neutral' 1, 'positive' 1)"),
        ("gold", [["a"], ["b"]], "has the name of a label or flag"),
        ("x", [1, 2, 3, 1, 2, 3], "contains grades ('1' 2, '2' 2, '3' 2)"),
        ("x", [0.25, 0.75, 0.3], "contains numbers with fractions"),
    ],
)
def test_an_unused_column_that_may_matter_is_described(name, values, reason):
    assert f"a.csv: column {name!r} {reason} but is not used; " in refusal({name: values})


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("split", ["train", "train"]),  # does not distinguish records
        ("x", ["accepted", "accepted", "accept"]),  # no record to remove
        ("label_id", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
        ("gold", ["", "  ", None, "NaN"]),
        ("topic", ["food", "staff", "food"]),
        ("gold", [f"a sentence of several words {number}" for number in range(300)]),
    ],
)
def test_other_unused_columns_are_accepted(name, values):
    assert refusal({name: values}) == ""


@pytest.mark.parametrize(
    ("name", "values", "advice"),
    [
        ("part", ["train", "dev"], "write each split to a separate file (train, validation, test)"),
        ("x", ["accept", "reject"], "remove the records that were not accepted"),
        ("x", [1, 2, 1, 2], "to use it: --set data.columns=score=x"),
    ],
)
def test_a_refusal_gives_advice(name, values, advice):
    assert refusal({name: values}).split("; ")[1:] == [
        advice,
        f"to train without it: --set data.ignored_columns={name}",
    ]


def test_several_columns_are_reported_together_except_ignored_ones():
    unused = {"flag": ["0", "1"], "split": ["train", "test"], "x": [True, False], "y": ["yes", "no"]}
    text = refusal(unused)
    assert text.count("column '") == 3 and ", and 1 more but are not used; " in text
    assert text.endswith("to train without them: --set data.ignored_columns=flag,split,x,y")
    assert refusal(unused, ignored=list(unused)) == ""


def test_naming_the_target_selects_one_of_several_label_columns():
    unused = {"category": ["food", "staff"], "flag": ["0", "1"]}
    assert "'category'" in refusal(unused)
    text = refusal(unused, assigned_roles=["label"])
    assert "'category'" not in text and "'flag'" in text


def test_columns_of_sentences_are_text_columns():
    unused = {
        "comment": ["the card never came", "I paid the fee twice"],
        "评论": ["我的卡还没有到"],
        "id": ["a1", "b2"],
    }
    assert layout_of(unused).text_columns([]) == ["comment", "评论"]
    assert layout_of(unused).text_columns(["comment"]) == ["评论"]


def test_values_are_counted_until_there_are_too_many():
    values = Values()
    for number in range(200):
        values.add(number)
        values.add(f" {number} ")
    assert values.is_complete and len(values.counts) == 200 and set(values.counts.values()) == {2}
    values.add("one more")
    assert not values.is_complete and values.counts == {} and not values.is_needed


def test_lists_are_not_counted_but_may_be_labels():
    values = Values()
    values.add({"a": 1})
    assert values.has_structure and values.may_be_label and not values.is_complete
