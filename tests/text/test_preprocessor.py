"""The preprocessor compared with a plain loop: packing, truncation, windows, merging, micro-batches and halves."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tfbert.text import preprocessor as module
from tfbert.text.preprocessor import INPUTS, Preprocessor, call_in_micro_batches, dense_batch, in_halves
from tfbert.text.tokenizer import SpecialTokens

# All ids differ, and padding is not 0, so no test passes by accident.
SPECIAL = SpecialTokens(padding=9, unknown=8, start=7, end=6, mask=5)
REPEATABLE = settings(deadline=None, derandomize=True, max_examples=60)


class Special:
    """Fake tokenizer; packing needs only the special tokens."""

    special = SPECIAL


@pytest.fixture(autouse=True, scope="module")
def no_gpu():
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "_has_gpu", lambda: False)
        yield


def texts_of(lengths):
    """Return the token ids of texts with the given lengths; no id occurs twice."""
    starts = np.cumsum([10, *lengths])
    return [np.arange(start, start + length) for start, length in zip(starts, lengths, strict=False)]


def ragged(texts):
    flat = np.concatenate([*texts, np.zeros(0)]).astype(np.int32)
    return tf.RaggedTensor.from_row_lengths(flat, [len(text) for text in texts])


def preprocessor(sequence_length, overlap=0.25):
    return Preprocessor(Special, sequence_length, overlap)


def packed_plainly(first, second, sequence_length):
    """Return a packed sequence and the position of its second segment, by truncating the longer one token by token."""
    first, second = list(first), None if second is None else list(second)
    room = sequence_length - (2 if second is None else 3)
    # Of equally long ones, the one that was shorter at first.
    pops_first = second is None or len(second) >= len(first)
    while len(first) + len(second or ()) > room:
        is_first_longer = second is None or len(first) > len(second) or (len(first) == len(second) and pops_first)
        (first if is_first_longer else second).pop()
    ids = [7, *first, 6]
    return (ids, len(ids)) if second is None else ([*ids, *second, 6], len(ids))


LENGTHS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=6)


@pytest.mark.parametrize("is_pair", [False, True])
@REPEATABLE
@given(LENGTHS, st.integers(3, 26))
@example([(0, 0), (0, 1)], 3)
@example([(0, 9)], 8)
@example([(1, 0), (2, 3), (0, 30)], 4)
@example([(6, 6), (5, 7), (7, 5)], 8)
@example([(14, 2), (15, 12), (13, 30)], 16)
def test_packing_agrees_with_a_plain_loop(is_pair, lengths, sequence_length):
    texts = texts_of([length for pair in lengths for length in pair])
    firsts, seconds = texts[::2], texts[1::2] if is_pair else [None] * len(lengths)
    expected = [packed_plainly(first, second, sequence_length) for first, second in zip(firsts, seconds, strict=True)]
    packed = preprocessor(sequence_length).pack([ragged(firsts), *([ragged(seconds)] if is_pair else [])])
    assert packed.token_ids.to_list() == [ids for ids, _ in expected]
    assert packed.second_starts.numpy().tolist() == [second for _, second in expected]
    given_lengths = [sum(pair) if is_pair else pair[0] for pair in lengths]
    is_cut = [length > len(ids) - 2 - is_pair for length, (ids, _) in zip(given_lengths, expected, strict=True)]
    assert packed.is_cut.numpy().tolist() == is_cut
    dense = packed.dense()
    longest = max(len(ids) for ids, _ in expected)
    assert list(dense) == list(INPUTS)
    assert {(values.dtype, tuple(values.shape)) for values in dense.values()} == {(tf.int32, (len(firsts), longest))}
    for index, (ids, second) in enumerate(expected):
        rest = longest - len(ids)
        assert dense["token_ids"][index].numpy().tolist() == ids + [9] * rest
        assert dense["padding_mask"][index].numpy().tolist() == [1] * len(ids) + [0] * rest
        segments = [0] * second + [1] * (len(ids) - second) + [0] * rest
        assert dense["segment_ids"][index].numpy().tolist() == segments


def test_packing_of_a_handwritten_batch():
    packed = preprocessor(6).pack([ragged(texts_of([2, 0, 5]))])
    dense = {name: values.numpy().tolist() for name, values in packed.dense().items()}
    assert dense["token_ids"] == [[7, 10, 11, 6, 9, 9], [7, 6, 9, 9, 9, 9], [7, 12, 13, 14, 15, 6]]
    assert dense["padding_mask"] == [[1, 1, 1, 1, 0, 0], [1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1]]
    assert dense["segment_ids"] == [[0] * 6] * 3
    assert packed.is_cut.numpy().tolist() == [False, False, True]


def test_ids_may_exceed_16_bits():
    packed = preprocessor(8).pack([ragged([[70_000, 119_546], [65_535]])])
    assert packed.dense()["token_ids"].numpy().tolist() == [[7, 70_000, 119_546, 6], [7, 65_535, 6, 9]]


def test_features_are_returned_with_the_sequences():
    features = {"price": tf.constant([[1.5], [2.5]])}
    packed = preprocessor(8).pack([ragged(texts_of([1, 2]))], features=features)
    assert list(packed.dense()) == [*INPUTS, "price"]
    assert packed.dense()["price"].numpy().tolist() == [[1.5], [2.5]]


def test_padding_to_a_given_length():
    token_ids, second_starts = ragged([[7, 10, 6, 11, 6], [7, 6]]), tf.constant([3, 2])
    dense = dense_batch(token_ids, second_starts, 9, tf.constant(7))
    assert dense["token_ids"].numpy().tolist() == [[7, 10, 6, 11, 6, 9, 9], [7, 6, 9, 9, 9, 9, 9]]
    assert dense["segment_ids"].numpy().tolist() == [[0, 0, 0, 1, 1, 0, 0], [0] * 7]
    assert dense["padding_mask"].numpy().tolist() == [[1] * 5 + [0] * 2, [1] * 2 + [0] * 5]


@pytest.mark.parametrize(("has_gpu", "widths"), [(False, (3, 12)), (True, (8, 12))])
def test_lengths_are_multiples_of_8_on_a_gpu(monkeypatch, has_gpu, widths):
    monkeypatch.setattr(module, "_has_gpu", lambda: has_gpu)
    assert [module.padded_length(length) for length in (1, 8, 9)] == ([8, 8, 16] if has_gpu else [1, 8, 9])
    # No half is wider than the batch.
    (shorter, longer), _ = in_halves(dense_batch(ragged(texts_of([12, 3])), tf.constant([12, 3]), 9))
    assert (shorter["token_ids"].shape[1], longer["token_ids"].shape[1]) == widths


def test_packing_an_empty_batch():
    packed = preprocessor(8).pack([ragged([])])
    assert packed.dense()["token_ids"].shape[0] == packed.is_cut.shape[0] == 0


WINDOWS = st.tuples(st.integers(0, 90), st.integers(1, 20))


@REPEATABLE
@given(st.lists(WINDOWS, min_size=1, max_size=5), st.sampled_from([0.0, 0.25, 0.5, 0.9]))
@example([(20, 20), (21, 20), (0, 1), (7, 1)], 0.25)
def test_windows_cover_a_text_with_their_overlap(drawn, overlap):
    lengths, sizes = zip(*drawn, strict=True)
    texts = texts_of(lengths)
    windows = preprocessor(32, overlap).windows(ragged(texts), tf.constant(sizes, tf.int32))
    records, starts = windows.records.numpy(), windows.starts.numpy()
    assert windows.lengths.numpy().tolist() == list(lengths)
    assert windows.token_ids.to_list() == [
        texts[record][start : start + sizes[record]].tolist() for record, start in zip(records, starts, strict=True)
    ]
    assert sorted(set(records)) == list(range(len(drawn)))
    for record, (length, size) in enumerate(drawn):
        record_starts = starts[records == record].tolist()
        assert record_starts == sorted(record_starts) and record_starts[0] == 0
        assert record_starts[-1] == max(0, length - size)
        overlaps = [first + size - second for first, second in zip(record_starts, record_starts[1:], strict=False)]
        min_overlap = int(overlap * size)
        assert all(actual >= min_overlap for actual in overlaps)
        # One window fewer could not cover the text with this overlap, and windows are spread evenly.
        assert len(record_starts) == 1 or (len(record_starts) - 2) * (size - min_overlap) + size < length
        steps = np.diff(record_starts)
        assert len(record_starts) == 1 or steps.max() - steps.min() <= 1


def test_the_window_size_may_be_an_integer_and_the_overlap_may_differ_from_the_default():
    texts = ragged(texts_of([12, 3]))
    with_integer = preprocessor(32, 0.25).windows(texts, 5)
    with_tensor = preprocessor(32, 0.25).windows(texts, tf.constant([5, 5]))
    assert with_integer.starts.numpy().tolist() == with_tensor.starts.numpy().tolist() == [0, 3, 7, 0]
    assert preprocessor(32, 0.25).windows(texts, 5, 0.8).starts.numpy().tolist() == [*range(8), 0]
    assert preprocessor(32, 0.25).windows(texts, 5, 0.0).starts.numpy().tolist() == [0, 3, 7, 0]


@REPEATABLE
@given(st.lists(WINDOWS, min_size=1, max_size=5))
def test_equal_values_of_overlapping_windows_are_merged_unchanged(drawn):
    lengths, sizes = zip(*drawn, strict=True)
    windows = preprocessor(32).windows(ragged(texts_of(lengths)), tf.constant(sizes, tf.int32))
    ids = tf.cast(windows.token_ids.flat_values, tf.float32)
    merged = windows.merge(tf.stack([ids, -ids], axis=1))
    for values, expected in zip(merged.to_list(), texts_of(lengths), strict=True):
        assert np.reshape(values, (-1, 2)) == pytest.approx(np.stack([expected, -1.0 * expected], axis=1))


def test_a_token_at_the_edge_of_a_window_counts_less():
    # Eight tokens in windows 0-4 and 3-7: tokens 3 and 4 are in both; the window with the nearer middle counts more.
    windows = preprocessor(32, 0.4).windows(ragged(texts_of([8])), 5)
    assert windows.starts.numpy().tolist() == [0, 3]
    merged = windows.merge(tf.constant([[1.0]] * 5 + [[0.0]] * 5)).to_list()[0]
    assert merged == [[1.0], [1.0], [1.0], [pytest.approx(2 / 3)], [pytest.approx(1 / 3)], [0.0], [0.0], [0.0]]


def test_reading_in_windows(tiny_tokenizer):
    texts = tf.constant(["the first number is two " * 3, "see you", ""])
    preprocessor = Preprocessor(tiny_tokenizer, 8)
    text = preprocessor.tokenize(texts, with_offsets=True)
    sequences = preprocessor.read_in_windows("text", text)
    ids = tiny_tokenizer(texts).to_list()
    assert text.ids.to_list() == ids and sequences.texts == {"text": text}
    windows = preprocessor.windows(text.ids, 6)
    assert sequences.records.numpy().tolist() == windows.records.numpy().tolist() == [0, 0, 0, 1, 2]
    assert sequences.token_ids.to_list() == [[2, *window, 3] for window in windows.token_ids.to_list()]
    assert not sequences.is_cut.numpy().any()
    first, last = text.starts[1].numpy(), text.ends[1].numpy()
    assert [b"see you"[start:end] for start, end in zip(first, last, strict=True)][0] == b"see"


def test_several_texts_of_a_record(tiny_tokenizer):
    texts = tf.constant([["good", "bad time"], ["", "-"], ["see you", "-"]])
    is_text = tf.constant([[True, True], [True, False], [False, False]])
    tokens = Preprocessor(tiny_tokenizer, 8).tokenize_many(texts, is_text)
    assert tokens.records.numpy().tolist() == [0, 0, 1]
    assert tokens.ids.to_list() == tiny_tokenizer(tf.constant(["good", "bad time", ""])).to_list()


def operations_of(function, *specs):
    """Return the operations of a function's graph and of every function it calls."""
    definition = tf.function(function).get_concrete_function(*specs).graph.as_graph_def()
    nodes = [*definition.node, *(node for called in definition.library.function for node in called.node_def)]
    return {node.op for node in nodes}


