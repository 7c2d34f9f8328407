"""CoNLL columns in real files: document lines, comments, column names, empty words, other file names."""

import pytest

from tfbert.config import DataConfig
from tfbert.tasks import classification, entities
from tfbert.text.readers.conll import looks_like_conll
from tfbert.text.records import Record, Schema, read_records

SENTENCE = "Ada\tB-PER\nlives\tO\nin\tO\nUlm\tB-LOC\n"


def read(path, content, **settings):
    path.write_text(content, encoding="utf-8")
    reader = read_records(path, DataConfig(**settings), entities.TASK.schema)
    return [(record.where, record.text, [tuple(span) for span in record.target]) for record in reader]


def message(path, content):
    with pytest.raises(ValueError) as caught:
        read(path, content)
    return str(caught.value).replace(" (--set data.bad_rows=skip skips such rows)", "")


def lines(path):
    return read_records(path, DataConfig(), entities.TASK.schema).layout.lines()


def raw(path, content, **settings):
    """Return the location and the values of each row."""
    path.write_text(content, encoding="utf-8")
    schema = Schema((), lambda row: Record("any", row.values, row.where))
    return [(record.where, record.target) for record in read_records(path, DataConfig(**settings), schema)]


def test_conll_sentences_end_at_lines_without_words(tmp_path):
    content = "-DOCSTART- -X- O\n\nEU NNP B-ORG\nrejects VBZ O\n\t\n\n\u200b O\nPeter\tB-PER\n"
    rows = raw(tmp_path / "a.conll", content)
    assert [(where, value["words"], value["tags"], value["lines"]) for where, value in rows] == [
        ("a.conll:3", ["EU", "rejects"], ["B-ORG", "O"], [3, 4]),
        ("a.conll:7", ["\u200b", "Peter"], ["O", "B-PER"], [7, 8]),
    ]


def test_a_word_without_a_tag_is_rejected_with_its_line(tmp_path):
    content = "EU B-ORG\nrejects\nthe O\n\nPeter B-PER\n"
    assert message(tmp_path / "a.conll", content) == "a.conll:2: 'rejects' has no tag; expected a word and a tag"
    rows = raw(tmp_path / "a.conll", content, bad_rows="skip")
    assert [where for where, _ in rows] == ["a.conll:5"]


def test_a_document_line_ends_a_sentence(tmp_path):
    path = tmp_path / "a.conll"
    records = read(path, f"-DOCSTART- -X- O\n{SENTENCE}-DOCSTART- -X- O\nUlm B-LOC\n")
    assert records == [
        ("a.conll:2", "Ada lives in Ulm", [(0, 3, "PER"), (13, 16, "LOC")]),
        ("a.conll:7", "Ulm", [(0, 3, "LOC")]),
    ]
    assert lines(path)[0] == "CoNLL columns, utf-8, no column names, 2 -DOCSTART- lines skipped"


def test_comments_before_a_sentence_are_skipped_but_not_hashtags(tmp_path):
    path = tmp_path / "a.conll"
    content = f"# newdoc id = 7\n# text = I am O\n{SENTENCE}\n# id 5239 domain\n#ulm B-LOC\n# O\n\n# O\nUlm B-LOC\n"
    assert [(where, text) for where, text, _ in read(path, content)] == [
        ("a.conll:3", "Ada lives in Ulm"),
        ("a.conll:9", "#ulm #"),
        ("a.conll:12", "# Ulm"),
    ]
    assert lines(path)[0].endswith("3 comment lines skipped")


def test_comments_inside_a_sentence_are_skipped(tmp_path):
    content = "Ada B-PER\n# newpar id = p2\nlives O\n#end document\n-docstart- -X- O\nUlm B-LOC\n"
    assert [text for _, text, _ in read(tmp_path / "a.conll", content)] == ["Ada lives", "Ulm"]
    assert (
        message(tmp_path / "a.conll", "Ada B-PER\n#ulm\n") == "a.conll:2: '#ulm' has no tag; expected a word and a tag"
    )


def test_a_line_of_column_names_is_not_a_sentence(tmp_path):
    path = tmp_path / "a.conll"
    assert [text for _, text, _ in read(path, f"Word\tPOS\tTag\n{SENTENCE}".replace("\tO", "\tX\tO"))] == [
        "Ada lives in Ulm"
    ]
    assert lines(path)[0] == "CoNLL columns, utf-8, column names on line 1"
    assert message(path, f"{SENTENCE}\nword\ttag\n{SENTENCE}") == (
        "a.conll:6: repeats the line of column names ('word', 'tag'); remove it"
    )


@pytest.mark.parametrize("line", [" \tO", "\tO", "  O"])
def test_an_empty_word_is_rejected_with_its_line(tmp_path, line):
    expected = "a.conll:2: the word before the tag 'O' is empty; expected a word and a tag"
    assert message(tmp_path / "a.conll", f"Ada\tB-PER\n{line}\n") == expected
    assert (
        message(tmp_path / "a.conll", "Ada\tB-PER\nUlm\n") == "a.conll:2: 'Ulm' has no tag; expected a word and a tag"
    )


@pytest.mark.parametrize(("name", "separator"), [("a.txt", "\t"), ("a.txt", " "), ("a.tsv", "\t"), ("a.TSV", " ")])
def test_conll_columns_are_recognized_in_files_with_other_suffixes(tmp_path, name, separator):
    records = read(tmp_path / name, SENTENCE.replace("\t", separator))
    assert records == [(f"{name}:1", "Ada lives in Ulm", [(0, 3, "PER"), (13, 16, "LOC")])]
    assert lines(tmp_path / name)[1] == "reads words from 'column 1', tags from 'column 2'; unused columns: none"


def test_tags_without_a_prefix_are_rejected(tmp_path):
    content = "Ada\tPER\nlives\tO\nin\tO\nUlm\tLOC\n.\tO\n"
    expected = "tag 'PER' is neither O nor B-, I-, E- or S- with a type for the word 'Ada'"
    assert message(tmp_path / "a.txt", content) == f"a.txt:1: {expected}"


def test_other_tasks_read_such_files_by_their_suffix(tmp_path):
    (tmp_path / "a.txt").write_text(SENTENCE, encoding="utf-8")
    reader = read_records(tmp_path / "a.txt", DataConfig(), classification.TASK.schema)
    assert [record.target for record in reader] == ["B-PER", "O", "O", "B-LOC"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([SENTENCE], True),
        (["a text\tlabel", "another\tO"], False),
        (["text\tentities", 'Ada in Ulm\t[[0, 3, "PER"]]'], False),
        (["I said O"], False),
        ([], False),
    ],
)
def test_only_words_and_tags_look_like_conll(content, expected):
    assert looks_like_conll("\n".join(content).splitlines()) is expected


def test_a_tag_instead_of_entities_is_rejected_with_the_format_to_use(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("text,label\nAda,B-PER\nlives,O\n", encoding="utf-8")
    with pytest.raises(ValueError, match="for files with one word and its tag per line use --set data.format=conll"):
        list(read_records(path, DataConfig(), entities.TASK.schema))
