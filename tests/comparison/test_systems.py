"""Loading systems: stored and fresh predictions, names, seeds, and models that cannot be used."""

import csv
import json
import shutil

import numpy as np
import pytest
from support import small

from tfbert.comparison.compare import compare
from tfbert.comparison.systems import load_systems
from tfbert.files import read_json, write_json


@pytest.fixture
def run_dir():
    return small.finished_run()[0]


@pytest.fixture
def copied(run_dir, tmp_path):
    """Return a copy of the finished run."""
    return shutil.copytree(run_dir, tmp_path / "20300101-120000-0abc")


def change_predictions(run_dir, labels):
    """Make a run predict the same label for the first records of test."""
    path = run_dir / "predictions.jsonl"
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    for line in [line for line in lines if line["split"] == "test"][:labels]:
        line["outputs"] |= {"label": "fee", "label_id": 1, "probabilities": [0.1, 0.8, 0.1], "probability": 0.8}
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")


def test_stored_predictions_have_the_scores_of_the_report(run_dir, copied):
    change_predictions(copied, 12)
    comparison = compare(load_systems([str(run_dir), str(copied)], None, {}))
    report = read_json(run_dir / "report.json")["test"]
    assert comparison.num_records == report["num_examples"] == 12
    for name, score in report["metrics"].items():
        assert comparison.scores[0][name]["value"] == pytest.approx(score["value"])
    gold = [record.target for record in comparison.systems[0].records]
    assert comparison.scores[1]["accuracy"]["value"] == pytest.approx(gold.count("fee") / 12)
    assert [system.name for system in comparison.systems] == ["run", "0abc"]
    assert [system.path for system in comparison.systems] == [run_dir, copied]


def test_given_data_is_predicted_by_runs_and_saved_models(run_dir, tmp_path):
    pairs = small.rows(20, 9)
    small.write_csv(tmp_path / "new.csv", pairs)
    models = [f"ours={run_dir}", f"served={small.finished_run()[1]}"]
    ours, served = load_systems(models, str(tmp_path / "new.csv"), {"data.format": "csv"})
    assert [(record.text, record.target) for record in ours.records] == pairs
    assert (ours.name, served.name, ours.config.data.path) == ("ours", "served", str(tmp_path / "new.csv"))
    np.testing.assert_allclose(
        ours.trainings[0].outputs["probabilities"], served.trainings[0].outputs["probabilities"], atol=1e-5
    )
    assert ours.keys() == served.keys() and len(set(ours.keys())) == 20


def with_seeds(run_dir, directory, seeds):
    """Return a run whose seeds are copies of a finished run, in the given directory."""
    for seed in seeds:
        shutil.copytree(run_dir, directory / f"seed-{seed}")
    report = read_json(run_dir / "report.json")
    spread = {name: {"mean": score["value"], "std": 0.0} for name, score in report["test"]["metrics"].items()}
    seeds_report = {"count": len(seeds), "seeds": seeds, "best": seeds[-1], "test": spread}
    write_json(directory / "report.json", report | {"seeds": seeds_report})
    return directory


def test_all_seeds_are_compared_if_the_runs_have_the_same_number(run_dir, tmp_path):
    first, second = (with_seeds(run_dir, tmp_path / name, [0, 1]) for name in ("a", "b"))
    change_predictions(second / "seed-0", 12)
    ours, theirs = load_systems([str(first), str(second)], None, {})
    assert (len(ours.trainings), theirs.shown, theirs.num_seeds) == (2, 1, 2)
    assert theirs.trainings[0].outputs["label"].tolist() == [b"fee"] * 12
    assert theirs.trainings[1].outputs["label"].tolist() == ours.trainings[1].outputs["label"].tolist()
    best, single = load_systems([str(second), str(run_dir)], None, {})
    assert (len(best.trainings), best.num_seeds, single.num_seeds) == (1, 2, 1)
    assert best.trainings[0].outputs["label"].tolist() == ours.trainings[1].outputs["label"].tolist()


