"""What is asked: tables, JSON, lines and arguments become items by the same rules wherever the model is."""

import gzip
import json
import logging

import pytest

from tfbert.serving.lines import item_of, items_of, reading

TEXT = {"text": 1}
PAIR = {"text": 1, "text_pair": 1}
ANSWERS = {"context": 1, "question": 1}
CHOICES = {"choices": 2, "question": 1}


@pytest.fixture(autouse=True)
def _logged(caplog):
    caplog.set_level(logging.INFO, "tfbert")


def write(path, content, encoding="utf-8"):
    data = content if isinstance(content, bytes) else content.encode(encoding)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def asked(path, ranks=TEXT, columns=None, assignments=()):
    return list(items_of([], str(path), ranks, reading(columns, assignments)))


def message(path, *arguments):
    with pytest.raises(ValueError) as caught:
        asked(path, *arguments)
    return str(caught.value)


def said(caplog, path):
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
    assert asked(path) == [{"text": "my card, please"}, {"text": "{fee}"}]
    noun = "key" if "json" in name else "column"
    assert said(caplog, path) == [f"unused {noun}: 'id'"]


def test_a_table_of_another_encoding_is_read(tmp_path):
    assert asked(write(tmp_path / "a.csv", "text\nÄrger\n", "utf-16")) == [{"text": "Ärger"}]
    path = write(tmp_path / "b.csv", "text\nÄrger\n", "cp1252")
    assert asked(path, TEXT, None, ["data.encoding=cp1252"]) == [{"text": "Ärger"}]
    found = message(path)
    assert found.startswith(f"{path}:2: byte 0xC4 is not ") and "--set data.encoding=" in found


@pytest.mark.parametrize(
    ("ranks", "header", "columns", "expected"),
    [
        (TEXT, "stars,opinion", "text=opinion", {"text": "b"}),
        (PAIR, "sentence1,sentence2", None, {"text": "a", "text_pair": "b"}),
        # As tfbert.tasks.matching has them for pairs with a score.
        (PAIR, "question,answer", None, {"text": "a", "text_pair": "b"}),
        (ANSWERS, "query,passage", None, {"context": "b", "question": "a"}),
        (ANSWERS, "q,p", "question=p,context=q", {"context": "a", "question": "b"}),
        ({"inputs": 1}, "text,inputs", None, {"inputs": "b"}),
    ],
)
def test_columns_are_found_by_their_usual_names_or_given(tmp_path, ranks, header, columns, expected):
    assert asked(write(tmp_path / "a.csv", f"{header}\na,b\n"), ranks, columns) == [expected]


def test_choices_are_a_list_a_cell_with_one_or_columns(tmp_path):
    path = write(tmp_path / "a.jsonl", jsonl({"question": "q", "choices": ["a", "b", 3]}))
    assert asked(path, CHOICES) == [{"choices": ("a", "b", "3"), "question": "q"}]
    path = write(tmp_path / "a.csv", 'question,options\nq,"[""a"", ""b""]"\n')
    assert asked(path, CHOICES) == [{"choices": ("a", "b"), "question": "q"}]
    path = write(tmp_path / "b.csv", "question,A,B,C\nq,a,b,\nr,c,d,e\n")
    assert [item["choices"] for item in asked(path, CHOICES, "choices=A|B|C")] == [("a", "b"), ("c", "d", "e")]


def test_questions_in_the_layout_of_squad(tmp_path):
    paragraphs = [{"context": "The rent is due.", "qas": [{"id": "7", "question": "What is due?", "answers": []}]}]
    path = write(tmp_path / "a.json", json.dumps({"data": [{"title": "t", "paragraphs": paragraphs}]}))
    assert asked(path, ANSWERS) == [{"context": "The rent is due.", "question": "What is due?"}]


