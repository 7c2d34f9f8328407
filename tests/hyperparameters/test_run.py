"""A complete search by the command-line tool, which is killed at critical moments, and its files."""

import csv
import json

import pytest
from support import small

OPTIONS = {
    "encoder.sequence_length": 32,
    "encoder.precision": "float32",
    "train.batch_size": 8,
    "train.checkpoint_seconds": 0,
    "search.space.encoder.dropout": "null",
    "search.space.train.learning_rate": '{"log_range": [0.0005, 0.005]}',
    "search.space.train.epochs": "[1, 2]",
    "search.space.train.batch_size": "null",
    "search.space.train.layer_decay": "null",
    "search.space.head.pooling": "null",
    "search.space.train.label_smoothing": "null",
}
CHECKPOINT, ORACLE, RESULT = "checkpoint.safetensors", "oracle.json", "result.json"
# Kills of the same search, in order. 24 examples are three updates per epoch.
KILLS = [(ORACLE, 1, "after"), (CHECKPOINT, 2, "after"), (ORACLE, 2, "before"), (RESULT, 2, "after")]
MISTAKES = {
    "space": (["--set", "search.space.train.epoch=[1,2]"], "no field 'train.epoch'; did you mean 'train.epochs'?"),
    "dimension": (["--set", "search.space.train.epochs=3"], "--set search.space.train.epochs=3: expected [value,"),
    "no file": (["--space", "none.json"], "none.json"),
    "algorithm": (["--algorithm", "genetic"], "--algorithm genetic: expected one of bayesian"),
    "hours": (["--hours", "-1"], "--hours -1: expected more than 0"),
    "another search": (["--out", "another"], "another: holds another search (other config, space or options)"),
    "finished": (["--out", "search"], "holds a finished run"),
}


def arguments(out):
    return ["--data", "data", "--encoder", "tiny", "--out", out, *small.assignments(OPTIONS), "--no-export"]


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """Run one search with all kills; return its directory and the results of the processes."""
    folder = tmp_path_factory.mktemp("search")
    small.write_data(folder / "data")
    tools = small.tools()
    options = ["--algorithm", "random", "--trials", "2", "--confirm", "1"]
    steps = [tools.step("search", *arguments("search"), *options, cwd=folder, kill=kill) for kill in [*KILLS, None]]
    (results,) = tools.run(steps)
    return folder, results


def test_a_search_resumes_after_every_kill_and_counts_no_trial_twice(searched):
    folder, results = searched
    assert [result.code for result in results] == [-9] * len(KILLS) + [0], results[-1].err
    report = json.loads((folder / "search" / "report.json").read_text())
    assert [trial["id"] for trial in report["trials"]] == ["0", "1"]
    assert {trial["state"] for trial in report["trials"]} == {"finished"}
    state = json.loads((folder / "search" / ORACLE).read_text())["state"]
    assert state["start_order"] == state["end_order"] == ["0", "1"]
    assert {candidate["name"] for candidate in report["candidates"]} == {"default", "0", "1"}
    for trial in report["trials"]:
        assert len(trial["histories"][0]) == trial["epochs"] == trial["values"]["train.epochs"]


def test_the_files_of_a_search(searched):
    folder, results = searched
    out = folder / "search"
    report, best = (json.loads((path / "report.json").read_text()) for path in (out, out / "best"))
    config = json.loads((out / "best_config.json").read_text())
    assert best["config"] == config == report["config"]
    assert report["test"] == best["test"] and best["test"]["num_examples"] == 12
    for path, value in report["values"].items():
        section, _, name = path.partition(".")
        assert config[section][name] == value
    assert config["train"]["seed"] == report["seed"] == 1
    with open(out / "trials.csv", newline="", encoding="utf-8") as stream:
        assert [row["state"] for row in csv.DictReader(stream)] == ["finished", "finished"]
    weights = sorted(str(path.relative_to(out).parent) for path in out.rglob("best.safetensors"))
    assert len(weights) == 3 and weights[0] == "best"
    assert weights[1] == f"confirmed/{report['winner']}/seed-1" and weights[2].startswith("trials/")
    page = (out / "report.html").read_text(encoding="utf-8")
    assert report["sentence"].split(":")[0] in page and "train.learning_rate" in page
    assert "report      search/report.html" in results[-1].out


