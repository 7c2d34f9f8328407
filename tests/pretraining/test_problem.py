"""Pretraining problems: prepared sequences, fingerprints, and what several workers need."""

import numpy as np
import pytest
from support import corpora

from tfbert.config import override
from tfbert.pretraining.initial_encoder import make_word_pieces
from tfbert.pretraining.preparation import prepare
from tfbert.pretraining.problem import prepare_problem
from tfbert.training.distribution import Replicas

NEW = {"encoder.name": None, "encoder.num_layers": 1, "encoder.num_heads": 2, "encoder.hidden_dim": 16}


@pytest.fixture(scope="module")
def problem(config, tmp_path_factory):
    return prepare_problem(config, tmp_path_factory.mktemp("work"))


def test_the_settings_of_prepared_sequences_replace_those_of_the_config(config, problem, tmp_path):
    directory = str(tmp_path / "moved")
    prepare(config.corpus, config.examples, make_word_pieces(problem.encoder), tmp_path / "moved")
    values = {"prepared": directory, "corpus.paths": (), "examples.sequence_length": 16, "examples.pairs": "none"}
    prepared = prepare_problem(override(config, values), tmp_path / "work")
    assert prepared.config.examples == config.examples and prepared.config.corpus == config.corpus
    assert np.array_equal(prepared.train.sequences.token_ids, problem.train.sequences.token_ids)
    assert not (tmp_path / "work").exists()
    # The location of the sequences does not matter for a resumed run.
    assert prepared.fingerprint() == problem.fingerprint()


def test_the_fingerprint_changes_with_config_corpus_and_encoder(config, problem, tmp_path):
    other_corpus = corpora.write_corpus(tmp_path / "corpus", 41)
    changes = [
        {"train.seed": 1},
        {"objective.mask_fraction": 0.2},
        {"examples.passes": 2},
        {"corpus.paths": (str(other_corpus),)},
        {"encoder.dropout": 0.2},
    ]
    fingerprints = {problem.fingerprint()}
    for index, change in enumerate(changes):
        fingerprints.add(prepare_problem(override(config, change), tmp_path / str(index)).fingerprint())
    assert len(fingerprints) == 1 + len(changes)


def test_several_workers_need_the_same_sequences_and_vocabulary(config, tmp_path):
    workers = Replicas("multi_worker", None, 0, 2)
    with pytest.raises(ValueError, match="prepared=none: several workers need --prepared DIR"):
        prepare_problem(config, tmp_path, workers)
    with pytest.raises(ValueError, match="encoder.vocabulary=none: several workers need --vocabulary FILE"):
        prepare_problem(override(config, NEW | {"prepared": "out"}), tmp_path, workers)
