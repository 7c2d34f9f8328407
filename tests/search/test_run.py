"""A complete search by the command line tool, killed at critical moments, and its files."""

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
# One after another in the same search. 24 examples are three updates per epoch.
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
    """Run one search with all the kills; return its directory and the finished processes."""
    folder = tmp_path_factory.mktemp("search")
    small.write_data(folder / "data")
    tools = small.tools()
    more = ["--algorithm", "random", "--trials", "2", "--confirm", "1"]
    steps = [tools.step("search", *arguments("search"), *more, cwd=folder, kill=kill) for kill in [*KILLS, None]]
    (done,) = tools.run(steps)
    return folder, done


def test_a_search_resumes_after_every_kill_and_counts_no_trial_twice(searched):
    folder, done = searched
    assert [step.code for step in done] == [-9] * len(KILLS) + [0], done[-1].err
    report = json.loads((folder / "search" / "report.json").read_text())
    assert [trial["id"] for trial in report["trials"]] == ["0", "1"]
    assert {trial["state"] for trial in report["trials"]} == {"finished"}
    state = json.loads((folder / "search" / ORACLE).read_text())["state"]
    assert state["start_order"] == state["end_order"] == ["0", "1"]
    assert {candidate["name"] for candidate in report["candidates"]} == {"default", "0", "1"}
    for trial in report["trials"]:
        assert len(trial["histories"][0]) == trial["epochs"] == trial["values"]["train.epochs"]


def test_the_files_of_a_search(searched):
    folder, done = searched
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
    assert "report      search/report.html" in done[-1].out


@pytest.fixture(scope="module")
def other_data(tmp_path_factory):
    """Kill two searches in their second trial, with --out and without, and resume with other data in the same file."""
    folder = tmp_path_factory.mktemp("other")
    before, after = (small.write_data(folder / name, train=24 + more) for name, more in (("before", 0), ("after", 3)))
    small.write_data(folder / "data")
    tools = small.tools()

    def step(*more, kill=None):
        base = [part for part in arguments("search") if part not in ("--out", "search")]
        more = ["--algorithm", "random", "--trials", "2", "--confirm", "0", *more]
        return tools.step("search", *base, *more, cwd=folder, kill=kill)

    # The oracle is written when a trial is issued and when it ends, so the third time is in the second trial.
    kill, out = (ORACLE, 3, "after"), ["--out", "out"]
    killed = [found for (found,) in tools.run([step(*out, kill=kill)], [step(kill=kill)])]
    trials = [read_all(path) for path in places(folder)]
    (folder / "data" / "train.csv").write_bytes((after / "train.csv").read_bytes())
    refused = [found for (found,) in tools.run([step(*out)], [step()])]
    untouched = [read_all(path) for path in places(folder)] == trials
    restarted = [found for (found,) in tools.run([step(*out, "--restart")], [step("--restart")])]
    (folder / "data" / "train.csv").write_bytes((before / "train.csv").read_bytes())
    return folder, killed, refused, untouched, restarted, tools.run([step()])[0][0]


def places(folder):
    return [folder / "out", *sorted((folder / "runs" / "classification-search").iterdir())]


def read_all(path):
    return {trial.name: (trial / "trial.json").read_text() for trial in (path / "trials").iterdir()}


def test_trials_of_other_data_are_not_compared(other_data):
    folder, killed, refused, untouched, _, _ = other_data
    assert [step.code for step in killed] == [-9, -9], killed[0].err
    assert [step.code for step in refused] == [2, 2]
    for step, place in zip(refused, ("out", "runs/classification-search/"), strict=True):
        last = step.err.splitlines()[-1]
        assert last.startswith(f"search: data/train.csv: has changed since {place}") and "--restart drops" in last
        assert "Traceback" not in step.err
    assert untouched


def test_a_restart_drops_the_trials_of_other_data(other_data):
    folder, _, _, _, restarted, resumed = other_data
    assert [step.code for step in restarted] == [0, 0], restarted[0].err
    for path in (folder / "out", places(folder)[-1]):
        report = json.loads((path / "report.json").read_text())
        assert report["data"]["train"]["num_examples"] == 27 and len(report["trials"]) == 2
    # Without --out, the search on the restored data is resumed and has kept its first trial.
    assert resumed.code == 0, resumed.err
    report = json.loads((places(folder)[1] / "report.json").read_text())
    assert report["data"]["train"]["num_examples"] == 24 and len(report["trials"]) == 2


def test_mistakes_are_one_line(searched):
    folder, _ = searched
    (folder / "another").mkdir()
    (folder / "another" / "plan.json").write_text("{}")
    tools = small.tools()
    chains = [[tools.step("search", *arguments("other"), *more, cwd=folder)] for more, _ in MISTAKES.values()]
    for (step,), (_, expected) in zip(tools.run(*chains), MISTAKES.values(), strict=True):
        assert step.code == 2 and expected in step.err.splitlines()[-1], step.err
        assert "Traceback" not in step.err
