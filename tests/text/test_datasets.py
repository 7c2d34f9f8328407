"""Datasets: a split is tokenized once, planned the same under a seed, and every batch is what packing gives."""

import dataclasses
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tfbert.text.packing import Packer, pad_rows

from tfbert.text import datasets
from tfbert.text.datasets import Example, batches, cut_batch, plan_evaluation, plan_training, tokenize
from tfbert.text.records import Record
from tfbert.text.tokenizer import SpecialTokens, Tokenizer

TEXTS = ["good people", "", "Bad time, no way!", " \t\n", "see you", "the first number is two " * 9, "é\u0301", "[SEP]"]
RECORDS = [Record(text, f"label{index % 3}", f"train.csv:{index + 2}") for index, text in enumerate(TEXTS)]
KEY = ["classification", "train", "0f5c", '{"labels": ["label0", "label1", "label2"]}']


def target(record: Record) -> int:
    return int(record.target[-1])


def one_row(record, tokens, remark):
    """Make one row of a record, cut to 16 tokens."""
    special = SpecialTokens(padding=0, unknown=1, start=2, end=3, mask=4)
    return [Example(*Packer(special, 16).row([text.ids for text in tokens]), target(record))]


def backwards(record, tokens, remark):
    (row,) = one_row(record, tokens, remark)
    return [dataclasses.replace(row, target=2 - row.target)]


def unread():
    """Yield no record, and fail the test when asked for one."""
    raise AssertionError("records were read a second time")
    yield


def entries(cache_dir: Path) -> list[str]:
    return sorted(path.name for path in cache_dir.iterdir())


@pytest.fixture
def split(tiny_tokenizer, tmp_path):
    return tokenize(RECORDS, tiny_tokenizer, one_row, KEY, tmp_path / "tokens")


