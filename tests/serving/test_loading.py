"""Loading a damaged SavedModel: all callers name the damaged file, in one line."""

import subprocess

import pytest
from support import small

from tfbert.serving import loading
from tfbert.serving.saved_predictor import SavedPredictor
from tfbert.serving.verify import check, verify

DATA, INDEX, GRAPH = "variables/variables.data-00000-of-00001", "variables/variables.index", "saved_model.pb"


def cut(content):
    return content[: len(content) // 3]


def flip(content):
    position = len(content) // 2
    return content[:position] + bytes([content[position] ^ 0x40]) + content[position + 1 :]


DAMAGES = {
    "data cut short": (DATA, cut),
    "data with a flipped bit": (DATA, flip),
    "no data": (DATA, None),
    "empty data": (DATA, lambda content: b""),
    "index cut short": (INDEX, cut),
    "no index": (INDEX, None),
    "graph cut short": (GRAPH, cut),
    "graph of nothing": (GRAPH, lambda content: b""),
}


def damage(version_dir, kind):
    name, change = DAMAGES[kind]
    path = version_dir / name
    path.unlink() if change is None else path.write_bytes(change(path.read_bytes()))
    return path


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_file_is_named(copied, kind):
    path = damage(copied, kind)
    for load in (loading.load, loading.check, lambda version_dir: check(version_dir, [], {})):
        with pytest.raises(ValueError) as error:
            load(copied)
        assert str(error.value).startswith(f"{path}: damaged (")
        assert str(error.value).endswith("; restore it from a copy, or export the run again")


def test_an_undamaged_model_passes(copied):
    loading.check(copied)
    assert SavedPredictor(copied).outputs[0].name == "label"


def test_tools_report_a_damaged_file_in_one_line(copied, tmp_path):
    path = damage(copied, "data cut short")
    (tmp_path / "models").mkdir()
    copied.rename(tmp_path / "models" / "1")
    path = tmp_path / "models" / "1" / DATA
    (tmp_path / "test.csv").write_text("text,label\nmy card,card\n")
    tools = small.tools()
    steps = {
        "predict": ["models", "my card"],
        "evaluate": ["models", "--data", "test.csv"],
        "serve": ["--port", "0", "--rest_api_port", "1", "--model_base_path", tmp_path / "models"],
    }
    results = tools.run(*[[tools.step(name, *arguments, cwd=tmp_path)] for name, arguments in steps.items()])
    for name, (result,) in zip(steps, results, strict=True):
        shown_path = path if name == "serve" else path.relative_to(tmp_path)
        assert (result.code, result.out) == (2, ""), result.err
        *log_lines, error_line = result.err.splitlines()
        assert error_line.startswith(f"{name}: {shown_path}: damaged (")
        assert all(line.startswith("test.csv: ") for line in log_lines), result.err  # how the data are read


def test_verification_in_a_fresh_process(copied, monkeypatch):
    path, run, results = damage(copied, "data with a flipped bit"), subprocess.run, []
    monkeypatch.setattr(
        subprocess, "run", lambda *args, **options: results.append(run(*args, **options)) or results[-1]
    )
    with pytest.raises(ValueError, match=rf"copied: the exported model failed verification: {path}: damaged"):
        verify(copied, [], {})
    [result] = results
    assert result.returncode == 2
    assert result.stdout.startswith(f"{path}: damaged (") and result.stdout.count("\n") == 1
    assert "Traceback" not in result.stderr