def test_the_graph_uses_core_tensorflow_only(tiny_tokenizer):
    spec = tf.RaggedTensorSpec([None, None], tf.int32, ragged_rank=1)
    core = {*dir(tf.raw_ops), "Placeholder"}

    def in_windows(token_ids):
        windows = preprocessor(16).windows(token_ids, 13)
        flat = tf.cast(windows.token_ids.flat_values, tf.float32)[:, None]
        return preprocessor(16).pack([windows.token_ids, windows.token_ids]).dense(), windows.merge(flat)

    operations = operations_of(in_windows, spec)
    assert operations - core == set() and len(operations) > 5
    # The tokenizer needs tensorflow-text, and the same comparison detects it.
    other = operations_of(tiny_tokenizer, tf.TensorSpec([None], tf.string)) - core
    assert any("WordpieceTokenize" in operation for operation in other)


def test_a_graph_accepts_any_batch_size_and_length():
    pack = tf.function(
        lambda token_ids: preprocessor(6).pack([token_ids]).dense(),
        input_signature=[tf.RaggedTensorSpec([None, None], tf.int32)],
    )
    for lengths in ([3], [0, 9, 4], [0]):
        texts = ragged(texts_of(lengths))
        expected = preprocessor(6).pack([texts]).dense()
        for name, value in pack(texts).items():
            np.testing.assert_array_equal(value, expected[name])


