"""The leaderboard: groups that can be compared, order, searches, pretrainings, and unfinished and unreadable runs."""

import copy
import json
import operator
import os
import re

import pytest

from tfbert.comparison.leaderboard import RunTable, find_runs
from tfbert.evaluation.values import MAE, SPEARMAN
from tfbert.files import acquire_lock, write_json

ACCURACY = {
    "name": "accuracy", "better": "higher", "unit": "fraction", "description": "hits", "every_epoch": True,
    "title": "accuracy", "expectation": "texts to get the right label", "is_label_mean": False,
}  # fmt: skip


def report(value, sha256="a" * 64, metric=ACCURACY, split="test", **changes):
    """Return the report of a run with a score."""
    name = metric["name"]
    scores = {"num_examples": 200, "metrics": {name: {"value": value, "low": value - 0.05, "high": value + 0.05}}}
    return {
        "task": "classification",
        "config": {"task": "classification", "encoder": {"name": "minilm"}, "train": {"seed": 0, "monitor": None}},
        "data": {split: {"path": f"data/{split}.csv", "sha256": sha256, "num_examples": 200, "note": ""}},
        "metrics": [metric],
        "seeds": None,
        "validation": None,
        "test": None,
        "seconds": {"start": 2.0, "train": 60.0, "validate": None},
        "command": "tfbert train",
        split: scores,
        **changes,
    }


def with_setting(content, **values):
    """Return a report whose config has other values in its train section."""
    config = content["config"]
    return content | {"config": config | {"train": config["train"] | values}}


def write_run(path, content, weights=b"1234"):
    path.mkdir(parents=True)
    write_json(path / "config.json", content["config"])
    write_json(path / "report.json", content)
    (path / "best.safetensors").write_bytes(weights)
    return path


def paths(runs, folder):
    return [str(run.path.relative_to(folder)) for run in runs.finished]


def test_runs_on_the_same_data_are_listed_together_best_first(tmp_path):
    write_run(tmp_path / "c" / "low", report(0.7))
    write_run(tmp_path / "c" / "other data", report(0.99, sha256="b" * 64))
    write_run(tmp_path / "deeper" / "still" / "high", with_setting(report(0.9), learning_rate=0.1))
    write_run(tmp_path / "e" / "other task", report(0.8, task="entities"))
    runs = find_runs(tmp_path)
    assert paths(runs, tmp_path) == ["deeper/still/high", "c/low", "c/other data", "e/other task"]
    first, *others = runs.tables()
    assert first == RunTable(
        title="classification: accuracy on 200 test records of data/test.csv (SHA-256 aaaaaaaaaaaa)",
        columns=[f"{tmp_path}/", "accuracy", "95% interval", "seeds", "time", "weights", "encoder", "learning_rate"],
        rows=[
            ["deeper/still/high", "90.0 %", "85.0 to 95.0", "1", "1 min 02 s", "4 bytes", "minilm", "0.1"],
            ["c/low", "70.0 %", "65.0 to 75.0", "1", "1 min 02 s", "4 bytes", "minilm", "–"],
        ],
        num_settings=1,
    )
    assert [len(table.rows) for table in others] == [1, 1]


def test_fields_of_the_same_name_have_their_section(tmp_path):
    for name, dropout in (("a", 0.1), ("b", 0.2)):
        content = with_setting(report(0.7), epochs=dropout * 10)
        sections = {"head": {"dropout": dropout}, "encoder": {"name": "minilm", "dropout": dropout}}
        write_run(tmp_path / name, content | {"config": content["config"] | sections})
    (table,) = find_runs(tmp_path).tables()
    assert table.columns[-3:] == ["encoder.dropout", "epochs", "head.dropout"] and table.num_settings == 3


def test_lower_is_better_and_runs_without_scores_are_apart(tmp_path):
    for name, value in (("worse", 2.5), ("better", 0.5)):
        write_run(tmp_path / name, report(value, metric=MAE.to_json(), task="regression"))
    write_run(
        tmp_path / "unscored", report(0.0) | {"test": None, "task": "regression", "metrics": [SPEARMAN.to_json()]}
    )
    runs = find_runs(tmp_path)
    assert paths(runs, tmp_path) == ["unscored", "better", "worse"]
    assert "regression: no scores, for lack of a test and a validation split" in [
        table.title for table in runs.tables()
    ]


