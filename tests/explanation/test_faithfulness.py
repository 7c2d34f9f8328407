"""The deletion test, on a model that counts a word."""

import numpy as np
import pytest

from tfbert.explanation.explanations import Explanation, WordContribution
from tfbert.explanation.faithfulness import label_probabilities, measure_faithfulness

TEXT = "a b c d e f g h i good"


def explanation(text, best):
    words, position = [], 0
    for word in text.split():
        words.append(WordContribution(word, "text", position, position + len(word), float(word == best)))
        position += len(word) + 1
    return Explanation(label="1", log_odds=0.0, method="occlusion", words=tuple(words))


def predict(items):
    probability = np.array([0.9 if "good" in item["text"] else 0.1 for item in items])
    return {"probabilities": np.stack([1 - probability, probability], axis=1)}


def test_only_deleting_the_word_that_matters_lowers_the_probability():
    items = [{"text": TEXT}] * 100 + [{"text": "good"}]
    probabilities = label_probabilities(predict)
    right, wrong = (
        measure_faithfulness(items, [explanation(item["text"], best) for item in items], [1] * 101, probabilities)
        for best in ("good", "a")
    )
    assert right.num_texts == 100
    assert right.explained.comprehensiveness == pytest.approx(0.8) and right.explained.sufficiency == pytest.approx(0)
    # One, one, two and five of ten words are random: 0.225 of the texts lose the word on average.
    assert right.random.comprehensiveness == pytest.approx(0.225 * 0.8, abs=0.05)
    assert wrong.explained.comprehensiveness == pytest.approx(0) and wrong.random == right.random


def test_other_labels_and_texts_without_words():
    outputs = label_probabilities(predict)([{"text": "good"}, {"text": "a longer text"}], [0, 1])
    assert outputs == pytest.approx([0.1, 0.1])
    assert measure_faithfulness([{"text": ""}], [explanation("", "")], [1], None) is None
