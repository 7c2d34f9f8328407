"""Columns by role: found by usual name, by the user's setting, or by position."""

import pytest

from tfbert.config import DataConfig
from tfbert.text.readers.columns import (
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


def error_of(function, *args, **settings):
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
def test_data_columns_assigns_names_to_roles(given, expected):
    assert named_columns(COLUMNS, given) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ('{"text": "a,b=c|d", "tags": ["x", "y"]}', {"text": ["a,b=c|d"], "tags": ["x", "y"]}),
        ("text=one, two,tags=a", {"text": ["one, two"], "tags": ["a"]}),
    ],
)
def test_names_may_contain_the_separators(given, expected):
    assert named_columns(COLUMNS, given) == expected


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("text", "expected role=name, several separated by commas"),
        ("tex=a", "'tex' is not one of text, tags; did you mean 'text'?"),
        ("text=a,tags=b|a", "text and tags are both 'a'; expected two columns"),
        ('{"text": 3}', "expected a name or a list of names for each role"),
        ('{"text": ', "not a JSON object ("),
    ],
)
def test_a_malformed_assignment_is_rejected(given, reason):
    assert error_of(named_columns, COLUMNS, given).startswith(f"data.columns={given}: {reason}")


@pytest.mark.parametrize(
    ("header", "settings", "expected"),
    [
        (["id", "Body ", "topics"], {}, {"text": 1, "tags": 2}),
        (["text"], {}, {"text": 0}),
        (["a", "b", "c"], {"columns": "text=b,tags=a|c"}, {"text": 1, "tags": {"a": 0, "c": 2}}),
        # A column that is assigned to a role or ignored is not used for another role.
        (["text", "topics"], {"columns": "text=topics"}, {"text": 1}),
        (["text", "body"], {"ignored_columns": "body"}, {"text": 0}),
    ],
)
def test_columns_are_found(header, settings, expected):
    assert find(header, **settings) == expected


@pytest.mark.parametrize(
    ("header", "settings", "message"),
    [
        (["text", "body"], {}, "more than one column could be the text: 'text', 'body'; expected one, such as --set "),
        (
            ["text", "text"],
            {},
            "more than one column could be the text: 'text', 'text'; expected different names",
        ),
        (["a", "bodi"], {"columns": "text=body"}, "data.columns=text=body is not one of the columns 'a', 'bodi'; did"),
        (["a"], {}, "no text column among 'a' (read from the first line); expected one of text, body, or"),
        (
            ["a"],
            {"noun": "key"},
            "no text key among 'a'; expected one of text, body, or its name with --set data.columns=",
        ),
    ],
)
def test_missing_and_ambiguous_columns_are_rejected(header, settings, message):
    assert error_of(find, header, **settings).startswith(f"a.csv:1: {message}")


def test_columns_without_names_are_found_in_order_or_by_number():
    columns = (Column("text", "text"), Column("label", "label"), Column("note", "note", required=False))
    assert ColumnFinder(columns, DataConfig(), "column").by_position(2, "a.csv:1") == {"text": 0, "label": 1}
    given = ColumnFinder(columns, DataConfig(columns="label=1,text=3"), "column")
    assert given.by_position(3, "a.csv:1") == {"label": 0, "text": 2}
    message = error_of(ColumnFinder(columns, DataConfig(), "column").by_position, 3, "a.csv:1")
    assert message.startswith("a.csv:1: 3 columns without names for text and label; ")
    assert message.endswith("--set data.columns=text=1,label=2")


def test_a_usual_name_is_found_in_any_case():
    assert COLUMNS[0].key_among(["id", " BODY", "text"]) == " BODY"
    assert COLUMNS[0].key_among(["bodies"]) is None


@pytest.mark.parametrize("names", [(), ("a", "b c"), ("a,b", "c"), ("[x", "ä"), ("a",)])
def test_joined_names_are_listed_again(names):
    assert listed_names(joined_names(names), "data.ignored_columns") == names


@pytest.mark.parametrize(("value", "expected"), [(None, ()), ("  ", ()), (" a , ,b ", ("a", "b"))])
def test_names_are_separated_by_commas(value, expected):
    assert listed_names(value, "data.ignored_columns") == expected


@pytest.mark.parametrize("value", ['["a", 3]', "[a", '["a"'])
def test_a_malformed_list_of_names_is_rejected(value):
    assert error_of(listed_names, value, "x.y") == (
        f"x.y={value}: expected names separated by commas, or a JSON list of strings"
    )


def test_values_in_messages_are_quoted_and_truncated():
    assert shown("a\n" + "b" * 99) == repr("a\n" + "b" * 35 + "...")
    assert shown_json({"a": "é"}) == '{"a": "é"}' and shown_json("\ud83d") == '"\\ud83d"'
    assert listing([]) == "none" and listing(list("abcdefghi")).endswith("'h', ...")


def test_options_are_quoted_for_a_shell():
    assert option("data.columns", "text=a b") == "--set 'data.columns=text=a b'"
    assert option("data.header", "none") == "--set data.header=none"
