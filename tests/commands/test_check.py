"""The command check: warnings as a table and as JSON, and errors as in training."""

import json

import pytest
from support import small

from tfbert.commands import program
from tfbert.tasks.base import list_tasks

ENCODER = ("--encoder", "tiny", "--set", "encoder.sequence_length=32")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("check")
    small.write_data(path / "data")
    with open(path / "data" / "test.csv", "a", encoding="utf-8") as stream:
        stream.write("leaked text,card\n")
    with open(path / "data" / "train.csv", "a", encoding="utf-8") as stream:
        stream.write("leaked text,card\n")
    small.write_data(path / "clean")
    rows = "".join(f"{text},{label},{i % 2}\n" for i, (text, label) in enumerate(small.rows(60, 5)))
    (path / "flagged.csv").write_text(f"text,label,rejected\n{rows}", encoding="utf-8")
    return path


def check(folder, *args):
    return small.tools()("check", *args, *ENCODER, "--json", "results.json", cwd=folder)


def test_log_table_and_json_agree(folder):
    result = check(folder, "--data", "data")
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert result.code == 0
    lines = result.err.splitlines()
    assert lines[:2] == [
        "train.csv, validation.csv, test.csv: csv with ',' between columns, utf-8, column names on line 1",
        "train.csv, validation.csv, test.csv: reads text from 'text', label from 'label'; unused columns: none",
    ]
    assert lines[2].startswith("train 25, validation 12, test 13 examples, 3 labels")
    leak = "1 text of test is also in train (exact): test.csv:14 = train.csv:26"
    assert results["warnings"][0] == ["leak", leak]
    assert result.out.splitlines()[0].split() == ["warning", "description"]
    assert leak in " ".join(result.out.split())
    assert leak not in result.err
    assert (results["refused"], results["task"], results["encoder"]) == ([], "classification", "tiny")
    assert results["num_examples"] == {"train": 25, "validation": 12, "test": 13}
    assert results["files"]["test.csv"]["used"] == {"text": ["text"], "label": ["label"]}
    assert not list(folder.glob("runs/*")) and not list(folder.glob("saved_models/*"))


def test_data_without_warnings(folder):
    result = check(folder, "--data", "clean")
    assert (result.code, result.out) == (0, "no warnings\n")
    assert json.loads((folder / "results.json").read_text(encoding="utf-8"))["warnings"] == []


def test_options_replace_the_data_of_a_stored_config():
    def values(*arguments):
        return program.given_values(small.load_command("train").build_parser("train").parse_args(arguments))

    none = {"data.path": None, "data.train": None, "data.validation": None, "data.calibration": None, "data.test": None}
    assert values("--data", "a", "--format", "csv") == none | {"data.path": "a", "data.format": "csv"}
    assert values("--train", "a", "--test", "b") == none | {"data.train": "a", "data.test": "b"}
    assert values("--seed", "3") == {"train.seed": 3}


@pytest.mark.parametrize("task", list_tasks())
@pytest.mark.parametrize("arguments", [("--data", "a"), ("--train", "a", "--validation", "b", "--test", "c")])
def test_every_task_takes_the_data_of_the_command_line(task, arguments):
    train = small.load_command("train")
    config = train.read_config(train.build_parser("train").parse_args(["--task", task, *arguments]))
    assert (config.task, config.data.calibration) == (task, None) and "a" in (config.data.path, config.data.train)


def test_splits_of_files_with_other_names(folder):
    files = [f"--{name}={folder}/clean/{name}.csv" for name in ("train", "validation", "test")]
    lines = "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in small.rows(12, 3))
    (folder / "held out").write_text(lines, encoding="utf-8")
    result = check(folder, *files[:2], "--test", "held out", "--format", "jsonl")
    assert (result.code, "validation.csv:1: not JSON" in result.err) == (2, True)
    result = check(folder, *files[:2], "--test", "held out")
    assert (result.code, result.err.splitlines()[2]) == (0, "held out: one object per line, utf-8")
    assert json.loads((folder / "results.json").read_text(encoding="utf-8"))["num_examples"]["test"] == 12


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (
            ["--data", "flagged.csv"],
            "flagged.csv: column 'rejected' has the name of a label or flag ('0' 30, '1' 30) but",
        ),
        (
            ["--data", "clean", "--task", "entities"],
            'validation.csv:2: entities is "card"; expected a text and a list of entities',
        ),
        (["--data", "nowhere"], "nowhere: no such file or directory"),
    ],
)
def test_data_that_training_would_reject_are_rejected(folder, args, reason):
    result = check(folder, *args)
    assert result.code == 2
    error_line = result.err.splitlines()[-1]
    assert error_line.startswith("check: ") and reason in error_line
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert results["refused"][0] == error_line.removeprefix("check: ")
    trained = small.tools()("train", *args, *ENCODER, cwd=folder)
    assert (trained.code, trained.err.splitlines()[-1]) == (2, error_line.replace("check: ", "train: ", 1))


def test_all_errors_are_reported_together(folder):
    rows = "".join(f"退款在哪里{i},{'ab'[i % 2]},{i % 2}\n" for i in range(60))
    (folder / "chinese.csv").write_text(f"text,label,rejected\n{rows}", encoding="utf-8")
    result = check(folder, "--data", "chinese.csv")
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert (result.code, len(results["refused"])) == (2, 2)
    assert results["refused"][0].startswith("chinese.csv: column 'rejected' has the name of a label or flag")
    assert results["refused"][1].startswith("the encoder tiny cannot read parts of the text: [UNK] is ")
    assert results["files"]["chinese.csv"]["unused"] == ["rejected"]
    assert results["num_examples"]["train"] > 0
    assert [line.split()[0] for line in result.out.splitlines() if line.startswith("refused")] == ["refused"] * 2
