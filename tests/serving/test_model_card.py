"""The model card: data, scores with intervals, warnings, and what narrower matrices change."""

import pytest

from tfbert.serving.card import model_card

REPORT = {
    "task": "classification",
    "seed": 5,
    "encoder": {"name": "minilm"},
    "config": {"encoder": {"sequence_length": 128}},
    "data": {
        "train": {"path": "data/train.csv", "num_examples": 12345, "sha256": "a" * 64},
        "test": {"path": "data/test.csv", "num_examples": 67, "sha256": "b" * 64},
    },
    "checks": {"warnings": ["8 texts of test are also in train", "2 labels look alike"]},
    "validation": {"metrics": {"accuracy": {"value": 0.87654, "low": 0.81, "high": 0.93}}},
    "test": {"metrics": {"mcc": {"value": 0.5, "low": 0.25, "high": 0.75}}},
    "versions": {"tensorflow": "2.21.0", "keras": "3.15.1"},
}
COMPARED = {
    "num_rows": 8,
    "split": "test",
    "outputs": {"label_id": {"equal_fraction": 0.875}, "probability": {"largest_difference": 0.0123}},
    "metric": "accuracy",
    "float32": 0.9,
    "narrow": 0.85,
}


def card(report=REPORT, compared=None):
    return model_card(report, "the class of a text", ["text", "text_pair"], ["serving_default", "labels"], compared)


def test_it_says_what_the_model_is_for():
    text = card()
    assert text.startswith("# Model card\n\nThe class of a text; task `classification`, fine-tuned with tfbert from")
    assert "Inputs: `text`, `text_pair`, strings." in text and "reads 128 tokens at once" in text
    assert "Signatures: `serving_default`, `labels`." in text
    assert "tensorflow 2.21.0, keras 3.15.1; seed 5." in text


def test_data_and_scores_are_tables():
    lines = card().splitlines()
    assert "| train | data/train.csv | 12,345 | `aaaaaaaaaaaaaaaa` |" in lines
    assert "| test | data/test.csv | 67 | `bbbbbbbbbbbbbbbb` |" in lines
    assert "| validation | accuracy | 0.8765 | 0.8100 to 0.9300 |" in lines
    assert "| test | mcc | 0.5000 | 0.2500 to 0.7500 |" in lines


def test_warnings_of_the_data_checks_are_listed():
    assert "- 8 texts of test are also in train\n- 2 labels look alike\n" in card()
    text = card(REPORT | {"checks": {"warnings": []}})
    assert "## What the data checks warned of\n- none\n" in text


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_split_that_is_not_there_has_no_scores(split):
    assert f"| {split} | " not in card(REPORT | {split: None}).partition("## Scores")[2]


def test_narrower_matrices_say_what_they_change():
    assert "bfloat16" not in card()
    text = card(compared=COMPARED)
    assert "The scores are those of float32. Here the encoder's matrices are bfloat16" in text
    assert "on 8 rows of test, label_id equal in 87.5 %, probability off by 0.012 at most" in text
    assert "accuracy 0.9000 in float32 and 0.8500 here" in text