@pytest.mark.parametrize("max_tokens", [1, 7, 15, 1000])
@pytest.mark.parametrize("per_token", [True, False])
def test_micro_batches_have_the_scores_of_the_whole_batch(max_tokens, per_token):
    packed = {name: tf.constant(np.arange(35).reshape(7, 5) + seed) for seed, name in enumerate(("token_ids", "other"))}
    sizes = []

    @tf.function(autograph=False)
    def scores_of_all():
        def model(batch):
            sizes.append(batch["token_ids"].shape)
            scores = tf.cast(tf.stack([batch["token_ids"], batch["other"] * 2], 2), tf.float32)
            return scores if per_token else tf.reduce_sum(scores, axis=1)

        scores = call_in_micro_batches(model, packed, max_tokens)
        assert scores.shape.as_list() == ([None, 5, 2] if per_token else [None, 2])
        return scores

    expected = np.stack([np.arange(35), 2 * np.arange(1, 36)], 1).reshape(7, 5, 2)
    np.testing.assert_array_equal(scores_of_all(), expected if per_token else expected.sum(1))
    assert len(sizes) == 1


def test_a_model_reads_windows_in_micro_batches(tiny_tokenizer, monkeypatch):
    preprocessor, sizes = Preprocessor(tiny_tokenizer, 8), []
    text = preprocessor.tokenize(tf.constant(["the first number is two " * 3, "see you"]))

    def model(packed):
        sizes.append(len(packed["token_ids"]))
        return tf.cast(packed["token_ids"], tf.float32)

    truncated = preprocessor.pack([text.ids]).scores(model)
    assert sizes == [2] and truncated.shape == (2, 8)
    monkeypatch.setattr(call_in_micro_batches, "__defaults__", (16,))
    in_windows = preprocessor.read_in_windows("text", text)
    np.testing.assert_array_equal(in_windows.scores(model), in_windows.dense()["token_ids"])
    assert sizes[1:] == [2, 2]


