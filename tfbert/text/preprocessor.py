"""In-graph preprocessor, which packs texts into token sequences for training and serving alike.

A sequence is [CLS] first [SEP] or [CLS] first [SEP] second [SEP], truncated to the sequence length. Packing uses only
core TensorFlow operations, because most TensorFlow Serving releases lack the trimmer of tensorflow-text.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import tensorflow as tf

from tfbert.text.tokenizer import SpecialTokens, Tokenizer, Tokens

# Names of the tensors of a packed batch that the encoder reads.
INPUTS = ("token_ids", "segment_ids", "padding_mask")
# Maximum number of tokens in a micro-batch of windows, including padding: enough to keep all cores busy, and few enough
# that a text of any length fits into memory.
_MICRO_BATCH_TOKENS = 16384


@dataclass(frozen=True)
class Windows:
    """Overlapping windows of long token sequences.

    Args:
        token_ids: ragged int32 `(windows, None)`, the windows of each record in order.
        records: int32 `(windows,)`, the record of each window.
        starts: int32 `(windows,)`, the position in its record of the first token of each window.
        lengths: int32 `(records,)`, the number of tokens of each record.
    """

    token_ids: tf.RaggedTensor
    records: tf.Tensor
    starts: tf.Tensor
    lengths: tf.Tensor

    def values_of(self, token_values: tf.RaggedTensor) -> tf.RaggedTensor:
        """Return the values of the tokens in each window: ragged `(windows, None)`.

        Args:
            token_values: ragged `(records, None)`, one value per token of each record.
        """
        window = tf.cast(self.token_ids.value_rowids(), tf.int32)
        in_window = tf.range(tf.size(window)) - tf.gather(tf.cast(self.token_ids.row_starts(), tf.int32), window)
        record_starts = tf.gather(tf.cast(token_values.row_starts(), tf.int32), self.records)
        token = tf.gather(record_starts + self.starts, window) + in_window
        return self.token_ids.with_flat_values(tf.gather(token_values.flat_values, token))

    def merge(self, values: tf.Tensor) -> tf.RaggedTensor:
        """Average the values of each token over the windows that contain it.

        The weight of a window is 1 plus the number of tokens between the token and the nearer edge of the window,
        because the context beyond that edge is missing. Edges of the record itself do not count.

        Args:
            values: float32 `(tokens of all windows, channels)`, in the order of `token_ids.flat_values`.

        Returns:
            Ragged float32 `(records, None, channels)`, one value per token of each record.
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
    """The tokens of an input, before truncation.

    Args:
        ids: ragged int32 `(texts, None)`, without special tokens.
        records: int32 `(texts,)`, the record of each text, ascending; `None` if each record has exactly one text.
        starts: ragged int32 `(texts, None)`, the first character of each token; `None` if offsets were not requested.
        ends: ragged int32 `(texts, None)`, the exclusive end of each token; `None` likewise.
    """

    ids: tf.RaggedTensor
    records: tf.Tensor | None = None
    starts: tf.RaggedTensor | None = None
    ends: tf.RaggedTensor | None = None


