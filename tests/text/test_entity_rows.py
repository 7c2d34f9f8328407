"""Entity records: layouts of files, tag schemes, and rejected rows."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfbert.config import DataConfig
from tfbert.text.entity_rows import COLUMNS, EntityRows
from tfbert.text.readers.rows import Row
from tfbert.text.records import Schema, read_records

TEXT = "Ada Lovelace lived in London."
ADA, LONDON = {"start": 0, "end": 12, "label": "person"}, {"start": 22, "end": 28, "label": "place"}


def read(path, **data):
    return read_records(path, DataConfig(**data), Schema(COLUMNS, None, EntityRows))


def write(tmp_path, content, name="train.conll"):
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    return path


def conll(*sentences):
    """Return CoNLL columns of sentences, each a string of word/tag."""
    return "\n\n".join(s.replace(" ", "\n").replace("/", "\t") for s in sentences) + "\n"


def entities_of(record):
    return [(record.text[span.start : span.end], span.label) for span in record.target]


def row(**values):
    return Row("train.jsonl:7", values)


def parse(data=None, **values):
    return EntityRows(data or DataConfig(), lambda: (row(**values),))(row(**values))


IN_SCHEMES = {
    "iob1": "Ada/I-per Lovelace/I-per Paris/I-loc Rome/B-loc ./O",
    "iob2": "Ada/B-per Lovelace/I-per Paris/B-loc Rome/B-loc ./O",
    "iobes": "Ada/B-per Lovelace/E-per Paris/S-loc Rome/S-loc ./O",
}


@pytest.mark.parametrize("scheme", IN_SCHEMES)
@pytest.mark.parametrize("given_as", ["auto", "stated"])
def test_conll_columns_in_every_scheme(tmp_path, scheme, given_as):
    path = write(tmp_path, "-DOCSTART-\tO\n\n" + conll(IN_SCHEMES[scheme], "no/O"))
    first, second = read(path, tag_scheme="auto" if given_as == "auto" else scheme)
    assert first.text == "Ada Lovelace Paris Rome ."
    assert entities_of(first) == [("Ada Lovelace", "per"), ("Paris", "loc"), ("Rome", "loc")]
    assert (second.text, second.target, second.where) == ("no", (), "train.conll:9")


def test_words_may_be_joined_without_spaces(tmp_path):
    path = write(tmp_path, conll("浙/B-org 商/I-org 的/O C/B-game S/I-game"))
    (record,) = read(path, word_separator="")
    assert record.text == "浙商的CS" and entities_of(record) == [("浙商", "org"), ("CS", "game")]


def test_an_invalid_tag_is_rejected_with_its_line(tmp_path):
    path = write(tmp_path, conll("Ada/B-per ./O", "in/O New/O York/I-loc", "Bob/B-per"))
    with pytest.raises(
        ValueError, match="^train.conll:6: tag 'I-loc' cannot follow 'O' in iob2; .* for the word 'York'"
    ):
        list(read(path))
    reader = read(path, bad_rows="skip")
    assert [record.text for record in reader] == ["Ada .", "Bob"]
    assert reader.tally.num_skipped == 1 and reader.tally.skipped[0].startswith("train.conll:6: ")
    assert [entities_of(record) for record in read(path, tag_scheme="iob1")] == [
        [("Ada", "per")], [("York", "loc")], [("Bob", "per")]
    ]  # fmt: skip


def test_the_scheme_is_detected_from_the_whole_file(tmp_path):
    path = write(tmp_path, conll("Ada/I-per ./O", "Bob/B-per ./O", "Eve/B-per ./O"))
    with pytest.raises(ValueError, match="^train.conll:1: tag 'I-per' cannot follow the beginning of a sentence"):
        list(read(path))


@given(st.lists(st.lists(st.text(st.characters(exclude_categories=["Z", "C"]), min_size=1), min_size=1), min_size=1))
@settings(deadline=None, derandomize=True, max_examples=100)
def test_entities_of_arbitrary_words_have_the_right_spans(tmp_path_factory, words):
    tags = [["B-x" if i % 2 == 0 else "O" for i in range(len(sentence))] for sentence in words]
    for sentence, sentence_tags in zip(words, tags, strict=True):
        record = parse(words=sentence, tags=sentence_tags)
        assert entities_of(record) == [(word, "x") for word in sentence[::2]]


LAYOUTS = {
    "spans": [ADA, LONDON],
    "triples": [[0, 12, "person"], [22, 28, "place"]],
    "other names": [{"start_offset": 0, "end_offset": 12, "type": "person"}, LONDON | {"text": "London"}],
    "cluener": {"person": {"Ada Lovelace": [[0, 11]]}, "place": {"London": [[22, 27]]}},
    "json text": json.dumps([ADA, LONDON]),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_spans(tmp_path, layout):
    path = write(tmp_path, json.dumps({"text": TEXT, "entities": LAYOUTS[layout]}) + "\n", "train.jsonl")
    (record,) = read(path)
    assert record.text == TEXT and entities_of(record) == [("Ada Lovelace", "person"), ("London", "place")]


def test_a_line_of_cluener(tmp_path):
    text = "叶老桂认为叶老桂在浙商银行"
    line = {"text": text, "label": {"name": {"叶老桂": [[0, 2], [5, 7]]}, "company": {"浙商银行": [[9, 12]]}}}
    path = write(tmp_path, json.dumps(line, ensure_ascii=False) + "\n", "train.json")
    (record,) = read(path)
    assert entities_of(record) == [("叶老桂", "name"), ("叶老桂", "name"), ("浙商银行", "company")]


def test_words_and_tags_in_json(tmp_path):
    lines = [{"tokens": ["In", "Rome", "."], "ner_tags": ["O", "B-loc", "O"]}, {"tokens": ["no"], "ner_tags": ["O"]}]
    path = write(tmp_path, "".join(json.dumps(line) + "\n" for line in lines), "train.jsonl")
    first, second = read(path)
    assert entities_of(first) == [("Rome", "loc")] and second.text == "no"


def test_entities_in_a_table(tmp_path):
    cell = json.dumps([LONDON]).replace('"', '""')
    path = write(tmp_path, f'text,entities\n{TEXT},"{cell}"\nnone,[]\n', "train.csv")
    first, second = read(path)
    assert entities_of(first) == [("London", "place")] and second.target == ()


def test_ends_may_be_inclusive():
    record = parse(DataConfig(span_end="inclusive"), text=TEXT, entities=[{"start": 22, "end": 27, "label": "place"}])
    assert entities_of(record) == [("London", "place")]


@pytest.mark.parametrize(
    ("entities", "message"),
    [
        ([{"start": 22, "end": 99, "label": "x"}], r"entity \[22:99\] 'x' is outside the text; .* from 0 to 29"),
        ([{"start": -1, "end": 3, "label": "x"}], r"entity \[-1:3\] 'x' is outside"),
        ([{"start": 5, "end": 3, "label": "x"}], r"entity \[5:3\] 'x' is outside"),
        (
            [{"start": 3, "end": 3, "label": "x"}],
            r"entity \[3:3\] 'x' is ''; expected at least one non-whitespace character",
        ),
        ([{"start": 3, "end": 4, "label": "x"}], r"entity \[3:4\] 'x' is ' '; expected .* non-whitespace"),
        ([{"start": 0, "end": 3, "label": " "}], "label is ' '; expected at least one non-whitespace character"),
        (
            [{"start": 0, "end": 3.5, "label": "x"}],
            r"entities\[0\] is .*; expected start and end as integers and label",
        ),
        ([{"start": 0, "end": 3}], r"entities\[0\] is .*; expected start and end as integers and label"),
        ([ADA, [1, 2]], r"entities\[1\] is \[1, 2\]; expected start and end as integers and label"),
        ([ADA, "Ada"], r"entities\[1\] is \"Ada\"; expected start and end as integers and label"),
        ([ADA | {"text": "Ada"}], r"is 'Ada Lovelace' but the file states 'Ada'; expected the same text$"),
        ([ADA | {"end": 11, "text": "Ada Lovelace"}], "expected the same text, or --set data.span_end=inclusive"),
        ({"x": [[0, 1]]}, "'x' is .*; expected texts with lists of"),
        ({"x": {"Ada": [[0]]}}, "'x' is .*; expected start and end as integers and label"),
        ({"x": {"Ada": [[0, 3]]}}, "is 'Ada ' but the file states 'Ada'; expected the same text"),
        (None, "entities is null; expected a text and a list of entities, or lists of words and tags"),
        ("[1", r'entities is "\[1"; expected a text and a list'),
    ],
)
def test_invalid_entities_are_rejected(entities, message):
    with pytest.raises(ValueError, match=message):
        parse(text=TEXT, entities=entities)


@pytest.mark.parametrize(
    ("words", "tags", "message"),
    [
        (["a", "b"], ["O"], "2 words and 1 tags; expected a tag for every word"),
        (["a"], None, "1 words and no tags"),
        (["a"], [3], "3 among words and tags; expected strings"),
        ([""], ["O"], '"" among words and tags'),
        ([], [], "text is ''"),
        (["\ud800"], ["O"], "is a lone surrogate"),
    ],
)
def test_invalid_words_and_tags_are_rejected(words, tags, message):
    with pytest.raises(ValueError, match=message):
        parse(words=words, tags=tags)


def test_overlapping_spans_are_kept_or_rejected():
    entities = [ADA, {"start": 4, "end": 12, "label": "family"}, ADA]
    assert entities_of(parse(text=TEXT, entities=entities)) == [("Ada Lovelace", "person"), ("Lovelace", "family")]
    message = r"entity \[4:12\] 'Lovelace' overlaps another, which data.nested_spans=refuse forbids"
    with pytest.raises(ValueError, match=message):
        parse(DataConfig(nested_spans="refuse"), text=TEXT, entities=entities)
    refusing = DataConfig(nested_spans="refuse")
    assert len(parse(refusing, text=TEXT, entities=[ADA, ADA, LONDON]).target) == 2
