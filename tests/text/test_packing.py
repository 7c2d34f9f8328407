"""Packing: the graph's and NumPy's agree with each other and with a plain loop."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tfbert.text import packing
from tfbert.text.packing import INPUTS, Packer, in_halves, pad_rows
from tfbert.text.tokenizer import SpecialTokens

# Every id is another one, and padding is not 0, so that nothing is right by accident.
SPECIAL = SpecialTokens(padding=9, unknown=8, start=7, end=6, mask=5)
REPEATABLE = settings(deadline=None, derandomize=True, max_examples=60)


@pytest.fixture(autouse=True, scope="module")
def no_gpu():
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(packing, "_has_gpu", lambda: False)
        yield


def rows_of(lengths):
    """Return rows of these lengths in which every id occurs once."""
    starts = np.cumsum([10, *lengths])
    return [np.arange(start, start + length, dtype=np.uint16) for start, length in zip(starts, lengths, strict=False)]


def ragged(rows):
    flat = np.concatenate([*rows, np.zeros(0)]).astype(np.int32)
    return tf.RaggedTensor.from_row_lengths(flat, [len(row) for row in rows])


def packer(sequence_length, overlap=0.25):
    return Packer(SPECIAL, sequence_length, overlap)


def plainly(first, second, sequence_length):
    """Return one framed row and where its second segment begins, by cutting the longer one token by token."""
    first, second = list(first), None if second is None else list(second)
    room = sequence_length - (2 if second is None else 3)
    while len(first) + len(second or ()) > room:
        longest = first if second is None or len(first) > len(second) else second
        longest.pop()
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
def test_both_ways_of_packing_agree_with_a_plain_loop(is_pair, lengths, sequence_length):
    rows = rows_of([length for pair in lengths for length in pair])
    firsts, seconds = rows[::2], rows[1::2] if is_pair else [None] * len(lengths)
    expected = [plainly(first, second, sequence_length) for first, second in zip(firsts, seconds, strict=True)]
    pack = packer(sequence_length)
    framed = [pack.row([part for part in pair if part is not None]) for pair in zip(firsts, seconds, strict=True)]
    assert [(ids.tolist(), second) for ids, second in framed] == expected
    at_hand = pad_rows(*zip(*framed, strict=True), SPECIAL.padding, sequence_length)
    in_graph = pack.pack([ragged(firsts), *([ragged(seconds)] if is_pair else [])])
    longest = max(len(ids) for ids, _ in expected)
    assert list(at_hand) == list(INPUTS) and set(in_graph) == {*INPUTS, "truncated"}
    for name in INPUTS:
        assert in_graph[name].dtype == tf.int32 and at_hand[name].dtype == np.int32
        assert in_graph[name].shape == (len(firsts), longest) and at_hand[name].shape == (len(firsts), longest)
        np.testing.assert_array_equal(in_graph[name], at_hand[name])
    for index, (ids, second) in enumerate(expected):
        rest = longest - len(ids)
        assert at_hand["token_ids"][index].tolist() == ids + [9] * rest
        assert at_hand["padding_mask"][index].tolist() == [1] * len(ids) + [0] * rest
        assert at_hand["segment_ids"][index].tolist() == [0] * second + [1] * (len(ids) - second) + [0] * rest
    given = [sum(pair) if is_pair else pair[0] for pair in lengths]
    cut = [length > len(ids) - 2 - is_pair for length, (ids, _) in zip(given, expected, strict=True)]
    assert in_graph["truncated"].numpy().tolist() == cut


def test_a_case_written_out():
    packed = packer(6).pack([ragged(rows_of([2, 0, 5]))])
    assert packed["token_ids"].numpy().tolist() == [[7, 10, 11, 6, 9, 9], [7, 6, 9, 9, 9, 9], [7, 12, 13, 14, 15, 6]]
    assert packed["padding_mask"].numpy().tolist() == [[1, 1, 1, 1, 0, 0], [1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1]]
    assert packed["segment_ids"].numpy().tolist() == [[0] * 6] * 3
    assert packed["truncated"].numpy().tolist() == [False, False, True]


def test_an_id_beyond_16_bits_survives():
    rows = [np.array([70_000, 119_546], np.int32), np.array([65_535], np.uint16)]
    framed = [packer(8).row([row]) for row in rows]
    found = pad_rows(*zip(*framed, strict=True), SPECIAL.padding, 8)
    assert found["token_ids"].tolist() == [[7, 70_000, 119_546, 6], [7, 65_535, 6, 9]]


@pytest.mark.parametrize(("limit", "length"), [(20, 16), (14, 14), (12, 12)])
def test_lengths_are_multiples_of_8_where_there_is_a_gpu(monkeypatch, limit, length):
    monkeypatch.setattr(packing, "_has_gpu", lambda: True)
    found = pad_rows(rows_of([12, 3]), [12, 3], SPECIAL.padding, limit)
    assert {name: values.shape for name, values in found.items()} == dict.fromkeys(INPUTS, (2, length))
    (shorter, longer), _ = packing.in_halves({name: tf.constant(values) for name, values in found.items()})
    assert shorter["token_ids"].shape == (1, 8) and longer["token_ids"].shape == (1, length)


def test_packing_an_empty_batch_in_the_graph():
    packed = packer(8).pack([ragged([])])
    assert packed["token_ids"].shape[0] == packed["truncated"].shape[0] == 0


WINDOWS = st.tuples(st.integers(0, 90), st.integers(1, 20))


@REPEATABLE
@given(st.lists(WINDOWS, min_size=1, max_size=5), st.sampled_from([0.0, 0.25, 0.5, 0.9]))
@example([(20, 20), (21, 20), (0, 1), (7, 1)], 0.25)
def test_windows_cover_a_text_with_their_overlap(given, overlap):
    lengths, rooms = zip(*given, strict=True)
    rows = rows_of(lengths)
    pack = packer(32, overlap)
    found = pack.windows(ragged(rows), tf.constant(rooms, tf.int32))
    expected = [(index, start) for index, (n, room) in enumerate(given) for start in pack.window_starts(n, room)]
    assert list(zip(found.records.numpy().tolist(), found.starts.numpy().tolist(), strict=True)) == expected
    assert found.lengths.numpy().tolist() == list(lengths)
    windows = [
        row[start : start + room]
        for row, (n, room) in zip(rows, given, strict=True)
        for start in pack.window_starts(n, room)
    ]
    assert found.token_ids.to_list() == [window.tolist() for window in windows]
    for length, room in given:
        starts = pack.window_starts(length, room)
        assert starts[0] == 0 and max(starts) + room >= length
        assert len(starts) == 1 or starts[-1] == length - room
        shared = [first + room - second for first, second in zip(starts, starts[1:], strict=False)]
        assert all(least >= int(overlap * room) for least in shared)
    one_room = pack.windows(ragged(rows), 5)
    assert one_room.starts.numpy().tolist() == [start for n in lengths for start in pack.window_starts(n, 5)]


@REPEATABLE
@given(st.lists(WINDOWS, min_size=1, max_size=5))
def test_what_windows_agree_on_is_merged_to_itself(given):
    lengths, rooms = zip(*given, strict=True)
    windows = packer(32).windows(ragged(rows_of(lengths)), tf.constant(rooms, tf.int32))
    ids = tf.cast(windows.token_ids.flat_values, tf.float32)
    merged = windows.merge(tf.stack([ids, -ids], axis=1))
    for row, expected in zip(merged.to_list(), rows_of(lengths), strict=True):
        assert np.reshape(row, (-1, 2)) == pytest.approx(np.stack([expected, -1.0 * expected], axis=1))


def test_a_token_at_the_edge_of_a_window_counts_less():
    # Eight tokens in windows 0-4 and 3-7: tokens 3 and 4 are in both, the one nearer to the middle counting more.
    windows = packer(32, 0.4).windows(ragged(rows_of([8])), 5)
    assert windows.starts.numpy().tolist() == [0, 3]
    merged = windows.merge(tf.constant([[1.0]] * 5 + [[0.0]] * 5)).to_list()[0]
    assert merged == [[1.0], [1.0], [1.0], [pytest.approx(2 / 3)], [pytest.approx(1 / 3)], [0.0], [0.0], [0.0]]


def operations_of(function, *specs):
    """Return the operations of a function's graph and of every function it calls."""
    definition = tf.function(function).get_concrete_function(*specs).graph.as_graph_def()
    nodes = [*definition.node, *(node for called in definition.library.function for node in called.node_def)]
    return {node.op for node in nodes}


