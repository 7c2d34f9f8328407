"""Prediction requests: items from tables, JSON, lines and arguments."""

import gzip
import json
import logging

import pytest

from tfbert.serving.input_spec import InputSpec
from tfbert.serving.requests import data_config, parse_item, read_lines, read_requests

TEXT = {"text": InputSpec()}
PAIR = {"text": InputSpec(), "text_pair": InputSpec()}
ANSWERS = {"context": InputSpec(), "question": InputSpec()}
CHOICES = {"choices": InputSpec(many=True), "question": InputSpec()}
OFFER = {"price": InputSpec("float32"), "sizes": InputSpec("float32", many=True), "title": InputSpec()}


@pytest.fixture(autouse=True)
def _log_level(caplog):
    caplog.set_level(logging.INFO, "tfbert")


def write(path, content, encoding="utf-8"):
    data = content if isinstance(content, bytes) else content.encode(encoding)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def items_of(path, inputs=TEXT, columns=None, assignments=()):
    return [request.item for request in read_requests([], str(path), inputs, data_config(columns, assignments))]


def error_of(path, *arguments):
    with pytest.raises(ValueError) as caught:
        items_of(path, *arguments)
    return str(caught.value)


def logged(caplog, path):
    return [message.removeprefix(f"{path}: ") for message in caplog.messages]


def jsonl(*objects):
    return "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in objects)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", 'id,text\n1,"my card, please"\n2,{fee}\n'),
        ("a.csv", 'id;text\n1;"my card, please"\n2;{fee}\n'),
        ("a.tsv", "id\ttext\n1\tmy card, please\n2\t{fee}\n"),
        ("a.csv.gz", 'id,text\n1,"my card, please"\n2,{fee}\n'),
        ("A.CSV", 'id,Review\n1,"my card, please"\n2,{fee}\n'),
        ("a.jsonl", jsonl({"id": 1, "text": "my card, please"}, {"id": 2, "text": "{fee}"})),
        ("a.jsonl.gz", jsonl({"id": 1, "text": "my card, please"}, {"id": 2, "text": "{fee}"})),
        ("a.json", json.dumps([{"id": 1, "text": "my card, please"}, {"id": 2, "text": "{fee}"}])),
    ],
)
def test_tables_and_json_are_rows_and_unused_columns_are_named_once(tmp_path, caplog, name, content):
    path = write(tmp_path / name, content)
    assert items_of(path) == [{"text": "my card, please"}, {"text": "{fee}"}]
    noun = "key" if "json" in name else "column"
    assert logged(caplog, path) == [f"unused {noun}: 'id'"]


def test_a_table_of_another_encoding_is_read(tmp_path):
    assert items_of(write(tmp_path / "a.csv", "text\nÄrger\n", "utf-16")) == [{"text": "Ärger"}]
    path = write(tmp_path / "b.csv", "text\nÄrger\n", "cp1252")
    assert items_of(path, TEXT, None, ["data.encoding=cp1252"]) == [{"text": "Ärger"}]
    error = error_of(path)
    assert error.startswith(f"{path}:2: byte 0xC4 is not ") and "--set data.encoding=" in error


@pytest.mark.parametrize(
    ("inputs", "header", "columns", "expected"),
    [
        (TEXT, "stars,opinion", "text=opinion", {"text": "b"}),
        (PAIR, "sentence1,sentence2", None, {"text": "a", "text_pair": "b"}),
        # The columns of matching with scored pairs.
        (PAIR, "question,answer", None, {"text": "a", "text_pair": "b"}),
        (ANSWERS, "query,passage", None, {"context": "b", "question": "a"}),
        (ANSWERS, "q,p", "question=p,context=q", {"context": "a", "question": "b"}),
        ({"inputs": InputSpec()}, "text,inputs", None, {"inputs": "b"}),
    ],
)
def test_columns_are_found_by_their_usual_names_or_given(tmp_path, inputs, header, columns, expected):
    assert items_of(write(tmp_path / "a.csv", f"{header}\na,b\n"), inputs, columns) == [expected]


