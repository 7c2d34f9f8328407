"""Corpus reader: files become distinct documents, and errors name the file and line."""

import gzip
import hashlib
import json
import os
from collections import Counter
from pathlib import Path

import pytest

from tfbert.pretraining.config import CorpusConfig
from tfbert.pretraining.corpus import Corpus, Document, Survey, corpus_name, describe


def write(directory, files):
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = content if isinstance(content, bytes) else content.encode()
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return directory


def corpus(directory, *paths, **values):
    return Corpus(CorpusConfig(paths=tuple(str(directory / path) for path in paths or ("",)), **values))


def texts(reader):
    return [document.text for document in reader]


def locations(directory, reader):
    return [document.where.removeprefix(f"{directory}{os.sep}") for document in reader]


@pytest.mark.parametrize(
    ("content", "documents", "expected"),
    [
        ("one line\n", "auto", [("one line\n", "")]),
        ("one line", "auto", [("one line", "")]),
        ("\n\none line\n\n", "auto", [("\n\none line\n\n", "")]),
        ("a b\nc d\n", "auto", [("a b\n", ":1"), ("c d\n", ":2")]),
        ("a b\r\nc d\r\n\r\n\r\n", "auto", [("a b\r\n", ":1"), ("c d\r\n", ":2")]),
        ("a\nb\n\n \nc\n", "auto", [("a\nb\n", ":1"), ("c\n", ":5")]),
        ("\na\n\nb\nc", "auto", [("a\n", ":2"), ("b\nc", ":4")]),
        ("a\n\nb\n", "line", [("a\n", ":1"), ("b\n", ":3")]),
        ("a\n\nb\n", "file", [("a\n\nb\n", "")]),
        ("a\nb\n", "blank_line", [("a\nb\n", ":1")]),
        ("\ufeffa\nb\n", "auto", [("a\n", ":1"), ("b\n", ":2")]),
    ],
)
def test_documents_of_a_text_file(tmp_path, content, documents, expected):
    for name in ("x.txt", "x.txt.gz", "noname"):
        directory = write(tmp_path / name.replace(".", "_"), {name: content})
        reader = corpus(directory, documents=documents)
        assert texts(reader) == [text for text, _ in expected]
        assert locations(directory, reader) == [f"{name}{line}" for _, line in expected]


def test_jsonl(tmp_path):
    lines = [json.dumps({"id": 1, "body": "a\nb"}), "", json.dumps({"body": "é 中", "x": None}), '{"body": " "}']
    files = {"a.jsonl": "\n".join(lines), "b.jsonl.gz": '{"body": "c"}\n', "c.data": '{"body": "d"}'}
    directory = write(tmp_path, files)
    reader = corpus(directory, "a.jsonl", "b.jsonl.gz", text_key="body")
    assert texts(reader) == ["a\nb", "é 中", "c"]
    assert locations(directory, reader) == ["a.jsonl:1", "a.jsonl:3", "b.jsonl.gz:1"]
    assert reader.counts["blank_documents"] == 1 and reader.counts["documents"] == 3
    assert texts(corpus(directory, "c.data", text_key="body", format="jsonl")) == ["d"]


def test_directories_are_read_in_the_order_of_names_and_files_once(tmp_path):
    directory = write(tmp_path, {"b.txt": "b", "a/z.txt": "az", "a/b/c.txt": "abc", ".hidden": "h", ".git/x": "x"})
    assert texts(corpus(directory)) == ["abc", "az", "b"]
    assert texts(corpus(directory, "b.txt", "", "a")) == ["b", "abc", "az"]


def test_texts_that_differ_in_whitespace_are_one_document(tmp_path):
    reader = corpus(write(tmp_path, {"a.txt": "x  y\nz\nx y\t\n", "b.txt": " x\u00a0y ", "c.txt": "X y"}))
    assert texts(reader) == ["x  y\n", "z\n", "X y"]
    assert reader.counts == Counter(files=3, documents=5, duplicates=2, characters=10, empty_files=0, replaced=0)
    assert describe(reader.counts) == "3 files, 3 documents, 10 characters, 2 duplicates dropped"
    assert texts(reader) == ["x  y\n", "z\n", "X y"]  # a second pass gives the same
    assert next(iter(reader)).digest == hashlib.sha256(b"x y").digest()


def test_empty_files_are_counted(tmp_path):
    reader = corpus(write(tmp_path, {"a.txt": "", "b.txt": "\n \n", "c.txt": "text", "d.jsonl": ""}))
    assert texts(reader) == ["text"]
    assert describe(reader.counts) == "4 files, 1 document, 4 characters, 3 empty files"


def test_encodings(tmp_path):
    directory = write(tmp_path, {"a.txt": "中文\n国\n".encode("gb18030"), "b.txt": b"caf\xe9\nb\n"})
    assert texts(corpus(directory, "a.txt", encoding="gb18030")) == ["中文\n", "国\n"]
    reader = corpus(directory, "b.txt", encoding_errors="replace")
    assert texts(reader) == ["caf\ufffd\n", "b\n"]
    assert reader.counts["replaced"] == 1


def test_a_line_of_megabytes_is_a_document(tmp_path):
    line = "The committee met again. " * 100_000
    assert texts(corpus(write(tmp_path, {"a.txt": line}))) == [line]


