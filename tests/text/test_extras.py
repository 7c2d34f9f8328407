"""Optional libraries: a missing one is an error that says how to install it."""

import sys

import pytest

from tfbert.text.extras import import_extra


def test_an_installed_library_is_imported():
    assert import_extra("json.decoder", "JSON files") is sys.modules["json.decoder"]


def test_a_missing_library_is_an_error_with_advice():
    with pytest.raises(
        ValueError, match="^Parquet files need the library no_such_library: pip install no_such_library"
    ):
        import_extra("no_such_library.parquet", "Parquet files")