def test_the_graph_uses_core_tensorflow_only(tiny_tokenizer):
    spec = tf.RaggedTensorSpec([None, None], tf.int32, ragged_rank=1)
    core = {*dir(tf.raw_ops), "Placeholder"}

    def in_windows(token_ids):
        windows = packer(16).windows(token_ids, 13)
        flat = tf.cast(windows.token_ids.flat_values, tf.float32)[:, None]
        return packer(16).pack([windows.token_ids, windows.token_ids]), windows.merge(flat)

    operations = operations_of(in_windows, spec)
    assert operations - core == set() and len(operations) > 5
    # Of the tokenizer, which does need tensorflow-text, the same comparison says so.
    beyond = operations_of(tiny_tokenizer, tf.TensorSpec([None], tf.string)) - core
    assert any("WordpieceTokenize" in operation for operation in beyond)


def test_the_graph_takes_any_batch_and_length():
    packing = tf.function(
        lambda token_ids: packer(6).pack([token_ids]), input_signature=[tf.RaggedTensorSpec([None, None], tf.int32)]
    )
    for lengths in ([3], [0, 9, 4], [0]):
        rows = rows_of(lengths)
        expected = packer(6).pack([ragged(rows)])
        for name, value in packing(ragged(rows)).items():
            np.testing.assert_array_equal(value, expected[name])


@pytest.mark.parametrize(
    ("lengths", "widths"), [([3, 9, 2, 17, 8], [3, 17]), ([20, 20], [20, 20]), ([5, 1, 4], [1, 5]), ([7], [7, 7])]
)
def test_halves_have_every_row_once_and_no_more_padding_than_they_need(lengths, widths):
    rows = rows_of(lengths)
    whole = pad_rows(rows, [2] * len(rows), 9, 20)
    halves, places = in_halves(whole | {"targets": np.arange(len(rows))})
    assert [half["token_ids"].shape[0] for half in halves] == [len(rows) // 2, len(rows) - len(rows) // 2]
    assert [half["token_ids"].shape[1] for half in halves if half["token_ids"].shape[0]] == widths[-len(rows) :]
    width = whole["token_ids"].shape[1]
    for name in INPUTS:
        assert all(set(half) == set(INPUTS) for half in halves)
        filler = 9 if name == "token_ids" else 0
        joined = tf.concat(
            [tf.pad(h[name], [[0, 0], [0, width - h[name].shape[1]]], constant_values=filler) for h in halves], 0
        )
        np.testing.assert_array_equal(tf.gather(joined, places), whole[name])