def test_choices_are_a_list_a_cell_with_a_list_or_columns(tmp_path):
    path = write(tmp_path / "a.jsonl", jsonl({"question": "q", "choices": ["a", "b", 3]}))
    assert items_of(path, CHOICES) == [{"choices": ("a", "b", "3"), "question": "q"}]
    path = write(tmp_path / "a.csv", 'question,options\nq,"[""a"", ""b""]"\n')
    assert items_of(path, CHOICES) == [{"choices": ("a", "b"), "question": "q"}]
    path = write(tmp_path / "b.csv", "question,A,B,C\nq,a,b,\nr,c,d,e\n")
    assert [item["choices"] for item in items_of(path, CHOICES, "choices=A|B|C")] == [("a", "b"), ("c", "d", "e")]


def test_questions_in_squads_layout(tmp_path):
    paragraphs = [{"context": "The rent is due.", "qas": [{"id": "7", "question": "What is due?", "answers": []}]}]
    path = write(tmp_path / "a.json", json.dumps({"data": [{"title": "t", "paragraphs": paragraphs}]}))
    assert items_of(path, ANSWERS) == [{"context": "The rent is due.", "question": "What is due?"}]


@pytest.mark.parametrize(
    ("name", "content", "inputs", "columns", "expected"),
    [
        ("a.csv", "id,label\n1,x\n", TEXT, None, ":1: no text column among 'id', 'label'"),
        ("a.csv", "text,review\na,b\n", TEXT, None, ":1: more than one column could be the text: 'text', 'review'"),
        ("a.csv", "text,x\na,b\nc\n", TEXT, None, ":3: 1 column ('c'); expected 2, as in the header"),
        ("a.csv", "text,revew\na,b\n", TEXT, "text=review",
         ":1: data.columns=text=review is not one of the columns 'text', 'revew'; did you mean 'revew'?"),
        ("a.jsonl", jsonl({"id": 1}), TEXT, None, ":1: no text key among 'id'"),
        ("a.jsonl", jsonl({"text": "a"}, {"text": None}), TEXT, None, ":2: text is null; expected a string"),
        ("a.jsonl", "plain\n", TEXT, None, ":1: not JSON (Expecting value at column 1); expected one object per"),
        ("a.jsonl", '"plain"\n', TEXT, None, ':1: "plain" is not an object; expected one object per line'),
        ("a.jsonl", jsonl({"question": "q", "choices": "a, b"}), CHOICES, None,
         ':1: choices is "a, b"; expected a list of strings'),
        ("a.jsonl", jsonl({"question": "q", "choices": []}), CHOICES, None,
         ":1: choices is []; expected a list of strings"),
    ],
)  # fmt: skip
def test_invalid_rows_are_rejected_with_file_and_line(tmp_path, name, content, inputs, columns, expected):
    path = write(tmp_path / name, content)
    assert error_of(path, inputs, columns).startswith(f"{path}{expected}")


def test_lines_are_texts_or_objects(tmp_path, caplog):
    lines = ["my card", '{"text": "the fee", "id": 4}', "{fee}", '{"a": 1', "[1]", "7", "", ' {"id": 5, "text": ""}']
    expected = ["my card", "the fee", "{fee}", '{"a": 1', "[1]", "7", "", ""]
    for name in ("a.txt", "a.txt.gz", "texts", "a.log"):
        path = write(tmp_path / name, "\n".join(lines) + "\n")
        caplog.clear()
        assert [item["text"] for item in items_of(path)] == expected
        assert logged(caplog, path) == ["unused key: 'id'"]
    caplog.clear()
    assert [request.item["text"] for request in read_requests(lines, None, TEXT, data_config(None, []))] == expected
    assert caplog.messages == ["TEXT: unused key: 'id'"]


def test_objects_in_lines_may_name_their_keys(tmp_path):
    path = write(tmp_path / "a.txt", '{"review": "a", "text": "b"}\nplain\n')
    assert items_of(path, TEXT, "text=review") == [{"text": "a"}, {"text": "plain"}]


