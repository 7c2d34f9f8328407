"""Record readers: files are read back as written, and errors contain their location."""

import csv
import gzip
import json
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfbert.config import DataConfig
from tfbert.text.readers.formats import KNOWN_FILES
from tfbert.text.readers.lines import MAX_SKIPPED_KEPT
from tfbert.text.records import Record, label_of, read_records

SKIP_ADVICE = " (--set data.bad_rows=skip skips such rows)"
TEXT_NAMES = (
    "text, sentence, review, utterance, query, message, content, comment, tweet, question, document, body, text1, "
    "sentence1, sentence_1, question1, premise"
)
LABEL_NAMES = "label, labels, category, class, intent, sentiment, target, topic, emotion, polarity"
FIRST_LINE = " (read from the first line); expected one of"
NO_HEADER = "; if the first line is already a record, --set data.header=none"

# Every character except lone surrogates; characters that are hard for readers are frequent.
AWKWARD = "\"'\\,;\t\n\r\0\x08\x0b\x0c\x12\x1c\x85\u2028\u2029\u200b\ufeff\ufffd@ é中😀"
CHARACTERS = st.one_of(st.sampled_from(AWKWARD), st.characters(exclude_categories=["Cs"]))
TEXTS = st.text(CHARACTERS, min_size=1).filter(lambda text: not text.isspace())
ROWS = st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=5)
NO_ENDS = str.maketrans("\t\n\r", "xyz")
ON_ONE_LINE = ROWS.map(lambda rows: [(text.translate(NO_ENDS), label.translate(NO_ENDS)) for text, label in rows])
REPEATABLE = settings(deadline=None, derandomize=True, max_examples=60)


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def pairs(path: Path, **settings) -> list[tuple[str, str | None]]:
    return [(record.text, record.target) for record in read_records(path, DataConfig(**settings))]


def stripped(rows) -> list[tuple[str, str]]:
    return [(text, label_of(label)) for text, label in rows]


def message(path: Path, **settings) -> str:
    with pytest.raises(ValueError) as caught:
        list(read_records(path, DataConfig(**settings)))
    return str(caught.value)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("written")


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@REPEATABLE
@given(rows=ROWS)
def test_csv_is_read_back_as_written(folder, mark, ending, rows):
    path = folder / "rows.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        file.write(mark)
        writer = csv.writer(file, lineterminator=ending, quoting=csv.QUOTE_ALL)
        writer.writerows([("text", "label"), *rows])
    assert pairs(path) == stripped(rows)


@pytest.mark.parametrize("ascii_only", [True, False])
@REPEATABLE
@given(rows=ROWS)
def test_jsonl_is_read_back_as_written(folder, ascii_only, rows):
    lines = [json.dumps({"label": label, "text": text}, ensure_ascii=ascii_only) for text, label in rows]
    assert pairs(write(folder / "rows.jsonl", "\ufeff" + "\r\n".join(lines))) == stripped(rows)


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@REPEATABLE
@given(rows=ON_ONE_LINE)
def test_tsv_quotes_are_text(folder, ending, rows):
    lines = [f"{label}\t{text}" for text, label in [("text", "label"), *rows]]
    assert pairs(write(folder / "rows.tsv", ending.join(lines))) == stripped(rows)


@pytest.mark.parametrize("separator", ["\t", "@", "@@", " ||| "])
@REPEATABLE
@given(rows=ON_ONE_LINE)
def test_text_is_split_at_the_last_separator(folder, separator, rows):
    rows = [(text, "".join(c for c in label if c not in separator) + "!") for text, label in rows]
    lines = "".join(f"{text}{separator}{label}\n" for text, label in rows)
    expected = [tuple(line.rsplit(separator, 1)) for line in lines.split("\n")[:-1]]
    assert pairs(write(folder / "rows.txt", "\ufeff" + lines), separator=separator) == stripped(expected)


@REPEATABLE
@given(rows=st.lists(TEXTS, min_size=1, max_size=4))
def test_each_file_of_a_directory_is_one_text(tmp_path_factory, rows):
    root = tmp_path_factory.mktemp("classes")
    for number, text in enumerate(rows):
        write(root / f"c{number % 2}" / f"{number}.txt", "\ufeff" + text)
    expected = sorted((f"c{number % 2}/{number}.txt", text, f"c{number % 2}") for number, text in enumerate(rows))
    records = [(record.where, record.text, record.target) for record in read_records(root, DataConfig())]
    assert records == expected


