"""The command train: mistakes are reported in one line; scores and paths are printed."""

import pytest
from support import small

# Log lines that may precede the error: how files were read, and statistics of the data.
LOG_PREFIXES = ("train.csv", "test.csv", "train 24, ", "length of train", "unknown tokens")

SMALL = small.assignments({"encoder.name": "tiny", "encoder.sequence_length": 32, "train.epochs": 1})

# Arguments of train and a part of the error message.
MISTAKES = {
    "task": (["--task", "clasification"], "task 'clasification' is not one of"),
    "task to list": (["--list", "--task", "clasification"], "task 'clasification' is not one of"),
    "misspelt path": (["--set", "train.learning_rat=1"], "config has no field 'train.learning_rat'; did you mean"),
    "no equals sign": (["--set", "train.epochs"], "--set train.epochs: expected section.field=value"),
    "type": (["--set", "train.epochs=two"], "train.epochs=two: expected a whole number"),
    "range": (["--set", "train.learning_rate=0"], "train.learning_rate=0.0: expected more than 0"),
    "choice": (["--set", "encoder.precision=half"], "encoder.precision='half': expected auto, float32,"),
    "data": (["--data", "nowhere.csv"], "nowhere.csv"),
    "data and train": (
        ["--data", "data", "--train", "data/train.csv"],
        "--data and --train: expected --data, or --train with --validation and --test",
    ),
    "test without train": (["--test", "data/test.csv"], "data.test=data/test.csv: expected data.train, too"),
    "format": (["--data", "data", "--format", "excel"], "data.format='excel': expected auto, csv, tsv, xlsx,"),
    "encoder": (["--data", "data", "--set", "encoder.name=tinny"], "tinny"),
    "length": (["--data", "data", "--set", "encoder.sequence_length=513"], "positions for at most 512 tokens"),
    "label": (
        ["--data", "odd"],
        "label 'cards' is not one of the 3 labels of train; did you mean 'card'?",
    ),
    "config": (["--config", "none.json"], "none.json"),
    "config is a directory": (["--config", "data"], "data"),
    "broken config": (["--config", "broken.json"], "broken.json"),
    "out is a file": (["--data", "data", "--out", "broken.json"], "broken.json"),
    "seeds": (["--seeds", "0"], "seeds=0: expected 1 or more"),
    "name elsewhere": (["--data", "data", "--name", "../../x"], "--name '../../x': expected the name of one directory"),
    "no name": (["--data", "data", "--name", ""], "--name '': expected the name of one directory"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("tools")
    small.write_data(path / "data")
    odd = small.write_data(path / "odd")
    with open(odd / "test.csv", "a") as stream:
        stream.write("one more,cards\n")
    (path / "broken.json").write_text('{"task": ')
    return path


@pytest.fixture(scope="module")
def mistakes(folder):
    """Run train with each of the mistakes and return the results."""
    tools = small.tools()
    steps = [tools.step("train", *SMALL, *arguments, cwd=folder) for arguments, _ in MISTAKES.values()]
    return dict(zip(MISTAKES, [result for (result,) in tools.run(*[[step] for step in steps])], strict=True))


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_reported_in_one_line(mistakes, mistake):
    result, message = mistakes[mistake], MISTAKES[mistake][1]
    assert result.code == 2, result.err
    *log_lines, error_line = result.err.splitlines()
    assert all(line.startswith(LOG_PREFIXES) for line in log_lines), result.err
    assert error_line.startswith("train: ")
    assert message in error_line
    assert result.out == ""


def test_scores_and_paths_are_printed(folder):
    options = small.assignments({"train.batch_size": 8, "train.learning_rate": 2e-3})
    result = small.tools()("train", *SMALL, *options, "--data", "data", cwd=folder)
    assert result.code == 0, result.err
    assert "test accuracy" in result.out
    assert "saved model saved_models/data/1  (verified on 8 requests in a fresh process)" in result.out
    assert result.out.count("    -> {") == 2
    assert (folder / "saved_models" / "data" / "1" / "saved_model.pb").exists()
    assert len(list((folder / "runs" / "classification").iterdir())) == 1
