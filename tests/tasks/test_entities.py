"""Entities: what is read and learned of a text, and that what cannot be learned is said."""

import json

import numpy as np
import pytest
import tensorflow as tf
from support import tagged
from support.tagged import FACTS, made

from tfbert.config import Config, override
from tfbert.evaluation.spans import Entity
from tfbert.tasks.entities import TASK, spans_in
from tfbert.text.packing import Packer, pad_rows
from tfbert.text.records import Record, read_records
from tfbert.text.spans import Span


@pytest.fixture(scope="module")
def tokenizer():
    return tagged.tokenizer()


def record_of(text, *entities):
    """Return a record of a text and (words, label) pairs, each found behind the one before."""
    spans, position = [], 0
    for words, label in entities:
        position = text.index(words, position)
        spans.append(Span(position, position + len(words), label))
    return Record(text, tuple(spans), "train.jsonl:7")


def spelled(tokenizer, row):
    """Return each piece of a row with its tag; -1 has none."""
    tags = [FACTS["tags"][target] if target >= 0 else None for target in row.target]
    return [f"{tokenizer.vocabulary[i]}/{tag}" if tag else None for i, tag in zip(row.token_ids, tags, strict=True)]


def test_facts():
    records = [
        record_of("Ada met Mary in York", ("Mary", "person"), ("York", "place")),
        record_of("Ada Lovelace", ("Ada Lovelace", "person"), ("Lovelace", "family")),
        record_of("none"),
    ]
    facts = TASK.read_facts(records)
    # The nested one is not learned, and its type is none.
    assert facts == FACTS | {"counts": [2, 1], "borders": "blanks"}
    assert json.loads(json.dumps(facts)) == facts
    assert [list(TASK.labels_of(record)) for record in records] == [["person", "place"], ["person"], []]
    with pytest.raises(ValueError, match="train has no entity; wanted at least one"):
        TASK.read_facts(records[2:])


@pytest.mark.parametrize(
    ("borders", "untagged"),
    [("anywhere", ()), ("words", ("##lace", "##s")), ("blanks", ("##lace", "##s", "ada"))],
)
def test_every_piece_that_entities_may_begin_with_has_its_tag(tokenizer, borders, untagged):
    record = record_of("Ada Lovelace met #Ada Marys in New York.", ("Ada Lovelace", "person"), ("New York", "place"))
    (row,), remarks = made(tokenizer, record, facts=FACTS | {"borders": borders})
    pieces = ["ada", "love", "##lace", "met", "#", "ada", "mary", "##s", "in", "new", "york", "."]
    tags = ["B-person", "I-person", "I-person", "O", "O", "O", "O", "O", "O", "B-place", "I-place", "O"]
    kept = [piece not in untagged or index == 0 for index, piece in enumerate(pieces)]
    expected = [f"{piece}/{tag}" if keep else None for piece, tag, keep in zip(pieces, tags, kept, strict=True)]
    assert spelled(tokenizer, row) == [None, *expected, None]
    assert row.target.dtype == np.int32 and remarks == []


def test_nothing_of_a_long_text_is_left_out(tokenizer):
    text = " ".join(["the Ada Lovelace met"] * 30)
    record = record_of(text, *[("Ada Lovelace", "person")] * 30)
    (whole,), _ = made(tokenizer, record, 200)
    rows, remarks = made(tokenizer, record, 20)
    assert len(whole.target) == 152 and remarks == []
    tags, seen = whole.target[1:-1], np.zeros(150, bool)
    packer = Packer(tokenizer.special, 20)
    for row, start in zip(rows, packer.window_starts(150, 18), strict=True):
        assert len(row.token_ids) == len(row.target) == 20
        assert row.target[0] == row.target[-1] == -1
        # A window that begins inside an entity goes on with it.
        np.testing.assert_array_equal(row.target[1:-1], tags[start : start + 18])
        seen[start : start + 18] = True
    assert seen.all()