def test_other_line_separators_do_not_end_a_line(tmp_path):
    text = "one\u2028two\x85three\x0bfour\x0cfive\x1csix\x1eseven"
    assert pairs(write(tmp_path / "a.txt", f"{text}\tx\n")) == [(text, "x")]
    line = json.dumps({"text": text, "label": "x"}, ensure_ascii=False)
    assert pairs(write(tmp_path / "a.jsonl", line)) == [(text, "x")]


def test_where_is_the_line_on_which_a_record_starts(tmp_path):
    content = 'text,label\r\n"a\r\nb",x\r\n\r\nc,y\r\n"d\re",x\r\nf,y'
    records = list(read_records(write(tmp_path / "train.csv", content), DataConfig()))
    assert records == [
        Record("a\r\nb", "x", "train.csv:2"),
        Record("c", "y", "train.csv:5"),
        Record("d\re", "x", "train.csv:6"),
        Record("f", "y", "train.csv:8"),
    ]


def test_where_is_relative_to_the_root(tmp_path):
    path = write(tmp_path / "train" / "news" / "1.txt", "a")
    assert [r.where for r in read_records(tmp_path / "train", DataConfig(), root=tmp_path)] == ["train/news/1.txt"]
    csv_path = write(path.parent / "a.csv", "text,label\na,x\n")
    assert [r.where for r in read_records(csv_path, DataConfig(), root=tmp_path)] == ["train/news/a.csv:2"]


@pytest.mark.parametrize("name", ["a.csv.gz", "A.CSV.GZ"])
def test_gzip_is_read_as_the_file_inside(tmp_path, name):
    path = write(tmp_path / name, gzip.compress("\ufefftext,label\r\né,x\r\n".encode()))
    assert pairs(path) == [("é", "x")]


def test_long_fields_and_control_characters_survive(tmp_path):
    text = "\x00\x08\x12" + "long " * 100_000
    assert pairs(write(tmp_path / "a.csv", f"text,label\n{text},x\n")) == [(text, "x")]


def test_labels_are_stripped_and_texts_are_not(tmp_path):
    assert pairs(write(tmp_path / "a.csv", "text,label\n  a ,  x\xa0\n")) == [("  a ", "x")]


def test_every_iteration_is_a_new_pass(tmp_path):
    reader = read_records(write(tmp_path / "a.csv", "text,label\na,x\n,y\nb,z\n"), DataConfig(bad_rows="skip"))
    first, second = iter(reader), iter(reader)
    assert [next(first).text, next(second).text, next(first).text, next(second).text] == ["a", "a", "b", "b"]
    assert list(first) == list(second) == []
    assert (reader.tally.num_skipped, len(reader.tally.skipped)) == (1, 1)


@pytest.mark.parametrize(
    ("value", "label"),
    [
        ('" x "', "x"),
        ("7", "7"),
        ("-1", "-1"),
        ("0", "0"),
        ("1.0", "1"),
        ("-2.00", "-2"),
        ("1.5", "1.5"),
        ("true", "true"),
        ("false", "false"),
        ("10000000000000000000000", "10000000000000000000000"),
    ],
)
def test_numbers_and_truth_values_are_the_same_labels_in_all_formats(tmp_path, value, label):
    assert pairs(write(tmp_path / "a.jsonl", f'{{"text": "a", "label": {value}}}\n')) == [("a", label)]
    assert pairs(write(tmp_path / "a.csv", f"text,label\na,{value}\n")) == [("a", label)]


@pytest.mark.parametrize(
    ("label", "expected"),
    [("TRUE", "true"), ("True", "true"), ("False", "false"), ("tRUE", "tRUE"), ("v1.0", "v1.0"), ("1.0.0", "1.0.0")],
)
def test_only_whole_labels_are_changed(label, expected):
    assert label_of(f" {label}") == expected


@pytest.mark.parametrize(
    ("header", "settings", "expected"),
    [
        ("text,label,other", {}, ("v0", "v1")),
        (" Category , Sentence ,other", {}, ("v1", "v0")),
        ("LABELS,id,Review", {}, ("v2", "v0")),
        ("text,review,intent", {"columns": "text=review"}, ("v1", "v2")),
        ("text,topic,intent", {"columns": "label=topic"}, ("v0", "v1")),
        ("question,topic,intent", {"columns": "text=topic"}, ("v1", "v2")),
        ("content,body,x", {"columns": "label=body"}, ("v0", "v1")),
        ("#1 String,Quality,x", {"columns": "text=#1 String,label=Quality"}, ("v0", "v1")),
    ],
)
def test_columns_are_found_by_usual_or_assigned_names(tmp_path, header, settings, expected):
    keys = header.split(",")
    assert pairs(write(tmp_path / "a.csv", f"{header}\nv0,v1,v2\n"), **settings) == [expected]
    line = json.dumps({key: f"v{i}" for i, key in enumerate(keys)})
    assert pairs(write(tmp_path / "a.jsonl", line), **settings) == [expected]