@pytest.mark.parametrize(
    ("name", "content", "ranks", "columns", "expected"),
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
def test_what_cannot_be_asked_is_refused_with_its_place(tmp_path, name, content, ranks, columns, expected):
    path = write(tmp_path / name, content)
    assert message(path, ranks, columns).startswith(f"{path}{expected}")


def test_lines_are_texts_or_objects(tmp_path, caplog):
    lines = ["my card", '{"text": "the fee", "id": 4}', "{fee}", '{"a": 1', "[1]", "7", "", ' {"id": 5, "text": ""}']
    expected = ["my card", "the fee", "{fee}", '{"a": 1', "[1]", "7", "", ""]
    for name in ("a.txt", "a.txt.gz", "texts", "a.log"):
        path = write(tmp_path / name, "\n".join(lines) + "\n")
        caplog.clear()
        assert [item["text"] for item in asked(path)] == expected
        assert said(caplog, path) == ["unused key: 'id'"]
    caplog.clear()
    assert [item["text"] for item in items_of(lines, None, TEXT, reading(None, []))] == expected
    assert caplog.messages == ["TEXT: unused key: 'id'"]


def test_objects_in_lines_may_name_their_keys(tmp_path):
    path = write(tmp_path / "a.txt", '{"review": "a", "text": "b"}\nplain\n')
    assert asked(path, TEXT, "text=review") == [{"text": "a"}, {"text": "plain"}]


def test_lines_of_an_encoding_that_is_given(tmp_path):
    path = write(tmp_path / "a.txt", "Ärger\r\nGrüße", "cp1252")
    assert asked(path, TEXT, None, ["data.encoding=cp1252"]) == [{"text": "Ärger"}, {"text": "Grüße"}]
    assert asked(path, TEXT, None, ["data.encoding_errors=replace"])[0] == {"text": "\ufffdrger"}


def test_a_format_that_is_given_overrules_the_name(tmp_path):
    path = write(tmp_path / "a.csv", "text\nmy card\n")
    assert asked(path, TEXT, None, ["data.format=text"]) == [{"text": "text"}, {"text": "my card"}]
    path = write(tmp_path / "export", "text\nmy card\n")
    assert asked(path, TEXT, None, ["data.format=csv"]) == [{"text": "my card"}]


@pytest.mark.parametrize(
    ("line", "ranks", "expected"),
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
def test_a_line_that_cannot_be_asked_is_refused(line, ranks, expected):
    with pytest.raises(ValueError) as caught:
        item_of(line, "a.txt:41", ranks)
    assert str(caught.value).startswith(f"a.txt:41: {expected}")


def test_nested_beyond_reason_is_text():
    line = '{"a":' * 100_000
    assert item_of(line, "a.txt:1", TEXT) == {"text": line}


def test_a_file_that_is_no_gzip_file(tmp_path):
    for name in ("a.txt.gz", "a.jsonl.gz"):
        (tmp_path / name).write_bytes(gzip.compress(b"text " * 99)[:-9])
        assert message(tmp_path / name).startswith(f"{tmp_path / name}: cannot be read: ")
        (tmp_path / name).write_bytes(b"text\n")
        assert message(tmp_path / name).startswith(f"{tmp_path / name}: cannot be read: Not a gzipped file")


@pytest.mark.parametrize(
    ("columns", "assignments", "expected"),
    [
        (None, ["train.epochs=3"], "--set train.epochs: expected a field of data, such as data.encoding"),
        (None, ["data.encodin=utf-8"], "config has no field 'data.encodin'; did you mean 'data.encoding'?"),
        (None, ["data.bad_rows=skip"], "data.bad_rows=skip: every row is answered; expected error"),
        (None, ["data.format=conll"], "data.format=conll: expected auto, text, csv, tsv, jsonl, json"),
        (None, ["data.encoding=utf-9"], "data.encoding=utf-9: expected the name of a text encoding"),
    ],
)
def test_how_a_file_is_read_is_checked_first(columns, assignments, expected):
    with pytest.raises(ValueError) as caught:
        reading(columns, assignments)
    assert str(caught.value).startswith(expected)


def test_a_column_of_no_input_is_refused(tmp_path):
    found = message(write(tmp_path / "a.csv", "txt\na\n"), TEXT, "txt=text")
    assert found == "data.columns=txt=text: 'txt' is not one of text; did you mean 'text'?"
