"""What a narrower model answers differently: measured on the run's own data, and said in a line."""

import dataclasses

import numpy as np
import pytest
from support import small

from tfbert.config import override
from tfbert.serving import fidelity


@pytest.fixture(scope="module")
def ask(finished):
    return fidelity.by_rows(finished.answering)


def test_a_model_is_equal_to_itself(finished, ask):
    compared = fidelity.compare(finished, ask)
    assert (compared["split"], compared["num_rows"]) == ("test", 12)
    assert compared["outputs"]["label_id"] == {"equal_fraction": 1.0}
    for name in ("probability", "probabilities"):
        assert compared["outputs"][name] == {"largest_difference": 0.0, "mean_difference": 0.0}
    assert compared["float32"] == compared["narrow"] == finished.report["test"]["metrics"]["accuracy"]["value"]
    assert compared["metric"] == "accuracy"


def test_differences_are_measured_by_output(finished, ask):
    asked = []

    def narrow(row):
        """Move one probability of each row, and the label of every fourth row."""
        answers = {name: value.copy() for name, value in ask(row).items()}
        answers["probabilities"][:, 0] += 0.25
        answers["label_id"] += len(asked) % 4 == 0
        asked.append(row)
        return answers

    compared = fidelity.compare(finished, narrow)
    assert compared["outputs"]["label_id"] == {"equal_fraction": 0.75}
    found = compared["outputs"]["probabilities"]
    assert found["largest_difference"] == pytest.approx(0.25, abs=1e-6)
    # Of three labels one is moved.
    assert found["mean_difference"] == pytest.approx(0.25 / 3, abs=1e-6)


def test_texts_are_left_out_and_rows_are_filled_up(finished, ask):
    lengths = []

    def narrow(row):
        lengths.append({name: value.shape for name, value in row.items()})
        assert row["token_ids"].dtype == np.int32 and row["padding_mask"].sum() < row["padding_mask"].size
        return ask(row)

    compared = fidelity.compare(finished, narrow, length=40)
    assert lengths == [dict.fromkeys(("token_ids", "segment_ids", "padding_mask"), (1, 40))] * 12
    assert "label" not in compared["outputs"]
    # Padding changes nothing but the order of sums.
    assert compared["outputs"]["probabilities"]["largest_difference"] < 1e-5


def test_what_was_compared_is_a_line():
    compared = {
        "split": "validation",
        "num_rows": 9,
        "outputs": {"label_id": {"equal_fraction": 0.5}, "probability": {"largest_difference": 0.123}},
    }
    line = "on 9 rows of validation, label_id equal in 50.0 %, probability off by 0.12 at most"
    assert fidelity.said(compared) == line
    scores = {"metric": "mcc", "float32": 0.5, "narrow": 0.25}
    assert fidelity.said(compared | scores) == f"{line}, mcc 0.5000 in float32 and 0.2500 here"


def test_data_without_a_split_to_compare_on_are_refused(finished, ask, tmp_path):
    small.write_data(tmp_path / "data", validation=0, test=0)
    values = {"data.path": str(tmp_path / "data"), "data.test_fraction": 0.0, "data.validation_fraction": 0.0}
    run = dataclasses.replace(finished, config=override(finished.config, values))
    with pytest.raises(ValueError, match="data: has neither test nor validation; wanted one to compare on"):
        fidelity.compare(run, ask)