def test_scores_of_different_metrics_are_in_different_tables(tmp_path):
    f1 = ACCURACY | {"name": "f1", "title": "F1"}
    for name, value, metric in (("a", 0.7, ACCURACY), ("b", 0.8, f1), ("c", 0.9, ACCURACY)):
        write_run(tmp_path / name, report(value, metric=metric))
    tables = [(table.columns[1], [row[0] for row in table.rows]) for table in find_runs(tmp_path).tables()]
    assert tables == [("accuracy", ["c", "a"]), ("F1", ["b"])]


def test_seeds_of_a_run_and_the_best_run_of_a_search_are_one_row(tmp_path):
    over_seeds = {"test": {"accuracy": {"mean": 0.8, "std": 0.02, "values": [0.78, 0.82]}}}
    seeds = {"count": 2, "seeds": [0, 1], "best": 1, **over_seeds}
    write_run(tmp_path / "seeds", report(0.82, seeds=seeds))
    for seed in range(2):
        write_run(tmp_path / "seeds" / f"seed-{seed}", report(0.8), b"123456")
    write_run(tmp_path / "search" / "best", report(0.85))
    write_json(
        tmp_path / "search" / "report.json", report(0.0) | {"plan": {}, "trials": [{}] * 7, "seconds": {"trials": 9.0}}
    )
    runs = find_runs(tmp_path)
    (table,) = runs.tables()
    assert [row[:6] for row in table.rows] == [
        ["search", "85.0 %", "80.0 to 90.0", "search of 7 trials", "9.0 s", "4 bytes"],
        ["seeds", "82.0 %", "77.0 to 87.0", "2: 80.0 ± 2.0", "1 min 02 s", "6 bytes"],
    ]
    search, run = runs.to_json()
    assert (search["kind"], search["num_trials"], search["value"]) == ("search", 7, 0.85)
    assert (run["kind"], run["seeds"], run["metric"]) == ("run", {"count": 2, "mean": 0.8, "std": 0.02}, "accuracy")
    assert json.loads(json.dumps([search, run])) == [search, run]


def test_pretrainings_have_their_own_table(tmp_path):
    write_run(tmp_path / "r", report(0.7))
    losses = {"before": {"masked_word_loss": 3.5}, "after": {"masked_word_loss": 2.25}}
    write_json(write_run(tmp_path / "p", report(0.0)) / "report.json", losses | {
        "config": {"encoder": {"name": None}}, "seconds": {"train": 30.0}
    })  # fmt: skip
    *_, table = find_runs(tmp_path).tables()
    assert table.title == "pretraining: loss of masked words of held-out text"
    assert table.columns[2:4] == ["loss before", "after"]
    assert table.rows == [[str(tmp_path / "p"), "new", "3.500", "2.250", "30.0 s"]]
    assert find_runs(tmp_path).to_json()[1]["masked_word_loss_after"] == 2.25


def test_unfinished_runs_with_the_command_that_resumes_them(tmp_path):
    for name in ("running", "stopped"):
        (tmp_path / name).mkdir()
        write_json(tmp_path / name / "started.json", {"command": f"tfbert train --name {name}"})
    write_json(write_run(tmp_path / "exporting", report(0.7)) / "unexported.json", {"fingerprint": ""})
    with acquire_lock(tmp_path / "running" / ".lock"):
        runs = find_runs(tmp_path)
    assert [(run.path.name, run.state, run.command) for run in runs.unfinished] == [
        ("exporting", "not exported", "tfbert train"),
        ("running", "running", "tfbert train --name running"),
        ("stopped", "stopped", "tfbert train --name stopped"),
    ]
    assert [run.path.name for run in runs.finished] == ["exporting"]
    assert runs.to_json()[-1]["kind"] == "unfinished"


def test_files_that_a_running_training_removes_are_no_error(tmp_path, monkeypatch):
    (tmp_path / "running").mkdir()
    write_json(tmp_path / "running" / "started.json", {"command": "tfbert train"})
    (tmp_path / "running" / "checkpoint.safetensors.7.part").touch()
    stat = os.stat

    def stat_after_removal(path, **options):
        if str(path).endswith(".part"):
            os.unlink(path)
        return stat(path, **options)

    monkeypatch.setattr(os, "stat", stat_after_removal)
    assert [run.state for run in find_runs(tmp_path).unfinished] == ["stopped"]


