"""Batches: reproducible plans, micro-batches, padding, and targets and features by name."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from support.tokenized import plain_recipe

from tfbert.text import preprocessor
from tfbert.text.batches import batches, micro_batches, plan_evaluation, plan_training, prefetched
from tfbert.text.datasets import Target, tokenize
from tfbert.text.preprocessor import INPUTS
from tfbert.text.records import Record

TEXTS = ["good people", "", "Bad time, no way!", " \t\n", "see you", "the first number is two " * 9, "é\u0301", "[SEP]"]
RECORDS = [Record(text, f"label{index % 3}", f"train.csv:{index + 2}") for index, text in enumerate(TEXTS)]


@pytest.fixture(autouse=True, scope="module")
def no_gpu():
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(preprocessor, "_has_gpu", lambda: False)
        yield


@pytest.fixture(scope="module")
def split(tiny_tokenizer, tmp_path_factory):
    return tokenize(RECORDS, plain_recipe(tiny_tokenizer), tmp_path_factory.mktemp("tokens"))


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


def test_a_plan_depends_only_on_seed_and_epoch():
    def key(seed, epoch):
        return b"".join(batch.tobytes() for batch in plan_training(LENGTHS, 32, seed, epoch))

    first = key(3, 1)
    np.random.default_rng().random()
    assert key(3, 1) == first
    assert len({key(seed, epoch) for seed in (0, 1, 3) for epoch in (0, 1, 2)}) == 9


def test_epochs_group_the_examples_differently():
    first, second = ({frozenset(batch.tolist()) for batch in plan_training(LENGTHS, 32, 0, epoch)} for epoch in (0, 1))
    assert not first & second


def test_lengths_within_a_batch_are_similar():
    shuffled = np.random.default_rng(1).permutation(len(LENGTHS))
    at_random = padding_fraction([shuffled[index : index + 32] for index in range(0, len(shuffled), 32)])
    planned = padding_fraction(plan_training(LENGTHS, 32, 0, 0))
    assert at_random > 0.6 and planned < 0.1
    # Short and long batches are mixed over the epoch.
    longest = np.array([LENGTHS[batch].max() for batch in plan_training(LENGTHS, 32, 0, 0)])
    halves = np.array_split(longest, 2)
    assert halves[0].mean() == pytest.approx(halves[1].mean(), rel=0.3)
    assert np.abs(np.diff(longest)).mean() > 20


def test_a_batch_is_split_into_as_few_micro_batches_as_possible():
    indices, lengths = np.array([7, 3, 5, 1, 0, 2, 4]), np.array([9, 5, 10, 3, 20, 4, 0, 2])
    num_sequences = np.ones(8, int)
    # Padded tokens: 7 x 20 in one micro-batch; 4 x 5 and 3 x 20 in two; 3 x 4, 2 x 9 and 2 x 20 in three.
    by_limit = {
        max_tokens: [examples.tolist() for examples in micro_batches(indices, lengths, num_sequences, max_tokens)]
        for max_tokens in (0, 140, 139, 60, 59, 1)
    }
    assert by_limit[0] == by_limit[140] == [indices.tolist()]
    assert by_limit[139] == by_limit[60] == [[7, 3, 5, 1], [0, 2, 4]]
    assert by_limit[59] == [[7, 3, 5], [1, 0], [2, 4]]
    assert by_limit[1] == [[index] for index in indices]
    # Every sequence of an example counts.
    num_sequences[4] = 3
    assert [examples.tolist() for examples in micro_batches(indices, lengths, num_sequences, 79)] == [
        [7, 3],
        [5, 1],
        [0, 2],
        [4],
    ]


def test_evaluation_batches_are_sorted_from_long_to_short():
    plan = plan_evaluation(LENGTHS, 64)
    assert sorted(np.concatenate(plan)) == list(range(len(LENGTHS)))
    assert (np.diff(LENGTHS[np.concatenate(plan)]) <= 0).all()
    assert [len(batch) for batch in plan] == [64] * 78 + [8]


def as_numpy(dataset):
    return [{name: value.numpy() for name, value in batch.items()} for batch in dataset]


def padded(rows, padding):
    width = max(map(len, rows))
    return [[*row, *[padding] * (width - len(row))] for row in rows]


def test_batches_contain_padded_sequences(split):
    plan = [np.array([4, 0, 2]), np.array([1]), np.array([5, 7]), np.array([3, 6])]
    weights = np.linspace(0.5, 2, len(split)).astype(np.float32)
    actual = as_numpy(batches(split, plan, 16, weights))
    assert len(actual) == len(plan)
    for batch, indices in zip(actual, plan, strict=True):
        ids = [split.sequences[index].tolist() for index in indices]
        assert batch["token_ids"].tolist() == padded(ids, 0)
        assert batch["padding_mask"].tolist() == padded([[1] * len(row) for row in ids], 0)
        assert not batch["segment_ids"].any()
        assert {batch[name].dtype for name in INPUTS} == {np.dtype("int32")}
        assert batch["label_id"].tolist() == [int(RECORDS[index].target[-1]) for index in indices]
        assert batch["example"].tolist() == list(range(len(indices)))
        np.testing.assert_array_equal(batch["weights"], weights[indices])
        assert set(batch) == {*INPUTS, "label_id", "example", "weights"}
    unweighted = as_numpy(batches(split, plan, 16))
    assert all(batch["weights"].tolist() == [1.0] * len(batch["weights"]) for batch in unweighted)


def test_segments_of_pairs(tiny_tokenizer, tmp_path):
    pairs = [Record("good", "label1", "a:1", ("bad time",)), Record("see you", "label2", "a:2", ("good people",))]
    split = tokenize(pairs, plain_recipe(tiny_tokenizer, num_texts=2), tmp_path)
    (batch,) = as_numpy(batches(split, [np.array([1, 0])], 16))
    width = batch["token_ids"].shape[1]
    for row, record in enumerate(pairs[::-1]):
        first, second = (len(ids) for ids in tiny_tokenizer(tf.constant(record.texts)).to_list())
        rest = width - first - second - 3
        assert batch["segment_ids"][row].tolist() == [0] * (first + 2) + [1] * (second + 1) + [0] * rest
        assert batch["padding_mask"][row].tolist() == [1] * (width - rest) + [0] * rest


def test_an_example_of_several_sequences(tiny_tokenizer, tmp_path):
    def sequences(inputs, preprocessor):
        text = preprocessor.tokenize(inputs["text"])
        windows = preprocessor.windows(text.ids, 2, 0.0)
        return preprocessor.pack([windows.token_ids], records=windows.records, windows=windows, texts={"text": text})

    split = tokenize(RECORDS, plain_recipe(tiny_tokenizer, sequences=sequences, by_record=True), tmp_path)
    counts = np.diff(split.examples)
    assert counts[4] > 1
    (batch,) = as_numpy(batches(split, [np.array([4, 0])], 16, np.arange(8, dtype=np.float32)))
    assert batch["example"].tolist() == [0] * counts[4] + [1] * counts[0]
    assert batch["label_id"].tolist() == [1] * counts[4] + [0] * counts[0]
    assert batch["weights"].tolist() == [4, 0]
    expected = [split.sequences[split.examples[4] + index].tolist() for index in range(counts[4])]
    assert batch["token_ids"][: counts[4]].tolist() == padded(expected, 0)


def test_ragged_targets_are_padded(tiny_tokenizer, tmp_path):
    def targets_of(record, sequences, warn):
        number, length = int(record.target[-1]), len(sequences.token_ids[0])
        return [{"tag_id": np.arange(length), "reply": np.arange(3 * number) + 1, "pair": [number, -number]}]

    targets = {
        "tag_id": Target("int32", per_token=True),
        "reply": Target("int64", (None,), padding=-5),
        "pair": Target("float32", (2,)),
    }
    recipe = plain_recipe(tiny_tokenizer, targets=targets, targets_of=targets_of)
    split = tokenize(RECORDS, recipe, tmp_path)
    numbers = [int(record.target[-1]) for record in RECORDS]
    for indices in ([4, 0, 2], [0], [3, 1]):
        (batch,) = as_numpy(batches(split, [np.array(indices)], 16))
        lengths = split.lengths()[indices]
        assert batch["tag_id"].tolist() == padded([list(range(length)) for length in lengths], -1)
        assert batch["tag_id"].shape == batch["token_ids"].shape
        # The length of a reply does not depend on that of the text.
        assert batch["reply"].tolist() == padded([list(range(1, 3 * numbers[i] + 1)) for i in indices], -5)
        assert (batch["reply"].dtype, batch["tag_id"].dtype) == (np.int64, np.int32)
        assert batch["pair"].tolist() == [[numbers[i], -numbers[i]] for i in indices]


def test_targets_per_token_are_padded_like_the_tokens_on_a_gpu(tiny_tokenizer, tmp_path, monkeypatch):
    def targets_of(record, sequences, warn):
        return [{"tag_id": sequences.token_ids[0], "reply": [1, 2, 3]}]

    targets = {"tag_id": Target("int32", per_token=True), "reply": Target("int32", (None,))}
    split = tokenize(RECORDS, plain_recipe(tiny_tokenizer, targets=targets, targets_of=targets_of), tmp_path)
    monkeypatch.setattr(preprocessor, "_has_gpu", lambda: True)
    longest = int(split.lengths()[[0, 4]].max())
    assert longest < 8
    for sequence_length, width in ((16, 8), (longest + 1, longest + 1)):
        (batch,) = as_numpy(batches(split, [np.array([0, 4])], sequence_length))
        assert batch["token_ids"].shape == batch["tag_id"].shape == (2, width)
        assert batch["reply"].shape == (2, 3)
        assert set(np.unique(batch["tag_id"][batch["padding_mask"] == 0])) == {-1}


def test_a_batch_contains_the_features(split):
    features = {"price": np.arange(8, dtype=np.float32), "color": np.arange(16).reshape(8, 2)}
    (batch,) = as_numpy(batches(dataclasses.replace(split, features=features), [np.array([3, 1])], 16))
    assert batch["price"].tolist() == [3, 1] and batch["price"].dtype == np.float32
    assert batch["color"].tolist() == [[6, 7], [2, 3]]


def test_vectors_replace_the_tokens(split):
    vectors = np.arange(24, dtype=np.float32).reshape(8, 3)
    (batch,) = as_numpy(batches(split, [np.array([6, 2])], 16, vectors=vectors))
    assert set(batch) == {"vectors", "label_id", "example", "weights"}
    assert batch["vectors"].tolist() == [[18, 19, 20], [6, 7, 8]] and batch["label_id"].tolist() == [0, 2]


def test_a_plan_resumed_at_any_batch_continues_with_the_same_batches(split):
    def plan():
        return plan_training(split.lengths(), 2, seed=1, epoch=4)

    whole = as_numpy(batches(split, plan(), 12))
    for start in range(len(whole) + 1):
        rest = as_numpy(batches(split, plan()[start:], 12))
        assert len(rest) == len(whole) - start
        for actual, expected in zip(rest, whole[start:], strict=True):
            for name, value in expected.items():
                np.testing.assert_array_equal(actual[name], value)


def test_items_are_prefetched_and_transformed_in_order():
    items = prefetched(lambda: iter(range(5)), tf.TensorSpec([], tf.int32), 2, lambda item: item * 2)
    assert [item.numpy() for item in items] == [item.numpy() for item in items] == [0, 2, 4, 6, 8]
    assert [int(item) for item in prefetched(lambda: iter(range(3)), tf.TensorSpec([], tf.int32), 1)] == [0, 1, 2]


def test_autotuning_is_disabled(split):
    # The wait for its thread is random and takes seconds, so only the option is tested.
    assert batches(split, [np.array([0])], 16).options().autotune.enabled is False
