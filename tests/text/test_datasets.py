"""Tokenized splits: cached on disk, identified by their fingerprint, and independent of chunks and processes."""

import dataclasses
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from support.tokenized import BY_TOKEN, by_token, plain_recipe

from tfbert.text import datasets
from tfbert.text.datasets import Target, tokenize
from tfbert.text.ragged import Ragged
from tfbert.text.records import Record
from tfbert.text.tokenizer import Tokenizer

TEXTS = ["good people", "", "Bad time, no way!", " \t\n", "see you", "the first number is two " * 9, "é\u0301", "[SEP]"]
RECORDS = [Record(text, f"label{index % 3}", f"train.csv:{index + 2}") for index, text in enumerate(TEXTS)]
KEY = ["classification", "train", "0f5c", '{"labels": ["label0", "label1", "label2"]}']


def unread():
    """Return an iterator that fails the test if it is read."""
    raise AssertionError("records were read a second time")
    yield


def entries(cache_dir: Path) -> list[str]:
    return sorted(path.name for path in cache_dir.iterdir())


@pytest.fixture
def recipe(tiny_tokenizer):
    return plain_recipe(tiny_tokenizer, KEY)


@pytest.fixture
def split(recipe, tmp_path):
    return tokenize(RECORDS, recipe, tmp_path / "tokens")


def arrays_of(split):
    """Return all arrays of a split by name."""
    arrays = {name: getattr(split, name) for name in ("second_starts", "examples", "num_tokens")}
    arrays |= {name: getattr(split, name) for name in ("num_text_tokens", "num_unknown_tokens")}
    ragged = {"sequences": split.sequences} | {f"target {name}": values for name, values in split.targets.items()}
    for name, values in ragged.items():
        fields = {"values": values.values, "starts": values.starts} if isinstance(values, Ragged) else {"": values}
        arrays |= {f"{name} {field}": array for field, array in fields.items()}
    return arrays | {f"feature {name}": values for name, values in split.features.items()}


def assert_same(actual, expected):
    actual_arrays, expected_arrays = arrays_of(actual), arrays_of(expected)
    assert actual_arrays.keys() == expected_arrays.keys()
    for name, values in expected_arrays.items():
        np.testing.assert_array_equal(actual_arrays[name], values)
        assert actual_arrays[name].dtype == values.dtype
    assert (actual.special, actual.warnings) == (expected.special, expected.warnings)


def test_sequences_contain_the_ids_of_the_tokenizer(split, tiny_tokenizer):
    ids = tiny_tokenizer(tf.constant(TEXTS)).to_list()
    assert [split.sequences[index].tolist() for index in range(len(split))] == [[2, *row[:14], 3] for row in ids]
    assert split.lengths().tolist() == [min(len(row) + 2, 16) for row in ids]
    assert split.num_tokens.tolist() == [len(row) + 2 for row in ids]
    assert split.num_text_tokens == sum(map(len, ids))
    assert split.num_unknown_tokens == sum(row.count(tiny_tokenizer.special.unknown) for row in ids)
    assert split.second_starts.tolist() == split.lengths().tolist()
    assert split.targets["label_id"].tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
    assert split.examples.tolist() == list(range(9)) and split.num_sequences == len(split) == 8
    assert split.special == tiny_tokenizer.special and split.sequences.values.dtype == np.uint16
    assert [len(row) for row in ids][1::2] == [0, 0, 9 * 5, 5]


def test_pairs_are_two_segments(tiny_tokenizer, tmp_path):
    pairs = [Record("good", "label1", "a:1", ("bad time",)), Record("see you", "label2", "a:2", ("good people",))]
    split = tokenize(pairs, plain_recipe(tiny_tokenizer, num_texts=2), tmp_path)
    for index, record in enumerate(pairs):
        first, second = tiny_tokenizer(tf.constant(record.texts)).to_list()
        assert split.sequences[index].tolist() == [2, *first, 3, *second, 3]
        assert split.second_starts[index] == len(first) + 2
        assert split.num_tokens[index] == len(first) + len(second) + 3