@pytest.fixture(scope="module")
def other_data(tmp_path_factory):
    """Kill two searches in their second trial, with --out and without, and resume with other data in the same file."""
    folder = tmp_path_factory.mktemp("other")
    before, after = (small.write_data(folder / name, train=24 + more) for name, more in (("before", 0), ("after", 3)))
    small.write_data(folder / "data")
    tools = small.tools()

    def step(*more, kill=None):
        base = [argument for argument in arguments("search") if argument not in ("--out", "search")]
        more = ["--algorithm", "random", "--trials", "2", "--confirm", "0", *more]
        return tools.step("search", *base, *more, cwd=folder, kill=kill)

    # The oracle is written when a trial starts and when it ends, so the third write is in the second trial.
    kill, out = (ORACLE, 3, "after"), ["--out", "out"]
    killed = [result for (result,) in tools.run([step(*out, kill=kill)], [step(kill=kill)])]
    trials = [read_trials(path) for path in search_dirs(folder)]
    (folder / "data" / "train.csv").write_bytes((after / "train.csv").read_bytes())
    refused = [result for (result,) in tools.run([step(*out)], [step()])]
    untouched = [read_trials(path) for path in search_dirs(folder)] == trials
    restarted = [result for (result,) in tools.run([step(*out, "--restart")], [step("--restart")])]
    (folder / "data" / "train.csv").write_bytes((before / "train.csv").read_bytes())
    return folder, killed, refused, untouched, restarted, tools.run([step()])[0][0]


def search_dirs(folder):
    return [folder / "out", *sorted((folder / "runs" / "classification-search").iterdir())]


def read_trials(path):
    return {trial.name: (trial / "trial.json").read_text() for trial in (path / "trials").iterdir()}


@pytest.mark.slow
def test_trials_of_other_data_are_not_compared(other_data):
    folder, killed, refused, untouched, _, _ = other_data
    assert [result.code for result in killed] == [-9, -9], killed[0].err
    assert [result.code for result in refused] == [2, 2]
    for result, search_dir in zip(refused, ("out", "runs/classification-search/"), strict=True):
        error_line = result.err.splitlines()[-1]
        assert (
            error_line.startswith(f"search: data/train.csv: has changed since {search_dir}")
            and "--restart drops" in error_line
        )
        assert "Traceback" not in result.err
    assert untouched


@pytest.mark.slow
def test_a_restart_drops_the_trials_of_other_data(other_data):
    folder, _, _, _, restarted, resumed = other_data
    assert [result.code for result in restarted] == [0, 0], restarted[0].err
    for path in (folder / "out", search_dirs(folder)[-1]):
        report = json.loads((path / "report.json").read_text())
        assert report["data"]["train"]["num_examples"] == 27 and len(report["trials"]) == 2
    # Without --out, the search on the restored data is resumed and has kept its first trial.
    assert resumed.code == 0, resumed.err
    report = json.loads((search_dirs(folder)[1] / "report.json").read_text())
    assert report["data"]["train"]["num_examples"] == 24 and len(report["trials"]) == 2


def test_mistakes_are_reported_in_one_line(searched):
    folder, _ = searched
    (folder / "another").mkdir()
    (folder / "another" / "plan.json").write_text("{}")
    tools = small.tools()
    chains = [[tools.step("search", *arguments("other"), *options, cwd=folder)] for options, _ in MISTAKES.values()]
    for (result,), (_, expected) in zip(tools.run(*chains), MISTAKES.values(), strict=True):
        assert result.code == 2 and expected in result.err.splitlines()[-1], result.err
        assert "Traceback" not in result.err
