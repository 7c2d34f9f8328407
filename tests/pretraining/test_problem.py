"""Pretraining problems: initial encoder and vocabulary, prepared sequences, fingerprints, and models."""

import numpy as np
import pytest
from support import corpora

from tfbert.config import override
from tfbert.encoder.backbone import load_encoder, save_encoder
from tfbert.pretraining import problem as problems
from tfbert.pretraining.config import PretrainConfig
from tfbert.pretraining.problem import build_models, load_initial_encoder, prepare_problem, read_vocabulary
from tfbert.training.distribution import Replicas

NEW = {"encoder.name": None, "encoder.num_layers": 1, "encoder.num_heads": 2, "encoder.hidden_dim": 16}
NEW |= {"encoder.intermediate_dim": 24, "encoder.max_sequence_length": 64, "encoder.vocabulary_size": 150}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return corpora.write_corpus(tmp_path_factory.mktemp("corpus"), 40)


@pytest.fixture(scope="module")
def config(corpus):
    values = {"corpus.paths": (str(corpus),), "encoder.name": "tiny", "examples.sequence_length": 32}
    return override(PretrainConfig(), values | {"encoder.precision": "float32"})


@pytest.fixture(scope="module")
def problem(config, tmp_path_factory):
    return prepare_problem(config, tmp_path_factory.mktemp("work"))


def test_a_pretrained_encoder_is_loaded(config, tmp_path):
    encoder = load_initial_encoder(config, tmp_path)
    expected = load_encoder("tiny")
    assert encoder.vocabulary == expected.vocabulary
    for weight, value in zip(encoder.backbone.weights, expected.backbone.weights, strict=True):
        np.testing.assert_array_equal(weight, value)
    assert list(tmp_path.iterdir()) == []


def test_a_new_encoder_has_the_configured_sizes_and_weights_by_seed(config, tmp_path):
    config = override(config, NEW)
    encoders = [load_initial_encoder(override(config, {"train.seed": seed}), tmp_path / "work") for seed in (0, 0, 1)]
    backbone = encoders[0].backbone
    assert (backbone.num_layers, backbone.num_heads, backbone.hidden_dim, backbone.intermediate_dim) == (1, 2, 16, 24)
    assert (backbone.max_sequence_length, backbone.vocabulary_size) == (64, 150)
    assert encoders[0].vocabulary == (tmp_path / "work" / "vocabulary.txt").read_text().splitlines()
    first, again, other = ([np.asarray(weight) for weight in encoder.backbone.weights] for encoder in encoders)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])


def test_a_trained_vocabulary_is_used_again(config, tmp_path, monkeypatch):
    config = override(config, NEW)
    vocabulary = read_vocabulary(config, tmp_path)
    monkeypatch.setattr(problems, "train_vocabulary", None)
    assert read_vocabulary(config, tmp_path) == vocabulary
    content = "\r\n".join([*vocabulary, "zzz"]) + "\r\n"
    (tmp_path / "windows.txt").write_bytes(content.encode())
    given = override(config, {"encoder.vocabulary": str(tmp_path / "windows.txt")})
    assert read_vocabulary(given, tmp_path / "other") == [*vocabulary, "zzz"]


def test_unusable_encoders_and_vocabularies_are_refused(config, tmp_path):
    (tmp_path / "latin1.txt").write_bytes(b"[PAD]\ncaf\xe9\n")
    with pytest.raises(ValueError, match=r"latin1.txt: not UTF-8 at byte 9; expected one token per line"):
        read_vocabulary(override(config, {"encoder.vocabulary": str(tmp_path / "latin1.txt")}), tmp_path)
    with pytest.raises(ValueError, match=r"encoder.vocabulary=a.txt: tiny has its own vocabulary; only a new encoder"):
        load_initial_encoder(override(config, {"encoder.vocabulary": "a.txt"}), tmp_path)
    with pytest.raises(
        ValueError, match="examples.sequence_length=65: the encoder has positions for at most 64 tokens"
    ):
        load_initial_encoder(override(config, NEW | {"examples.sequence_length": 65}), tmp_path)


