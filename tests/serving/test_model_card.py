"""The model card: use, data, scores with intervals, warnings, and the effect of bfloat16 matrices."""

import pytest

from tfbert.serving.model_card import model_card
from tfbert.tasks.classification import ClassificationOptions, FittedClassification

TASK = FittedClassification(options=ClassificationOptions(), has_pair=True, labels=("a", "b"))

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
    return model_card(report, TASK, ["serving_default", "labels"], compared)


def test_the_use_of_the_model_is_described():
    text = card()
    assert text.startswith(
        "# Model card\n\nOne label per text or pair of texts; task `classification`, fine-tuned with tfbert from"
    )
    assert "Inputs: `text` (text), `text_pair` (text)." in text and "reads up to 128 tokens at a time" in text
    assert "Signatures: `serving_default`, `labels`." in text
    assert "tensorflow 2.21.0, keras 3.15.1; seed 5." in text


def test_training_examples_in_the_model_are_counted():
    def note(number, signatures=("explain", "serving_default")):
        return model_card(REPORT, TASK, list(signatures), num_evidence=number)

    assert "the most similar of 1,234 training examples, whose texts it contains" in note(1234)
    assert "training examples, whose" not in note(0) + note(0, ["serving_default"]) and "`explain` returns" in note(0)


def test_an_imported_model_has_no_data_and_no_scores():
    report = REPORT | {"converted_from": "hf://a/b", "data": {}, "checks": {"warnings": []}}
    text = card({name: value for name, value in report.items() if name not in ("seed", "validation", "test")})
    assert "converted by tfbert from the Hugging Face model `hf://a/b`, with its weights." in text
    assert "## Data\nunknown\n" in text and "Not measured; `tfbert evaluate` measures them." in text
    assert "keras 3.15.1.\n" in text and "| split |" not in text


def test_every_output_is_listed_with_type_and_role():
    lines = card().splitlines()
    assert len(TASK.outputs) > 3
    for output in TASK.outputs:
        dtype = f"{output.dtype}, a list" if output.is_list else output.dtype
        assert f"| `{output.name}` | {dtype} | {output.role} | {output.description} |" in lines


def test_data_and_scores_are_tables():
    lines = card().splitlines()
    assert "| train | data/train.csv | 12,345 | `aaaaaaaaaaaaaaaa` |" in lines
    assert "| test | data/test.csv | 67 | `bbbbbbbbbbbbbbbb` |" in lines
    assert "| validation | accuracy | 0.8765 | 0.8100 to 0.9300 |" in lines
    assert "| test | mcc | 0.5000 | 0.2500 to 0.7500 |" in lines


def test_warnings_of_the_data_checks_are_listed():
    assert "- 8 texts of test are also in train\n- 2 labels look alike\n" in card()
    text = card(REPORT | {"checks": {"warnings": []}})
    assert "## Data warnings\n- none\n" in text


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_missing_split_has_no_scores(split):
    assert f"| {split} | " not in card(REPORT | {split: None}).partition("## Scores")[2]


def test_the_effect_of_bfloat16_matrices_is_stated():
    assert "bfloat16" not in card()
    text = card(compared=COMPARED)
    assert "The scores were measured in float32. In this SavedModel the encoder's weight matrices are bfloat16" in text
    assert "on 8 sequences of test, label_id equal in 87.5 %, probability off by at most 0.012" in text
    assert "accuracy 0.9000 in float32 and 0.8500 here" in text
