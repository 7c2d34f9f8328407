"""Fixtures: an exported model and its rendered deployment."""

import shutil

import pytest
from support import small

from tfbert.serving import deployment

NAME = "Bank.FAQ_1"


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory):
    """Return the directory of a model whose name needs escaping in some files, with a version other than 1."""
    folder = tmp_path_factory.mktemp("models") / NAME
    shutil.copytree(small.finished_run()[1] / "1", folder / "3")
    return folder


@pytest.fixture(scope="session")
def rendered(model_dir, tmp_path_factory):
    out_dir = tmp_path_factory.mktemp("deploy") / "out"
    deployment.render(model_dir / "3", out_dir, deployment.Deployment(cores=6))
    return out_dir
