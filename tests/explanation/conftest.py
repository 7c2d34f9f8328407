"""Fixture: a finished run."""

import pytest
from support import small

from tfbert.explanation.explainer import Explainer
from tfbert.models.saved_run import load_run


@pytest.fixture(scope="session")
def predictor():
    return load_run(small.finished_run()[0]).predictor


@pytest.fixture(scope="session")
def explainer(predictor):
    return Explainer(predictor, run_eagerly=True)
