"""Files become documents, each once; what is wrong with a file is said with its place."""

import gzip
import hashlib
import json
import os
from collections import Counter
from pathlib import Path

import pytest

from tfbert.pretraining.config import CorpusConfig
from tfbert.pretraining.corpus import Corpus, Document, Survey, describe


def write(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = content if isinstance(content, bytes) else content.encode()
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return folder


def corpus(folder, *paths, **values):
    return Corpus(CorpusConfig(paths=tuple(str(folder / path) for path in paths or ("",)), **values))


def texts(reader):
    return [document.text for document in reader]


def places(folder, reader):
    return [document.where.removeprefix(f"{folder}{os.sep}") for document in reader]


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
def test_what_a_document_of_a_text_file_is(tmp_path, content, documents, expected):
    for name in ("x.txt", "x.txt.gz", "noname"):
        folder = write(tmp_path / name.replace(".", "_"), {name: content})
        reader = corpus(folder, documents=documents)
        assert texts(reader) == [text for text, _ in expected]
        assert places(folder, reader) == [f"{name}{place}" for _, place in expected]


def test_jsonl(tmp_path):
    lines = [json.dumps({"id": 1, "body": "a\nb"}), "", json.dumps({"body": "é 中", "x": None}), '{"body": " "}']
    folder = write(tmp_path, {"a.jsonl": "\n".join(lines), "b.jsonl.gz": '{"body": "c"}\n', "c.data": '{"body": "d"}'})
    reader = corpus(folder, "a.jsonl", "b.jsonl.gz", text_key="body")
    assert texts(reader) == ["a\nb", "é 中", "c"]
    assert places(folder, reader) == ["a.jsonl:1", "a.jsonl:3", "b.jsonl.gz:1"]
    assert reader.facts["blank_documents"] == 1 and reader.facts["documents"] == 3
    assert texts(corpus(folder, "c.data", text_key="body", format="jsonl")) == ["d"]


def test_directories_are_read_in_the_order_of_names_and_files_once(tmp_path):
    folder = write(tmp_path, {"b.txt": "b", "a/z.txt": "az", "a/b/c.txt": "abc", ".hidden": "h", ".git/x": "x"})
    assert texts(corpus(folder)) == ["abc", "az", "b"]
    assert texts(corpus(folder, "b.txt", "", "a")) == ["b", "abc", "az"]


def test_equal_texts_are_one_document_whatever_their_blanks(tmp_path):
    folder = write(tmp_path, {"a.txt": "x  y\nz\nx y\t\n", "b.txt": " x\u00a0y ", "c.txt": "X y"})
    reader = corpus(folder)
    assert texts(reader) == ["x  y\n", "z\n", "X y"]
    assert reader.facts == Counter(files=3, documents=5, duplicates=2, characters=10, empty_files=0, replaced=0)
    assert describe(reader.facts) == "3 files, 3 documents, 10 characters, 2 duplicates dropped"
    assert texts(reader) == ["x  y\n", "z\n", "X y"]  # a second pass is as the first
    assert next(iter(reader)).digest == hashlib.sha256(b"x y").digest()


def test_empty_files_are_counted(tmp_path):
    folder = write(tmp_path, {"a.txt": "", "b.txt": "\n \n", "c.txt": "text", "d.jsonl": ""})
    reader = corpus(folder)
    assert texts(reader) == ["text"]
    assert describe(reader.facts) == "4 files, 1 document, 4 characters, 3 empty files"


def test_encodings(tmp_path):
    folder = write(tmp_path, {"a.txt": "中文\n国\n".encode("gb18030"), "b.txt": b"caf\xe9\nb\n"})
    assert texts(corpus(folder, "a.txt", encoding="gb18030")) == ["中文\n", "国\n"]
    reader = corpus(folder, "b.txt", encoding_errors="replace")
    assert texts(reader) == ["caf\ufffd\n", "b\n"]
    assert reader.facts["replaced"] == 1


def test_a_line_of_megabytes_is_a_document(tmp_path):
    line = "The committee met again. " * 100_000
    assert texts(corpus(write(tmp_path, {"a.txt": line}))) == [line]


MISTAKES = {
    "nothing": ({}, (), {}, "corpus.paths is empty; wanted files or directories of text"),
    "missing": ({}, ("no.txt",), {}, "no.txt: no such file or directory; wanted text"),
    "empty directory": ({"d/.x": ""}, ("d",), {}, "d: no file in this directory; wanted text"),
    "empty": ({"a.txt": "", "b.txt": " \n"}, ("",), {}, "the corpus has no text in 2 files, 2 of them empty"),
    "binary": ({"a.bin": b"text\nPK\0\x03"}, ("a.bin",), {}, "a.bin:2: a NUL character; is it a binary file? wanted"),
    "bytes": (
        {"a.txt": b"one\n\xff"},
        ("a.txt",),
        {},
        "a.txt:2: byte 0xFF is not valid utf-8; set the file's encoding",
    ),
    "how": (
        {"a.txt": b"\xff"},
        ("a.txt",),
        {},
        "--set corpus.encoding=..., or use --set corpus.encoding_errors=replace",
    ),
    "gz": ({"a.txt.gz": b"x" * 9}, ("",), {"cut": 12}, "a.txt.gz: cannot be read: "),
    "csv": ({"a.csv": "text\nx"}, ("",), {}, "a.csv: neither text nor jsonl by its name; wanted a file of documents"),
    "encoding": (
        {"a.txt": "a"},
        ("",),
        {"encoding": "utf-9"},
        "corpus.encoding=utf-9: expected the name of a text enc",
    ),
    "not JSON": ({"a.jsonl": '{"text": "a"}\n{"te'}, ("",), {}, "a.jsonl:2: not JSON (Unterminated string starting"),
    "no object": ({"a.jsonl": "[1]"}, ("",), {}, "a.jsonl:1: [1] is not an object; wanted one with the key 'text'"),
    "key": ({"a.jsonl": '{"txt": "a"}'}, ("",), {}, "a.jsonl:1: no key 'text' among 'txt'; name the key"),
    "no key": ({"a.jsonl": "{}"}, ("",), {}, "a.jsonl:1: no key 'text'"),
    "number": ({"a.jsonl": '{"text": 7}'}, ("",), {}, "a.jsonl:1: text is 7; wanted a string"),
    "half": ({"a.jsonl": '{"text": "a\\ud800"}'}, ("",), {}, "a.jsonl:1: '\\ud800' in 'a\\ud800' is half a character"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_refused_with_its_place(tmp_path, mistake):
    files, paths, values, expected = MISTAKES[mistake]
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


def survey(found):
    result = Survey()
    for document in found:
        result.add(document)
    return result


def test_a_survey_does_not_depend_on_order_or_parts():
    found = documents(40)
    whole, parts = survey(found), survey(found[30:])
    parts.merge(survey(reversed(found[:30])))
    assert vars(whole) == vars(parts)
    assert whole.sha256 == parts.sha256 != survey(found[1:]).sha256
    assert whole.num_characters == whole.num_bytes == sum(len(document.text) for document in found)


def test_a_fraction_is_held_out_by_hash_and_two_documents_at_least():
    found = documents(2000)
    limit = survey(found).limit(0.1)
    held_out = {document.text for document in found if document.number < limit}
    assert 150 < len(held_out) < 250
    few = found[:10]
    limit = survey(few).limit(0.001)
    assert [d for d in few if d.number < limit] == [d for d in few if d in sorted(few, key=lambda d: d.number)[:2]]


def test_a_corpus_too_small_to_hold_some_out_is_refused():
    survey(documents(4)).limit(0.5)
    with pytest.raises(ValueError) as caught:
        survey(documents(3)).limit(0.5)
    assert str(caught.value).startswith("the corpus has 3 documents of 18 characters; wanted 4 or more, so that some")


def test_the_public_corpora_are_read(tmp_path):
    data = os.environ.get("TFBERT_DATA")
    if not data or not (Path(data) / "fomc_minutes").is_dir():
        pytest.skip("TFBERT_DATA names no directory with fomc_minutes")
    reader = corpus(Path(data), "fomc_minutes")
    found = list(reader)
    assert (len(found), reader.facts["duplicates"]) == (227, 3)
    assert all(document.where.endswith(".txt") for document in found)
