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
    assert extras.install_command("beam", constrained=False) == "pip install -e '.[beam]' in the checkout"


def test_an_installed_package_names_the_packages(wheel):
    assert extras.install_command("serve") == "pip install 'uvicorn>=0.54' 'grpcio>=1.85'"


def test_a_copy_that_is_not_installed(wheel, monkeypatch):
    def requires(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "requires", requires)
    assert extras.install_command("serve") == "pip install -e '.[serve]' -c constraints.txt in the checkout"


def test_an_installed_library_is_imported():
    assert extras.import_library("json.decoder", "JSON files") is sys.modules["json.decoder"]


def test_a_missing_library_is_an_error_with_advice():
    with pytest.raises(
        ValueError, match="^Parquet files need the library no_such_library: pip install no_such_library"
    ):
        extras.import_library("no_such_library.parquet", "Parquet files")
