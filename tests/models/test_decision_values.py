"""Decision values of an export: what is stored is read back, an infinite threshold included."""

import json

import numpy as np

from tfbert.models.decision_values import read_values, values_to_json


def test_values_survive_json(tmp_path):
    values = {"threshold": np.float32(np.inf), "thresholds": np.float32([0.25, 0.5]), "sources": np.int32([0, 2])}
    (tmp_path / "decided.json").write_text(json.dumps(values_to_json(values), allow_nan=False), encoding="utf-8")
    stored = read_values(tmp_path / "decided.json")
    assert stored.keys() == values.keys()
    assert np.isposinf(stored["threshold"])
    assert stored["thresholds"].tolist() == [0.25, 0.5] and stored["sources"].tolist() == [0, 2]


def test_a_model_without_a_decision_has_no_values(tmp_path):
    assert read_values(tmp_path / "decided.json") == {}