def test_the_sequences_of_a_record_are_one_example_or_several(tiny_tokenizer, tmp_path):
    lengths = [max(1, len(row)) for row in tiny_tokenizer(tf.constant(TEXTS)).to_list()]
    by_sequence = tokenize(RECORDS, plain_recipe(tiny_tokenizer, **BY_TOKEN), tmp_path)
    by_record = tokenize(RECORDS, plain_recipe(tiny_tokenizer, **BY_TOKEN, by_record=True), tmp_path)
    assert (len(by_sequence), len(by_record)) == (sum(lengths), len(TEXTS))
    assert by_record.num_sequences == by_sequence.num_sequences == sum(lengths)
    assert by_record.examples.tolist() == [0, *np.cumsum(lengths)]
    assert by_record.targets["position"].tolist() == [position for length in lengths for position in range(length)]
    assert by_record.warnings == by_sequence.warnings == {"texts are long": [RECORDS[i].where for i in (2, 5, 7)]}
    sequences, position = by_record.sequences_of(np.array([4, 0]))
    first, (many, few) = int(by_record.examples[4]), (lengths[4], lengths[0])
    assert sequences.tolist() == [*range(first, first + many), *range(few)]
    assert position.tolist() == [0] * many + [1] * few
    head = by_record.head(2)
    assert len(head) == 2 and len(head.targets["position"]) == len(head.sequences) == lengths[0] + lengths[1]
    selected = by_record.take(np.array([first, 0]), np.array([0, 2]))
    assert len(selected) == 1 and [selected.sequences[i].tolist() for i in (0, 1)] == [
        by_record.sequences[first].tolist(),
        by_record.sequences[0].tolist(),
    ]


