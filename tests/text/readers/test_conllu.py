"""CoNLL-U: tags in MISC or in a column, multi-word tokens, empty nodes, and texts without spaces."""

import pytest

from tfbert.config import DataConfig
from tfbert.tasks import classification, entities
from tfbert.text.readers.conllu import looks_like_conllu
from tfbert.text.records import read_records


def line(number, form, misc="_", xpos="_"):
    return "\t".join([str(number), form, form.lower(), "X", xpos, "_", "0", "root", "_", misc])


SPANISH = [
    "# sent_id = 1",
    "# text = Vámonos al mar de Ulm.",
    line("1-2", "Vámonos"),
    line(1, "Vamos", "NER=O"),
    line(2, "nos", "NER=O"),
    line("3-4", "al"),
    line(3, "a", "NER=O"),
    line(4, "el", "NER=B-LOC"),
    line(5, "mar", "NER=I-LOC"),
    line("5.1", "fue", "NER=B-LOC"),
    line(6, "de", "NER=O"),
    line(7, "Ulm", "NER=B-LOC|SpaceAfter=No"),
    line(8, ".", "SpaceAfter=No"),
    "",
    "# sent_id = 2",
    line(1, "Ada", "NER=B-PER"),
    "",
]


def write(path, lines):
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def read(path, **settings):
    return [
        (r.where, r.text, [tuple(s) for s in r.target])
        for r in read_records(path, DataConfig(**settings), entities.TASK.schema)
    ]


def message(path, **settings):
    with pytest.raises(ValueError) as caught:
        read(path, **settings)
    return str(caught.value).replace(" (--set data.bad_rows=skip skips such rows)", "")


@pytest.mark.parametrize("name", ["a.conllu", "a.conll", "a.txt", "a.iob2"])
def test_sentences_with_the_text_of_their_surface_tokens(tmp_path, name):
    path = write(tmp_path / name, SPANISH)
    assert read(path) == [
        (f"{name}:3", "Vámonos al mar de Ulm.", [(8, 14, "LOC"), (18, 21, "LOC")]),
        (f"{name}:16", "Ada", [(0, 3, "PER")]),
    ]
    assert read_records(path, DataConfig(), entities.TASK.schema).layout.lines() == [
        "CoNLL-U, utf-8, no column names, 3 comment lines skipped, 1 empty node skipped",
        "reads words from 'FORM', tags from 'NER'; unused columns: none",
    ]


def test_tags_of_a_column_or_of_another_key(tmp_path):
    lines = [line(1, "Ada", "a=B-X|b=B-Y", "B-PER"), line(2, "lives", "a=O", "O"), ""]
    path = write(tmp_path / "a.conllu", lines)
    assert read(path, columns="tags=XPOS") == [("a.conllu:1", "Ada lives", [(0, 3, "PER")])]
    assert read(path, columns="tags=b") == [("a.conllu:1", "Ada lives", [(0, 3, "Y")])]
    expected = "a.conllu: no tags among the keys 'a', 'b' of MISC; expected NER, or another key or column with --set"
    assert message(path) == f"{expected} data.columns=tags=XPOS"
    assert message(path, columns="tags=c").startswith("a.conllu: data.columns=tags=c is not one of the columns ID,")
    path = write(tmp_path / "b.conllu", [line(1, "Ada", "NER=B-X|NE=B-Y")])
    assert message(path).startswith("b.conllu: more than one key of MISC could be the tags: 'NER', 'NE'; expected NER,")


def test_words_without_spaces_between_them(tmp_path):
    path = write(tmp_path / "a.conllu", [line(1, "我", "NER=O"), line(2, "乌尔姆", "NER=B-LOC"), ""])
    assert read(path, word_separator="")[0][1:] == ("我乌尔姆", [(1, 4, "LOC")])


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        ("1\tAda", "2 columns ('1', 'Ada'); expected the ten columns of CoNLL-U, separated by TABs"),
        (line("x", "Ada"), "ID 'x' and FORM 'Ada'; expected the ten columns of CoNLL-U, separated by TABs"),
        (line(1, "Ada", "NER=PER"), "tag 'PER' is neither O nor B-, I-, E- or S- with a type for the word 'Ada'"),
        (line(1, "Ada", "NER=I-PER"), "tag 'I-PER' cannot follow 'O' in iob2; expected B-PER, or --set "
         "data.tag_scheme=iob1 for the word 'Ada'"),
    ],
)  # fmt: skip
def test_a_bad_line_is_an_error_with_its_number(tmp_path, bad, expected):
    good = [line(1, "Ulm", "NER=B-LOC"), ""]
    path = write(tmp_path / "a.conllu", [*good, line(1, "Hi", "NER=O"), bad, "", *good])
    assert message(path) == f"a.conllu:4: {expected}"
    assert [row[1] for row in read(path, bad_rows="skip")] == ["Ulm", "Ulm"]


def test_other_tasks_do_not_read_it(tmp_path):
    path = write(tmp_path / "a.conllu", SPANISH)
    with pytest.raises(
        ValueError, match="a.conllu: the format conllu has labelled spans, which --task entities reads$"
    ):
        read_records(path, DataConfig(), classification.TASK.schema)


def test_only_ten_columns_with_a_number_look_like_conllu():
    assert looks_like_conllu(["# a", "", line(1, "Ada")])
    assert looks_like_conllu([line("1-2", "Ada")])
    assert not looks_like_conllu([line("Ada", "B-PER")])
    assert not looks_like_conllu([line(1, "Ada") + "\tx"])
    assert not looks_like_conllu(["# only comments"])