@pytest.mark.parametrize(
    ("text", "entities", "expected"),
    [
        ("#Ada2016", [("Ada", "person")], "entities begin or end inside a word and cannot be found exactly"),
        ("Loves", [("Lo", "person")], "entities begin or end inside a word piece, which is tagged as theirs"),
        (
            "Ada\u200b met",
            [("Ada\u200b", "person")],
            "entities begin or end with characters that the encoder does not see",
        ),
        ("Ada \u200b met", [("\u200b", "person")], "entities have no word piece of their own and cannot be found"),
        ("in New York", [(" New York", "place")], "entities begin or end with a blank, which is left out"),
        ("\u200b", [], "texts have no word piece"),
        ("京 都 京 都 京 都 京 都 京 都", [], "texts are characters with a blank between each; "),
        (
            "Ada Lovelace",
            [("Ada Lovelace", "person"), ("Lovelace", "place")],
            "entities overlap another that is longer",
        ),
        ("the " * 80, [("the " * 79 + "the", "place")], "entities are longer than a window"),
    ],
)
def test_what_cannot_be_learned_or_found_is_said(tokenizer, text, entities, expected):
    position, spans = 0, []
    for words, label in entities:
        spans.append(Span(text.index(words), text.index(words) + len(words), label))
    rows, remarks = made(tokenizer, Record(text, tuple(spans), "train.jsonl:7"))
    assert len(remarks) == 1 and remarks[0].startswith(expected), (remarks, position)
    assert rows


def test_an_entity_inside_a_piece_is_tagged_with_all_of_it(tokenizer):
    (row,), _ = made(tokenizer, record_of("met Loves", ("Lo", "person")))
    assert spelled(tokenizer, row)[1:-1] == ["met/O", "love/B-person", None]


def test_a_type_that_train_does_not_have(tokenizer):
    record = record_of("Ada met", ("Ada", "persn"))
    message = "train.jsonl:7: entity type 'persn' is not one of the 2 of train; did you mean 'person'?"
    with pytest.raises(ValueError, match=message):
        made(tokenizer, record)
    with pytest.raises(ValueError, match=message):
        TASK.gold_of(record, FACTS)


def test_gold_is_the_outermost_without_edge_blanks():
    record = record_of("met Ada Lovelace in", (" Ada Lovelace", "person"), ("Lovelace", "place"))
    assert TASK.gold_of(record, FACTS) == (Entity(4, 16, "person", "Ada Lovelace"),)
    assert spans_in(record) == [Span(4, 16, "person")]


def test_loss_is_the_cross_entropy_of_the_tags(tokenizer):
    rows = [*made(tokenizer, record_of("Ada met", ("Ada", "person")))[0], *made(tokenizer, record_of("in the cafe"))[0]]
    batch = pad_rows([row.token_ids for row in rows], [row.second for row in rows], 0, 64)
    targets = np.full(batch["token_ids"].shape, -1)
    for index, row in enumerate(rows):
        targets[index, : len(row.target)] = row.target
    logits = np.random.default_rng(0).normal(size=(*targets.shape, 5)).astype(np.float32)
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    expected = [-(log_p[0, 1, 1] + log_p[0, 2, 0]) / 2, -(log_p[1, 1, 0] + log_p[1, 2, 0] + log_p[1, 3, 0]) / 3]
    found = TASK.loss(tf.constant(logits), batch | {"targets": tf.constant(targets)}, Config())
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_every_entity_of_the_samples_can_be_learned():
    facts = None
    for name in ("train", "validation", "test"):
        config = Config().data
        records = list(read_records(TASK.samples_dir / f"{name}.jsonl", config, TASK.schema))
        facts = facts or TASK.read_facts(records)
        for record in records:
            assert [record.text[e.start : e.end] for e in TASK.gold_of(record, facts)] == [
                record.text[span.start : span.end] for span in sorted(record.target)
            ]


def test_the_head_learns_faster_than_the_encoder_unless_told_otherwise():
    config = override(Config(task="entities"), TASK.defaults)
    assert config.train.head_learning_rate_factor == 10.0


def test_the_config_decides_how_rows_are_read(tmp_path):
    path = tmp_path / "train.jsonl"
    path.write_text(json.dumps({"text": "Ada met", "entities": [[0, 2, "person"]]}) + "\n")
    for end, expected in (("exclusive", "Ad"), ("inclusive", "Ada")):
        data = override(Config(), {"data.span_end": end}).data
        (record,) = read_records(path, data, TASK.schema)
        assert TASK.gold_of(record, FACTS)[0].text == expected
