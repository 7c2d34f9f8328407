"""Tag head: tag logits for every token, their loss, Viterbi decoding, and the entities that tags mark.

Tag ids are those of `text.spans.tags_of_types`: 0 is O, an odd id begins an entity, and the next even id continues it.
"""

from dataclasses import dataclass

import tensorflow as tf

from tfbert.heads.tokens import TokenHead

# The log probability of illegal tags; sums of a few of them stay finite.
_NEVER = -1e9


class TagHead(TokenHead):
    """Dense layer that gives a logit per tag for every token.

    Source: Devlin et al. 2019, "BERT", section 5.3. It tags the first piece of every word; ours tags the first piece of
        every unit between borders (`text.borders`).
    """


def tag_losses(logits: tf.Tensor, tag_ids: tf.Tensor, label_smoothing: float = 0.0) -> tf.Tensor:
    """Return the mean cross entropy of each sequence's tokens: float32 `(sequences,)`, 0 if no token has a tag id.

    Args:
        logits: float32 `(sequences, length, tags)`.
        tag_ids: int `(sequences, length)`, -1 for a token that has no loss.
        label_smoothing: probability mass spread over all tags.
    """
    log_probabilities = tf.nn.log_softmax(logits)
    nll = -tf.gather(log_probabilities, tf.maximum(tag_ids, 0), batch_dims=2)
    losses = (1 - label_smoothing) * nll - label_smoothing * tf.reduce_mean(log_probabilities, axis=-1)
    weights = tf.cast(tag_ids >= 0, tf.float32)
    return tf.reduce_sum(losses * weights, axis=1) / tf.maximum(tf.reduce_sum(weights, axis=1), 1.0)


def best_tags(log_probabilities: tf.Tensor, lengths: tf.Tensor, continues: tf.Tensor | None = None) -> tf.Tensor:
    """Return the legal sequence of tags with the highest joint probability, by Viterbi's algorithm.

    A sequence is legal if it marks spans without ambiguity: a tag that continues an entity follows a tag of the same
    entity.

    Args:
        log_probabilities: float32 `(batch, length, tags)`; values after the end of a text have no influence.
        lengths: int32 `(batch,)`, the number of tokens of each text.
        continues: bool `(batch, length)`, tokens that continue a unit: no entity begins or ends before them. `None`
            means that no token does.

    Returns:
        int32 `(batch, length)`; 0 after the end of a text.

    Source: Viterbi 1967. No transition is learned. As the only rule is what may precede a continuing tag, the cost of
        a step grows with the number of tags, not with its square.
    """
    batch, length, num_tags = tf.unstack(tf.shape(log_probabilities))
    inside = tf.sequence_mask(lengths, length)
    only_outside = tf.one_hot(tf.zeros([batch], tf.int32), num_tags, 0.0, _NEVER)
    # One position is added to every text, so that even a batch without tokens has one.
    emissions = tf.where(inside[:, :, None], log_probabilities, only_outside[:, None, :])
    emissions = tf.concat([emissions, only_outside[:, None, :]], axis=1)
    if continues is None:
        continues = tf.zeros_like(inside)
    continues = tf.transpose(tf.pad(continues & inside, [[0, 0], [0, 1]]))  # (length + 1, batch)

    def step(state: tf.Tensor, position: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        emission, continues_unit = position
        best = tf.reduce_max(state, axis=1, keepdims=True)
        inside_entity = tf.reduce_max(_pairs(state), axis=2)
        outside = tf.where(continues_unit[:, None], state[:, :1], best)
        beginning = tf.where(continues_unit[:, None], _NEVER, tf.broadcast_to(best, tf.shape(inside_entity)))
        entities = tf.reshape(tf.stack([beginning, inside_entity], axis=2), [batch, num_tags - 1])
        state = tf.concat([outside, entities], axis=1) + emission
        # Only differences matter; without this, sums over a long text would lose the digits that decide.
        return state - tf.reduce_max(state, axis=1, keepdims=True)

    states = tf.scan(step, (tf.transpose(emissions, [1, 0, 2]), continues), only_outside)  # (length + 1, batch, tags)
    # The best predecessor of each tag of the next position.
    from_any = tf.argmax(states, axis=2, output_type=tf.int32)
    begin_or_inside = tf.argmax(_pairs(states), axis=3, output_type=tf.int32)

    def step_back(tag: tf.Tensor, position: tuple[tf.Tensor, tf.Tensor, tf.Tensor]) -> tf.Tensor:
        from_any, begin_or_inside, next_continues_unit = position
        type_id = tf.maximum(tag - 1, 0) // 2
        same_entity = 2 * type_id + 1 + tf.gather(begin_or_inside, type_id, batch_dims=1)
        return tf.where((tag > 0) & (tag % 2 == 0), same_entity, tf.where(next_continues_unit, 0, from_any))

    next_continues = tf.concat([continues[1:], continues[:1] & False], axis=0)
    outside = tf.zeros([batch], tf.int32)
    tags = tf.scan(step_back, (from_any, begin_or_inside, next_continues), outside, reverse=True)
    return tf.transpose(tags[:-1]) * tf.cast(inside, tf.int32)


@dataclass(frozen=True)
class TokenSpans:
    """Entities as spans of tokens, over the concatenated texts of a batch.

    Args:
        first: int32 `(spans,)`, the first token.
        last: int32 `(spans,)`, the last token, inclusive.
        type_id: int32 `(spans,)`.
        probability: float32 `(spans,)`.
    """

    first: tf.Tensor
    last: tf.Tensor
    type_id: tf.Tensor
    probability: tf.Tensor


def spans_of(tags: tf.Tensor, log_probability: tf.Tensor, counts: tf.Tensor | None = None) -> TokenSpans:
    """Return the entities that legal tags mark.

    Args:
        tags: int32 `(tokens,)`, of concatenated texts.
        log_probability: float32 `(tokens,)`, of each token's tag. That of an entity is the mean over its tokens, so
            that its probability is their geometric mean.
        counts: bool `(tokens,)`, the tokens that this mean is taken over, at least the first of each entity; `None`
            means all.
    """
    begins = tags % 2 == 1
    next_continues = tf.concat([(tags[1:] > 0) & (tags[1:] % 2 == 0), [False]], axis=0)[: tf.size(tags)]
    first, last = (tf.cast(tf.where(mask)[:, 0], tf.int32) for mask in (begins, (tags > 0) & ~next_continues))
    # A token outside adds nothing to the entity before it; tokens before the first entity have index -1 and are left
    # out of the sums.
    index = tf.cumsum(tf.cast(begins, tf.int32)) - 1
    weight = tf.cast(tags > 0 if counts is None else counts & (tags > 0), tf.float32)
    total = tf.math.unsorted_segment_sum(weight * log_probability, index, tf.size(first))
    mean = total / tf.math.unsorted_segment_sum(weight, index, tf.size(first))
    return TokenSpans(first, last, (tf.gather(tags, first) - 1) // 2, tf.exp(mean))


def _pairs(states: tf.Tensor) -> tf.Tensor:
    """Return `(..., tags)` as `(..., types, 2)`: the beginning and the continuing tag of each type."""
    shape = tf.shape(states)
    return tf.reshape(states[..., 1:], tf.concat([shape[:-1], [shape[-1] // 2, 2]], axis=0))
