"""Run reports: values that later commands use, and messages about missing and wrong values."""

import copy
import re

import pytest
from support import small

from tfbert.files import read_json, write_json
from tfbert.models.run_report import (
    PretrainingReport,
    RunReport,
    Trainings,
    is_pretraining,
    is_search,
    num_trials,
    read_run_report,
    read_trainings,
    sum_seconds,
)

# The paths of the values without which a report is rejected.
NEEDED = [
    "task", "config", "config.encoder", "config.encoder.name", "config.train", "config.train.monitor", "data",
    "data.test", "data.test.path", "data.test.sha256", "data.test.num_examples", "data.test.note", "metrics",
    "metrics.0.name", "metrics.0.better", "metrics.0.unit", "metrics.0.description", "validation", "test",
    "test.metrics", "test.metrics.accuracy.value", "test.metrics.accuracy.low", "test.metrics.accuracy.high", "seeds",
    "seeds.seeds", "seeds.best", "seeds.test", "seeds.test.accuracy.mean", "seeds.test.accuracy.std", "seconds",
]  # fmt: skip
WRONG = {"null": None, "a list": [], "text": "x"}
# What may have such a value: a split or several seeds that do not exist, a setting that is not set, any text.
ALLOWED = {
    "null": ["config.train.monitor", "validation", "test", "seeds"],
    "a list": [],
    "text": [
        "task", "config.encoder.name", "config.train.monitor", "data.test.path", "data.test.sha256", "data.test.note",
        "metrics.0.description",
    ],
}  # fmt: skip


def real_report():
    """Return the report of a run as if it had two seeds."""
    report = read_json(small.finished_run()[0] / "report.json")
    spread = {name: {"mean": 0.7, "std": 0.1} for name in report["test"]["metrics"]}
    seeds = {"count": 2, "seeds": [3, 5], "best": 5, "validation": spread, "test": spread}
    return report | {"seeds": seeds}


def parent_of(report, path):
    """Return the object or list that has the value at a path, and its key in it."""
    *parents, name = [int(key) if key.isdecimal() else key for key in path.split(".")]
    for key in parents:
        report = report[key]
    return report, name


def without(report, path):
    damaged = copy.deepcopy(report)
    parent, name = parent_of(damaged, path)
    del parent[name]
    return damaged


def with_value(report, path, value):
    damaged = copy.deepcopy(report)
    parent, name = parent_of(damaged, path)
    parent[name] = value
    return damaged


def test_values_of_a_real_report():
    content = real_report()
    report = RunReport.from_json(content)
    accuracy = content["test"]["metrics"]["accuracy"]
    assert (report.task, report.encoder, report.config) == ("classification", "tiny", content["config"])
    assert (report.score.split, report.score.metric.name) == ("test", "accuracy")
    assert (report.score.value, report.score.low, report.score.high) == tuple(accuracy.values())
    assert (report.score.mean, report.score.std) == (0.7, 0.1)
    assert report.trainings == Trainings(kept=None, seeds=(3, 5), best=5)
    assert report.data["test"].sha256 == content["data"]["test"]["sha256"]
    assert report.seconds == sum_seconds(content) == pytest.approx(sum(content["seconds"].values()))
    values = report.score_json()
    assert values["data"] == {"split": "test", **content["data"]["test"]}
    assert values["seeds"] == {"count": 2, "mean": 0.7, "std": 0.1} and values["value"] == accuracy["value"]


def test_the_split_that_is_scored():
    content = real_report() | {"seeds": None}
    report = RunReport.from_json(content | {"test": None})
    assert report.score.split == "validation" and list(report.data) == ["validation"]
    unscored = RunReport.from_json(content | {"test": None, "validation": None})
    assert unscored.score is None and unscored.score_json()["data"] is None


