"""Span head: start and end logits for every token, and the search for the best spans of whole records."""

from dataclasses import dataclass

import tensorflow as tf

from tfbert.heads.tokens import TokenHead
from tfbert.text.preprocessor import Windows

# The logit of impossible spans: lower than any real logit, while sums of two and differences stay finite.
NEVER = -1e9


class SpanHead(TokenHead):
    """Dense layer that gives two logits per token: that a span begins there, and that a span ends there.

    Args:
        **kwargs: arguments of `TokenHead` except `num_logits`.

    Source: Devlin et al. 2019, "BERT", section 4.2.
    """

    def __init__(self, **kwargs):
        super().__init__(2, **kwargs)


@dataclass(frozen=True)
class Spans:
    """The best spans of each record, best first.

    Args:
        first: int32 `(records, num_spans)`, the position of the span's first token in its record; 0 if there is no
            span.
        last: int32 `(records, num_spans)`, the position of the span's last token, inclusive.
        exists: bool `(records, num_spans)`, false after the last span of a record with fewer spans.
        probability: float32 `(records, num_spans)`, 0 if there is no span.
        null_probability: float32 `(records,)`, the probability that no span is right.
        null_margin: float32 `(records,)`, the logit of no span minus that of the best span; very high if there is no
            span.
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
    max_tokens: int,
    num_spans: int,
) -> Spans:
    """Return the best spans of whole records, from the logits of their windows.

    The logit of a span is the sum of those of its first and last token, the highest sum if several windows contain it.
    The logit of no span is the lowest sum of the first token's logits ([CLS]) over the record's windows: one window
    with an answer is enough. Probabilities are a softmax over all possible spans of the record and no span.

    The computation stores `max_tokens` numbers per token, independent of the length of the record.

    Args:
        logits: float32 `(windows, length, 2)`.
        windows: the windows of all records. If they overlap by `max_tokens - 1` tokens or more, the result depends on
            their positions only to the extent that the encoder's output does.
        offsets: int32 `(windows,)`, the position of each window's first token in its sequence.
        bounds: two tensors, bool `(tokens of all records,)`: whether a span may begin, and whether it may end, at a
            token.
        max_tokens: the maximum length of a span, 1 or more.
        num_spans: the number of spans to return per record.

    Source: `write_predictions` of google-research/bert `run_squad.py`, for version 2. It considers only the 20
        best first and last tokens of each window, and its softmax is over the 20 best spans. Ours considers all spans,
        so that none is missed and a probability does not depend on how many spans are returned.
    """
    begins = tf.cumsum(windows.lengths, exclusive=True)
    scores = _span_logits(logits, windows, offsets, bounds, max_tokens)  # (tokens, max_tokens)
    cls_logits = tf.reduce_sum(logits[:, 0, :], axis=1)
    null = tf.math.segment_min(cls_logits, windows.records)
    width = min(num_spans, max_tokens)
    best, step = tf.math.top_k(scores, k=width)
    by_record = tf.RaggedTensor.from_row_lengths(best, windows.lengths, validate=False).to_tensor(NEVER)
    flat = tf.reshape(by_record, [tf.shape(null)[0], tf.shape(by_record)[1] * width])
    value, index = tf.math.top_k(tf.pad(flat, [[0, 0], [0, num_spans]], constant_values=NEVER), k=num_spans)
    exists = value > NEVER / 2
    first = tf.where(exists, index // width, 0)
    # One value is added, so that the gather below has an input even if no record has a token.
    steps = tf.concat([tf.reshape(step, [-1]), [0]], axis=0)
    chosen = tf.where(exists, (begins[:, None] + first) * width + index % width, 0)
    last = tf.where(exists, first + tf.gather(steps, chosen), 0)
    peak = tf.maximum(value[:, 0], null)
    record = tf.repeat(tf.range(tf.shape(null)[0]), windows.lengths)
    by_token = tf.reduce_sum(tf.exp(scores - tf.gather(peak, record)[:, None]), axis=1)
    total = tf.math.unsorted_segment_sum(by_token, record, tf.shape(null)[0]) + tf.exp(null - peak)
    return Spans(
        first=first,
        last=last,
        exists=exists,
        probability=tf.where(exists, tf.exp(value - peak[:, None]) / total[:, None], 0.0),
        null_probability=tf.exp(null - peak) / total,
        null_margin=null - value[:, 0],
    )


def _span_logits(
    logits: tf.Tensor, windows: Windows, offsets: tf.Tensor, bounds: tuple[tf.Tensor, tf.Tensor], max_tokens: int
) -> tf.Tensor:
    """Return the logits of the spans of 1 to `max_tokens` tokens that begin at each token: `(tokens, max_tokens)`."""
    tokens = windows.token_ids
    num_window_tokens = tf.size(tokens.flat_values)
    window = tf.cast(tokens.value_rowids(), tf.int32)
    in_window = tf.range(num_window_tokens) - tf.gather(tf.cast(tokens.row_starts(), tf.int32), window)
    position = window * tf.shape(logits)[1] + tf.gather(offsets, window) + in_window
    by_token = tf.gather(tf.reshape(logits, [-1, 2]), position)  # (tokens of all windows, 2)
    steps = tf.range(max_tokens)
    # After the end of the window these are positions of other tokens, which `fits` excludes.
    ahead = tf.minimum(tf.range(num_window_tokens)[:, None] + steps, num_window_tokens - 1)
    fits = steps < (tf.gather(tf.cast(tokens.row_lengths(), tf.int32), window) - in_window)[:, None]
    sums = tf.where(fits, by_token[:, :1] + tf.gather(by_token[:, 1], ahead), NEVER)
    num_tokens = tf.reduce_sum(windows.lengths)
    begins = tf.cumsum(windows.lengths, exclusive=True)
    token = tf.gather(begins, tf.gather(windows.records, window)) + tf.gather(windows.starts, window) + in_window
    merged = tf.math.unsorted_segment_max(sums, token, num_tokens)
    may_begin, may_end = bounds
    ahead = tf.minimum(tf.range(num_tokens)[:, None] + steps, num_tokens - 1)
    return tf.where(may_begin[:, None] & tf.gather(may_end, ahead), tf.maximum(merged, NEVER), NEVER)
