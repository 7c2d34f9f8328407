"""Encoder output in, two logits a token out, and from these the best spans of whole documents, inside the graph."""

from dataclasses import dataclass

import tensorflow as tf

from tfbert.heads.tokens import TokenHead
from tfbert.text.packing import Windows

# The logit of what cannot be. Lower than any real one, and such that sums of two and differences stay finite.
NEVER = -1e9


class SpanHead(TokenHead):
    """Say for every token how well a span begins and ends there, by one dense layer.

    Args:
        dropout: on the encoder's output in training.
        seed: of the dense layer's initial weights and of dropout.
        **kwargs: of `keras.layers.Layer`. The head always computes in float32.

    Source: Devlin et al. 2019, "BERT", section 4.2.
    """

    def __init__(self, **kwargs):
        super().__init__(2, **kwargs)


@dataclass(frozen=True)
class Spans:
    """The best spans of each record, best first.

    Args:
        first: int32 `(records, count)`, first token of each in its record; 0 where there is none.
        last: likewise the last token, which is part of the span.
        exists: bool `(records, count)`, false behind the last span of a record that has fewer.
        probability: float32 `(records, count)`, 0 where there is none.
        null_probability: float32 `(records,)`, of no span at all.
        null_margin: float32 `(records,)`, logit of no span less that of the best; very high where there is no span.
    """

    first: tf.Tensor
    last: tf.Tensor
    exists: tf.Tensor
    probability: tf.Tensor
    null_probability: tf.Tensor
    null_margin: tf.Tensor


def best_spans(
    logits: tf.Tensor,
    windows: Windows,
    offsets: tf.Tensor,
    bounds: tuple[tf.Tensor, tf.Tensor],
    *,
    longest: int,
    count: int,
) -> Spans:
    """Find the spans of whole records by the logits of their windows.

    A span's logit is the sum of those of its first and last token; where several windows hold it, the highest counts.
    No span at all has the lowest sum of the first token's logits ([CLS]) over the record's windows: one window that
    has found something is enough. Probabilities are a softmax over all possible spans of the record and no span.

    Memory is `longest` numbers a token, whatever the length of the record.

    Args:
        logits: float32 `(windows, length, 2)`.
        windows: of all records. Where windows overlap by `longest - 1` tokens or more, the result does not depend on
            where they fall, but for what the encoder makes of it.
        offsets: int32 `(windows,)`, where in its row each window's first token is.
        bounds: bool `(tokens of all records,)` each: whether a span may begin, and whether it may end, at a token.
        longest: tokens of a span, 1 or more.
        count: spans wanted a record.

    Source: `write_predictions` of google-research/bert `run_squad.py`, for version 2. It takes only the 20 best first
        and last tokens of each window and a softmax over the 20 best spans; ours looks at all spans and can therefore
        neither miss one nor state a probability that depends on how many are wanted.
    """
    begin = tf.cumsum(windows.lengths, exclusive=True)
    scores = _span_logits(logits, windows, offsets, bounds, begin, longest)  # (tokens, longest)
    each_window = tf.reduce_sum(logits[:, 0, :], axis=1)
    null = tf.math.segment_min(each_window, windows.records)
    best, step = tf.math.top_k(scores, k=min(count, longest))
    width = min(count, longest)
    by_record = tf.RaggedTensor.from_row_lengths(best, windows.lengths, validate=False).to_tensor(NEVER)
    flat = tf.reshape(by_record, [tf.shape(null)[0], tf.shape(by_record)[1] * width])
    value, index = tf.math.top_k(tf.pad(flat, [[0, 0], [0, count]], constant_values=NEVER), k=count)
    exists = value > NEVER / 2
    first = tf.where(exists, index // width, 0)
    # One more at the end, so that there is something to point at even if no record has a token.
    steps = tf.concat([tf.reshape(step, [-1]), [0]], axis=0)
    chosen = tf.where(exists, (begin[:, None] + first) * width + index % width, 0)
    last = tf.where(exists, first + tf.gather(steps, chosen), 0)
    peak = tf.maximum(value[:, 0], null)
    record = tf.repeat(tf.range(tf.shape(null)[0]), windows.lengths)
    of_token = tf.reduce_sum(tf.exp(scores - tf.gather(peak, record)[:, None]), axis=1)
    total = tf.math.unsorted_segment_sum(of_token, record, tf.shape(null)[0]) + tf.exp(null - peak)
    return Spans(
        first=first,
        last=last,
        exists=exists,
        probability=tf.where(exists, tf.exp(value - peak[:, None]) / total[:, None], 0.0),
        null_probability=tf.exp(null - peak) / total,
        null_margin=null - value[:, 0],
    )


def _span_logits(
    logits: tf.Tensor,
    windows: Windows,
    offsets: tf.Tensor,
    bounds: tuple[tf.Tensor, tf.Tensor],
    begin: tf.Tensor,
    longest: int,
) -> tf.Tensor:
    """Return the logit of the span from each token of all records over 1 to `longest` tokens: `(tokens, longest)`."""
    tokens = windows.token_ids
    count = tf.size(tokens.flat_values)
    window = tf.cast(tokens.value_rowids(), tf.int32)
    within = tf.range(count) - tf.gather(tf.cast(tokens.row_starts(), tf.int32), window)
    position = window * tf.shape(logits)[1] + tf.gather(offsets, window) + within
    at_token = tf.gather(tf.reshape(logits, [-1, 2]), position)  # (tokens of all windows, 2)
    steps = tf.range(longest)
    # Beyond the end of the window these point at something else, which `fits` leaves out.
    ahead = tf.minimum(tf.range(count)[:, None] + steps, count - 1)
    fits = steps < (tf.gather(tf.cast(tokens.row_lengths(), tf.int32), window) - within)[:, None]
    sums = tf.where(fits, at_token[:, :1] + tf.gather(at_token[:, 1], ahead), NEVER)
    total = tf.reduce_sum(windows.lengths)
    in_all = tf.gather(begin, tf.gather(windows.records, window)) + tf.gather(windows.starts, window) + within
    merged = tf.math.unsorted_segment_max(sums, in_all, total)
    may_begin, may_end = bounds
    ahead = tf.minimum(tf.range(total)[:, None] + steps, total - 1)
    return tf.where(may_begin[:, None] & tf.gather(may_end, ahead), tf.maximum(merged, NEVER), NEVER)