@pytest.mark.parametrize(
    ("name", "content", "settings", "expected"),
    [
        ("a.csv", "text,review,label", {}, "more than one column could be the text: 'text', 'review'; expected one, "
         "such as --set data.columns=text=text"),
        ("a.csv", "text,text,label", {"columns": "text=text"}, "more than one column could be the text: 'text', "
         "'text'; expected different names; rename one of them"),
        ("a.tsv", "text\tclass\ttopic", {}, "more than one column could be the label: 'class', 'topic'; expected one, "
         "such as --set data.columns=label=class"),
        ("a.csv", "I lost it,lost", {}, f"no text column among 'I lost it', 'lost'{FIRST_LINE} {TEXT_NAMES}, "
         f"or its name with --set data.columns=text=...{NO_HEADER}"),
        ("a.csv", "text,verdict", {}, f"no label column among 'text', 'verdict'{FIRST_LINE} {LABEL_NAMES}, "
         f"or its name with --set data.columns=label=...{NO_HEADER}"),
        ("a.csv", "text,label,verdict", {"columns": "label=verdikt"}, "data.columns=label=verdikt is not one of the "
         "columns 'text', 'label', 'verdict'; did you mean 'verdict'?"),
        ("a.jsonl", '{"id": 3}', {}, f"no text key among 'id'; expected one of {TEXT_NAMES}, or its name with "
         "--set data.columns=text=..."),
        ("a.jsonl", "{}", {"columns": "text=t"}, "data.columns=text=t is not one of the keys none"),
    ],
)  # fmt: skip
def test_columns_that_cannot_be_determined_are_rejected(tmp_path, name, content, settings, expected):
    path = write(tmp_path / name, f"\n{content}\na,b\n")
    assert message(path, **settings) == f"{name}:2: {expected}"
    assert message(path, bad_rows="skip", **settings) == f"{name}:2: {expected}"


@pytest.mark.parametrize("bad_rows", ["error", "skip"])
@pytest.mark.parametrize(
    ("rows", "start", "reason"),
    [
        ('a,x\n"b" c,y\n', 3, "',' expected after '\"'"),
        ('a,x\n\n"b,y\nc,z\n', 4, "unexpected end of data"),
        ('"a\nb",x\n"c,y\n"d" e,z\n', 4, "',' expected after '\"'"),
    ],
)
def test_unbalanced_quotes_are_rejected_with_the_first_line_of_the_row(tmp_path, bad_rows, rows, start, reason):
    path = write(tmp_path / "a.csv", "text,label\n" + rows)
    assert message(path, bad_rows=bad_rows) == (
        f"a.csv:{start}: unbalanced double quotes in the row that starts here ({reason}); expected quotes around whole "
        "fields and doubled quotes inside them, or --set data.quoting=none if quotes are plain text"
    )


def test_quoting_none_reads_quotes_as_text(tmp_path):
    assert pairs(write(tmp_path / "a.csv", 'text,label\n"b" c,"y\n'), quoting="none") == [('"b" c', '"y')]
    assert pairs(write(tmp_path / "a.tsv", 'text\tlabel\n"b\tc"\ty\n'), quoting="minimal") == [("b\tc", "y")]


EXPECTED_TEXT = "expected at least one non-whitespace character"


