"""The encoder that a pretraining starts from: pretrained or new, with a vocabulary that is read or trained."""

import numpy as np
import pytest

from tfbert.config import override
from tfbert.encoder.backbone import load_encoder
from tfbert.pretraining import initial_encoder
from tfbert.pretraining.initial_encoder import load_initial_encoder, make_word_pieces, read_vocabulary

NEW = {"encoder.name": None, "encoder.num_layers": 1, "encoder.num_heads": 2, "encoder.hidden_dim": 16}
NEW |= {"encoder.intermediate_dim": 24, "encoder.max_sequence_length": 64, "encoder.vocabulary_size": 150}


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
    first, repeated, other = ([np.asarray(weight) for weight in encoder.backbone.weights] for encoder in encoders)
    assert all(np.array_equal(a, b) for a, b in zip(first, repeated, strict=True))
    assert not np.array_equal(first[0], other[0])


def test_a_trained_vocabulary_is_used_again(config, tmp_path, monkeypatch):
    config = override(config, NEW)
    vocabulary = read_vocabulary(config, tmp_path)
    monkeypatch.setattr(initial_encoder, "train_vocabulary", None)
    assert read_vocabulary(config, tmp_path) == vocabulary
    content = "\r\n".join([*vocabulary, "zzz"]) + "\r\n"
    (tmp_path / "windows.txt").write_bytes(content.encode())
    with_file = override(config, {"encoder.vocabulary": str(tmp_path / "windows.txt")})
    assert read_vocabulary(with_file, tmp_path / "other") == [*vocabulary, "zzz"]


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


def test_the_tokenizer_without_tensorflow_has_the_vocabulary_and_rules_of_the_encoder(config, tmp_path):
    encoder = load_initial_encoder(config, tmp_path)
    word_pieces = make_word_pieces(encoder)
    assert word_pieces.vocabulary == encoder.vocabulary
    assert word_pieces.rules == encoder.rules
