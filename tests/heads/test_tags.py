"""The loss of tags, Viterbi decoding compared with all legal sequences, and the spans that tags mark."""

import itertools

import numpy as np
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfbert.heads.tags import best_tags, spans_of, tag_losses
from tfbert.text.spans import Span, spans_of_tags, tags_of_types

REPEATABLE = settings(deadline=None, derandomize=True, max_examples=60)
NUM_TAGS = 5  # of two types
SIGNATURE = [tf.TensorSpec([None, None, None]), tf.TensorSpec([None], tf.int32)]
decode = tf.function(best_tags, input_signature=SIGNATURE, autograph=False)
decode_words = tf.function(
    best_tags, input_signature=[*SIGNATURE, tf.TensorSpec([None, None], tf.bool)], autograph=False
)


def log_probabilities(*shape, seed=0, scale=2.0):
    logits = np.random.default_rng(seed).normal(0, scale, (*shape, NUM_TAGS)).astype(np.float32)
    return tf.nn.log_softmax(logits).numpy()


def is_legal(tags, continues):
    """Return whether a sequence of tag ids is legal according to the definition."""
    previous = 0
    for tag, continues_word in zip(tags, continues, strict=True):
        continues_entity = tag > 0 and tag % 2 == 0
        if continues_entity and previous not in (tag, tag - 1):
            return False
        # No entity begins or ends inside a word.
        if continues_word and not continues_entity and (tag != 0 or previous != 0):
            return False
        previous = tag
    return True


def test_the_loss_is_the_mean_over_tokens_with_tags():
    scores = log_probabilities(3, 4)
    targets = np.array([[-1, 0, 3, -1], [-1, 2, -1, -1], [-1, -1, -1, -1]])
    expected = [-(scores[0, 1, 0] + scores[0, 2, 3]) / 2, -scores[1, 1, 2], 0]
    np.testing.assert_allclose(tag_losses(tf.constant(scores), tf.constant(targets)), expected, rtol=1e-5)
    smoothed = [-(scores[0, 1].mean() + scores[0, 2].mean()) / 2, -scores[1, 1].mean(), 0]
    combined = 0.9 * np.array(expected) + 0.1 * np.array(smoothed)
    np.testing.assert_allclose(tag_losses(tf.constant(scores), tf.constant(targets), 0.1), combined, rtol=1e-5)


@given(st.integers(0, 10_000), st.lists(st.tuples(st.integers(0, 5), st.lists(st.booleans(), min_size=5, max_size=5))))
@REPEATABLE
def test_decoding_finds_the_best_legal_sequence(seed, texts):
    # At most 5 tokens with 5 tags: 3125 sequences, which can all be tried.
    scores = log_probabilities(len(texts), 5, seed=seed)
    lengths = np.array([length for length, _ in texts], np.int32)
    continues = np.array([flags for _, flags in texts], bool).reshape(-1, 5)
    continues[:, 0] = False  # no text begins inside a word
    decoded = decode_words(scores, lengths, continues).numpy()
    assert decoded.shape == (len(texts), 5)
    for text, length in enumerate(lengths):
        legal = [t for t in itertools.product(range(NUM_TAGS), repeat=length) if is_legal(t, continues[text, :length])]
        best = max(legal, key=lambda tags: sum(scores[text, i, tag] for i, tag in enumerate(tags)))
        assert decoded[text].tolist() == [*best, *[0] * (5 - length)]


def test_the_best_tag_of_each_token_is_chosen_if_that_is_legal():
    tags = np.array([[0, 1, 2, 2, 1, 3, 4, 0], [3, 4, 4, 3, 3, 0, 0, 1]])
    scores = np.log(np.where(np.arange(NUM_TAGS) == tags[..., None], 0.8, 0.05)).astype(np.float32)
    assert decode(tf.constant(scores), tf.constant([8, 8])).numpy().tolist() == tags.tolist()