@pytest.mark.parametrize(
    ("lengths", "widths"), [([3, 9, 2, 17, 8], [3, 17]), ([20, 20], [20, 20]), ([5, 1, 4], [1, 5]), ([7], [7, 7])]
)
def test_halves_contain_every_sequence_once_with_minimal_padding(lengths, widths):
    texts = texts_of(lengths)
    whole = dense_batch(ragged(texts), tf.constant([2] * len(texts)), 9)
    halves, positions = in_halves(whole | {"price": tf.range(len(texts))})
    assert [half["token_ids"].shape[0] for half in halves] == [len(texts) // 2, len(texts) - len(texts) // 2]
    assert [half["token_ids"].shape[1] for half in halves if half["token_ids"].shape[0]] == widths[-len(texts) :]
    width = whole["token_ids"].shape[1]
    prices = tf.concat([half["price"] for half in halves], 0)
    np.testing.assert_array_equal(tf.gather(prices, positions), np.arange(len(texts)))
    for name in INPUTS:
        padding = 9 if name == "token_ids" else 0
        joined = tf.concat(
            [tf.pad(h[name], [[0, 0], [0, width - h[name].shape[1]]], constant_values=padding) for h in halves], 0
        )
        np.testing.assert_array_equal(tf.gather(joined, positions), whole[name])
