"""What a run measures of its calibration, its guarantees and its domain, and that its served model does the same."""

from dataclasses import replace

import numpy as np
import pytest

from tests.support import small
from tfbert.files import read_json
from tfbert.models.saved_run import load_run
from tfbert.tasks.base_decision import Predicted
from tfbert.training import run
from tfbert.training.calibration import decode_split, fit_decision
from tfbert.training.problem import prepare

VALUES = {"decision.coverage": 0.8, "decision.max_error": 0.5, "train.epochs": 2, "train.averaged_epochs": 0}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A prepared problem with a calibration split, and the directory of its run."""
    directory = tmp_path_factory.mktemp("trust")
    data = small.write_data(directory / "data", train=60, validation=120, test=60)
    problem = prepare(small.config(data, **VALUES))
    run.train(problem, directory / "run")
    return problem, directory / "run"


def test_half_of_validation_becomes_calibration(trained):
    problem, run_dir = trained
    counts = {name: row["num_examples"] for name, row in read_json(run_dir / "report.json")["data"].items()}
    assert list(counts) == ["train", "validation", "calibration", "test"]
    assert counts["validation"] + counts["calibration"] == 120 and min(counts.values()) >= 30
    texts = [{record.text for record in problem.splits[name]} for name in ("validation", "calibration")]
    assert not texts[0] & texts[1]


def test_the_report_has_what_was_measured_on_test(trained):
    trust = read_json(trained[1] / "report.json")["trust"]
    assert trust["split"] == "test" and trust["calibration"]["num_calibration"] >= 30
    assert trust["prediction_sets"]["wanted"] == 0.8 and trust["prediction_sets"]["covered"]["num_records"] == 60
    assert trust["abstention"]["wanted"] == 0.5 and trust["domain"]["significance"] == 0.05
    assert len(trust["selection"]["used"]) == 4
    details = read_json(trained[1] / "details.json")
    assert details["trust"]["selection"]["points"] and details["trust"]["calibration"]["before"]["bins"]
    page = (trained[1] / "report.html").read_text(encoding="utf-8")
    assert "When to trust a prediction" in page and "Prediction sets should contain the right answer for 80 %" in page


def test_the_loaded_model_decides_as_the_run_did(trained):
    problem, run_dir = trained
    saved = load_run(run_dir)
    predictor, report = saved.predictor, read_json(run_dir / "report.json")
    decoded = decode_split(problem, predictor, "test")
    served = predictor.apply_decision(decoded.outputs)
    in_graph = predictor([problem.task.inputs_of(record) for record in problem.splits["test"]])
    for name in ("label_set", "set_size", "abstain"):
        assert served[name].tolist() == in_graph[name].tolist()
    for name in ("probabilities", "out_of_domain"):
        np.testing.assert_allclose(served[name], in_graph[name], atol=1e-5)
    is_covered = problem.task.decision.covered(served, decoded.gold)
    assert is_covered.mean() == pytest.approx(report["trust"]["prediction_sets"]["covered"]["value"])
    assert (served["out_of_domain"] < 0.05).mean() == report["trust"]["domain"]["refused"]["value"]


def test_only_calibration_records_determine_what_is_guaranteed(trained):
    problem, run_dir = trained
    predictor = load_run(run_dir).predictor
    before = predictor.decided_values()
    fewer = {name: split for name, split in problem.splits.items() if name != "validation"}
    decoded = fit_decision(replace(problem, splits=fewer), predictor)
    assert decoded.keys() == {"calibration"}
    for name, value in predictor.decided_values().items():
        np.testing.assert_allclose(value, before[name], rtol=1e-5)
    calibration = decoded["calibration"]
    wrong = Predicted(calibration.outputs, [(label + 1) % 3 for label in calibration.gold])
    assert problem.task.decision.fit({"calibration": wrong})["temperature"] > before["temperature"]


def test_texts_unlike_those_of_train_have_small_p_values(trained):
    problem, run_dir = trained
    predictor = load_run(run_dir).predictor
    p_values = predictor([{"text": "zq " * 40}, {"text": next(iter(problem.splits["test"])).text}])["out_of_domain"]
    assert p_values[0] < 0.05 < p_values[1]


def test_options_that_need_calibration_are_refused_without_it(tmp_path):
    data = small.write_data(tmp_path / "data")
    with pytest.raises(ValueError, match=r"decision.coverage=0.8: needs a calibration split; give one, or at least 60"):
        prepare(small.config(data, **{"decision.coverage": 0.8}))
    assert prepare(small.config(data)).task.domain is None