def test_the_settings_of_prepared_sequences_replace_those_of_the_config(config, problem, tmp_path):
    directory = str(tmp_path / "moved")
    problems.prepare(config.corpus, config.examples, problems.make_word_pieces(problem.encoder), tmp_path / "moved")
    values = {"prepared": directory, "corpus.paths": (), "examples.sequence_length": 16, "examples.pairs": "none"}
    prepared = prepare_problem(override(config, values), tmp_path / "work")
    assert prepared.config.examples == config.examples and prepared.config.corpus == config.corpus
    assert np.array_equal(prepared.train.sequences.token_ids, problem.train.sequences.token_ids)
    assert not (tmp_path / "work").exists()
    # The location of the sequences does not matter for a resumed run.
    assert prepared.fingerprint == problem.fingerprint


def test_the_fingerprint_changes_with_config_corpus_and_encoder(config, problem, tmp_path):
    other_corpus = corpora.write_corpus(tmp_path / "corpus", 41)
    changes = [
        {"train.seed": 1},
        {"objective.mask_fraction": 0.2},
        {"examples.passes": 2},
        {"corpus.paths": (str(other_corpus),)},
        {"encoder.dropout": 0.2},
    ]
    fingerprints = {problem.fingerprint}
    for index, change in enumerate(changes):
        fingerprints.add(prepare_problem(override(config, change), tmp_path / str(index)).fingerprint)
    assert len(fingerprints) == 1 + len(changes)


def test_several_workers_need_the_same_sequences_and_vocabulary(config, tmp_path):
    workers = Replicas("multi_worker", None, 0, 2)
    with pytest.raises(ValueError, match="prepared=none: several workers need --prepared DIR"):
        prepare_problem(config, tmp_path, workers)
    with pytest.raises(ValueError, match="encoder.vocabulary=none: several workers need --vocabulary FILE"):
        prepare_problem(override(config, NEW | {"prepared": "out"}), tmp_path, workers)


def weights(model):
    return [np.asarray(weight) for weight in model.weights]


def test_in_float32_one_model_is_trained_and_evaluated(problem):
    model, evaluation_model, has_heads = build_models(problem)
    assert model is evaluation_model and not has_heads
    for weight, value in zip(model.backbone.weights, problem.encoder.backbone.weights, strict=True):
        np.testing.assert_array_equal(weight, value)
    again, _, _ = build_models(problem)
    assert all(np.array_equal(a, b) for a, b in zip(weights(model), weights(again), strict=True))


def test_in_lower_precision_another_model_with_equal_weights_is_evaluated(config, tmp_path):
    values = {"encoder.precision": "bfloat16", "encoder.fast": False, "examples.pairs": "none"}
    model, evaluation_model, _ = build_models(prepare_problem(override(config, values), tmp_path))
    assert model is not evaluation_model
    assert model.head.pairs is None
    dtypes = [each.backbone.dtype_policy.compute_dtype for each in (model, evaluation_model)]
    assert dtypes == ["bfloat16", "float32"]
    assert all(np.array_equal(a, b) for a, b in zip(weights(model), weights(evaluation_model), strict=True))


def test_the_heads_of_an_encoder_are_loaded(config, problem, tmp_path):
    model, _, _ = build_models(problem)
    arrays = {name: array + 0.5 for name, array in model.head.arrays().items()}
    save_encoder(problem.encoder, tmp_path / "encoder", arrays)
    values = {"encoder.name": str(tmp_path / "encoder")}
    loaded, _, has_heads = build_models(prepare_problem(override(config, values), tmp_path / "work"))
    assert has_heads
    for name, array in loaded.head.arrays().items():
        np.testing.assert_array_equal(array, arrays[name], err_msg=name)
