"""Optional libraries, and the command that installs an extra."""

import importlib.metadata
import sys

import pytest

from tfbert import extras

REQUIREMENTS = ["keras>=3", 'uvicorn>=0.54; extra == "serve"', "grpcio>=1.85; extra == 'serve'", "x; extra == 'dev'"]


@pytest.fixture
def wheel(monkeypatch, tmp_path):
    """Make the package look as if it were installed from a wheel."""
    monkeypatch.setattr(extras, "_CHECKOUT", tmp_path)
    monkeypatch.setattr(importlib.metadata, "requires", {extras.DISTRIBUTION: REQUIREMENTS}.__getitem__)


def test_a_checkout_has_the_tested_versions():
    assert extras.install_command("serve") == "pip install -e '.[serve]' -c constraints.txt in the checkout"
    assert extras.install_command("beam") == "pip install -e '.[beam]' in the checkout"


def test_an_installed_package_names_the_packages(wheel):
    assert extras.install_command("serve") == "pip install 'uvicorn>=0.54' 'grpcio>=1.85'"


def test_a_copy_that_is_not_installed(wheel, monkeypatch):
    def requires(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "requires", requires)
    assert extras.install_command("serve") == "pip install -e '.[serve]' -c constraints.txt in the checkout"


def test_an_installed_library_is_imported():
    assert extras.import_library("json.decoder", "JSON files") is sys.modules["json.decoder"]


def test_a_missing_library_is_an_error_with_advice(wheel):
    expected = "^the package no_such_library, needed for Parquet files, is not installed; install it with: pip install "
    with pytest.raises(ValueError, match=f"{expected}no_such_library$"):
        extras.import_library("no_such_library.parquet", "Parquet files")
    with pytest.raises(ValueError, match=f"{expected}'uvicorn>=0.54' 'grpcio>=1.85'$"):
        extras.import_library("no_such_library.parquet", "Parquet files", "serve")


def test_the_message_names_the_library_that_a_module_lacks(tmp_path, monkeypatch):
    (tmp_path / "needs_two.py").write_text("import json, no_such_library.core")
    (tmp_path / "damaged.py").write_text("from json import no_such_name")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="^the package no_such_library, needed for serve, is not installed"):
        extras.import_library("needs_two", "serve")
    with pytest.raises(
        ValueError, match="^the package json, needed for serve, cannot be imported .cannot import name 'no_such_"
    ):
        extras.import_library("damaged", "serve")


def test_a_library_is_required_without_importing_it(tmp_path, monkeypatch):
    extras.require_library("json", "train.track=json", "x")
    # A directory of this name is found as a package without an origin.
    (tmp_path / "results").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    for library in ("results", "no_such_library"):
        with pytest.raises(
            ValueError, match=f"^the package {library}, needed for train.track=x, is not installed; install it wi"
        ):
            extras.require_library(library, "train.track=x", "x")
