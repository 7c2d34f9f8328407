"""Entities: records, targets, losses, and warnings about entities that cannot be learned."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf
from support import tagged
from support.tagged import fitted, tokenize_record
from support.tokenized import warnings_of

from tfbert.config import Config, override
from tfbert.evaluation.entities import Entity
from tfbert.tasks.base import fitted_from_json
from tfbert.tasks.base_config import used_options
from tfbert.tasks.entities import TASK, EntitiesOptions
from tfbert.text.batches import batches
from tfbert.text.entity_rows import spans_in
from tfbert.text.preprocessor import Preprocessor
from tfbert.text.records import Record, read_records
from tfbert.text.spans import Span

OPTIONS = EntitiesOptions()


@pytest.fixture(scope="module")
def tokenizer():
    return tagged.tokenizer()


def record_of(text, *entities):
    """Return a record of a text and (words, label) pairs, in the order of their positions."""
    spans, position = [], 0
    for words, label in entities:
        position = text.index(words, position)
        spans.append(Span(position, position + len(words), label))
    return Record(text, tuple(spans), "train.jsonl:7")


def spell(tokenizer, split, index=0):
    """Return each word piece of a sequence with its tag; `None` for a piece without a target."""
    tags, pieces = fitted().tags, [tokenizer.vocabulary[token] for token in split.sequences[index]]
    tag_ids = split.targets["tag_id"][index]
    return [f"{piece}/{tags[tag]}" if tag >= 0 else None for piece, tag in zip(pieces, tag_ids, strict=True)]


# Records


def test_types_and_borders():
    records = [
        record_of("Ada met Mary in York", ("Mary", "person"), ("York", "place")),
        record_of("Ada Lovelace", ("Ada Lovelace", "person"), ("Lovelace", "family")),
        record_of("none"),
    ]
    task = TASK.fit(iter(records), OPTIONS)
    # The nested entity is not learned, and neither is its type.
    assert task == fitted(borders="whitespace")
    assert (task.known_labels, task.tags) == (
        ("person", "place"),
        ["O", "B-person", "I-person", "B-place", "I-place"],
    )
    assert [list(TASK.labels_of(record)) for record in records] == [["person", "place"], ["person"], []]
    with pytest.raises(ValueError, match="train has no entity; expected at least one"):
        TASK.fit(records[2:], OPTIONS)


def test_stored_and_restored():
    options = EntitiesOptions(
        dropout=0.3, part_tokens=7, head_learning_rate_factor=2.0, label_smoothing=0.1, window_overlap_fraction=0.5
    )
    task = TASK.fit([record_of("#Ada", ("Ada", "b")), record_of("#Ada", ("Ada", "a"))], options)
    assert (task.types, task.borders, task.options) == (("a", "b"), "words", options)
    assert fitted_from_json(json.loads(json.dumps(task.to_json()))) == task


def test_options_that_entities_use():
    names = ("tag_scheme", "word_separator", "span_end", "nested_spans", "label_names", "corrections")
    data = {f"data.{name}" for name in (*names, "calibration", "calibration_fraction")}
    learning = {"train.part_tokens", "train.head_learning_rate_factor", "train.label_smoothing", "head.dropout"}
    # Other options that only some tasks use are rejected, such as head.pooling and train.class_weights.
    assert used_options(TASK) == data | learning | {"encoder.window_overlap_fraction", "decision.evidence"}
    used = {"train.label_smoothing": 0.1, "encoder.window_overlap_fraction": 0.5, "head.dropout": 0.0}
    config = override(Config(task="entities"), used)
    assert EntitiesOptions.from_config(config) == EntitiesOptions(
        label_smoothing=0.1, window_overlap_fraction=0.5, dropout=0.0
    )


@pytest.mark.parametrize(("dropout", "is_exact"), [(0.0, True), (0.5, False)])
def test_the_head_has_the_options_dropout(dropout, is_exact):
    head = fitted(dropout=dropout).head(seed=3)
    head.build(4)
    encoded = {"sequence_output": tf.random.stateless_normal((2, 5, 4), (0, 1))}
    scores = head(encoded, {})
    assert scores.shape == (2, 5, 5)
    assert np.array_equal(head(encoded, {}, training=True), scores) is is_exact
    same = fitted().head(seed=3)
    same.build(4)
    np.testing.assert_array_equal(same(encoded, {}), scores)


def test_the_head_learns_faster_than_the_encoder_by_default():
    config = override(Config(task="entities"), TASK.defaults)
    assert EntitiesOptions.from_config(config).head_learning_rate_factor == 10.0


def test_the_config_decides_how_rows_are_read(tmp_path):
    path = tmp_path / "train.jsonl"
    path.write_text(json.dumps({"text": "Ada met", "entities": [[0, 2, "person"]]}) + "\n")
    for end, expected in (("exclusive", "Ad"), ("inclusive", "Ada")):
        data = override(Config(), {"data.span_end": end}).data
        (record,) = read_records(path, data, TASK.schema)
        assert fitted().gold(record)[0].text == expected


def test_every_entity_of_the_samples_can_be_learned():
    task = None
    for name in ("train", "validation", "test"):
        records = list(read_records(TASK.samples_dir / f"{name}.jsonl", Config().data, TASK.schema))
        task = task or TASK.fit(records, OPTIONS)
        for record in records:
            truth = sorted(TASK.truth_of(record), key=lambda entity: entity["start"])
            assert [(e.start, e.end, e.label, e.text) for e in task.gold(record)] == [
                (entity["start"], entity["end"], entity["label"], entity["text"]) for entity in truth
            ]
            json.dumps(truth)


# Targets


@pytest.mark.parametrize(
    ("borders", "untagged"),
    [("anywhere", ()), ("words", ("##lace", "##s")), ("whitespace", ("##lace", "##s", "ada"))],
)
def test_every_piece_that_entities_may_start_with_has_a_tag(tokenizer, borders, untagged):
    record = record_of("Ada Lovelace met #Ada Marys in New York.", ("Ada Lovelace", "person"), ("New York", "place"))
    split = tokenize_record(tokenizer, record, task=fitted(borders))
    pieces = ["ada", "love", "##lace", "met", "#", "ada", "mary", "##s", "in", "new", "york", "."]
    tags = ["B-person", "I-person", "I-person", "O", "O", "O", "O", "O", "O", "B-place", "I-place", "O"]
    has_tag = [piece not in untagged or index == 0 for index, piece in enumerate(pieces)]
    expected = [f"{piece}/{tag}" if keep else None for piece, tag, keep in zip(pieces, tags, has_tag, strict=True)]
    assert spell(tokenizer, split) == [None, *expected, None]
    assert split.targets["tag_id"].values.dtype == np.int32 and split.warnings == {}


def test_windows_cover_a_long_text(tokenizer):
    text = " ".join(["the Ada Lovelace met"] * 30)
    record = record_of(text, *[("Ada Lovelace", "person")] * 30)
    whole = tokenize_record(tokenizer, record, 200)
    split = tokenize_record(tokenizer, record, 20)
    assert len(whole) == 1 and whole.sequences.lengths().tolist() == [152] and split.warnings == {}
    tags, covered = whole.targets["tag_id"][0][1:-1], np.zeros(150, bool)
    ids = tf.RaggedTensor.from_row_lengths(tokenizer(tf.constant([text])).flat_values, [150])
    starts = Preprocessor(tokenizer, 20).windows(ids, 18).starts.numpy()
    assert len(starts) == len(split) > 8
    for index, start in enumerate(starts):
        tag_ids = split.targets["tag_id"][index]
        assert len(split.sequences[index]) == len(tag_ids) == 20
        assert tag_ids[0] == tag_ids[-1] == -1
        # A window that begins inside an entity continues it.
        np.testing.assert_array_equal(tag_ids[1:-1], tags[start : start + 18])
        covered[start : start + 18] = True
    assert covered.all()
    # A larger overlap makes more windows.
    assert len(tokenize_record(tokenizer, record, 20, overlap=0.5)) > len(split)


@pytest.mark.parametrize(
    ("text", "entities", "expected"),
    [
        ("#Ada2016", [("Ada", "person")], "entities start or end inside a word and cannot be found exactly"),
        ("Loves", [("Lo", "person")], "entities start or end inside a word piece, which is tagged as a whole"),
        (
            "Ada\u200b met",
            [("Ada\u200b", "person")],
            "entities start or end with characters that the encoder does not see",
        ),
        ("Ada \u200b met", [("\u200b", "person")], "entities have no word piece of their own and cannot be found"),
        ("in New York", [(" New York", "place")], "entities start or end with whitespace, which is left out"),
        ("\u200b", [], "texts have no word piece"),
        ("京 都 京 都 京 都 京 都 京 都", [], "texts are single characters separated by spaces; "),
        (
            "Ada Lovelace",
            [("Ada Lovelace", "person"), ("Lovelace", "place")],
            "entities overlap a longer one and are left out",
        ),
        ("the " * 80, [("the " * 79 + "the", "place")], "entities are longer than a window"),
    ],
)
def test_entities_that_cannot_be_learned_or_found_cause_warnings(tokenizer, text, entities, expected):
    spans = [Span(text.index(words), text.index(words) + len(words), label) for words, label in entities]
    split = tokenize_record(tokenizer, Record(text, tuple(spans), "train.jsonl:7"))
    (warning,) = warnings_of(split)
    assert warning.startswith(expected)
    assert len(split)


def test_every_entity_causes_a_warning(tokenizer):
    record = record_of("Loves met Loves #Ada2016", ("Lo", "person"), ("met Lo", "person"), ("Ada", "person"))
    warnings = tokenize_record(tokenizer, record).warnings
    assert {warning.partition(",")[0]: locations for warning, locations in warnings.items()} == {
        "entities start or end inside a word piece": ["train.jsonl:7"] * 2,
        "entities start or end inside a word and cannot be found exactly": ["train.jsonl:7"],
    }


def test_an_entity_inside_a_piece_is_tagged_with_all_of_it(tokenizer):
    split = tokenize_record(tokenizer, record_of("met Loves", ("Lo", "person")))
    assert spell(tokenizer, split)[1:-1] == ["met/O", "love/B-person", None]


def test_a_type_that_train_does_not_have(tokenizer):
    record = record_of("Ada met", ("Ada", "persn"))
    message = "train.jsonl:7: entity type 'persn' is not one of the 2 of train; did you mean 'person'?"
    with pytest.raises(ValueError, match=message):
        tokenize_record(tokenizer, record)
    with pytest.raises(ValueError, match=message):
        fitted().gold(record)


def test_gold_is_the_outermost_without_whitespace_at_the_edges():
    record = record_of("met Ada Lovelace in", (" Ada Lovelace", "person"), ("Lovelace", "place"))
    assert fitted().gold(record) == (Entity(4, 16, "person", "Ada Lovelace"),)
    assert spans_in(record) == [Span(4, 16, "person")]


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_loss_is_the_cross_entropy_of_the_tags(tokenizer, smoothing):
    records = [record_of("Ada met", ("Ada", "person")), record_of("in the cafe")]
    task = fitted(label_smoothing=smoothing)
    splits = [tokenize_record(tokenizer, record, task=task) for record in records]
    losses = []
    logits = np.random.default_rng(0).normal(size=(2, 5, 5)).astype(np.float32)
    for index, split in enumerate(splits):
        (batch,) = batches(split, [np.array([0])], 64)
        length = batch["token_ids"].shape[1]
        losses += task.loss(tf.constant(logits[index : index + 1, :length]), batch).numpy().tolist()
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    hits = [(log_p[0, 1, 1] + log_p[0, 2, 0]) / 2, (log_p[1, 1, 0] + log_p[1, 2, 0] + log_p[1, 3, 0]) / 3]
    spread = [log_p[0, 1:3].mean(), log_p[1, 1:4].mean()]
    expected = -(1 - smoothing) * np.array(hits) - smoothing * np.array(spread)
    np.testing.assert_allclose(losses, expected, rtol=1e-5)


def test_declarations_are_those_of_the_task():
    task = fitted()
    assert [text.name for text in task.inputs] == ["text"] == [text.name for text in TASK.inputs]
    assert (task.name, task.definition, task.monitor.name, task.domain) == ("entities", TASK, "f1", None)
    assert not task.cuts_texts
    assert dataclasses.replace(task, borders="anywhere") != task