def assert_same(found, expected):
    for name in ("flat", "starts", "seconds", "targets", "units", "num_tokens"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
        assert getattr(found, name).dtype == getattr(expected, name).dtype
    assert (found.special, found.remarks) == (expected.special, expected.remarks)


def test_rows_are_what_the_tokenizer_gives(split, tiny_tokenizer):
    ids = tiny_tokenizer(tf.constant(TEXTS)).to_list()
    assert [split.row(index).tolist() for index in range(len(split))] == [[2, *row[:14], 3] for row in ids]
    assert split.lengths().tolist() == [min(len(row) + 2, 16) for row in ids]
    assert split.num_tokens.tolist() == [len(row) + 2 for row in ids]
    assert split.seconds.tolist() == split.lengths().tolist()
    assert split.targets.tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
    assert split.units.tolist() == list(range(9))
    assert split.special == tiny_tokenizer.special and split.flat.dtype == np.uint16
    assert [len(row) for row in ids][1::2] == [0, 0, 9 * 5, 5]


def by_words(record, tokens, remark):
    """Make a row of every token, with the number of tokens before it, and say which records have many."""
    if len(tokens[0].ids) > 4:
        remark("texts are long")
    ids = tokens[0].ids if len(tokens[0].ids) else np.array([9], np.int32)
    return [Example(np.array([2, token, 3], np.int32), 3, index) for index, token in enumerate(ids)]


def test_a_record_of_several_rows_is_one_unit_or_many(tiny_tokenizer, tmp_path):
    lengths = [max(1, len(row)) for row in tiny_tokenizer(tf.constant(TEXTS)).to_list()]
    rows = tokenize(RECORDS, tiny_tokenizer, by_words, KEY, tmp_path)
    records = tokenize(RECORDS, tiny_tokenizer, by_words, KEY, tmp_path, by_record=True)
    assert (len(rows), len(records)) == (sum(lengths), len(TEXTS))
    assert records.units.tolist() == [0, *np.cumsum(lengths)]
    assert records.remarks == rows.remarks == {"texts are long": [RECORDS[i].where for i in (2, 5, 7)]}
    found, position = records.rows_of(np.array([4, 0]))
    first, (many, few) = int(records.units[4]), (lengths[4], lengths[0])
    assert found.tolist() == [*range(first, first + many), *range(few)]
    assert position.tolist() == [0] * many + [1] * few
    (batch,) = batches(records, [np.array([4, 0])], 16, np.arange(8, dtype=np.float32))
    assert batch["targets"].numpy().tolist() == [*range(many), *range(few)]
    assert batch["units"].numpy().tolist() == position.tolist()
    assert batch["weights"].numpy().tolist() == [4, 0]
    assert len(records.head(2)) == 2 and len(records.head(2).targets) == lengths[0] + lengths[1]


def test_pairs_and_targets_by_token(tiny_tokenizer, tmp_path):
    def make(record, tokens, remark):
        ids, second = Packer(tiny_tokenizer.special, 16).row([text.ids for text in tokens])
        return [Example(ids, second, np.arange(len(ids), dtype=np.int8) + 10 * target(record))]

    pairs = [Record("good", "label1", "a:1", ("bad time",)), Record("see you", "label2", "a:2", ("good people",))]
    split = tokenize(pairs, tiny_tokenizer, make, KEY, tmp_path, by_token=True)
    (batch,) = batches(split, [np.array([1, 0])], 16)
    mask, segments = batch["padding_mask"].numpy(), batch["segment_ids"].numpy()
    for row, (record, first) in enumerate([(pairs[1], 20), (pairs[0], 10)]):
        lengths = [len(text) for text in tiny_tokenizer(tf.constant(record.texts)).to_list()]
        length = sum(lengths) + 3
        assert split.num_tokens.tolist()[1 - row] == mask[row].sum() == length
        assert segments[row].tolist() == [0] * (lengths[0] + 2) + [1] * (lengths[1] + 1) + [0] * (
            len(mask[row]) - length
        )
        expected = [*range(first, first + length), *[-1] * (len(mask[row]) - length)]
        assert batch["targets"].numpy()[row].tolist() == expected
    assert split.head(1).targets_of(np.array([0]), 12).tolist()[0][:3] == [10, 11, 12]


def test_the_size_of_a_chunk_does_not_matter(split, tiny_tokenizer, tmp_path, monkeypatch):
    for size in (1, 3, len(TEXTS), len(TEXTS) + 1):
        monkeypatch.setattr(datasets, "_CHUNK_RECORDS", size)
        assert_same(tokenize(iter(RECORDS), tiny_tokenizer, one_row, KEY, tmp_path / str(size)), split)


def test_a_second_call_reads_no_record(split, tiny_tokenizer, tmp_path):
    assert_same(tokenize(unread(), tiny_tokenizer, unread, KEY, tmp_path / "tokens"), split)
    with pytest.raises(AssertionError, match="a second time"):
        tokenize(unread(), tiny_tokenizer, one_row, KEY, tmp_path / "elsewhere")
    assert entries(tmp_path / "elsewhere") == []


def test_the_cache_tells_apart_what_gives_other_ids_or_targets(split, tiny_tokenizer, tmp_path, monkeypatch):
    vocabulary = tiny_tokenizer.vocabulary
    rules = {"lowercase": True, "strip_accents": True, "split_on_cjk": True}
    tokenizers = [Tokenizer(vocabulary, **rules | {name: False}) for name in rules]
    tokenizers.append(Tokenizer([*vocabulary[:-2], vocabulary[-1], vocabulary[-2]], **rules))
    tokenizers.append(Tokenizer([*vocabulary, "qu"], **rules))
    cache_dir = tmp_path / "tokens"
    for index, tokenizer in enumerate(tokenizers):
        tokenize(RECORDS, tokenizer, one_row, KEY, cache_dir)
        assert len(entries(cache_dir)) == 2 + index
    other_order = KEY[:3] + ['{"labels": ["label2", "label1", "label0"]}']
    joined = [KEY[0] + KEY[1], *KEY[2:]]
    for index, key in enumerate((other_order, joined, KEY[::-1], KEY[:3])):
        found = tokenize(RECORDS, tiny_tokenizer, backwards, key, cache_dir)
        assert len(entries(cache_dir)) == 7 + index
        assert found.targets.tolist() == [2, 1, 0, 2, 1, 0, 2, 1]
    monkeypatch.setattr(datasets, "_TOKENIZATION_VERSION", "next")
    tokenize(RECORDS, tiny_tokenizer, one_row, KEY, cache_dir)
    assert len(entries(cache_dir)) == 11
    monkeypatch.undo()
    same = Tokenizer(tuple(vocabulary), **rules)
    assert_same(tokenize(unread(), same, one_row, tuple(KEY), cache_dir), split)


def test_the_tokens_of_a_split_in_chunks(tiny_tokenizer, tmp_path, monkeypatch):
    split = tokenize(RECORDS, tiny_tokenizer, one_row, KEY, tmp_path)
    found = split.token_ids()
    assert found.tolist() == sorted({0, *(int(token) for token in split.flat)})
    monkeypatch.setattr(datasets, "_CHUNK_TOKENS", 3)
    np.testing.assert_array_equal(split.token_ids(), found)


def test_a_split_of_empty_texts_only(tiny_tokenizer, tmp_path):
    records = [Record("", "label1", "a.csv:2"), Record("\u200b", "label2", "a.csv:3")]
    for given in (records, unread()):
        split = tokenize(given, tiny_tokenizer, one_row, KEY, tmp_path)
        assert split.lengths().tolist() == [2, 2] and split.row(1).tolist() == [2, 3]
        (batch,) = batches(split, [np.array([1, 0])], 16)
        assert batch["targets"].numpy().tolist() == [2, 1]
        assert batch["token_ids"].numpy().tolist() == [[2, 3]] * 2


def test_a_large_vocabulary_is_stored_in_32_bits(tiny_tokenizer, tmp_path):
    filling = [f"##filling{index}" for index in range(2**16)]
    tokenizer = Tokenizer([*tiny_tokenizer.vocabulary, *filling, "zzz"], lowercase=True, strip_accents=True)
    split = tokenize([Record("zzz good zzz", "label0", "a")], tokenizer, one_row, KEY, tmp_path)
    last = len(tokenizer.vocabulary) - 1
    assert last > 2**16 and split.row(0).tolist()[1:-1] == [last, tokenizer.vocabulary.index("good"), last]


def test_a_lone_surrogate_does_not_stop_the_split(tiny_tokenizer, tmp_path):
    split = tokenize([Record("good \ud83d bad", "label0", "a")], tiny_tokenizer, one_row, KEY, tmp_path)
    vocabulary = tiny_tokenizer.vocabulary
    assert [vocabulary[token_id] for token_id in split.row(0)] == ["[CLS]", "good", "?", "bad", "[SEP]"]


def test_a_failure_leaves_nothing_behind(tiny_tokenizer, tmp_path):
    def failing():
        yield RECORDS[0]
        raise ValueError("train.csv:3: no text")

    with pytest.raises(ValueError, match="train.csv:3"):
        tokenize(failing(), tiny_tokenizer, one_row, KEY, tmp_path)
    assert entries(tmp_path) == []


def test_an_error_of_the_file_system_is_not_taken_for_a_race(tiny_tokenizer, tmp_path, monkeypatch):
    def full(source, destination):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(datasets.os, "rename", full)
    with pytest.raises(OSError, match="No space left"):
        tokenize(RECORDS, tiny_tokenizer, one_row, KEY, tmp_path)
    assert entries(tmp_path) == []


def test_two_at_once_get_the_same_split(split, tiny_tokenizer, tmp_path):
    cache_dir, together, found = tmp_path / "race", threading.Barrier(3, timeout=60), []

    def records():
        yield from RECORDS
        # All have begun, and none finds the others' result, before any of them may finish.
        together.wait()

    def work():
        found.append(tokenize(records(), tiny_tokenizer, one_row, KEY, cache_dir))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3 and len(entries(cache_dir)) == 1
    for one in found:
        assert_same(one, split)


LENGTHS = np.random.default_rng(0).geometric(0.03, 5000) + 2


def padding_fraction(plan, lengths=LENGTHS):
    padded = sum(len(batch) * lengths[batch].max() for batch in plan)
    return 1 - lengths.sum() / padded


@pytest.mark.parametrize("num_examples", [1, 31, 32, 33, 1600, 1601, 5000])
def test_a_plan_has_every_example_once(num_examples):
    plan = plan_training(LENGTHS[:num_examples], 32, seed=3, epoch=1)
    assert sorted(np.concatenate(plan)) == list(range(num_examples))
    assert len(plan) == -(-num_examples // 32)
    assert sorted(len(batch) for batch in plan)[1:] == [32] * (len(plan) - 1)


def test_a_plan_depends_on_seed_and_epoch_and_on_nothing_else():
    def key(seed, epoch):
        return b"".join(batch.tobytes() for batch in plan_training(LENGTHS, 32, seed, epoch))

    first = key(3, 1)
    np.random.default_rng().random()
    assert key(3, 1) == first
    assert len({key(seed, epoch) for seed in (0, 1, 3) for epoch in (0, 1, 2)}) == 9


def test_epochs_differ_in_who_is_together():
    together = [{frozenset(batch.tolist()) for batch in plan_training(LENGTHS, 32, 0, epoch)} for epoch in (0, 1)]
    assert not together[0] & together[1]


def test_lengths_within_a_batch_are_alike():
    shuffled = np.random.default_rng(1).permutation(len(LENGTHS))
    at_random = padding_fraction([shuffled[index : index + 32] for index in range(0, len(shuffled), 32)])
    planned = padding_fraction(plan_training(LENGTHS, 32, 0, 0))
    assert at_random > 0.6 and planned < 0.1
    # Short and long batches are mixed over the epoch.
    longest = np.array([LENGTHS[batch].max() for batch in plan_training(LENGTHS, 32, 0, 0)])
    halves = np.array_split(longest, 2)
    assert halves[0].mean() == pytest.approx(halves[1].mean(), rel=0.3)
    assert np.abs(np.diff(longest)).mean() > 20


def test_a_batch_is_cut_into_as_few_like_parts_as_fit():
    indices, lengths = np.array([7, 3, 5, 1, 0, 2, 4]), np.array([9, 5, 10, 3, 20, 4, 0, 2])
    rows = np.ones(8, int)
    # Padded: 7 x 20 in one; 4 x 5 and 3 x 20 in two; 3 x 4, 2 x 9 and 2 x 20 in three.
    cut = {
        most: [part.tolist() for part in cut_batch(indices, lengths, rows, most)] for most in (0, 140, 139, 60, 59, 1)
    }
    assert cut[0] == cut[140] == [indices.tolist()]
    assert cut[139] == cut[60] == [[7, 3, 5, 1], [0, 2, 4]]
    assert cut[59] == [[7, 3, 5], [1, 0], [2, 4]]
    assert cut[1] == [[index] for index in indices]
    # A record of several rows counts with all of them.
    rows[4] = 3
    assert [part.tolist() for part in cut_batch(indices, lengths, rows, 79)] == [[7, 3], [5, 1], [0, 2], [4]]


def test_evaluation_goes_from_long_to_short():
    plan = plan_evaluation(LENGTHS, 64)
    assert sorted(np.concatenate(plan)) == list(range(len(LENGTHS)))
    assert (np.diff(LENGTHS[np.concatenate(plan)]) <= 0).all()
    assert [len(batch) for batch in plan] == [64] * 78 + [8]


def as_numpy(dataset):
    return [{name: value.numpy() for name, value in batch.items()} for batch in dataset]


def test_batches_are_what_packing_gives(split):
    plan = [np.array([4, 0, 2]), np.array([1]), np.array([5, 7]), np.array([3, 6])]
    weights = np.linspace(0.5, 2, len(split)).astype(np.float32)
    found = as_numpy(batches(split, plan, 16, weights))
    assert len(found) == len(plan)
    for batch, indices in zip(found, plan, strict=True):
        expected = pad_rows([split.row(index) for index in indices], split.seconds[indices], 0, 16)
        for name, value in expected.items():
            np.testing.assert_array_equal(batch[name], value)
        assert batch["targets"].tolist() == [int(RECORDS[index].target[-1]) for index in indices]
        np.testing.assert_array_equal(batch["weights"], weights[indices])
    longest = [max(len(split.row(index)) for index in indices) for indices in plan]
    assert [batch["token_ids"].shape for batch in found] == list(zip([3, 1, 2, 2], longest, strict=True))
    assert all(
        batch["weights"].tolist() == [1.0] * len(batch["weights"]) for batch in as_numpy(batches(split, plan, 16))
    )


def test_targets_of_any_shape(split):
    targets = np.arange(16, dtype=np.float32).reshape(8, 2)
    (batch,) = batches(dataclasses.replace(split, targets=targets), [np.array([3, 1])], 16)
    assert batch["targets"].numpy().tolist() == [[6, 7], [2, 3]]


def test_a_plan_cut_anywhere_goes_on_with_the_same_batches(split):
    def plan():
        return plan_training(split.lengths(), 2, seed=1, epoch=4)

    whole = as_numpy(batches(split, plan(), 12))
    for cut in range(len(whole) + 1):
        rest = as_numpy(batches(split, plan()[cut:], 12))
        assert len(rest) == len(whole) - cut
        for found, expected in zip(rest, whole[cut:], strict=True):
            for name, value in expected.items():
                np.testing.assert_array_equal(found[name], value)


def test_nobody_who_is_done_waits_for_a_tuner(split):
    # It would be waited for by chance, and for seconds: what can be told for sure is that there is none.
    assert batches(split, [np.array([0])], 16).options().autotune.enabled is False


def test_splits_that_nobody_opened_for_a_month_make_room(tiny_tokenizer, tmp_path):
    tokenize(RECORDS, tiny_tokenizer, one_row, ["forgotten"], tmp_path)
    (forgotten,) = tmp_path.iterdir()
    tokenize(RECORDS, tiny_tokenizer, one_row, ["opened again"], tmp_path)
    month_ago = time.time() - 31 * 24 * 3600
    for entry in tmp_path.iterdir():
        os.utime(entry, (month_ago, month_ago))
    tokenize(unread(), tiny_tokenizer, one_row, ["opened again"], tmp_path)
    tokenize(RECORDS, tiny_tokenizer, one_row, ["new"], tmp_path)
    assert len(entries(tmp_path)) == 2
    assert not forgotten.exists()
