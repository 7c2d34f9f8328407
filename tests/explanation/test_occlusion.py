"""Occlusion: each contribution equals the loss of the value if the word's tokens are [MASK] before packing."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from support.untrained import untrained_run

from tfbert.explanation.explainer import Explainer
from tfbert.text.inputs import batch_of
from tfbert.text.preprocessor import Preprocessor
from tfbert.text.words import words_of

LONG = " ".join(["Please send the 3 invoices", "to Ada in London", "before the loan is due"] * 4)


class Masking(Preprocessor):
    """Masks the tokens of one word of one text."""

    def __init__(self, preprocessor, text, word):
        super().__init__(preprocessor.tokenizer, preprocessor.sequence_length, preprocessor.window_overlap_fraction)
        self.text, self.word = text, word

    def tokenize(self, texts, *, with_offsets=False):
        tokens = super().tokenize(texts, with_offsets=with_offsets)
        if texts.numpy()[0].decode() != self.text:
            return tokens
        is_masked = words_of(texts, self.tokenizer).of_tokens == self.word
        return replace(tokens, ids=tokens.ids.with_flat_values(tf.where(is_masked, 4, tokens.ids.flat_values)))


def value(run, item, preprocessor, target=None):
    """Return the explained value of an item, and what is explained."""
    inputs = batch_of([item], run.predictor.specs)
    sequences = run.task.sequences(inputs, preprocessor)
    scores = run.predictor.model(sequences.dense(), training=False)
    explained = run.task.explained
    target = target or explained.target(scores, sequences, tf.constant([-1]))
    rows = tf.range(scores.shape[0]) if target.sequences is None else target.sequences
    return explained.values(tf.gather(scores, rows), tf.zeros_like(rows), target).numpy()[0], target


@pytest.mark.parametrize(
    ("task", "values"),
    [
        ("classification", {}),
        ("classification", {"encoder__long_text": "mean"}),
        ("classification", {"encoder__long_text": "max"}),
        ("multilabel", {}),
        ("regression", {}),
        ("entities", {}),
    ],
)
def test_contributions_equal_those_of_masked_texts(task, values):
    run = untrained_run(task, **values)
    mask = run.predictor.tokenizer.special.mask
    assert mask == 4
    items = [{"text": LONG}, {"text": "my card"}]
    outputs = Explainer(run.predictor, run_eagerly=True)(items, method="occlusion")
    for index, item in enumerate(items):
        before, target = value(run, item, run.predictor.preprocessor)
        assert outputs["log_odds"][index] == pytest.approx(before, abs=1e-4)
        num_words = np.count_nonzero(outputs["start"][index] >= 0)
        for word in range(0, num_words, 11):
            after, _ = value(run, item, Masking(run.predictor.preprocessor, item["text"], word), target)
            assert outputs["contribution"][index, word] == pytest.approx(before - after, abs=1e-4)
    assert np.abs(outputs["contribution"]).max() > 1e-3


def test_an_entity_is_explained_at_one_word():
    run = untrained_run("entities")
    explainer = Explainer(run.predictor, run_eagerly=True)
    outputs = explainer([{"text": "Ada met Bob"}, {"text": ""}])
    assert outputs["explained_word"][0] in range(3) and outputs["explained_word"][1] == -1
    label = run.task.types[-1]
    given = explainer([{"text": "Ada met Bob"}], label)
    assert given["explained_label"].tolist() == [label.encode()]
    assert given["log_odds"][0] <= outputs["log_odds"][0] + 1e-5


def test_both_texts_of_a_pair_have_words():
    run = untrained_run("classification")
    pair = replace(run.task, has_pair=True)
    predictor = type(run.predictor)(pair, run.predictor.model, run.predictor.tokenizer, run.config)
    item = {"text": "my card, please", "text_pair": "the loan"}
    outputs = Explainer(predictor, run_eagerly=True)([item, {"text": "", "text_pair": "a"}])
    inputs = [name.decode() for name in outputs["input"][0]]
    assert inputs == ["text"] * 4 + ["text_pair"] * 2
    assert outputs["start"][0].tolist() == [0, 3, 7, 9, 0, 4]
    assert [word.decode() for word in outputs["word"][1]] == ["a"] + [""] * 5
    before, target = value(type(run)(run.config, predictor, {}, []), item, predictor.preprocessor)
    masked = Masking(predictor.preprocessor, "the loan", 1)
    after, _ = value(type(run)(run.config, predictor, {}, []), item, masked, target)
    assert outputs["contribution"][0, 5] == pytest.approx(before - after, abs=1e-4)
