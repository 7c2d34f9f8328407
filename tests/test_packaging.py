"""What is installed: ranges that the tested versions are in, and no advice to install another project's package."""

import configparser
import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from setuptools import find_packages

ROOT = Path(__file__).parents[1]
# Folders and files that a user reads or gets messages from, and the tests, which repeat these messages.
PLACES = ["tfbert", "tools", "benchmarks", "tests", "docs", "deploy", ".ci", "saved_models"]
TEXT = {".py", ".md", ".cfg", ".toml", ".txt", ".yaml", ".sh", ".jinja", ".json", ".lua", ".config", ""}
# The name `tfbert` on the public package index is that of another project.
OTHERS = re.compile(r"pip3? install(?: +-\S+)* +['\"]?tfbert\b|\btfbert\[")


def requirements():
    """Return all requirements of setup.cfg, those of extras too."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    texts = [parser["options"]["install_requires"], *parser["options.extras_require"].values()]
    return [Requirement(line) for text in texts for line in text.splitlines() if line and not line.startswith("#")]


def constraints():
    """Return by name the versions that were tested together."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").split()
    return {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}


def text_files():
    """Yield the text files of a checkout, without what running it leaves."""
    for path in (*ROOT.iterdir(), *(path for place in PLACES for path in (ROOT / place).rglob("*"))):
        if path.is_file() and path.suffix in TEXT and "__pycache__" not in path.parts and path.name != ".git":
            yield path


def test_tested_versions_are_in_the_ranges():
    tested = constraints()
    compared = [(r, tested[canonicalize_name(r.name)]) for r in requirements() if canonicalize_name(r.name) in tested]
    assert len(compared) >= 20
    assert [(str(r), version) for r, version in compared if version not in r.specifier] == []
    # What the extras for other machines name may be missing there; what everybody gets may not.
    missing = {canonicalize_name(r.name) for r in requirements()} - tested.keys()
    assert missing == {"apache-beam", "faiss-cpu"}


@pytest.mark.parametrize(("version", "is_allowed"), [("2.20.1", False), ("2.21.0", False), ("2.21.1", True)])
def test_a_tensorflow_text_that_cannot_be_imported_is_not_installed(version, is_allowed):
    [text] = [r for r in requirements() if r.name == "tensorflow-text"]
    assert (version in text.specifier) is is_allowed


def test_users_install_the_package_and_nothing_beside_it():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    include = parser["options.packages.find"]["include"].split()
    found = find_packages(str(ROOT), include=include)
    assert {"tfbert", "tfbert.serving", "tfbert.training"} <= set(found)
    assert {name.partition(".")[0] for name in found} == {"tfbert"}


def test_nobody_is_told_to_install_the_package_of_that_name_from_the_index():
    found, num_files = [], 0
    for path in text_files():
        num_files += 1
        found += [f"{path.relative_to(ROOT)}: {m[0]}" for m in OTHERS.finditer(path.read_text(encoding="utf-8"))]
    assert found == []
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
def test_such_advice_is_seen(text, is_found):
    # The name is put in here, so that this file is not found itself.
    assert bool(OTHERS.search(text.format("tfbert"))) is is_found
