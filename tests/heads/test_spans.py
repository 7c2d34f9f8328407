"""The span head, and the best spans of whole records compared with a plain search."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfbert.heads.spans import SpanHead, best_spans
from tfbert.text.preprocessor import Preprocessor

REPEATABLE = settings(deadline=None, derandomize=True, max_examples=30)


def test_the_head_is_one_dense_layer_in_float32():
    head = SpanHead(dropout=0.5, seed=3)
    head.build(4)
    sequence = np.random.default_rng(0).normal(size=(2, 3, 4)).astype("float32")
    encoded = {"sequence_output": tf.constant(sequence, tf.bfloat16), "pooled_output": tf.zeros((2, 4))}
    logits = head(encoded, tf.ones((2, 3), tf.int32))
    kernel, bias = head.logits.get_weights()
    rounded = tf.cast(encoded["sequence_output"], tf.float32).numpy()
    np.testing.assert_allclose(logits, rounded @ kernel + bias, atol=1e-6)
    assert logits.dtype == "float32" and kernel.shape == (4, 2)
    keras.utils.set_random_seed(0)
    trained = np.asarray(head(encoded, tf.ones((2, 3), tf.int32), training=True))
    assert np.abs(trained - logits).max() > 1e-3


def test_heads_with_the_same_seed_are_equal():
    first, second, other = (SpanHead(seed=seed) for seed in (1, 1, 2))
    for head in (first, second, other):
        head.build(4)
    np.testing.assert_array_equal(first.logits.kernel, second.logits.kernel)
    assert np.abs(np.asarray(first.logits.kernel) - np.asarray(other.logits.kernel)).max() > 1e-3


def ragged(sequences):
    flat = np.concatenate([*sequences, np.zeros(0)]).astype(np.int32)
    return tf.RaggedTensor.from_row_lengths(flat, [len(sequence) for sequence in sequences])


def in_windows(lengths, max_length, overlap):
    documents = ragged([np.arange(10, 10 + length) for length in lengths])
    return Preprocessor(None, 100, overlap).windows(documents, tf.constant(max_length))


def best(windows, logits, offsets, may_begin, may_end, max_tokens, num_spans):
    spans = best_spans(
        tf.constant(logits, tf.float32),
        windows,
        tf.constant(offsets, tf.int32),
        (tf.constant(may_begin, tf.bool), tf.constant(may_end, tf.bool)),
        max_tokens=max_tokens,
        num_spans=num_spans,
    )
    return {name: np.asarray(getattr(spans, name)) for name in spans.__dataclass_fields__}


def search_slowly(windows, logits, offsets, may_begin, may_end, max_tokens):
    """Return all possible spans of each record with their logits, and the logits of no span, using plain loops."""
    lengths = windows.lengths.numpy()
    begin = np.cumsum(lengths) - lengths
    possible, null = [{} for _ in lengths], [np.inf] * len(lengths)
    for window, (record, start) in enumerate(zip(windows.records.numpy(), windows.starts.numpy(), strict=True)):
        null[record] = min(null[record], logits[window, 0].sum())
        size = int(windows.token_ids.row_lengths()[window])
        for i in range(size):
            for j in range(i, min(size, i + max_tokens)):
                first, last = start + i, start + j
                if may_begin[begin[record] + first] and may_end[begin[record] + last]:
                    value = logits[window, offsets[window] + i, 0] + logits[window, offsets[window] + j, 1]
                    possible[record][first, last] = max(value, possible[record].get((first, last), -np.inf))
    return possible, null


@REPEATABLE
@given(
    st.lists(st.integers(0, 17), min_size=1, max_size=4),
    st.integers(1, 9),
    st.floats(0, 0.9),
    st.integers(1, 5),
    st.integers(1, 4),
    st.integers(0, 2**31),
)
def test_spans_equal_those_of_a_plain_search(lengths, max_length, overlap, max_tokens, num_spans, seed):
    rng = np.random.default_rng(seed)
    windows = in_windows(lengths, max_length, overlap)
    num_windows = len(windows.records)
    offsets = rng.integers(1, 4, num_windows)
    logits = rng.normal(0, 3, (num_windows, max_length + 5, 2)).astype("float32")
    may_begin, may_end = rng.random((2, sum(lengths))) < 0.8
    spans = best(windows, logits, offsets, may_begin, may_end, max_tokens, num_spans)
    possible, null = search_slowly(windows, logits, offsets, may_begin, may_end, max_tokens)
    for record in range(len(lengths)):
        ranked = sorted(possible[record], key=possible[record].get, reverse=True)
        total = np.exp(null[record]) + sum(np.exp(value) for value in possible[record].values())
        exists = spans["exists"][record]
        assert exists.tolist() == [index < len(ranked) for index in range(num_spans)]
        bounds = list(zip(spans["first"][record][exists], spans["last"][record][exists], strict=True))
        assert bounds == ranked[:num_spans]
        probabilities = [np.exp(possible[record][span]) / total for span in ranked[:num_spans]]
        np.testing.assert_allclose(spans["probability"][record][exists], probabilities, rtol=1e-4)
        assert not spans["probability"][record][~exists].any()
        assert spans["null_probability"][record] == pytest.approx(np.exp(null[record]) / total, rel=1e-4)
        margin = null[record] - possible[record][ranked[0]] if ranked else 1e9
        assert spans["null_margin"][record] == pytest.approx(margin, rel=1e-4, abs=1e-5)


@REPEATABLE
@given(st.lists(st.integers(1, 60), min_size=1, max_size=3), st.integers(8, 30), st.integers(1, 4), st.integers(0, 99))
def test_the_positions_of_windows_do_not_matter(lengths, max_length, max_tokens, seed):
    """The logits depend on the token only, so any difference would be due to the windows."""
    rng = np.random.default_rng(seed)
    token_logits = rng.normal(0, 2, (100, 2)).astype("float32")
    allowed = np.ones(sum(lengths), bool)

    def by_windows(max_length, overlap):
        windows = in_windows(lengths, max_length, overlap)
        token_ids = windows.token_ids.to_tensor(0).numpy()
        logits = np.concatenate([np.tile(token_logits[:2], (len(token_ids), 1, 1)), token_logits[token_ids]], axis=1)
        return best(windows, logits, np.full(len(token_ids), 2), allowed, allowed, max_tokens, 3)

    whole, split = by_windows(60, 0.0), by_windows(max_length, 0.5)
    for name in ("first", "last", "exists"):
        np.testing.assert_array_equal(split[name], whole[name])
    for name in ("probability", "null_probability", "null_margin"):
        np.testing.assert_allclose(split[name], whole[name], rtol=1e-5)


def test_probabilities_of_extreme_logits_are_finite():
    windows = in_windows([4], 8, 0.0)
    logits = np.full((1, 6, 2), -300.0, "float32")
    logits[0, 0] = 300.0
    spans = best(windows, logits, [1], [True] * 4, [True] * 4, 2, 3)
    assert spans["null_probability"] == [1.0] and spans["null_margin"] == [1200.0]
    assert spans["probability"].tolist() == [[0.0, 0.0, 0.0]]
    spans = best(windows, -logits, [1], [True] * 4, [True] * 4, 1, 3)
    np.testing.assert_allclose(spans["probability"], [[0.25] * 3])


def test_one_window_with_an_answer_is_enough():
    windows = in_windows([9], 5, 0.0)
    logits = np.zeros((2, 6, 2), "float32")
    logits[0, 0] = 5.0
    logits[1, 2] = 2.0
    spans = best(windows, logits, [1, 1], [True] * 9, [True] * 9, 2, 1)
    assert (spans["first"], spans["last"]) == ([[5]], [[5]])
    assert spans["null_margin"] == [-4.0]