@pytest.mark.parametrize(
    ("name", "row", "expected"),
    [
        ("a.csv", ",x", f"text is ''; {EXPECTED_TEXT}"),
        ("a.csv", '" \n",x', f"text is ' \\n'; {EXPECTED_TEXT}"),
        ("a.csv", "a, ", f"label is ' '; {EXPECTED_TEXT}"),
        ("a.csv", "a", "1 column ('a'); expected 2, as in the header"),
        ("a.csv", "no, thanks,x", "3 columns ('no', ' thanks', 'x'); expected 2, as in the header"),
        ("a.tsv", "a\rb\tx", "1 column ('a'); expected 2, as in the header"),
        ("a.txt", "\t", f"text is ''; {EXPECTED_TEXT}"),
        ("a.txt", "a\t", f"label is ''; {EXPECTED_TEXT}"),
        ("a.txt", "nothing here", "no separator '\\t' in 'nothing here'; expected the text, '\\t' and the label"),
        ("a.txt", "a" * 50, f"no separator '\\t' in '{'a' * 37}...'; expected the text, '\\t' and the label"),
        ("a.jsonl", "{", "not JSON (Expecting property name enclosed in double quotes at column 2); expected one "
         "object per line"),
        ("a.jsonl", '["a", "x"]', '["a", "x"] is not an object; expected one object per line'),
        ("a.jsonl", '{"text": "a"}', "no key 'label' among 'text'; expected it in every object"),
        ("a.jsonl", '{"label": "a"}', "no key 'text' among 'label'; expected it in every object"),
        ("a.jsonl", '{"text": null, "label": "x"}', "text is null; expected a string"),
        ("a.jsonl", '{"text": 5, "label": "x"}', "text is 5; expected a string"),
        ("a.jsonl", '{"text": "a", "label": NaN}', "label is NaN; expected a string, a number, true or false"),
        ("a.jsonl", '{"text": "a", "label": null}', "label is null; expected a string, a number, true or false"),
        ("a.jsonl", '{"text": "a", "label": ["é", "è"]}', 'label is ["é", "è"]; expected one label; for several labels '
         "per text use --task multilabel"),
        ("a.jsonl", '{"text": "a", "label": []}', "label is []; expected one label; for several labels per text use "
         "--task multilabel"),
        ("a.jsonl", '{"text": "a\\ud83d", "label": "x"}', "'\\ud83d' in 'a\\ud83d' is a lone surrogate; expected valid "
         "Unicode"),
    ],
)  # fmt: skip
def test_a_bad_row_is_an_error_with_its_location_or_is_skipped_and_counted(tmp_path, name, row, expected):
    start = {"a.csv": "text,label\ngood,x\n", "a.tsv": "text\tlabel\ngood\tx\n", "a.txt": "good\tx\n\n"}
    content = start.get(name, '{"text": "good", "label": "x"}\n\n')
    path = write(tmp_path / name, f"{content}{row}\n")
    assert message(path) == f"{name}:3: {expected}{SKIP_ADVICE}"
    reader = read_records(path, DataConfig(bad_rows="skip"))
    assert next((record.text, record.target) for record in reader) == ("good", "x")
    assert len(list(reader)) == (2 if "\r" in row else 1)  # a lone CR ends a row, and a valid row follows it
    assert reader.tally.skipped[0] == f"{name}:3: {expected}"


def test_all_skipped_rows_are_counted_and_the_first_messages_kept(tmp_path):
    content = "text,label\n" + "a,x\n,x\n" * 50
    reader = read_records(write(tmp_path / "a.csv", content), DataConfig(bad_rows="skip"))
    for _ in range(2):
        assert len(list(reader)) == 50
        assert reader.tally.num_skipped == 50
        kept = [f"a.csv:{line}: text is ''; {EXPECTED_TEXT}" for line in range(3, 3 + 2 * MAX_SKIPPED_KEPT, 2)]
        assert reader.tally.skipped == kept


@pytest.mark.parametrize("bad_rows", ["error", "skip"])
def test_an_undecodable_byte_is_rejected_with_its_line(tmp_path, bad_rows):
    path = write(tmp_path / "a.csv", b"text,label\nfine,x\n\xc3\xa3 \xa3 5,y\n")
    assert message(path, bad_rows=bad_rows) == (
        "a.csv:3: byte 0xA3 is not valid utf-8; set the file's encoding, such as gb18030 (Chinese) or cp1252 "
        "(Western European), with --set data.encoding=..., or use --set data.encoding_errors=replace"
    )


def test_replaced_bytes_are_counted(tmp_path):
    path = write(tmp_path / "a.csv", b"text,label\n\xef\xbf\xbd ok,x\n\xa3 5 \xf0\x9f\x98 \xf0\x9f\x98\x80,y\n")
    reader = read_records(path, DataConfig(encoding_errors="replace"))
    assert [record.text for record in reader] == ["\ufffd ok", "\ufffd 5 \ufffd 😀"]
    assert reader.tally.num_replaced == 2


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "gb18030", "shift_jis", "cp1252", "utf-8-sig"])
def test_other_encodings_are_read(tmp_path, encoding):
    text = "Gru\xdf" if encoding == "cp1252" else "你好" if encoding == "gb18030" else "日本"
    path = write(tmp_path / "a.csv", f"text,label\r\n{text},x\r\n".encode(encoding))
    assert pairs(path, encoding=encoding) == [(text, "x")]