@pytest.mark.parametrize("path", NEEDED)
def test_a_missing_value_is_named(path):
    with pytest.raises(ValueError, match=rf"^{re.escape(path)} is missing; the file is damaged, or was written by"):
        RunReport.from_json(without(real_report(), path))


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("path", NEEDED)
def test_a_value_of_another_type_is_named(path, kind):
    report = with_value(real_report(), path, WRONG[kind])
    if path in ALLOWED[kind]:
        RunReport.from_json(report)
    else:
        places = [
            re.escape(path) + "=",
            r"test\.metrics\.accuracy is not declared in metrics$",
            "seeds.best=5: expected",
        ]
        with pytest.raises(ValueError, match=f"^({'|'.join(places)})"):
            RunReport.from_json(report)


def test_messages_about_wrong_values():
    report = real_report()
    messages = [
        ("data.test.note", None, "data.test.note=None: expected text"),
        ("seconds", [], "seconds=[]: expected an object"),
        ("seconds.train", "x", "seconds.train='x': expected a number or none"),
        ("metrics.0", "x", "metrics.0='x': expected an object"),
        ("metrics.0.better", "x", "metrics.0.better='x': expected higher or lower"),
        ("metrics.0.colour", "x", "metrics.0.colour: expected one of name, better, unit, description"),
        ("seeds.best", 4, "seeds.best=4: expected one of seeds.seeds=[3, 5]"),
        ("seeds.seeds", ["x"], "seeds.seeds.0='x': expected a whole number"),
        ("test.metrics", {}, "test.metrics={}: expected the score of a metric"),
        ("test.metrics.accuracy.low", True, "test.metrics.accuracy.low=True: expected a number"),
        ("test.metrics.hits", {"value": 0.5}, "test.metrics.hits is not declared in metrics"),
    ]
    for path, value, message in messages:
        with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
            RunReport.from_json(with_value(report, path, value))


def test_directories_of_the_trainings(tmp_path):
    single = Trainings.from_report({"seeds": None})
    assert (single.count, single.best_dir(tmp_path), single.dirs(tmp_path)) == (1, tmp_path, [tmp_path])
    seeds = {"seeds": {"seeds": [2, 3], "best": 3}}
    several = Trainings.from_report(seeds)
    assert (several.count, several.best_dir(tmp_path)) == (2, tmp_path / "seed-3")
    assert several.dirs(tmp_path) == [tmp_path / "seed-2", tmp_path / "seed-3"]
    adapted = Trainings.from_report(seeds | {"adaptation": {"kept": "adapted"}})
    assert adapted.best_dir(tmp_path) == tmp_path / "adapted" / "seed-3"
    with pytest.raises(ValueError, match=r"^adaptation='x': expected an object"):
        Trainings.from_report(seeds | {"adaptation": "x"})


def test_errors_name_the_file(tmp_path):
    write_json(tmp_path / "report.json", without(real_report(), "seeds"))
    for read in (read_run_report, read_trainings):
        with pytest.raises(ValueError, match=rf"^{re.escape(str(tmp_path / 'report.json'))}: seeds is missing; "):
            read(tmp_path)
    for content, message in (
        ({"before": {}}, "is a pretraining; expected a run of a task"),
        ({"plan": {}}, f"is a search; expected a run, such as its best one, {tmp_path / 'best'}"),
    ):
        write_json(tmp_path / "report.json", content)
        with pytest.raises(ValueError, match=f"^{re.escape(f'{tmp_path}: {message}')}$"):
            read_run_report(tmp_path)


def test_kinds_of_reports():
    pretraining = {
        "before": {"masked_word_loss": 3.5}, "after": {"masked_word_loss": 2.5}, "config": {"encoder": {"name": None}},
        "seconds": {"train": 1.5, "report": None},
    }  # fmt: skip
    assert is_pretraining(pretraining) and not is_pretraining(real_report())
    assert PretrainingReport.from_json(pretraining) == PretrainingReport(
        encoder=None, before=3.5, after=2.5, seconds=1.5
    )
    with pytest.raises(ValueError, match=r"^after\.masked_word_loss is missing"):
        PretrainingReport.from_json(pretraining | {"after": {}})
    assert is_search({"plan": {}}) and not is_search(real_report())
    assert num_trials({"trials": [{}, {}]}) == 2
    with pytest.raises(ValueError, match="^trials='x': expected a list"):
        num_trials({"trials": "x"})
