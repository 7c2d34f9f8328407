"""The command export: SavedModels, deployments, and options that cannot be combined."""

import pytest
from support import small


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("export")
    small.write_data(path / "data")
    return path


@pytest.fixture(scope="module")
def results(folder):
    """Run the command with correct and with wrong arguments."""
    tools, (run_dir, model_dir) = small.tools(), small.finished_run()
    arguments = {
        "export": [run_dir, "--name", "again", "--deploy", "production", "--cores", 2],
        "deploy": [model_dir, "--deploy", "rendered"],
        "deploy into a full directory": [model_dir, "--deploy", "data"],
        "deploy under a bad name": [run_dir, "--name", "银行", "--deploy", "bad"],
        "cores without a deployment": [run_dir, "--cores", 2],
        "precision of another format": [run_dir, "--litert", "lite", "--precision", "bfloat16"],
        "precision of a SavedModel": [model_dir, "--deploy", "narrow", "--precision", "bfloat16"],
        "two formats": [run_dir, "--huggingface", "a", "--litert", "b"],
        "a format and a deployment": [run_dir, "--huggingface", "a", "--deploy", "b", "--name", "c"],
        "name of another format": [run_dir, "--huggingface", "a", "--name", "c"],
        "name of a SavedModel": [model_dir, "--deploy", "named", "--name", "c"],
        "no run": ["data"],
        "name": [run_dir, "--name", "a/b"],
    }
    results = tools.run(*[[tools.step("export", *values, cwd=folder)] for values in arguments.values()])
    return dict(zip(arguments, [result for (result,) in results], strict=True))


def test_export_again(results, folder):
    result = results["export"]
    assert result.code == 0, result.err
    assert result.out.splitlines()[0] == "saved_models/again/1"
    assert "loads in TensorFlow Serving 2.12.1 and later" in result.out
    assert "start with production/README.md)" in result.out
    deployment = (folder / "production" / "kubernetes" / "base" / "serving.yaml").read_text()
    assert "image: again:1" in deployment
    assert 'cpu: "2"' in deployment


def test_deploy_an_exported_model(results, folder):
    rendered = results["deploy"]
    assert rendered.code == 0, rendered.err
    assert "image: model:1" in (folder / "rendered" / "kubernetes" / "base" / "serving.yaml").read_text()


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("deploy into a full directory", "export: data: is not empty; expected a new directory"),
        ("deploy under a bad name", "export: model name '银行': expected at most 40 of"),
        ("cores without a deployment", "export: --cores applies to a deployment; add --deploy DIR"),
        (
            "precision of another format",
            "export: --precision applies to a new SavedModel; it cannot be combined with --litert",
        ),
        ("precision of a SavedModel", "export: --precision applies to a new SavedModel; expected a run, not "),
        ("two formats", "export: --huggingface and --litert: expected one of them"),
        ("a format and a deployment", "export: --huggingface and --deploy: expected one of them"),
        (
            "name of another format",
            "export: --name applies to a new SavedModel; it cannot be combined with --huggingface",
        ),
        ("name of a SavedModel", "export: --name applies to a new SavedModel; expected a run, not "),
        ("name", "export: --name 'a/b': expected the name of one directory"),
        ("no run", "export: data: contains no finished run; expected a directory with report.json"),
    ],
)
def test_a_mistake_is_reported_in_one_line(results, case, message):
    assert (results[case].code, results[case].err.count("\n")) == (2, 1)
    assert message in results[case].err
