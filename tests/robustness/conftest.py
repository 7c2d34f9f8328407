"""Fixture: a model that is a function, with predictions for labelled records."""

import numpy as np
import pytest

from tfbert.config import Config
from tfbert.serving.evaluate import LabelledPredictions
from tfbert.tasks.classification import ClassificationOptions, FittedClassification
from tfbert.text.records import Record

LABELS = ("card", "fee")


def classify(items):
    """Return `card` for texts with that word, the more probable the more often it occurs."""
    odds = np.asarray([item["text"].lower().split().count("card") * 2 - 1 for item in items], float)
    probability = 1 / (1 + np.exp(-odds))
    probabilities = np.stack([probability, 1 - probability], axis=1).astype(np.float32)
    label_id = probabilities.argmax(1)
    return {
        "label": np.asarray(LABELS, object)[label_id],
        "label_id": label_id,
        "probability": probabilities.max(1),
        "probabilities": probabilities,
    }


@pytest.fixture
def predictions():
    """Return a function from texts with labels to predictions, and the list of all texts that are predicted."""
    predicted = []

    def predict(items):
        predicted.extend(item["text"] for item in items)
        return classify(items)

    def make(pairs):
        records = [Record(text, label, f"test.csv:{line}") for line, (text, label) in enumerate(pairs, 2)]
        return LabelledPredictions(
            task=FittedClassification(options=ClassificationOptions(), has_pair=False, labels=LABELS),
            config=Config(),
            records=records,
            outputs=classify([{"text": record.text} for record in records]),
            gold=[LABELS.index(record.target) for record in records],
            decided={},
            predict=predict,
        )

    return make, predicted
