"""Fixtures: the fitted task and the tiny encoder of a small classification, without training."""

import pytest
from support import small

from tfbert.training.problem import prepare


@pytest.fixture(scope="session")
def problem(tmp_path_factory):
    return prepare(small.config(small.write_data(tmp_path_factory.mktemp("models") / "data")))
