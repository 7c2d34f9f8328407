"""The command evaluate: a run and its SavedModel have the same scores; mistakes are reported in one line."""

import json
import subprocess
import sys

import pytest
from support import small

UNKNOWN = (
    "evaluate: wrong.csv:4: label 'cards' is not one of the 3 labels of train; did you mean 'card'? 1 record with this "
    "label: add examples of it to train, or remove or relabel this record"
)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Run the command on a run, a SavedModel and a version of it, and with wrong data."""
    folder, tools, (run_dir, model_dir) = tmp_path_factory.mktemp("evaluate"), small.tools(), small.finished_run()
    test = run_dir.parent / "data" / "test.csv"
    lines = test.read_text().splitlines(keepends=True)
    (folder / "wrong.csv").write_text("".join([*lines[:3], "what,cards\n"]))
    (folder / "terms.txt").write_text("groups: cards | fees\ncard | fee\npin | cost\n")
    arguments = {
        "run": [run_dir, "--data", test],
        "model": [model_dir, "--data", test],
        "directory": [model_dir / "1", "--data", test.parent],
        "unknown label": [run_dir, "--data", "wrong.csv"],
        "unknown label of a model": [model_dir, "--data", "wrong.csv"],
        "no data": [model_dir, "--data", "nowhere.csv"],
        "robust run": [run_dir, "--data", test, "--robustness", "--max-examples", 8],
        "robust model": [model_dir, "--data", test, "--robustness", "--max-examples", 8],
        "audit": [run_dir, "--data", test, "--audit", "--groups", "terms.txt"],
        "column": [run_dir, "--data", test, "--audit", "--group-column", "region"],
        "no audit": [run_dir, "--data", test, "--groups", "names"],
    }
    results = tools.run(*[[tools.step("evaluate", *values, cwd=folder)] for values in arguments.values()])
    return dict(zip(arguments, [result for (result,) in results], strict=True))


def test_run_and_saved_model_have_equal_scores(results):
    by_run, by_model, by_directory = [json.loads(results[name].out) for name in ("run", "model", "directory")]
    report = json.loads((small.finished_run()[0] / "report.json").read_text())
    assert by_run["metrics"] == by_model["metrics"] == by_directory["metrics"] == report["test"]["metrics"]
    assert by_run["per_label"] == by_model["per_label"] == report["test"]["per_label"]
    assert by_run["num_examples"] == by_model["num_examples"] == report["test"]["num_examples"]


def test_run_and_saved_model_are_equally_robust(results):
    by_run, by_model = [json.loads(results[name].out)["robustness"] for name in ("robust run", "robust model")]
    assert by_run["num_examples"] == 8 and by_run["metric"] == "accuracy"
    summaries = [
        [
            (effect["perturbation"], effect["num_changed"], effect["after"], effect["flips"])
            for effect in each["effects"]
        ]
        for each in (by_run, by_model)
    ]
    assert summaries[0] == summaries[1] and any(num_changed for _, num_changed, *_ in summaries[0])
    assert by_run["always_right"] == by_model["always_right"]
    assert by_run["worst_case"]["num_texts"] == by_model["worst_case"]["num_texts"] > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--max-examples", "5"], "--max-examples 5: expected it together with --robustness"),
        (["--robustness", "--max-examples", "0"], "--max-examples 0: expected 1 or more"),
    ],
)
def test_a_number_of_examples_is_for_robustness(arguments, message):
    command = small.load_command("evaluate")
    options = command.build_parser("evaluate").parse_args(["nowhere", "--data", "x.csv", *arguments])
    with pytest.raises(ValueError, match=f"^{message}$"):
        command.main(options)


def test_an_audit_is_part_of_the_line(results):
    report = json.loads(results["audit"].out)
    assert report["metrics"] == json.loads(results["run"].out)["metrics"]
    audit = report["audit"]
    assert audit["num_texts"] == 12 and audit["swaps"][0]["groups"] == ["cards", "fees"]
    assert audit["shortcuts"]["source"] == "the training data of the run"


def test_a_mistake_in_a_fresh_process(tmp_path):
    # Not a forked process, which might behave differently.
    command = [sys.executable, small.TOOLS / "evaluate.py", "nowhere", "--data", "x.csv"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "evaluate: nowhere: does not exist; expected saved_models/NAME or a version in it\n"


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("unknown label", UNKNOWN),
        ("unknown label of a model", UNKNOWN),
        ("no data", "nowhere.csv"),
        ("column", "evaluate: data.group_column=region: no record has a value in this column"),
        ("no audit", "evaluate: --groups names: expected it together with --audit"),
    ],
)
def test_a_mistake_is_reported_in_one_line(results, case, message):
    *log_lines, error_line = results[case].err.splitlines()
    assert results[case].code == 2
    assert all(line.startswith(("wrong.csv", "test.csv")) for line in log_lines), results[case].err
    assert message in error_line


def test_tables_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    scores = {f"label_{n}": {"precision": 1.0, "f1": n / 30, "num_examples": 1000 + n} for n in range(23)}
    metrics = {"macro_f1": {"value": 0.5, "low": 0.25, "high": 0.75}}
    report = {"model": "runs/a", "data": "test.csv", "num_examples": 1234, "metrics": metrics, "per_label": scores}
    small.load_command("evaluate").print_report(report, {"macro_f1": "macro F1"})
    lines = capsys.readouterr().out.splitlines()
    assert lines[:7] == [
        "runs/a on 1,234 examples of test.csv",
        "",
        "metric     score  95% from      to",
        "macro F1  0.5000    0.2500  0.7500",
        "",
        "label     precision     f1  examples",
        "label_0       1.000  0.000     1,000",
    ]
    assert len(lines) == 27 and lines[-1] == "and 3 more; to print all of them as JSON, add: | cat"
