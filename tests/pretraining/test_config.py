"""Config of pretraining: defaults, bounds, and the number of epochs by the size of the corpus."""

import dataclasses
from pathlib import Path

import pytest

from tfbert.config import from_dict, override
from tfbert.pretraining.config import SAMPLES, PretrainConfig


def test_the_sample_corpus_is_in_the_package():
    (path,) = override(PretrainConfig(), SAMPLES).corpus.paths
    assert Path(path).is_file()


def test_a_stored_config_is_read_back():
    values = {"corpus.paths": ("a.txt", "b"), "examples.pairs": "none", "encoder.name": None, "train.seed": 7}
    config = override(PretrainConfig(), values | {"prepared": "out", "objective.mask_fraction": 0.3})
    assert from_dict(config.to_dict(), PretrainConfig) == config


def test_the_number_of_epochs_depends_on_the_number_of_sequences():
    train = PretrainConfig().train
    assert [train.num_epochs(count) for count in (10, 1000, 4000, 10**6)] == [40, 20, 5, 3]
    assert dataclasses.replace(train, epochs=7).num_epochs(10) == 7


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("corpus.held_out_fraction", 1.0),
        ("corpus.documents", "paragraph"),
        ("examples.sequence_length", 7),
        ("examples.short_fraction", 1.1),
        ("examples.passes", 0),
        ("examples.num_shards", 10_001),
        ("objective.mask_fraction", 0.0),
        ("objective.masking", "sentence"),
        ("encoder.vocabulary_size", 99),
        ("encoder.dropout", -0.1),
        ("train.evaluations", 0),
        ("train.held_out_rows", -1),
        ("train.head_updates_fraction", 1.5),
    ],
)
def test_a_value_out_of_bounds_is_refused_with_its_path(path, value):
    with pytest.raises(ValueError, match=f"{path}='?{value}'?: "):
        override(PretrainConfig(), {path: value})


def test_the_width_must_be_divisible_by_the_number_of_heads():
    with pytest.raises(ValueError, match=r"encoder.hidden_dim=250: .* a multiple of num_heads=4"):
        override(PretrainConfig(), {"encoder.hidden_dim": 250})
