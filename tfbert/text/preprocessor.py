"""The preprocessor: texts to packed token sequences, in the graph, the same for training and for serving.

A sequence is [CLS] first [SEP] or [CLS] first [SEP] second [SEP], cut to the sequence length. Only core TensorFlow
operations are used: tensorflow-text's trimmer is missing from most TensorFlow Serving releases.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import tensorflow as tf

from tfbert.text.tokenizer import SpecialTokens, Tokenizer, Tokens

# The tensors of a packed batch that an encoder takes.
INPUTS = ("token_ids", "segment_ids", "padding_mask")
# Tokens that go through the encoder at once where texts are read in windows, padding included: enough to keep all cores
# busy, and few enough that a text of any length fits into memory.
_PART_TOKENS = 16384


@dataclass(frozen=True)
class Windows:
    """Overlapping windows of long token sequences.

    Args:
        token_ids: ragged int32 `(windows, None)`, the windows of a record in order.
        records: int32 `(windows,)`, the record of each window.
        starts: int32 `(windows,)`, the position of its first token in the record.
        lengths: int32 `(records,)`, the number of tokens of each record.
    """

    token_ids: tf.RaggedTensor
    records: tf.Tensor
    starts: tf.Tensor
    lengths: tf.Tensor

    def merge(self, values: tf.Tensor) -> tf.RaggedTensor:
        """Join the values of tokens in windows to one value for each token of the record.

        Where windows overlap, the result is their mean, weighted by how much of the record a window sees around the
        token: a token at the edge of a window lacks its context there. The edges of the record itself lack nothing.

        Args:
            values: float32 `(tokens of all windows, channels)`, in the order of `token_ids.flat_values`.

        Returns:
            Ragged float32 `(records, None, channels)`.
        """
        window = tf.cast(self.token_ids.value_rowids(), tf.int32)
        in_window = tf.range(tf.shape(values)[0]) - tf.gather(tf.cast(self.token_ids.row_starts(), tf.int32), window)
        record = tf.gather(self.records, window)
        in_record = tf.gather(self.starts, window) + in_window
        size = tf.gather(tf.cast(self.token_ids.row_lengths(), tf.int32), window)
        length = tf.gather(self.lengths, record)
        unseen_left, unseen_right = in_record - in_window, length - (in_record - in_window) - size
        left = tf.where(unseen_left > 0, in_window, size)
        right = tf.where(unseen_right > 0, size - 1 - in_window, size)
        weight = tf.cast(1 + tf.minimum(left, right), tf.float32)[:, None]
        token = tf.gather(tf.cumsum(self.lengths, exclusive=True), record) + in_record
        count = tf.reduce_sum(self.lengths)
        total = tf.math.unsorted_segment_sum(values * weight, token, count)
        merged = total / tf.math.unsorted_segment_sum(weight, token, count)
        return tf.RaggedTensor.from_row_lengths(merged, self.lengths)


@dataclass(frozen=True)
class TokenizedText:
    """An input as tokens, before anything is cut.

    Args:
        ids: ragged int32 `(texts, None)`, without special tokens.
        records: int32 `(texts,)`, the record of each text, ascending; `None` where each record has exactly one text.
        starts: ragged int32 `(texts, None)`, the first character of each token; `None` where offsets are not needed.
        ends: likewise, exclusive.
    """

    ids: tf.RaggedTensor
    records: tf.Tensor | None = None
    starts: tf.RaggedTensor | None = None
    ends: tf.RaggedTensor | None = None


@dataclass(frozen=True, kw_only=True)
class Sequences:
    """The token sequences that the encoder reads for a batch of records.

    Args:
        token_ids: ragged int32 `(sequences, None)`, with special tokens.
        second_starts: int32 `(sequences,)`, position of the second segment; the length of the sequence without one.
        is_cut: bool `(sequences,)`, whether the sequence has lost tokens of its texts.
        padding: the id of [PAD].
        records: int32 `(sequences,)`, the record of each sequence, ascending; `None` for one sequence per record.
        texts: the tokenized inputs by name.
        windows: the windows that the sequences are, where long texts are read in windows.
        token_values: further ragged values of the tokens of a text, by name, such as whether a token continues a word.
        features: numbers that the head reads beside the tokens, by name: `(sequences, ...)`.
    """

    token_ids: tf.RaggedTensor
    second_starts: tf.Tensor
    is_cut: tf.Tensor
    padding: int
    records: tf.Tensor | None = None
    texts: Mapping[str, TokenizedText] = field(default_factory=dict)
    windows: Windows | None = None
    token_values: Mapping[str, tf.RaggedTensor] = field(default_factory=dict)
    features: Mapping[str, tf.Tensor] = field(default_factory=dict)

    def dense(self) -> dict[str, tf.Tensor]:
        """Return the sequences as a model takes them: `INPUTS`, int32 `(sequences, length)`, and the features."""
        return dense_batch(self.token_ids, self.second_starts, self.padding) | dict(self.features)

    def scores(self, model: Callable[[Mapping[str, tf.Tensor]], tf.Tensor]) -> tf.Tensor:
        """Return what a model computes for the sequences; windows go through it part by part, to bound its memory.

        Args:
            model: packed sequences to float32 `(sequences, ...)`.
        """
        return model(self.dense()) if self.windows is None else in_parts(model, self.dense())


class Preprocessor:
    """Makes token sequences of texts.

    Args:
        tokenizer: text to token ids.
        sequence_length: the longest sequence in tokens, special tokens included.
        window_overlap_fraction: the part of a window that it shares at least with the previous one.
    """

    def __init__(self, tokenizer: Tokenizer, sequence_length: int, window_overlap_fraction: float = 0.25):
        self.tokenizer = tokenizer
        self.sequence_length = sequence_length
        self.window_overlap_fraction = window_overlap_fraction

    @property
    def special(self) -> SpecialTokens:
        """The ids of the special tokens."""
        return self.tokenizer.special

    def room(self, num_segments: int) -> int:
        """Return the number of text tokens that fit into a sequence of one or two segments."""
        return self.sequence_length - 1 - num_segments

    def tokenize(self, texts: tf.Tensor, *, with_offsets: bool = False) -> TokenizedText:
        """Return the tokens of one text per record, string `(records,)`."""
        if not with_offsets:
            return TokenizedText(self.tokenizer(texts))
        tokens: Tokens = self.tokenizer.with_offsets(texts)
        return TokenizedText(tokens.ids, None, tokens.starts, tokens.ends)

    def tokenize_many(self, texts: tf.Tensor, is_text: tf.Tensor) -> TokenizedText:
        """Return the tokens of several texts per record.

        Args:
            texts: string `(records, texts)`, padded.
            is_text: bool, the same shape, false for padding.
        """
        records = tf.cast(tf.where(is_text)[:, 0], tf.int32)
        return TokenizedText(self.tokenizer(tf.boolean_mask(texts, is_text)), records)

    def pack(self, segments: Sequence[tf.RaggedTensor], **fields) -> Sequences:
        """Frame one or two segments with special tokens, cut to the sequence length.

        Of two segments the longer is cut until both have the same length; then the first keeps one token more if the
        room is odd.

        Args:
            segments: one or two ragged int32 `(sequences, None)` without special tokens.
            **fields: further fields of `Sequences`.
        """
        lengths = [_lengths(segment) for segment in segments]
        kept = _kept(lengths, self.room(len(segments)))
        column = tf.ones([segments[0].nrows(), 1], tf.int32)
        parts = [column * self.special.start]
        for segment, length in zip(segments, kept, strict=True):
            parts += [_first(segment, length), column * self.special.end]
        cut = [length > room for length, room in zip(lengths, kept, strict=True)]
        return Sequences(
            token_ids=tf.concat(parts, axis=1),
            second_starts=kept[0] + 2,
            is_cut=cut[0] if len(cut) == 1 else cut[0] | cut[1],
            padding=self.special.padding,
            **fields,
        )

    def windows(
        self, token_ids: tf.RaggedTensor, room: int | tf.Tensor, overlap_fraction: float | None = None
    ) -> Windows:
        """Cut texts into overlapping windows: evenly spread, the last one at the end of the text.

        Args:
            token_ids: ragged int32 `(records, None)` without special tokens.
            room: tokens of a window, 1 or more: a number or int32 `(records,)`.
            overlap_fraction: the part of a window that it shares at least with the previous one; `None` takes the
                preprocessor's own.
        """
        overlap_fraction = self.window_overlap_fraction if overlap_fraction is None else overlap_fraction
        lengths = _lengths(token_ids)
        room = tf.broadcast_to(room, tf.shape(lengths))
        overlap = tf.cast(tf.cast(room, tf.float64) * overlap_fraction, tf.int32)
        last = tf.maximum(0, -(-(lengths - room) // (room - overlap)))
        records = tf.repeat(tf.range(tf.shape(lengths)[0]), last + 1)
        index = tf.range(tf.shape(records)[0]) - tf.gather(tf.cumsum(last + 1, exclusive=True), records)
        rest = tf.gather(tf.maximum(0, lengths - room), records)
        starts = index * rest // tf.maximum(1, tf.gather(last, records))
        sizes = tf.gather(tf.minimum(lengths, room), records)
        begins = tf.gather(tf.cast(token_ids.row_starts(), tf.int32), records) + starts
        places = tf.ragged.range(begins, begins + sizes)
        ids = places.with_flat_values(tf.gather(token_ids.flat_values, places.flat_values))
        return Windows(ids, records, starts, lengths)

    def read_in_windows(self, name: str, text: TokenizedText) -> Sequences:
        """Return one sequence for each window of the only text of each record.

        Args:
            name: the input.
            text: its tokens.
        """
        windows = self.windows(text.ids, self.room(1))
        packed = self.pack([windows.token_ids], records=windows.records, windows=windows)
        return replace(packed, texts={name: text})


def dense_batch(
    token_ids: tf.RaggedTensor, second_starts: tf.Tensor, padding: int, length: int | tf.Tensor | None = None
) -> dict[str, tf.Tensor]:
    """Return token sequences as the encoder takes them.

    Args:
        token_ids: ragged int32 `(sequences, None)`, with special tokens.
        second_starts: int32 `(sequences,)`, position of the second segment; the length of the sequence without one.
        padding: the id of [PAD].
        length: tokens to pad to, at least the longest sequence; `None` means the longest sequence.

    Returns:
        `token_ids`, `segment_ids`, `padding_mask`: int32 `(sequences, length)`.
    """
    # In a shape that is a tensor, -1 leaves a size as it is.
    shape = None if length is None else tf.stack([-1, tf.cast(length, tf.int64)])
    dense = token_ids.to_tensor(default_value=padding, shape=shape)
    mask = tf.sequence_mask(token_ids.row_lengths(), tf.shape(dense)[1], dtype=tf.int32)
    is_second = tf.range(tf.shape(dense)[1])[None, :] >= second_starts[:, None]
    return {"token_ids": dense, "segment_ids": tf.cast(is_second, tf.int32) * mask, "padding_mask": mask}


def in_parts(
    model: Callable[[Mapping[str, tf.Tensor]], tf.Tensor],
    packed: Mapping[str, tf.Tensor],
    part_tokens: int = _PART_TOKENS,
) -> tf.Tensor:
    """Return what a model computes for packed sequences, part by part, so that memory does not grow with their number.

    Args:
        model: packed sequences to float32 `(sequences, ...)`.
        packed: `token_ids`, `segment_ids`, `padding_mask`: int32 `(sequences, length)`, at least one sequence.
        part_tokens: most tokens of a part, padding included; a part has at least one sequence.
    """
    num_sequences, length = tf.unstack(tf.shape(packed["token_ids"]))
    size = tf.maximum(1, part_tokens // length)
    num_parts = -(-num_sequences // size)
    parts = tf.TensorArray(tf.float32, num_parts, infer_shape=False)
    shapes = []

    def step(part: tf.Tensor, parts: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
        scores = model({name: values[part * size : (part + 1) * size] for name, values in packed.items()})
        shapes.append(scores.shape)
        return part + 1, parts.write(part, scores)

    _, parts = tf.while_loop(lambda part, _: part < num_parts, step, (0, parts), parallel_iterations=1)
    joined = parts.concat()
    joined.set_shape([None, *shapes[0][1:]])
    return joined


def in_halves(batch: Mapping[str, tf.Tensor]) -> tuple[list[dict[str, tf.Tensor]], tf.Tensor]:
    """Split a batch into its shorter and its longer sequences, each half only as wide as it needs, inside the graph.

    Args:
        batch: int32 `token_ids`, `segment_ids`, `padding_mask` `(sequences, length)`, and features `(sequences, ...)`.

    Returns:
        The halves, and the position of each sequence of the batch in the concatenated halves: int32 `(sequences,)`.
    """
    lengths = tf.reduce_sum(batch["padding_mask"], axis=1)
    order = tf.argsort(lengths, stable=True)
    middle = tf.shape(order)[0] // 2
    halves = []
    for rows in (order[:middle], order[middle:]):
        longest = tf.maximum(1, tf.reduce_max(tf.gather(lengths, rows)))
        width = tf.minimum(tf.shape(batch["token_ids"])[1], padded_length(longest))
        half = {name: tf.gather(values, rows) for name, values in batch.items()}
        halves.append(half | {name: half[name][:, :width] for name in INPUTS})
    return halves, tf.argsort(order, stable=True)


def padded_length(length):
    """Return the length to pad a training batch to; an integer or a tensor.

    The matrix units of a GPU need multiples of 8. On a CPU that would be a fifth more work for texts of 16 tokens.
    """
    multiple = 8 if _has_gpu() else 1
    return -(-length // multiple) * multiple


@functools.cache
def _has_gpu() -> bool:
    return bool(tf.config.list_physical_devices("GPU"))


def _kept(lengths: Sequence[tf.Tensor], room: int) -> list[tf.Tensor]:
    """Return the number of tokens that each segment keeps."""
    if len(lengths) == 1:
        return [tf.minimum(lengths[0], room)]
    second = tf.minimum(lengths[1], tf.maximum(room - lengths[0], room // 2))
    return [tf.minimum(lengths[0], room - second), second]


def _lengths(ragged: tf.RaggedTensor) -> tf.Tensor:
    return tf.cast(ragged.row_lengths(), tf.int32)


def _first(ragged: tf.RaggedTensor, count: tf.Tensor) -> tf.RaggedTensor:
    """Return the first `count` values of each row."""
    lengths = _lengths(ragged)
    position = tf.range(tf.size(ragged.flat_values)) - tf.repeat(tf.cast(ragged.row_starts(), tf.int32), lengths)
    return tf.RaggedTensor.from_row_lengths(ragged.flat_values[position < tf.repeat(count, lengths)], count)