def test_a_truncated_utf_16_file_is_rejected_with_its_line(tmp_path):
    path = write(tmp_path / "a.txt", "a\tx\nb\ty".encode("utf-16-le")[:-1])
    assert message(path, encoding="utf-16-le").startswith("a.txt:2: byte 0x79 is not valid utf-16-le; set")
    assert message(write(path, b"a\0\tx"), encoding="utf-16").startswith(
        "a.txt: cannot be read: UTF-16 stream does not"
    )


@pytest.mark.parametrize("encoding", ["utf-9", "base64", "undefined"])
def test_an_unknown_encoding_is_rejected_before_reading(tmp_path, encoding):
    with pytest.raises(
        ValueError, match=f"^data.encoding={encoding}: expected the name of a text encoding, such as utf-8"
    ):
        read_records(write(tmp_path / "a.csv", "text,label\na,x\n"), DataConfig(encoding=encoding))


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", "", "row below the line of column names"),
        ("a.csv", "\ufefftext,label\r\n\r\n", "row below the line of column names"),
        ("a.tsv", "\n\n", "row below the line of column names"),
        ("a.jsonl", " \n", "line with a JSON object"),
        ("a.txt", "\ufeff", "line of text, separator and label"),
        ("a.txt", "b\n\tx\n", "line of text, separator and label; skipped 2, first: a.txt:1: no separator '\\t' in "
         "'b'; expected the text, '\\t' and the label"),
    ],
)  # fmt: skip
def test_a_file_without_records_is_rejected(tmp_path, name, content, expected):
    path = write(tmp_path / name, content)
    assert message(path, bad_rows="skip") == f"{name}: no records; expected at least one {expected}"


def test_paths_that_cannot_be_read_are_rejected(tmp_path):
    path = write(tmp_path / "a.pdf", "%PDF-1.7")
    assert message(path) == f"{path}: unknown file format; expected {KNOWN_FILES}, or --set data.format=..."
    expected = "expected a directory with one subdirectory per class because data.format=folder"
    assert message(path, format="folder") == f"{path}: is a file; {expected}"
    assert message(tmp_path / "b.csv") == f"{tmp_path / 'b.csv'}: no such file or directory"
    assert message(tmp_path, format="csv") == f"{tmp_path}: is a directory; expected a file because data.format=csv"
    assert message(tmp_path).endswith(": no records; expected at least one subdirectory per class with .txt files")
    assert message(write(tmp_path / "c.csv.gz", b"text")) == "c.csv.gz: cannot be read: Not a gzipped file (b'te')"
    truncated = write(tmp_path / "d.csv.gz", gzip.compress(b"text,label\na,x\n" * 9)[:-9])
    assert message(truncated).startswith("d.csv.gz: cannot be read: Compressed file ended before")


def test_the_reader_of_a_directory_lists_ignored_entries(tmp_path):
    for name in (
        "b/2.txt",
        "b/1.TXT",
        "b/scan.pdf",
        "a/3.txt",
        "a/old/4.txt",
        "README.md",
        ".hidden/5.txt",
        "a/.cache",
    ):
        write(tmp_path / name, f"text of {name}")
    reader = read_records(tmp_path, DataConfig())
    assert [record.where for record in reader] == ["a/3.txt", "b/1.TXT", "b/2.txt"]
    assert reader.ignored == ("README.md", "a/old", "b/scan.pdf")
    assert [file.name for file in reader.files] == ["3.txt", "1.TXT", "2.txt"]
    write(tmp_path / "a" / "0.txt", " \n")
    assert message(tmp_path) == f"a/0.txt: text is ' \\n'; {EXPECTED_TEXT}{SKIP_ADVICE}"


def test_memory_does_not_grow_with_the_file(tmp_path):
    path = tmp_path / "big.csv"
    row = '"' + "some words and\n a number, " * 40 + '",label {}\n'
    with open(path, "w", encoding="utf-8") as file:
        file.write("text,label\n")
        file.writelines(row.format(number % 7) for number in range(16_000))
    assert path.stat().st_size > 16_000_000
    tracemalloc.start()
    num_records = sum(1 for _ in read_records(path, DataConfig()))
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert num_records == 16_000
    assert peak_bytes < 2_000_000
