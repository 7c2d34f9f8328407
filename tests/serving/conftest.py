"""Fixtures: a finished run and its SavedModel."""

import shutil

import pytest
import tensorflow as tf
from support import small

from tfbert.models.saved_run import load_run
from tfbert.serving import export_run
from tfbert.serving.export import Servable


@pytest.fixture(scope="session")
def run_dir():
    return small.finished_run()[0]


@pytest.fixture(scope="session")
def model_dir():
    return small.finished_run()[1]


@pytest.fixture(scope="session")
def version_dir(model_dir):
    return model_dir / "1"


@pytest.fixture(scope="session")
def finished(run_dir):
    return load_run(run_dir)


@pytest.fixture(scope="session")
def servable(finished):
    return Servable(
        predictor=finished.predictor, config=finished.config, report=finished.report, samples=finished.samples
    )


@pytest.fixture(scope="session")
def expected(finished):
    return export_run.expected_outputs(finished)


@pytest.fixture(scope="session")
def model(version_dir):
    """Return the reloaded SavedModel, which has to stay alive while its signatures are used."""
    return tf.saved_model.load(str(version_dir))


@pytest.fixture
def copied(version_dir, tmp_path):
    """Return a copy of the SavedModel for tests that damage it."""
    return shutil.copytree(version_dir, tmp_path / "copied")