def test_other_models_among_the_runs_are_not_listed(tmp_path):
    write_run(tmp_path / "run", report(0.7))
    (tmp_path / "huggingface").mkdir()
    write_json(tmp_path / "huggingface" / "config.json", {"model_type": "bert"})
    runs = find_runs(tmp_path)
    assert paths(runs, tmp_path) == ["run"] and not runs.unfinished


def test_unreadable_runs_are_reported(tmp_path):
    write_run(tmp_path / "good", report(0.7))
    write_run(tmp_path / "old", {name: value for name, value in report(0.7).items() if name != "metrics"})
    (write_run(tmp_path / "broken", report(0.7)) / "report.json").write_text("{")
    runs = find_runs(tmp_path)
    assert paths(runs, tmp_path) == ["good"]
    broken, old = runs.unreadable
    assert "broken" in broken and re.search(r"old.report\.json: metrics is missing; the file is damaged, or was", old)


def changed(tree, change):
    """Yield the path of each value of nested dicts and lists, and a copy of the tree in which it is changed."""
    for key in tree if isinstance(tree, dict) else range(len(tree)):
        damaged = copy.copy(tree)
        change(damaged, key)
        yield str(key), damaged
        if isinstance(tree[key], dict | list):
            for path, inner in changed(tree[key], change):
                damaged = copy.copy(tree)
                damaged[key] = inner
                yield f"{key}.{path}", damaged


DAMAGES = {
    "missing": lambda tree, key: tree.pop(key),
    "null": lambda tree, key: operator.setitem(tree, key, None),
    "empty": lambda tree, key: operator.setitem(tree, key, []),
    "text": lambda tree, key: operator.setitem(tree, key, "x"),
}
# Not needed, or an optional field of a metric.
UNUSED = [
    "command", "config.task", "config.train.seed", "seconds.start", "seconds.train", "seconds.validate",
    "metrics.0.every_epoch", "metrics.0.title", "metrics.0.expectation", "metrics.0.is_label_mean", "seeds.count",
    "seeds.seeds.0", "test.num_examples",
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_reports_hide_no_other_run(tmp_path, damage):
    over_seeds = {"test": {"accuracy": {"mean": 0.8, "std": 0.02}}}
    content = report(0.7, seeds={"count": 2, "seeds": [0, 1], "best": 1, **over_seeds})
    write_run(tmp_path / "good", content)
    damaged = dict(changed(content, DAMAGES[damage]))
    for path, changed_content in damaged.items():
        (tmp_path / path).mkdir()
        write_json(tmp_path / path / "report.json", changed_content)
    runs = find_runs(tmp_path)
    assert "good" in paths(runs, tmp_path)
    assert sum(len(table.rows) for table in runs.tables()) == len(runs.finished)
    assert len(runs.to_json()) == len(damaged) + 1
    named = {message.removeprefix(f"{tmp_path}/").partition("/report.json: ")[0] for message in runs.unreadable}
    assert len(named) == len(runs.unreadable) and not any("\n" in message for message in runs.unreadable)
    if damage == "missing":
        assert named == damaged.keys() - set(UNUSED)


def test_damaged_searches_and_pretrainings_are_reported(tmp_path):
    write_run(tmp_path / "search" / "best", report(0.85))
    write_json(tmp_path / "search" / "report.json", report(0.0) | {"plan": {}, "trials": None})
    write_run(tmp_path / "no best run", report(0.85) | {"plan": {}, "trials": []})
    write_run(tmp_path / "pretraining", {"before": {}, "config": {}})
    (tmp_path / "unfinished").mkdir()
    write_json(tmp_path / "unfinished" / "started.json", {"command": None})
    messages = [message.removeprefix(f"{tmp_path}/") for message in find_runs(tmp_path).unreadable]
    assert [message.partition(";")[0][:60] for message in messages] == [
        "no best run/best/report.json: cannot be read as JSON: [Errno",
        "pretraining/report.json: config.encoder is missing",
        "search/report.json: trials=None: expected a list",
        "unfinished/started.json: command=None: expected text",
    ]


def test_directories_without_runs(tmp_path):
    (tmp_path / "empty").mkdir()
    for name, reason in (("empty", "contains no runs"), ("nowhere", "no such directory")):
        with pytest.raises(ValueError, match=rf"{name}: {reason}; expected the directory of the runs, given by --runs"):
            find_runs(tmp_path / name)