ERRORS = {
    "no paths": ({}, (), {}, "corpus.paths is empty; expected files or directories of text"),
    "missing": ({}, ("no.txt",), {}, "no.txt: no such file or directory; expected text"),
    "empty directory": ({"d/.x": ""}, ("d",), {}, "d: no file in this directory; expected text"),
    "empty": ({"a.txt": "", "b.txt": " \n"}, ("",), {}, "the corpus has no text in 2 files, 2 of them empty"),
    "binary": ({"a.bin": b"text\nPK\0\x03"}, ("a.bin",), {}, "a.bin:2: a NUL character; is it a binary file? expected"),
    "bytes": (
        {"a.txt": b"one\n\xff"},
        ("a.txt",),
        {},
        "a.txt:2: byte 0xFF is not valid utf-8; set the file's encoding",
    ),
    "remedy": (
        {"a.txt": b"\xff"},
        ("a.txt",),
        {},
        "--set corpus.encoding=..., or use --set corpus.encoding_errors=replace",
    ),
    "gz": ({"a.txt.gz": b"x" * 9}, ("",), {"cut": 12}, "a.txt.gz: cannot be read: "),
    "csv": ({"a.csv": "text\nx"}, ("",), {}, "a.csv: neither text nor jsonl by its name; expected a file of documents"),
    "encoding": ({"a.txt": "a"}, ("",), {"encoding": "utf-9"}, "corpus.encoding=utf-9: expected the name of"),
    "not JSON": ({"a.jsonl": '{"text": "a"}\n{"te'}, ("",), {}, "a.jsonl:2: not JSON (Unterminated string starting"),
    "no object": ({"a.jsonl": "[1]"}, ("",), {}, "a.jsonl:1: [1] is not an object; expected one with the key 'text'"),
    "key": ({"a.jsonl": '{"txt": "a"}'}, ("",), {}, "a.jsonl:1: no key 'text' among 'txt'; name the key"),
    "no key": ({"a.jsonl": "{}"}, ("",), {}, "a.jsonl:1: no key 'text'"),
    "number": ({"a.jsonl": '{"text": 7}'}, ("",), {}, "a.jsonl:1: text is 7; expected a string"),
    "half": ({"a.jsonl": '{"text": "a\\ud800"}'}, ("",), {}, "a.jsonl:1: '\\ud800' in 'a\\ud800' is half a character"),
}


@pytest.mark.parametrize("error", ERRORS)
def test_an_error_names_the_file_and_line(tmp_path, error):
    files, paths, values, expected = ERRORS[error]
    write(tmp_path, files)
    values = dict(values)
    if "cut" in values:
        path = tmp_path / next(iter(files))
        path.write_bytes(path.read_bytes()[: values.pop("cut")])
    with pytest.raises(ValueError) as caught:
        list(Corpus(CorpusConfig(paths=tuple(str(tmp_path / path) for path in paths), **values)))
    assert expected in str(caught.value).replace(f"{tmp_path}{os.sep}", "")


def documents(count):
    return [Document(f"text {n}", "", hashlib.sha256(f"text {n}".encode()).digest()) for n in range(count)]


def survey(members):
    result = Survey()
    for document in members:
        result.add(document)
    return result


def test_a_survey_does_not_depend_on_the_order_and_can_be_merged():
    members = documents(40)
    full, merged = survey(members), survey(members[30:])
    merged.merge(survey(reversed(members[:30])))
    assert vars(full) == vars(merged)
    assert full.sha256 == merged.sha256 != survey(members[1:]).sha256
    assert full.num_characters == full.num_bytes == sum(len(document.text) for document in members)


def test_a_fraction_is_held_out_by_hash_and_at_least_two_documents():
    members = documents(2000)
    limit = survey(members).limit(0.1)
    held_out = {document.text for document in members if document.number < limit}
    assert 150 < len(held_out) < 250
    few = members[:10]
    limit = survey(few).limit(0.001)
    assert [d for d in few if d.number < limit] == [d for d in few if d in sorted(few, key=lambda d: d.number)[:2]]


def test_a_corpus_too_small_to_hold_some_out_is_refused():
    survey(documents(4)).limit(0.5)
    with pytest.raises(ValueError) as caught:
        survey(documents(3)).limit(0.5)
    assert str(caught.value).startswith("the corpus has 3 documents of 18 characters; expected 4 or more, so that some")


def test_the_public_corpora_are_read(tmp_path):
    data = os.environ.get("TFBERT_DATA")
    if not data or not (Path(data) / "fomc_minutes").is_dir():
        pytest.skip("TFBERT_DATA names no directory with fomc_minutes")
    reader = corpus(Path(data), "fomc_minutes")
    members = list(reader)
    assert (len(members), reader.counts["duplicates"]) == (227, 3)
    assert all(document.where.endswith(".txt") for document in members)


def test_a_corpus_is_named_after_its_first_path(tmp_path):
    (tmp_path / "letters.v2").mkdir()
    assert corpus_name([str(tmp_path / "letters.v2")]) == "letters.v2"
    assert corpus_name([str(tmp_path / "notes.txt.gz"), "b", "c"]) == "notes and 2 more"
