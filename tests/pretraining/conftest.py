"""A small corpus, and the config of a pretraining on it."""

import pytest
from support import corpora

from tfbert.config import override
from tfbert.pretraining.config import PretrainConfig


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return corpora.write_corpus(tmp_path_factory.mktemp("corpus"), 40)


@pytest.fixture(scope="module")
def config(corpus):
    values = {"corpus.paths": (str(corpus),), "encoder.name": "tiny", "examples.sequence_length": 32}
    return override(PretrainConfig(), values | {"encoder.precision": "float32"})