def test_an_illegal_tag_is_resolved_by_the_probability_of_the_whole_sequence():
    def scores_of(*probabilities):
        return tf.constant(np.log([probabilities]), tf.float32)

    first = [0.6, 0.3, 0.05, 0.03, 0.02]  # O, but maybe B-a
    uncertain, confident = [0.3, 0.1, 0.5, 0.05, 0.05], [0.01, 0.01, 0.96, 0.01, 0.01]  # I-a
    assert decode(scores_of(first, uncertain), tf.constant([2])).numpy().tolist() == [[0, 0]]
    assert decode(scores_of(first, confident), tf.constant([2])).numpy().tolist() == [[1, 2]]
    assert decode(scores_of(confident), tf.constant([1])).numpy().tolist() == [[0]]


def test_sequences_do_not_depend_on_padding_and_batch():
    scores, lengths = log_probabilities(3, 6), [6, 2, 0]
    batch = decode(tf.constant(scores), tf.constant(lengths)).numpy()
    for text, length in enumerate(lengths):
        alone = decode(tf.constant(scores[text : text + 1, :length]), tf.constant([length])).numpy()
        assert batch[text, :length].tolist() == alone[0].tolist()
        assert not batch[text, length:].any()
    # Values after the end have no influence, not even NaN.
    filled = np.where(np.arange(6)[None, :, None] < np.array(lengths)[:, None, None], scores, np.nan)
    np.testing.assert_array_equal(decode(tf.constant(filled, tf.float32), tf.constant(lengths)), batch)


def test_texts_without_tokens_and_batches_without_texts():
    no_tokens = tf.zeros([2, 0, NUM_TAGS])
    assert decode(no_tokens, tf.constant([0, 0])).shape == (2, 0)
    assert decode(tf.zeros([0, 3, NUM_TAGS]), tf.zeros([0], tf.int32)).shape == (0, 3)


def test_a_long_text_keeps_its_precision():
    # Sums of 10,000 log probabilities are near -50,000, where float32 has steps of 0.004; here 0.001 is decisive.
    scores = np.full((1, 10_000, 3), -6.0, np.float32)
    scores[0, :, 0] = -5.0
    scores[0, -2:, 1:] = [[-4.9995, -9.0], [-9.0, -4.9995]]
    tags = decode(tf.constant(scores), tf.constant([10_000])).numpy()
    assert tags[0, -2:].tolist() == [1, 2] and not tags[0, :-2].any()


@given(st.integers(0, 10_000), st.integers(1, 30))
@REPEATABLE
def test_spans_of_decoded_tags_equal_those_of_tag_names(seed, length):
    scores = log_probabilities(1, length, seed=seed)
    tags = decode(tf.constant(scores), tf.constant([length])).numpy()[0]
    tag_scores = scores[0, np.arange(length), tags]
    entities = spans_of(tf.constant(tags), tf.constant(tag_scores))
    names = np.array(tags_of_types("ab"))
    expected = spans_of_tags(names[tags].tolist(), "iob2")
    spans = zip(entities.first.numpy(), entities.last.numpy() + 1, np.array(["a", "b"])[entities.type_id], strict=True)
    assert [Span(*span) for span in spans] == expected
    means = [np.exp(tag_scores[span.start : span.end].mean()) for span in expected]
    np.testing.assert_allclose(entities.probability, means, rtol=1e-5)


def test_spans_of_concatenated_texts():
    tags = tf.constant([1, 2, 2, 1, 0, 3, 4])  # [1 2 2] ends its text; the next begins with an entity of the same type
    log_probability = tf.math.log([0.9, 0.4, 0.6, 0.5, 0.1, 0.8, 0.2])
    entities = spans_of(tags, log_probability)
    assert (entities.first.numpy().tolist(), entities.last.numpy().tolist()) == ([0, 3, 5], [2, 3, 6])
    assert entities.type_id.numpy().tolist() == [0, 0, 1]
    np.testing.assert_allclose(entities.probability, [0.216 ** (1 / 3), 0.5, 0.4], rtol=1e-5)
    counts = tf.constant([True, False, True, True, True, True, False])
    partial = spans_of(tags, log_probability, counts)
    np.testing.assert_allclose(partial.probability, [0.54 ** (1 / 2), 0.5, 0.8], rtol=1e-5)
    empty = spans_of(tf.zeros([0], tf.int32), tf.zeros([0]))
    assert empty.first.shape == empty.probability.shape == (0,)
