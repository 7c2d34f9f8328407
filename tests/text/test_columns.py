"""Which column of a file is what to the task: by its usual name, by what the user says, and by position."""

import pytest

from tfbert.config import DataConfig
from tfbert.text.columns import (
    Column,
    ColumnFinder,
    joined_names,
    listed_names,
    listing,
    named_columns,
    option,
    shown,
    shown_json,
)

COLUMNS = (Column("text", "text, body"), Column("tags", "tags, topics", required=False, several=True))


def find(header, noun="column", **settings):
    return ColumnFinder(COLUMNS, DataConfig(**settings), noun).find(header, "a.csv:1")


def refused(function, *args, **settings):
    with pytest.raises(ValueError) as caught:
        function(*args, **settings)
    return str(caught.value)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("tags=a|b|c, text = x y ", {"tags": ["a", "b", "c"], "text": ["x y"]}),
        ("text=#1 String", {"text": ["#1 String"]}),
        (None, {}),
    ],
)
def test_columns_are_read_from_their_option(given, expected):
    assert named_columns(COLUMNS, given) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ('{"text": "a,b=c|d", "tags": ["x", "y"]}', {"text": ["a,b=c|d"], "tags": ["x", "y"]}),
        ("text=one, two,tags=a", {"text": ["one, two"], "tags": ["a"]}),
    ],
)
def test_names_may_hold_what_separates_them(given, expected):
    assert named_columns(COLUMNS, given) == expected


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("text", "wanted role=name, several separated by commas"),
        ("tex=a", "'tex' is not one of text, tags; did you mean 'text'?"),
        ("text=a,tags=b|a", "text and tags are both 'a'; wanted two different ones"),
        ('{"text": 3}', "expected a name or a list of names for each role"),
        ('{"text": ', "not a JSON object ("),
    ],
)
def test_names_that_mean_nothing_are_refused(given, reason):
    assert refused(named_columns, COLUMNS, given).startswith(f"data.columns={given}: {reason}")


@pytest.mark.parametrize(
    ("header", "settings", "expected"),
    [
        (["id", "Body ", "topics"], {}, {"text": 1, "tags": 2}),
        (["text"], {}, {"text": 0}),
        (["a", "b", "c"], {"columns": "text=b,tags=a|c"}, {"text": 1, "tags": {"a": 0, "c": 2}}),
        # A name that is given is not taken for another role, nor is one that is ignored.
        (["text", "topics"], {"columns": "text=topics"}, {"text": 1}),
        (["text", "body"], {"ignored_columns": "body"}, {"text": 0}),
    ],
)
def test_columns_are_found(header, settings, expected):
    assert find(header, **settings) == expected


@pytest.mark.parametrize(
    ("header", "settings", "message"),
    [
        (["text", "body"], {}, "more than one column could be the text: 'text', 'body'; wanted one, such as --set "),
        (
            ["text", "text"],
            {},
            "more than one column could be the text: 'text', 'text'; wanted different names",
        ),
        (["a", "bodi"], {"columns": "text=body"}, "data.columns=text=body is not one of the columns 'a', 'bodi'; did"),
        (["a"], {}, "no text column among 'a', which the first line was taken to name; wanted one of text, body, or"),
        (["a"], {"noun": "key"}, "no text key among 'a'; wanted one of text, body, or its name by --set data.columns="),
    ],
)
def test_columns_that_are_not_there_or_not_alone_are_named(header, settings, message):
    assert refused(find, header, **settings).startswith(f"a.csv:1: {message}")


def test_columns_without_names_are_taken_in_order_or_by_number():
    columns = (Column("text", "text"), Column("label", "label"), Column("note", "note", required=False))
    assert ColumnFinder(columns, DataConfig(), "column").by_position(2, "a.csv:1") == {"text": 0, "label": 1}
    given = ColumnFinder(columns, DataConfig(columns="label=1,text=3"), "column")
    assert given.by_position(3, "a.csv:1") == {"label": 0, "text": 2}
    message = refused(ColumnFinder(columns, DataConfig(), "column").by_position, 3, "a.csv:1")
    assert message.startswith("a.csv:1: 3 columns without names for text and label; ")
    assert message.endswith("--set data.columns=text=1,label=2")


def test_a_usual_name_is_found_in_any_case():
    assert COLUMNS[0].key_among(["id", " BODY", "text"]) == " BODY"
    assert COLUMNS[0].key_among(["bodies"]) is None


@pytest.mark.parametrize("names", [(), ("a", "b c"), ("a,b", "c"), ("[x", "ä"), ("a",)])
def test_lists_of_names_are_read_as_they_are_written(names):
    assert listed_names(joined_names(names), "data.ignored_columns") == names


@pytest.mark.parametrize(("value", "expected"), [(None, ()), ("  ", ()), (" a , ,b ", ("a", "b"))])
def test_names_between_commas(value, expected):
    assert listed_names(value, "data.ignored_columns") == expected


@pytest.mark.parametrize("value", ['["a", 3]', "[a", '["a"'])
def test_lists_of_something_else_are_refused(value):
    assert refused(listed_names, value, "x.y") == (
        f"x.y={value}: expected names separated by commas, or a JSON list of strings"
    )


def test_values_in_messages_are_quoted_and_cut():
    assert shown("a\n" + "b" * 99) == repr("a\n" + "b" * 35 + "...")
    assert shown_json({"a": "é"}) == '{"a": "é"}' and shown_json("\ud83d") == '"\\ud83d"'
    assert listing([]) == "none" and listing(list("abcdefghi")).endswith("'h', ...")


def test_options_can_be_typed_in_a_shell():
    assert option("data.columns", "text=a b") == "--set 'data.columns=text=a b'"
    assert option("data.header", "none") == "--set data.header=none"
