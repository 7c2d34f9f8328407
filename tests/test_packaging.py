"""Installation: tested versions, the requirements of each make target, and no advice to install from the index."""

import configparser
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from setuptools import find_packages

ROOT = Path(__file__).parents[1]
# Directories whose texts or messages users read, and the tests, which repeat these messages.
TEXT_DIRS = ["tfbert", "tools", "benchmarks", "tests", "docs", ".ci", "saved_models"]
TEXT = {".py", ".md", ".cfg", ".toml", ".txt", ".yaml", ".sh", ".jinja", ".json", ".lua", ".config", ""}
# The name `tfbert` on the public package index belongs to another project.
INSTALL_FROM_INDEX = re.compile(r"pip3? install(?: +-\S+)* +['\"]?tfbert\b|\btfbert\[")


def requirements():
    """Return all requirements of setup.cfg, including those of extras."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    texts = [parser["options"]["install_requires"], *parser["options.extras_require"].values()]
    return [Requirement(line) for text in texts for line in text.splitlines() if line and not line.startswith("#")]


def constraints():
    """Return the versions that were tested together, by the name of the package."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").split()
    return {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}


def text_files():
    """Yield the text files of a checkout, without generated ones."""
    for path in (*ROOT.iterdir(), *(path for name in TEXT_DIRS for path in (ROOT / name).rglob("*"))):
        if path.is_file() and path.suffix in TEXT and "__pycache__" not in path.parts and path.name != ".git":
            yield path


def test_tested_versions_are_in_the_ranges():
    tested = constraints()
    compared = [(r, tested[canonicalize_name(r.name)]) for r in requirements() if canonicalize_name(r.name) in tested]
    assert len(compared) >= 20
    assert [(str(r), version) for r, version in compared if version not in r.specifier] == []
    # Only packages of the extras for other machines may be missing.
    missing = {canonicalize_name(r.name) for r in requirements()} - tested.keys()
    assert missing == {"apache-beam", "faiss-cpu"}


@pytest.mark.parametrize(("version", "is_allowed"), [("2.20.1", False), ("2.21.0", False), ("2.21.1", True)])
def test_a_tensorflow_text_that_cannot_be_imported_is_not_installed(version, is_allowed):
    [text] = [r for r in requirements() if r.name == "tensorflow-text"]
    assert (version in text.specifier) is is_allowed


def test_only_the_package_tfbert_is_installed():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    include = parser["options.packages.find"]["include"].split()
    packages = find_packages(str(ROOT), include=include)
    assert {"tfbert", "tfbert.serving", "tfbert.training"} <= set(packages)
    assert {name.partition(".")[0] for name in packages} == {"tfbert"}


def test_no_text_advises_installing_from_the_index():
    matches, num_files = [], 0
    for path in text_files():
        num_files += 1
        matches += [
            f"{path.relative_to(ROOT)}: {m[0]}" for m in INSTALL_FROM_INDEX.finditer(path.read_text(encoding="utf-8"))
        ]
    assert matches == []
    assert num_files > 300


@pytest.mark.parametrize(
    ("text", "is_found"),
    [
        ("pip install {}", True),
        ("python -m pip install --quiet '{}[faiss]'", True),
        ("the extra {}[grpc]", True),
        ("pip install '.[faiss]' in the checkout of {}/", False),
        ("pip install '.[faiss]'\n{} has", False),
    ],
)
def test_advice_to_install_from_the_index_is_detected(text, is_found):
    # The name is inserted here so that this file does not match.
    assert bool(INSTALL_FROM_INDEX.search(text.format("tfbert"))) is is_found


def dry_run(venv, *targets):
    """Return the commands that make would run, split into words, with the environment in the directory `venv`."""
    # `make test` passes its options to child processes in the environment.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    command = ["make", "--dry-run", f"VENV={venv}", *targets]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return [shlex.split(line) for line in result.stdout.splitlines()]


def installed(commands):
    """Return the packages that the commands install, in order."""
    return [words[-1] for words in commands if words[1:4] == ["-m", "pip", "install"]]


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        (["train"], ["."]),
        (["tensorboard"], ["."]),
        (["test"], [".", ".[dev]"]),
        (["lint"], [".", ".[dev]"]),
        (["check"], [".", ".[dev]"]),
        (["train", "test"], [".", ".[dev]"]),
        (["test", "train"], [".", ".[dev]"]),
    ],
)
def test_make_installs_no_more_than_a_target_needs(tmp_path, targets, expected):
    assert installed(dry_run(tmp_path / "venv", *targets)) == expected


def test_make_installs_only_missing_packages(tmp_path):
    (tmp_path / "installed").touch()
    assert installed(dry_run(tmp_path, "train")) == []
    assert installed(dry_run(tmp_path, "test")) == [".[dev]"]
    (tmp_path / "installed-dev").touch()
    assert installed(dry_run(tmp_path, "train", "test", "lint")) == []


def test_make_clean_removes_the_environment(tmp_path):
    [words] = dry_run(tmp_path / "venv", "clean")
    assert words[:2] == ["rm", "-rf"] and str(tmp_path / "venv") in words


def test_test_all_runs_the_fast_tests_and_then_the_slow_ones(tmp_path):
    runs = [words for words in dry_run(tmp_path / "venv", "test-all") if "pytest" in words]
    assert [words[words.index("-m", 2) + 1] for words in runs] == ["not slow", "slow"]
    assert [words for words in dry_run(tmp_path / "venv", "test") if "pytest" in words] == runs[:1]
    assert (ROOT / ".ci" / "run").read_text(encoding="utf-8").endswith(" make test-all\n")
