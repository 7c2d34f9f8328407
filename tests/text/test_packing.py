"""Packing: the graph's and NumPy's agree with each other and with a plain loop."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tfbert.text.packing import pack, pack_rows
from tfbert.text.tokenizer import SpecialTokens

# Every id is another one, and padding is not 0, so that nothing is right by accident.
SPECIAL = SpecialTokens(padding=9, unknown=8, start=7, end=6, mask=5)
INPUTS = ("token_ids", "segment_ids", "padding_mask")
REPEATABLE = settings(deadline=None, derandomize=True, max_examples=60)


def rows_of(lengths):
    """Return rows of these lengths in which every id occurs once."""
    starts = np.cumsum([10, *lengths])
    return [np.arange(start, start + length, dtype=np.uint16) for start, length in zip(starts, lengths, strict=False)]


def ragged(rows):
    flat = np.concatenate([*rows, np.zeros(0)]).astype(np.int32)
    return tf.RaggedTensor.from_row_lengths(flat, [len(row) for row in rows])


def plainly(row, sequence_length, length):
    """Return one packed row and its mask as lists."""
    tokens = [7, *row.tolist()[: sequence_length - 2], 6]
    padding = length - len(tokens)
    return tokens + [9] * padding, [1] * len(tokens) + [0] * padding


@REPEATABLE
@given(st.lists(st.integers(0, 30), min_size=1, max_size=6), st.integers(3, 26))
@example([0, 0], 3)
@example([0], 8)
@example([1, 2, 0], 3)
@example([6, 5, 7], 8)
@example([14, 15, 13], 16)
def test_both_ways_of_packing_agree_with_a_plain_loop(lengths, sequence_length):
    rows = rows_of(lengths)
    packed = {name: value.numpy() for name, value in pack(ragged(rows), SPECIAL, sequence_length).items()}
    at_hand = pack_rows(rows, SPECIAL, sequence_length)
    longest = min(max(lengths) + 2, sequence_length)
    rounded = min(-(-longest // 8) * 8, sequence_length)
    assert list(at_hand) == list(INPUTS) and set(packed) == {*INPUTS, "truncated"}
    for name in INPUTS:
        assert packed[name].dtype == at_hand[name].dtype == np.int32
        assert packed[name].shape == (len(rows), longest) and at_hand[name].shape == (len(rows), rounded)
        np.testing.assert_array_equal(packed[name], at_hand[name][:, :longest])
    for index, row in enumerate(rows):
        tokens, mask = plainly(row, sequence_length, rounded)
        assert at_hand["token_ids"][index].tolist() == tokens
        assert at_hand["padding_mask"][index].tolist() == mask
    assert not at_hand["segment_ids"].any()
    assert packed["truncated"].tolist() == [length + 2 > sequence_length for length in lengths]


def test_a_case_written_out():
    packed = pack(ragged(rows_of([2, 0, 5])), SPECIAL, 6)
    assert packed["token_ids"].numpy().tolist() == [[7, 10, 11, 6, 9, 9], [7, 6, 9, 9, 9, 9], [7, 12, 13, 14, 15, 6]]
    assert packed["padding_mask"].numpy().tolist() == [[1, 1, 1, 1, 0, 0], [1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1]]
    assert packed["segment_ids"].numpy().tolist() == [[0] * 6] * 3
    assert packed["truncated"].numpy().tolist() == [False, False, True]


@pytest.mark.parametrize(("multiple", "length"), [(1, 5), (4, 8), (8, 8), (16, 12), (5, 5)])
def test_the_length_of_rows_at_hand_is_a_multiple_or_the_limit(multiple, length):
    packed = pack_rows(rows_of([3, 1]), SPECIAL, 12, multiple)
    assert {name: value.shape for name, value in packed.items()} == dict.fromkeys(INPUTS, (2, length))


def test_an_id_beyond_16_bits_survives():
    rows = [np.array([70_000, 119_546], np.int32), np.array([65_535], np.uint16)]
    assert pack_rows(rows, SPECIAL, 8, 1)["token_ids"].tolist() == [[7, 70_000, 119_546, 6], [7, 65_535, 6, 9]]


def test_packing_an_empty_batch_in_the_graph():
    packed = pack(ragged([]), SPECIAL, 8)
    assert packed["token_ids"].shape[0] == packed["truncated"].shape[0] == 0


def operations_of(function, *specs):
    """Return the operations of a function's graph and of every function it calls."""
    definition = tf.function(function).get_concrete_function(*specs).graph.as_graph_def()
    nodes = [*definition.node, *(node for called in definition.library.function for node in called.node_def)]
    return {node.op for node in nodes}


def test_the_graph_uses_core_tensorflow_only(tiny_tokenizer):
    spec = tf.RaggedTensorSpec([None, None], tf.int32, ragged_rank=1)
    core = {*dir(tf.raw_ops), "Placeholder"}
    operations = operations_of(lambda token_ids: pack(token_ids, SPECIAL, 16), spec)
    assert operations - core == set() and len(operations) > 5
    # Of the tokenizer, which does need tensorflow-text, the same comparison says so.
    beyond = operations_of(tiny_tokenizer, tf.TensorSpec([None], tf.string)) - core
    assert any("WordpieceTokenize" in operation for operation in beyond)


def test_the_graph_takes_any_batch_and_length():
    packing = tf.function(
        lambda token_ids: pack(token_ids, SPECIAL, 6), input_signature=[tf.RaggedTensorSpec([None, None], tf.int32)]
    )
    for lengths in ([3], [0, 9, 4], [0]):
        rows = rows_of(lengths)
        expected = pack(ragged(rows), SPECIAL, 6)
        for name, value in packing(ragged(rows)).items():
            np.testing.assert_array_equal(value, expected[name])
