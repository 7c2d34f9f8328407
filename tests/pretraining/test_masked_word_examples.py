"""Examples of masked words for the report: the text around them, and the most probable predictions."""

import numpy as np
import pytest
import tensorflow as tf
from support import packed

from tfbert.pretraining.masked_word_examples import predict_examples

HELD_OUT = packed.batcher(30, seed=9)
SIZE = len(packed.VOCABULARY)


def model_of(*offsets, width=SIZE):
    """Return a model whose predictions are the targets plus each offset, the first with the highest probability."""

    def model(batch, training):
        assert training is False
        logits = sum((3.0 - rank) * tf.one_hot(batch["targets"] + offset, width) for rank, offset in enumerate(offsets))
        return {"masked_words": logits}

    return model


def to_words(text):
    return text.replace(" ##", "").split()


def test_the_most_probable_words_come_first_with_their_probabilities():
    examples = predict_examples(model_of(0, -1), HELD_OUT, packed.VOCABULARY, 32, count=5, num_best=2)
    assert len(examples) == 5
    probabilities = np.exp([3, 2]) / (np.exp(3) + np.exp(2) + SIZE - 2)
    for example in examples:
        target = packed.VOCABULARY.index(example["truth"])
        assert [guess["token"] for guess in example["guesses"]] == [example["truth"], packed.VOCABULARY[target - 1]]
        assert [guess["probability"] for guess in example["guesses"]] == pytest.approx(probabilities, rel=1e-5)


def test_the_text_around_a_word_is_that_of_its_sequence():
    (example, *_) = predict_examples(model_of(0), HELD_OUT, packed.VOCABULARY, 32, count=1)
    masked = HELD_OUT.batch(np.array([0]), 0, 32)["token_ids"][0]
    tokens = [packed.VOCABULARY[token_id] for token_id in masked]
    shown = to_words(f"{example['before']} [MASK] {example['after']}")
    # Up to 16 tokens before and after the word: the whole of a short sequence.
    assert len(tokens) <= 17
    assert shown == to_words(" ".join(tokens))
    assert shown[0] == "[CLS]" and shown[-1] == "[SEP]"


def test_examples_are_spread_over_all_sequences_and_never_repeated():
    few = packed.batcher(3, seed=1)
    examples = predict_examples(model_of(0), few, packed.VOCABULARY, 32, count=12)
    assert 1 <= len(examples) <= 3


def test_a_sequence_without_a_masked_word_gives_no_example():
    """Some words to predict are shown to the encoder; at this fraction a sequence has one."""
    batcher = packed.batcher(60, seed=2, pairs=False)
    batch = batcher.batch(np.arange(60), 0, 32)
    is_masked = (np.take_along_axis(batch["token_ids"], batch["positions"], 1) == packed.SPECIAL.mask) & (
        batch["weights"] > 0
    )
    num_expected = int(is_masked.any(axis=1).sum())
    assert num_expected < 60
    assert len(predict_examples(model_of(0), batcher, packed.VOCABULARY, 32, count=60)) == num_expected


def test_rows_of_the_embedding_without_a_token_are_left_out():
    model = model_of(SIZE, 0, width=2 * SIZE)
    examples = predict_examples(model, HELD_OUT, packed.VOCABULARY, 32, count=4, num_best=2)
    assert [[guess["token"] for guess in example["guesses"]] for example in examples] == [
        [example["truth"]] for example in examples
    ]


def test_ideographs_are_not_separated_by_spaces():
    vocabulary = [*packed.VOCABULARY[:5], *["中"] * (SIZE - 5)]
    (example, *_) = predict_examples(model_of(0), packed.batcher(1, pairs=False), vocabulary, 32)
    text = (example["before"] + example["after"]).replace("[CLS] ", "").replace(" [SEP]", "").replace("[MASK]", "")
    assert "中中" in text and "中 中" not in text