def test_lines_in_a_given_encoding(tmp_path):
    path = write(tmp_path / "a.txt", "Ärger\r\nGrüße", "cp1252")
    assert items_of(path, TEXT, None, ["data.encoding=cp1252"]) == [{"text": "Ärger"}, {"text": "Grüße"}]
    assert items_of(path, TEXT, None, ["data.encoding_errors=replace"])[0] == {"text": "\ufffdrger"}


def test_a_given_format_overrides_the_file_name(tmp_path):
    path = write(tmp_path / "a.csv", "text\nmy card\n")
    assert items_of(path, TEXT, None, ["data.format=text"]) == [{"text": "text"}, {"text": "my card"}]
    path = write(tmp_path / "export", "text\nmy card\n")
    assert items_of(path, TEXT, None, ["data.format=csv"]) == [{"text": "my card"}]


@pytest.mark.parametrize(
    ("line", "inputs", "expected"),
    [
        ('{"question": "a", "answer": "b"}', TEXT,
         "a JSON object with the keys 'question', 'answer'; expected a JSON object with the key 'text', or a text that "
         "is not a JSON object"),
        ("{}", TEXT, "a JSON object with the keys none; expected a JSON object with the key 'text', or a text"),
        ('{"text": 3}', TEXT, "text is 3; expected a string"),
        ("a question", ANSWERS,
         "not JSON (Expecting value: line 1 column 1 (char 0)); expected a JSON object with the keys 'context', "
         "'question'"),
        ('["a", "b"]', ANSWERS, '["a", "b"]; expected a JSON object with the keys '),
        ('{"question": "a"}', ANSWERS, "a JSON object with the keys 'question'; expected a JSON object with the keys "),
        ('{"question": "a", "choices": "b"}', CHOICES, 'choices is "b"; expected a list of strings'),
        ('{"question": ["a"], "choices": ["b"]}', CHOICES, 'question is ["a"]; expected a string'),
        ('{"question": "a", "choices": ["b", null]}', CHOICES, 'choices is ["b", null]; expected a list of strings'),
    ],
)  # fmt: skip
def test_an_invalid_line_is_rejected(line, inputs, expected):
    with pytest.raises(ValueError) as caught:
        parse_item(line, "a.txt:41", inputs)
    assert str(caught.value).startswith(f"a.txt:41: {expected}")


def test_json_nested_too_deeply_is_text():
    line = '{"a":' * 100_000
    assert parse_item(line, "a.txt:1", TEXT) == {"text": line}


def test_an_invalid_gzip_file(tmp_path):
    for name in ("a.txt.gz", "a.jsonl.gz"):
        (tmp_path / name).write_bytes(gzip.compress(b"text " * 99)[:-9])
        assert error_of(tmp_path / name).startswith(f"{tmp_path / name}: cannot be read: ")
        (tmp_path / name).write_bytes(b"text\n")
        assert error_of(tmp_path / name).startswith(f"{tmp_path / name}: cannot be read: Not a gzipped file")


@pytest.mark.parametrize(
    ("columns", "assignments", "expected"),
    [
        (None, ["train.epochs=3"], "--set train.epochs: expected a field of data, such as data.encoding"),
        (None, ["data.encodin=utf-8"], "config has no field 'data.encodin'; did you mean 'data.encoding'?"),
        (None, ["data.bad_rows=skip"], "data.bad_rows=skip: prediction cannot skip rows; expected error"),
        (None, ["data.format=conll"], "data.format=conll: expected auto, text, csv, tsv, jsonl, json"),
        (None, ["data.encoding=utf-9"], "data.encoding=utf-9: expected the name of a text encoding"),
    ],
)
def test_invalid_data_options_are_rejected(columns, assignments, expected):
    with pytest.raises(ValueError) as caught:
        data_config(columns, assignments)
    assert str(caught.value).startswith(expected)