def test_sequences_without_targets_are_dropped(tiny_tokenizer, tmp_path):
    def even(record, sequences, warn):
        warn("texts were read", where=f"{record.where}!")
        return [{"position": start} if start % 2 == 0 else None for start in sequences.window_starts]

    fields = {**BY_TOKEN, "targets_of": even}
    whole = tokenize(RECORDS, plain_recipe(tiny_tokenizer, ["all"], **BY_TOKEN, by_record=True), tmp_path)
    split = tokenize(RECORDS, plain_recipe(tiny_tokenizer, ["even"], **fields, by_record=True), tmp_path)
    kept = np.flatnonzero(whole.targets["position"] % 2 == 0)
    assert split.targets["position"].tolist() == whole.targets["position"][kept].tolist()
    assert [split.sequences[i].tolist() for i in range(split.num_sequences)] == [
        whole.sequences[i].tolist() for i in kept
    ]
    assert split.examples.tolist() == [0, *np.cumsum((np.diff(whole.examples) + 1) // 2)]
    assert split.warnings == {"texts were read": [f"{record.where}!" for record in RECORDS]}
    np.testing.assert_array_equal(split.num_tokens, whole.num_tokens)


def spread_of(record, sequences, warn):
    """Return targets of every kind."""
    number, length = int(record.target[-1]), len(sequences.token_ids[0])
    return [
        {
            "number": number / 2,
            "pair": [number, -number],
            "by_token": np.arange(length) + 10 * number,
            "reply": [7] * number,
        }
    ]


SPREAD = {
    "targets_of": spread_of,
    "targets": {
        "number": Target("float32"),
        "pair": Target("int8", (2,)),
        "by_token": Target("int32", per_token=True),
        "reply": Target("uint16", (None,), padding=0),
    },
}


def test_targets_of_any_shape_are_stored_and_reopened(tiny_tokenizer, tmp_path):
    recipe = plain_recipe(tiny_tokenizer, **SPREAD)
    tokenized = tokenize(RECORDS, recipe, tmp_path)
    reopened = tokenize(unread(), recipe, tmp_path)
    assert_same(reopened, tokenized)
    for split in (tokenized, reopened, tokenized.take(np.arange(8), np.arange(9)), reopened.head(8)):
        numbers = [int(record.target[-1]) for record in RECORDS]
        assert split.targets["number"].tolist() == [number / 2 for number in numbers]
        assert split.targets["number"].dtype == np.float32
        assert split.targets["pair"].tolist() == [[number, -number] for number in numbers]
        for index, number in enumerate(numbers):
            assert split.targets["reply"][index].tolist() == [7] * number
            length = len(split.sequences[index])
            assert split.targets["by_token"][index].tolist() == [*range(10 * number, 10 * number + length)]
        assert split.targets["reply"].values.dtype == np.uint16
    assert reopened.target_specs == SPREAD["targets"]
    selected = tokenized.take(np.array([5, 1]), np.array([0, 1, 2]))
    assert selected.targets["reply"].lengths().tolist() == [2, 1]


def test_features_are_stored_by_sequence(tiny_tokenizer, tmp_path):
    def sequences(inputs, preprocessor):
        windows = by_token(inputs, preprocessor)
        sizes = tf.cast(tf.gather(tf.strings.length(inputs["text"]), windows.records), tf.float32)
        return dataclasses.replace(windows, features={"size": tf.stack([sizes, -sizes], axis=1)})

    def odd(record, sequences, warn):
        return [{"position": start} if start % 2 else None for start in sequences.window_starts]

    recipe = plain_recipe(tiny_tokenizer, **BY_TOKEN | {"sequences": sequences, "targets_of": odd})
    split = tokenize(RECORDS, recipe, tmp_path)
    reopened = tokenize(unread(), recipe, tmp_path)
    assert_same(reopened, split)
    lengths = [len(row) for row in tiny_tokenizer(tf.constant(TEXTS)).to_list()]
    sizes = [len(text.encode()) for text, length in zip(TEXTS, lengths, strict=True) for _ in range(1, length, 2)]
    assert split.features["size"].tolist() == [[size, -size] for size in sizes]
    assert split.take(np.array([2, 0]), np.array([0, 1, 2])).features["size"][:, 0].tolist() == [sizes[2], sizes[0]]


@pytest.mark.parametrize("fields", [{}, BY_TOKEN, SPREAD], ids=["plain", "windows", "ragged"])
def test_the_result_does_not_depend_on_the_chunk_size(tiny_tokenizer, tmp_path, monkeypatch, fields):
    recipe = plain_recipe(tiny_tokenizer, **fields)
    split = tokenize(RECORDS, recipe, tmp_path / "whole")
    for size in (1, 3, len(TEXTS), len(TEXTS) + 1):
        monkeypatch.setattr(datasets, "_CHUNK_RECORDS", size)
        assert_same(tokenize(iter(RECORDS), recipe, tmp_path / str(size)), split)


def test_a_second_call_reads_no_record(split, recipe, tmp_path):
    assert_same(tokenize(unread(), recipe, tmp_path / "tokens"), split)
    with pytest.raises(AssertionError, match="a second time"):
        tokenize(unread(), recipe, tmp_path / "elsewhere")
    assert entries(tmp_path / "elsewhere") == []


def test_everything_that_changes_ids_or_targets_changes_the_fingerprint(split, tiny_tokenizer, tmp_path, monkeypatch):
    vocabulary = tiny_tokenizer.vocabulary
    rules = {"lowercase": True, "strip_accents": True, "split_on_cjk": True}
    tokenizers = [Tokenizer(vocabulary, **rules | {name: False}) for name in rules]
    tokenizers.append(Tokenizer([*vocabulary[:-2], vocabulary[-1], vocabulary[-2]], **rules))
    tokenizers.append(Tokenizer([*vocabulary, "qu"], **rules))
    cache_dir = tmp_path / "tokens"
    for index, tokenizer in enumerate(tokenizers):
        tokenize(RECORDS, plain_recipe(tokenizer, KEY), cache_dir)
        assert len(entries(cache_dir)) == 2 + index

    def reversed_ids(record, sequences, warn):
        return [{"label_id": 2 - int(record.target[-1])}]

    other_order = KEY[:3] + ['{"labels": ["label2", "label1", "label0"]}']
    joined = [KEY[0] + KEY[1], *KEY[2:]]
    for index, key in enumerate((other_order, joined, KEY[::-1], KEY[:3])):
        other = tokenize(RECORDS, plain_recipe(tiny_tokenizer, key, targets_of=reversed_ids), cache_dir)
        assert len(entries(cache_dir)) == 7 + index
        assert other.targets["label_id"].tolist() == [2, 1, 0, 2, 1, 0, 2, 1]
    specs = ({"label_id": Target("int32")}, {"label_id": Target("int64", (None,))}, {"label": Target("int64")})
    fingerprints = {plain_recipe(tiny_tokenizer, KEY, targets=targets).fingerprint() for targets in specs}
    fingerprints |= {
        plain_recipe(tiny_tokenizer, KEY, by_record=by_record).fingerprint() for by_record in (True, False)
    }
    assert len(fingerprints) == 5
    monkeypatch.setattr(datasets, "_TOKENIZATION_VERSION", "next")
    tokenize(RECORDS, plain_recipe(tiny_tokenizer, KEY), cache_dir)
    assert len(entries(cache_dir)) == 11
    monkeypatch.undo()
    same = Tokenizer(tuple(vocabulary), **rules)
    assert_same(tokenize(unread(), plain_recipe(same, tuple(KEY)), cache_dir), split)


def test_the_token_ids_of_a_split_do_not_depend_on_the_chunk_size(split, monkeypatch):
    ids = split.token_ids()
    assert ids.tolist() == sorted({0, *(int(token) for token in split.sequences.values)})
    monkeypatch.setattr(datasets, "_CHUNK_TOKENS", 3)
    np.testing.assert_array_equal(split.token_ids(), ids)


def test_a_split_of_empty_texts_only(recipe, tmp_path):
    records = [Record("", "label1", "a.csv:2"), Record("\u200b", "label2", "a.csv:3")]
    for source in (records, unread()):
        split = tokenize(source, recipe, tmp_path)
        assert split.lengths().tolist() == [2, 2] and split.sequences[1].tolist() == [2, 3]
        assert split.targets["label_id"].tolist() == [1, 2]


def test_a_large_vocabulary_is_stored_in_32_bits(tiny_tokenizer, tmp_path):
    filling = [f"##filling{index}" for index in range(2**16)]
    tokenizer = Tokenizer([*tiny_tokenizer.vocabulary, *filling, "zzz"], lowercase=True, strip_accents=True)
    split = tokenize([Record("zzz good zzz", "label0", "a")], plain_recipe(tokenizer), tmp_path)
    last = len(tokenizer.vocabulary) - 1
    assert last > 2**16
    assert split.sequences[0].tolist()[1:-1] == [last, tokenizer.vocabulary.index("good"), last]


def test_a_lone_surrogate_does_not_stop_the_split(recipe, tiny_tokenizer, tmp_path):
    split = tokenize([Record("good \ud83d bad", "label0", "a")], recipe, tmp_path)
    pieces = [tiny_tokenizer.vocabulary[token_id] for token_id in split.sequences[0]]
    assert pieces == ["[CLS]", "good", "?", "bad", "[SEP]"]


def test_a_failure_leaves_no_files(recipe, tmp_path):
    def failing():
        yield RECORDS[0]
        raise ValueError("train.csv:3: no text")

    with pytest.raises(ValueError, match="train.csv:3"):
        tokenize(failing(), recipe, tmp_path)
    assert entries(tmp_path) == []


def test_an_error_of_the_file_system_is_not_mistaken_for_a_race(recipe, tmp_path, monkeypatch):
    def full(source, destination):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(datasets.os, "rename", full)
    with pytest.raises(OSError, match="No space left"):
        tokenize(RECORDS, recipe, tmp_path)
    assert entries(tmp_path) == []


def test_concurrent_calls_return_the_same_split(split, recipe, tmp_path):
    cache_dir, barrier, results = tmp_path / "race", threading.Barrier(3, timeout=60), []

    def records():
        yield from RECORDS
        # No thread finishes before all have started, so none can use another's result.
        barrier.wait()

    def work():
        results.append(tokenize(records(), recipe, cache_dir))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 3 and len(entries(cache_dir)) == 1
    for result in results:
        assert_same(result, split)


def test_splits_that_were_not_opened_for_a_month_are_deleted(tiny_tokenizer, tmp_path):
    tokenize(RECORDS, plain_recipe(tiny_tokenizer, ["unused"]), tmp_path)
    (unused,) = tmp_path.iterdir()
    tokenize(RECORDS, plain_recipe(tiny_tokenizer, ["reopened"]), tmp_path)
    month_ago = time.time() - 31 * 24 * 3600
    for entry in tmp_path.iterdir():
        os.utime(entry, (month_ago, month_ago))
    tokenize(unread(), plain_recipe(tiny_tokenizer, ["reopened"]), tmp_path)
    tokenize(RECORDS, plain_recipe(tiny_tokenizer, ["new"]), tmp_path)
    assert len(entries(tmp_path)) == 2
    assert not unused.exists()