@pytest.mark.parametrize(
    ("models", "names"),
    [
        (["a/20300101-120000-0abc", "b/20300202-130000-0def"], ["0abc", "0def"]),
        (["a/20300101-120000-0abc", "a/20300202-130000-0abc"], ["20300101-120000-0abc", "20300202-130000-0abc"]),
        (["m/bank/1", "m/bank/2"], ["bank/1", "bank/2"]),
        (["a/best", "b/best"], ["a/best", "b/best"]),
        (["base=a/x", "b/y"], ["base", "y"]),
    ],
)
def test_names(models, names, run_dir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for model in models:
        shutil.copytree(run_dir, model.rpartition("=")[2])
    assert [system.name for system in load_systems(models, None, {})] == names


def test_a_search_stands_for_its_best_run(run_dir, tmp_path):
    shutil.copytree(run_dir, tmp_path / "search" / "best")
    write_json(tmp_path / "search" / "report.json", {"task": "classification", "plan": {}})
    system = load_systems([str(tmp_path / "search"), str(run_dir)], None, {})[0]
    assert (system.name, system.path) == ("search", tmp_path / "search" / "best")


def test_changed_and_missing_data(copied, run_dir, tmp_path):
    data = small.write_data(tmp_path / "data", train=48)
    for folder in (copied, shutil.copytree(copied, tmp_path / "other")):
        config = read_json(folder / "config.json")
        write_json(folder / "config.json", config | {"data": config["data"] | {"path": str(data)}})
    models = [str(copied), str(tmp_path / "other")]
    assert len(load_systems(models, None, {})) == 2
    with open(data / "test.csv", "a", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerow(["one more", "fee"])
    with pytest.raises(ValueError, match=r"its test data in .*data has changed since the run; give --data"):
        load_systems(models, None, {})
    shutil.rmtree(data)
    with pytest.raises(ValueError, match=r"its data .*data does not exist here; give --data"):
        load_systems(models, None, {})


def test_predictions_for_other_records(copied, run_dir):
    path = copied / "predictions.jsonl"
    path.write_text(path.read_text("utf-8").replace('"test.csv:2"', '"test.csv:99"'), "utf-8")
    with pytest.raises(ValueError, match=r"predictions\.jsonl: has predictions for other records than the test split"):
        load_systems([str(run_dir), str(copied)], None, {})


@pytest.mark.parametrize("name", ["seeds", "data", "task", "test"])
def test_a_damaged_report_is_named(copied, run_dir, name):
    report = read_json(copied / "report.json")
    write_json(copied / "report.json", {key: value for key, value in report.items() if key != name})
    with pytest.raises(ValueError, match=rf"0abc/report\.json: {name} is missing; the file is damaged, or was written"):
        load_systems([str(run_dir), str(copied)], None, {})


def test_models_that_cannot_be_used(copied, run_dir, tmp_path):
    (tmp_path / "unfinished").mkdir()
    write_json(tmp_path / "unfinished" / "started.json", {"command": ""})
    pretraining, untested = (shutil.copytree(copied, tmp_path / name) for name in ("pretraining", "untested"))
    report = read_json(copied / "report.json")
    write_json(untested / "report.json", report | {"test": None})
    write_json(pretraining / "report.json", {"before": {}, "after": {}})
    messages = {
        (run_dir,): "give two or more runs or SavedModels, or none to list the runs",
        (run_dir, run_dir): f"{run_dir}: given twice; expected different models",
        (f"a={run_dir}", f"a={copied}"): f"a={copied}: is the second model named a; expected different names",
        (run_dir, tmp_path / "nowhere"): f"{tmp_path / 'nowhere'}: is neither a finished run nor a SavedModel",
        (run_dir, tmp_path / "unfinished"): f"{tmp_path / 'unfinished'}: is not finished; expected finished runs",
        (run_dir, small.finished_run()[1]): f"{small.finished_run()[1]}: a SavedModel has no stored predictions; give",
        (run_dir, untested): f"{untested}: has no test split; give --data to evaluate all models on the same records",
        (run_dir, pretraining): f"{pretraining}: is a pretraining; expected a run of a task",
    }
    for models, message in messages.items():
        with pytest.raises(ValueError) as raised:
            load_systems([str(model) for model in models], None, {})
        assert str(raised.value).startswith(message)
    with pytest.raises(ValueError, match=r"^--set data\.format: has no effect without --data$"):
        load_systems([str(run_dir), str(copied)], None, {"data.format": "csv"})
