"""Encoder output in, logits of tags for every token out; and from these the best legal tags and their spans, in graph.

Tag ids are those of `text.spans.tags_of_types`: 0 is O, an odd one begins an entity, and one more goes on with it.
"""

from dataclasses import dataclass

import tensorflow as tf

from tfbert.heads.tokens import TokenHead

# The log probability of what is illegal; sums of a few of them stay finite.
_NEVER = -1e9


class TagHead(TokenHead):
    """Say for every token how well each tag fits it.

    Source: Devlin et al. 2019, "BERT", section 5.3. It tags the first piece of every word, as ours does of every unit
        between borders (`text.borders`).
    """


def tag_losses(logits: tf.Tensor, targets: tf.Tensor, label_smoothing: float = 0.0) -> tf.Tensor:
    """Return the mean cross entropy of each row's tokens: float32 `(rows,)`, 0 for a row without any.

    Args:
        logits: float32 `(rows, length, tags)`.
        targets: int `(rows, length)`, -1 for what is not learned.
        label_smoothing: probability mass spread over all tags.
    """
    log_probabilities = tf.nn.log_softmax(logits)
    nll = -tf.gather(log_probabilities, tf.maximum(targets, 0), batch_dims=2)
    losses = (1 - label_smoothing) * nll - label_smoothing * tf.reduce_mean(log_probabilities, axis=-1)
    known = tf.cast(targets >= 0, tf.float32)
    return tf.reduce_sum(losses * known, axis=1) / tf.maximum(tf.reduce_sum(known, axis=1), 1.0)


def best_tags(log_probabilities: tf.Tensor, lengths: tf.Tensor, continues: tf.Tensor | None = None) -> tf.Tensor:
    """Return the tags of highest joint probability among all legal sequences, by Viterbi's algorithm.

    Legal is what marks spans without ambiguity: a tag that goes on with an entity follows one of the same entity.

    Args:
        log_probabilities: float32 `(batch, length, tags)`; what is behind the end of a row has no influence.
        lengths: int32 `(batch,)`, tokens of each row.
        continues: bool `(batch, length)`, tokens that go on with a word: no entity begins or ends before them.

    Returns:
        int32 `(batch, length)`; 0 behind the end of a row.

    Source: Viterbi 1967. No transition is learned. As the only rule is what may precede a tag that goes on, a step
        costs as much as there are tags, not their square.
    """
    batch, length, num_tags = tf.unstack(tf.shape(log_probabilities))
    inside = tf.sequence_mask(lengths, length)
    only_outside = tf.one_hot(tf.zeros([batch], tf.int32), num_tags, 0.0, _NEVER)
    # One more position for all, so that there is one even where no row has a token.
    emissions = tf.where(inside[:, :, None], log_probabilities, only_outside[:, None, :])
    emissions = tf.concat([emissions, only_outside[:, None, :]], axis=1)
    if continues is None:
        continues = tf.zeros_like(inside)
    held = tf.transpose(tf.pad(continues & inside, [[0, 0], [0, 1]]))  # (length + 1, batch)

    def step(state: tf.Tensor, at: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        emission, held = at
        best = tf.reduce_max(state, axis=1, keepdims=True)
        going_on = tf.reduce_max(_pairs(state), axis=2)
        outside = tf.where(held[:, None], state[:, :1], best)
        beginning = tf.where(held[:, None], _NEVER, tf.broadcast_to(best, tf.shape(going_on)))
        entities = tf.reshape(tf.stack([beginning, going_on], axis=2), [batch, num_tags - 1])
        state = tf.concat([outside, entities], axis=1) + emission
        # Only differences matter; without this, sums over a long text would lose the digits that decide.
        return state - tf.reduce_max(state, axis=1, keepdims=True)

    states = tf.scan(step, (tf.transpose(emissions, [1, 0, 2]), held), only_outside)  # (length + 1, batch, tags)
    # Where each tag of the next position comes from.
    from_any = tf.argmax(states, axis=2, output_type=tf.int32)
    begin_or_inside = tf.argmax(_pairs(states), axis=3, output_type=tf.int32)

    def step_back(tag: tf.Tensor, at: tuple[tf.Tensor, tf.Tensor, tf.Tensor]) -> tf.Tensor:
        from_any, begin_or_inside, held = at
        kind = tf.maximum(tag - 1, 0) // 2
        going_on = 2 * kind + 1 + tf.gather(begin_or_inside, kind, batch_dims=1)
        return tf.where((tag > 0) & (tag % 2 == 0), going_on, tf.where(held, 0, from_any))

    held_next = tf.concat([held[1:], held[:1] & False], axis=0)
    outside = tf.zeros([batch], tf.int32)
    back = tf.scan(step_back, (from_any, begin_or_inside, held_next), outside, reverse=True)
    return tf.transpose(back[:-1]) * tf.cast(inside, tf.int32)


@dataclass(frozen=True)
class TokenSpans:
    """Entities as spans of tokens, all texts of a batch end to end.

    Args:
        first: int32 `(spans,)`, first token.
        last: int32 `(spans,)`, last token, which is part of the entity.
        kind: int32 `(spans,)`, its type.
        probability: float32 `(spans,)`.
    """

    first: tf.Tensor
    last: tf.Tensor
    kind: tf.Tensor
    probability: tf.Tensor


def spans_of(tags: tf.Tensor, log_probability: tf.Tensor, counts: tf.Tensor | None = None) -> TokenSpans:
    """Return the entities that legal tags mark.

    Args:
        tags: int32 `(tokens,)`, of texts end to end.
        log_probability: float32 `(tokens,)`, of each token's tag. That of an entity is the mean over its tokens, so
            that its probability is their geometric mean.
        counts: bool `(tokens,)`, tokens that this mean is over, the first of each entity at least; `None` means all.
    """
    begins = tags % 2 == 1
    goes_on = tf.concat([(tags[1:] > 0) & (tags[1:] % 2 == 0), [False]], axis=0)[: tf.size(tags)]
    first, last = (tf.cast(tf.where(mask)[:, 0], tf.int32) for mask in (begins, (tags > 0) & ~goes_on))
    # A token of no entity adds nothing to the one before it; those before the first have index -1, which is left out.
    index = tf.cumsum(tf.cast(begins, tf.int32)) - 1
    taken = tf.cast(tags > 0 if counts is None else counts & (tags > 0), tf.float32)
    total = tf.math.unsorted_segment_sum(taken * log_probability, index, tf.size(first))
    mean = total / tf.math.unsorted_segment_sum(taken, index, tf.size(first))
    return TokenSpans(first, last, (tf.gather(tags, first) - 1) // 2, tf.exp(mean))


def _pairs(states: tf.Tensor) -> tf.Tensor:
    """Return `(..., tags)` as `(..., types, 2)`: beginning and going on of each type."""
    shape = tf.shape(states)
    return tf.reshape(states[..., 1:], tf.concat([shape[:-1], [shape[-1] // 2, 2]], axis=0))