def test_a_column_for_an_unknown_input_is_rejected(tmp_path):
    error = error_of(write(tmp_path / "a.csv", "txt\na\n"), TEXT, "txt=text")
    assert error == "data.columns=txt=text: 'txt' is not one of text; did you mean 'text'?"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", 'title,price,sizes\na,2.5,"[1, 2.5]"\nb,-3e2,"[""4""]"\n'),
        (
            "a.jsonl",
            jsonl({"title": "a", "price": 2.5, "sizes": [1, 2.5]}, {"title": "b", "price": "-3e2", "sizes": [4]}),
        ),
        ("a.txt", jsonl({"title": "a", "price": 2.5, "sizes": [1, 2.5]}, {"title": "b", "price": -300, "sizes": [4]})),
    ],
)
def test_numbers_are_converted(tmp_path, name, content):
    items = items_of(write(tmp_path / name, content), OFFER)
    assert items == [
        {"price": 2.5, "sizes": (1.0, 2.5), "title": "a"},
        {"price": -300.0, "sizes": (4.0,), "title": "b"},
    ]
    assert {type(value) for item in items for value in (item["price"], *item["sizes"])} == {float}


def test_a_line_is_an_object_if_the_only_input_is_a_number():
    price = {"price": InputSpec("float32")}
    assert parse_item('{"price": 3}', "a.txt:1", price) == {"price": 3.0}
    with pytest.raises(ValueError, match="a.txt:1: 3; expected a JSON object with the key 'price'"):
        parse_item("3", "a.txt:1", price)


@pytest.mark.parametrize("value", ["abc", "", "2,5", "nan", "inf", "1e999", True, None, [2.5], {"a": 1}])
def test_values_that_are_not_numbers_are_rejected(value):
    line = json.dumps({"title": "a", "sizes": [1], "price": value})
    with pytest.raises(ValueError) as caught:
        parse_item(line, "a.txt:41", OFFER)
    assert str(caught.value) == f"a.txt:41: price is {json.dumps(value)}; expected a number"


@pytest.mark.parametrize("value", [[], 2.5, "2.5", [1, "x"], [1, None], [True]])
def test_values_that_are_not_lists_of_numbers_are_rejected(value):
    line = json.dumps({"title": "a", "sizes": value, "price": 2.5})
    with pytest.raises(ValueError) as caught:
        parse_item(line, "a.txt:41", OFFER)
    assert str(caught.value) == f"a.txt:41: sizes is {json.dumps(value)}; expected a list of numbers"


def test_a_cell_that_is_not_a_number_is_rejected_with_its_line(tmp_path):
    path = write(tmp_path / "a.csv", 'title,price,sizes\na,2.5,"[1]"\nb,abc,"[1]"\n')
    assert error_of(path, OFFER) == f'{path}:3: price is "abc"; expected a number'


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"", []),
        (b"one\ntwo", ["one", "two"]),
        (b"one\r\ntwo\r\n", ["one", "two"]),
        (b"\xef\xbb\xbfone\n\xef\xbb\xbftwo\n", ["one", "\ufefftwo"]),
        (b"\n \n\n", ["", " ", ""]),
        # Other characters that Python or Unicode treat as line breaks do not end a line.
        ("a\u2028b\x0bc\x85d\re\n".encode(), ["a\u2028b\x0bc\x85d\re"]),
    ],
)
def test_lines(tmp_path, content, lines):
    path = tmp_path / "texts"
    path.write_bytes(content)
    assert list(read_lines(str(path))) == lines


@pytest.mark.parametrize(
    ("content", "where"),
    [
        (b"one\nt\xe9l\n", ":2: byte 0xe9"),
        (b"\xef\xbb\xbfone \xfc\n", ":1: byte 0xfc"),
        (b"\xff\xfeo\0", ":1: byte 0xff"),
    ],
)
def test_a_line_that_is_not_utf8_is_named(tmp_path, content, where):
    path = tmp_path / "texts"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"texts{where} is not UTF-8; expected UTF-8"):
        list(read_lines(str(path)))
