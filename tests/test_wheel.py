"""The wheel: its files, and the installed command from an empty directory."""

import ast
import configparser
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

import tfbert

ROOT = Path(__file__).parents[1]
SMALL = ["--encoder", "tiny", "--set", "train.epochs=1", "--set", "encoder.sequence_length=32"]


def run(*command, cwd, **options):
    result = subprocess.run([*map(str, command)], cwd=cwd, capture_output=True, text=True, **options)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build the wheel from a copy of the files that it needs, so that nothing is left in the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "copy"
    shutil.copytree(ROOT / "tfbert", copy / "tfbert", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    setup = "import setuptools; setuptools.setup()"
    run(sys.executable, "-W", "ignore", "-c", setup, "--quiet", "bdist_wheel", "--dist-dir", folder, cwd=copy)
    [path] = folder.glob("*.whl")
    return path


def test_the_wheel_has_all_files_of_the_package_and_no_others(wheel):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    files = {path for path in (ROOT / "tfbert").rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert names == {path.relative_to(ROOT).as_posix() for path in files}
    assert names >= {"tfbert/serving/deploy/compose/.env", "tfbert/samples/regression/train.csv"}


def test_the_version_and_the_command_are_declared(wheel):
    assert wheel.name.startswith(f"tfbert_keras-{tfbert.__version__}-py3-none-any")
    archive = zipfile.ZipFile(wheel)
    texts = {Path(name).name: archive.read(name).decode() for name in archive.namelist() if ".dist-info/" in name}
    entry_points = configparser.ConfigParser()
    entry_points.read_string(texts["entry_points.txt"])
    assert dict(entry_points["console_scripts"]) == {"tfbert": "tfbert.__main__:main"}
    assert "Requires-Python: <3.14,>=3.11" in texts["METADATA"]


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Install the wheel into a new environment that has the other packages of this one; return its directory."""
    folder = tmp_path_factory.mktemp("installed") / "venv"
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=folder)
    [site_packages] = folder.glob("lib/python*/site-packages")
    # An import hook of an editable install, which would find the checkout, is in a .pth file, which is not read here.
    (site_packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


@pytest.mark.slow
def test_the_installed_command_from_an_empty_directory(installed, tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["PATH"] = f"{installed / 'bin'}{os.pathsep}{environment['PATH']}"

    def command(*arguments):
        return run("tfbert", *arguments, cwd=tmp_path, env=environment)

    location = ["python", "-c", "import tfbert; print(tfbert.__file__)"]
    assert Path(run(*location, cwd=tmp_path, env=environment)).is_relative_to(installed)
    assert command("--version") == f"tfbert {tfbert.__version__}\n"
    assert "minilm" in command("list", "--task", "ner")
    trained = command("train", *SMALL)
    assert "saved model saved_models/classification/1  (verified" in trained
    [run_dir] = (tmp_path / "runs" / "classification").iterdir()
    report = json.loads((run_dir / "report.json").read_text(encoding="utf-8"))
    assert report["command"] == " ".join(["tfbert train", *SMALL])
    assert report["versions"]["tfbert"] == tfbert.__version__
    prediction = json.loads(command("predict", "saved_models/classification", "Where is my parcel?"))
    assert prediction["text"] == "Where is my parcel?" and 0 < prediction["probability"] <= 1
    assert command("export", run_dir, "--deploy", "production").splitlines()[0] == "saved_models/classification/2"
    deployed = {path.relative_to(tmp_path / "production") for path in (tmp_path / "production").rglob("*")}
    templates = ROOT / "tfbert" / "serving" / "deploy"
    assert deployed >= {path.relative_to(templates) for path in templates.rglob("*") if "__pycache__" not in path.parts}
    ast.parse((tmp_path / "production" / "drift" / "exporter.py").read_text(encoding="utf-8"))
    assert {path.name for path in tmp_path.iterdir()} == {"runs", "saved_models", "production"}