@dataclass(frozen=True, kw_only=True)
class Sequences:
    """The token sequences of a batch of records, as the encoder reads them.

    Args:
        token_ids: ragged int32 `(sequences, None)`, including special tokens.
        second_starts: int32 `(sequences,)`, the position of the second segment; the length of the sequence if it has
            one segment.
        is_cut: bool `(sequences,)`, whether the sequence is truncated.
        padding: the id of [PAD].
        records: int32 `(sequences,)`, the record of each sequence, ascending; `None` if each record has exactly one.
        texts: input name to its tokens.
        windows: the windows of which the sequences consist; `None` if long texts are truncated.
        token_values: name to ragged values, one per token of a text, such as whether the token continues a word.
        features: feature name to its values `(sequences, ...)`. Features are numerical inputs of the head.
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
        """Return the inputs of a model: `INPUTS`, int32 `(sequences, length)`, and the features."""
        return dense_batch(self.token_ids, self.second_starts, self.padding) | dict(self.features)

    def scores(self, model: Callable[[Mapping[str, tf.Tensor]], tf.Tensor]) -> tf.Tensor:
        """Return the scores of the sequences; windows are split into micro-batches, which limits memory use.

        Args:
            model: function of the result of `dense` that returns float32 `(sequences, ...)`.
        """
        return model(self.dense()) if self.windows is None else call_in_micro_batches(model, self.dense())


class Preprocessor:
    """Converter of texts to token sequences.

    Args:
        tokenizer: the tokenizer of the encoder.
        sequence_length: the maximum length of a sequence in tokens, including special tokens.
        window_overlap_fraction: the minimum overlap of consecutive windows, as a fraction of the window.
    """

    def __init__(self, tokenizer: Tokenizer, sequence_length: int, window_overlap_fraction: float = 0.25):
        self.tokenizer = tokenizer
        self.sequence_length = sequence_length
        self.window_overlap_fraction = window_overlap_fraction

    @property
    def special(self) -> SpecialTokens:
        """The ids of the special tokens."""
        return self.tokenizer.special

    def max_text_tokens(self, num_segments: int) -> int:
        """Return the maximum number of tokens, excluding special tokens, in a sequence of one or two segments."""
        return self.sequence_length - 1 - num_segments

    def tokenize(self, texts: tf.Tensor, *, with_offsets: bool = False) -> TokenizedText:
        """Return the tokens of one text per record.

        Args:
            texts: string `(records,)`.
            with_offsets: whether to return the characters of each token.
        """
        if not with_offsets:
            return TokenizedText(self.tokenizer(texts))
        tokens: Tokens = self.tokenizer.with_offsets(texts)
        return TokenizedText(tokens.ids, None, tokens.starts, tokens.ends)

    def tokenize_many(self, texts: tf.Tensor, is_text: tf.Tensor) -> TokenizedText:
        """Return the tokens of several texts per record.

        Args:
            texts: string `(records, texts)`, padded.
            is_text: bool `(records, texts)`, false for padding.
        """
        records = tf.cast(tf.where(is_text)[:, 0], tf.int32)
        return TokenizedText(self.tokenizer(tf.boolean_mask(texts, is_text)), records)

    def pack(self, segments: Sequence[tf.RaggedTensor], **fields) -> Sequences:
        """Join one or two segments with special tokens, truncated to the sequence length.

        The longer of two segments is truncated first. If both have to be truncated, they keep the same number of
        tokens, or, if the total is odd, the longer one keeps one more; of equally long ones, the second.

        Source: `LongestFirst` of the library `tokenizers`, which transformers uses.

        Args:
            segments: one or two ragged int32 `(sequences, None)` without special tokens.
            **fields: further fields of `Sequences`.
        """
        lengths = [_lengths(segment) for segment in segments]
        kept_lengths = _kept_lengths(lengths, self.max_text_tokens(len(segments)))
        column = tf.ones([segments[0].nrows(), 1], tf.int32)
        columns = [column * self.special.start]
        for segment, kept_length in zip(segments, kept_lengths, strict=True):
            columns += [_truncated(segment, kept_length), column * self.special.end]
        is_cut = [length > kept_length for length, kept_length in zip(lengths, kept_lengths, strict=True)]
        return Sequences(
            token_ids=tf.concat(columns, axis=1),
            second_starts=kept_lengths[0] + 2,
            is_cut=is_cut[0] if len(is_cut) == 1 else is_cut[0] | is_cut[1],
            padding=self.special.padding,
            **fields,
        )

    def windows(
        self, token_ids: tf.RaggedTensor, window_tokens: int | tf.Tensor, overlap_fraction: float | None = None
    ) -> Windows:
        """Split texts into overlapping windows at regular distances; the last window ends with the text.

        Args:
            token_ids: ragged int32 `(records, None)` without special tokens.
            window_tokens: the number of tokens in a window, at least 1: an integer, or int32 `(records,)`.
            overlap_fraction: the minimum overlap of consecutive windows, as a fraction of the window; `None` means that
                of the preprocessor.
        """
        overlap_fraction = self.window_overlap_fraction if overlap_fraction is None else overlap_fraction
        lengths = _lengths(token_ids)
        window_tokens = tf.broadcast_to(window_tokens, tf.shape(lengths))
        overlap = tf.cast(tf.cast(window_tokens, tf.float64) * overlap_fraction, tf.int32)
        last = tf.maximum(0, -(-(lengths - window_tokens) // (window_tokens - overlap)))
        records = tf.repeat(tf.range(tf.shape(lengths)[0]), last + 1)
        index = tf.range(tf.shape(records)[0]) - tf.gather(tf.cumsum(last + 1, exclusive=True), records)
        last_starts = tf.gather(tf.maximum(0, lengths - window_tokens), records)
        starts = index * last_starts // tf.maximum(1, tf.gather(last, records))
        sizes = tf.gather(tf.minimum(lengths, window_tokens), records)
        flat_starts = tf.gather(tf.cast(token_ids.row_starts(), tf.int32), records) + starts
        positions = tf.ragged.range(flat_starts, flat_starts + sizes)
        ids = positions.with_flat_values(tf.gather(token_ids.flat_values, positions.flat_values))
        return Windows(ids, records, starts, lengths)

    def read_in_windows(self, name: str, text: TokenizedText) -> Sequences:
        """Return one sequence per window of the only text of each record.

        Args:
            name: the name of the input.
            text: the tokens of the input.
        """
        windows = self.windows(text.ids, self.max_text_tokens(1))
        packed = self.pack([windows.token_ids], records=windows.records, windows=windows)
        return replace(packed, texts={name: text})


def dense_batch(
    token_ids: tf.RaggedTensor, second_starts: tf.Tensor, padding: int, length: int | tf.Tensor | None = None
) -> dict[str, tf.Tensor]:
    """Return token sequences as padded inputs of the encoder.

    Args:
        token_ids: ragged int32 `(sequences, None)`, including special tokens.
        second_starts: int32 `(sequences,)`, the position of the second segment; the length of the sequence if it has
            one segment.
        padding: the id of [PAD].
        length: the number of tokens to pad to, at least that of the longest sequence; `None` means the longest
            sequence.

    Returns:
        `token_ids`, `segment_ids`, `padding_mask`: int32 `(sequences, length)`.
    """
    # If the shape is a tensor, -1 stands for the existing size.
    shape = None if length is None else tf.stack([-1, tf.cast(length, tf.int64)])
    dense = token_ids.to_tensor(default_value=padding, shape=shape)
    mask = tf.sequence_mask(token_ids.row_lengths(), tf.shape(dense)[1], dtype=tf.int32)
    is_second = tf.range(tf.shape(dense)[1])[None, :] >= second_starts[:, None]
    return {"token_ids": dense, "segment_ids": tf.cast(is_second, tf.int32) * mask, "padding_mask": mask}


def call_in_micro_batches(
    model: Callable[[Mapping[str, tf.Tensor]], tf.Tensor],
    packed: Mapping[str, tf.Tensor],
    max_tokens: int = _MICRO_BATCH_TOKENS,
) -> tf.Tensor:
    """Return the scores of packed sequences, computed in micro-batches so that memory does not grow with their number.

    Args:
        model: function of packed sequences that returns float32 `(sequences, ...)`.
        packed: `token_ids`, `segment_ids`, `padding_mask`: int32 `(sequences, length)`, at least one sequence.
        max_tokens: the maximum number of tokens in a micro-batch, including padding; a single sequence may exceed it.
    """
    num_sequences, length = tf.unstack(tf.shape(packed["token_ids"]))
    size = tf.maximum(1, max_tokens // length)
    num_batches = -(-num_sequences // size)
    results = tf.TensorArray(tf.float32, num_batches, infer_shape=False)
    shapes = []

    def step(index: tf.Tensor, results: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
        scores = model({name: values[index * size : (index + 1) * size] for name, values in packed.items()})
        shapes.append(scores.shape)
        return index + 1, results.write(index, scores)

    _, results = tf.while_loop(lambda index, _: index < num_batches, step, (0, results), parallel_iterations=1)
    scores = results.concat()
    scores.set_shape([None, *shapes[0][1:]])
    return scores


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
    """Return the length to which a batch is padded, given that of its longest sequence: an integer or a tensor.

    The matrix units of a GPU need multiples of 8. On a CPU, such padding would only add work.
    """
    multiple = 8 if _has_gpu() else 1
    return -(-length // multiple) * multiple


@functools.cache
def _has_gpu() -> bool:
    return bool(tf.config.list_physical_devices("GPU"))


def _kept_lengths(lengths: Sequence[tf.Tensor], max_tokens: int) -> list[tf.Tensor]:
    """Return the lengths of the truncated segments."""
    if len(lengths) == 1:
        return [tf.minimum(lengths[0], max_tokens)]
    first, second = lengths
    # Two long segments keep half of the tokens each; with an odd number, the longer one keeps one more.
    half = max_tokens // 2 + tf.where(first > second, max_tokens % 2, 0)
    first = tf.minimum(first, tf.maximum(max_tokens - second, half))
    return [first, tf.minimum(second, max_tokens - first)]


def _lengths(ragged: tf.RaggedTensor) -> tf.Tensor:
    return tf.cast(ragged.row_lengths(), tf.int32)


def _truncated(ragged: tf.RaggedTensor, kept_lengths: tf.Tensor) -> tf.RaggedTensor:
    """Return the first values of each row."""
    lengths = _lengths(ragged)
    position = tf.range(tf.size(ragged.flat_values)) - tf.repeat(tf.cast(ragged.row_starts(), tf.int32), lengths)
    is_kept = position < tf.repeat(kept_lengths, lengths)
    return tf.RaggedTensor.from_row_lengths(ragged.flat_values[is_kept], kept_lengths)
