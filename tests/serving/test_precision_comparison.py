"""Comparison with a model in lower precision: measured on the data of the run, and described in one line."""

import dataclasses

import numpy as np
import pytest
from support import small

from tfbert.config import override
from tfbert.serving import precision_comparison


@pytest.fixture(scope="module")
def predict(finished):
    return precision_comparison.sequence_predictor(finished.predictor)


def test_a_model_is_equal_to_itself(finished, predict):
    compared = precision_comparison.compare(finished, predict)
    assert (compared["split"], compared["num_rows"]) == ("test", 12)
    assert compared["outputs"]["label_id"] == {"equal_fraction": 1.0}
    for name in ("probability", "probabilities"):
        assert compared["outputs"][name] == {"largest_difference": 0.0, "mean_difference": 0.0}
    assert compared["float32"] == compared["narrow"] == finished.report["test"]["metrics"]["accuracy"]["value"]
    assert compared["metric"] == "accuracy"


def test_differences_are_measured_by_output(finished, predict):
    requests = []

    def narrow(inputs):
        """Change one probability of each sequence, and the label of every fourth sequence."""
        outputs = {name: value.copy() for name, value in predict(inputs).items()}
        outputs["probabilities"][:, 0] += 0.25
        outputs["label_id"] += len(requests) % 4 == 0
        requests.append(inputs)
        return outputs

    compared = precision_comparison.compare(finished, narrow)
    assert compared["outputs"]["label_id"] == {"equal_fraction": 0.75}
    difference = compared["outputs"]["probabilities"]
    assert difference["largest_difference"] == pytest.approx(0.25, abs=1e-6)
    # One of three probabilities is changed.
    assert difference["mean_difference"] == pytest.approx(0.25 / 3, abs=1e-6)


def test_string_outputs_are_left_out_and_sequences_are_padded(finished, predict):
    lengths = []

    def narrow(inputs):
        lengths.append({name: value.shape for name, value in inputs.items()})
        assert inputs["token_ids"].dtype == np.int32 and inputs["padding_mask"].sum() < inputs["padding_mask"].size
        return predict(inputs)

    compared = precision_comparison.compare(finished, narrow, length=40)
    assert lengths == [dict.fromkeys(("token_ids", "segment_ids", "padding_mask"), (1, 40))] * 12
    assert "label" not in compared["outputs"]
    # Padding only changes the order of sums.
    assert compared["outputs"]["probabilities"]["largest_difference"] < 1e-5


def test_the_description_is_one_line():
    compared = {
        "split": "validation",
        "num_rows": 9,
        "outputs": {"label_id": {"equal_fraction": 0.5}, "probability": {"largest_difference": 0.123}},
    }
    line = "on 9 sequences of validation, label_id equal in 50.0 %, probability off by at most 0.12"
    assert precision_comparison.describe(compared) == line
    scores = {"metric": "mcc", "float32": 0.5, "narrow": 0.25}
    assert precision_comparison.describe(compared | scores) == f"{line}, mcc 0.5000 in float32 and 0.2500 here"


def test_data_without_a_split_to_compare_on_are_rejected(finished, predict, tmp_path):
    small.write_data(tmp_path / "data", validation=0, test=0)
    values = {"data.path": str(tmp_path / "data"), "data.test_fraction": 0.0, "data.validation_fraction": 0.0}
    run = dataclasses.replace(finished, config=override(finished.config, values))
    with pytest.raises(ValueError, match="data: has neither a test nor a validation split to compare on"):
        precision_comparison.compare(run, predict)
