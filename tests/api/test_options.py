"""Keyword arguments as config values, and calls as shell commands."""

from pathlib import Path

import numpy as np
import pytest

from tfbert.api.options import command_line, config_values
from tfbert.config import Config, override
from tfbert.pretraining.config import PretrainConfig


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"epochs": 3, "learning_rate": 1e-4}, {"train.epochs": 3, "train.learning_rate": 1e-4}),
        ({"encoder__dropout": 0.2, "head__dropout": 0.3}, {"encoder.dropout": 0.2, "head.dropout": 0.3}),
        ({"train__epochs": 3}, {"train.epochs": 3}),
        ({"batch_size": np.int64(8)}, {"train.batch_size": 8}),
        ({"columns": {"text": "a,b", "label": "c"}}, {"data.columns": '{"text": "a,b", "label": "c"}'}),
        ({"ignored_columns": ["id", "a,b"]}, {"data.ignored_columns": '["id", "a,b"]'}),
        ({"columns": "text=a"}, {"data.columns": "text=a"}),
    ],
)
def test_keywords_are_names_of_config_fields(options, expected):
    values = config_values("fine_tune", options, Config)
    assert values == expected
    override(Config(), values)


def test_keywords_of_pretraining():
    values = config_values("pretrain", {"vocabulary": Path("v.txt"), "examples__seed": 2}, PretrainConfig)
    assert values == {"encoder.vocabulary": "v.txt", "examples.seed": 2}


def test_two_keywords_for_one_field_are_refused():
    with pytest.raises(TypeError, match="got two keyword arguments for train.epochs; expected one of them"):
        config_values("fine_tune", {"epochs": 1, "train__epochs": 2}, Config)


@pytest.mark.parametrize(
    ("keyword", "message"),
    [
        ("epoch", "unexpected keyword argument 'epoch'; did you mean 'epochs'?"),
        ("train__epoch", "unexpected keyword argument 'train__epoch'; did you mean 'train__epochs'?"),
        ("name", "unexpected keyword argument 'name'; did you mean 'encoder'?"),
        ("data__path", "unexpected keyword argument 'data__path'; did you mean 'data'?"),
        ("dropout", "ambiguous keyword argument 'dropout'; expected encoder__dropout or head__dropout"),
        ("xyzzy", "unexpected keyword argument 'xyzzy'; see tfbert list"),
    ],
)
def test_an_unknown_keyword_is_refused_with_a_suggestion(keyword, message):
    with pytest.raises(TypeError) as error:
        config_values("fine_tune", {keyword: 1}, Config)
    assert str(error.value).startswith(f"fine_tune() got an {message}")


def test_the_command_that_does_the_same():
    values = {"task": "entities", "data.path": "my data", "train.epochs": 3, "encoder.name": "tiny", "train.seed": 0}
    assert command_line(
        "train", values, seeds=2, adapt=["a", "b"], out=Path("x"), from_scratch=False, confirm=None
    ) == (
        "tfbert train --task entities --data 'my data' --set train.epochs=3 --encoder tiny --seed 0 --seeds 2 "
        "--adapt a b --out x"
    )
    assert command_line("pretrain", {"train.distribution": "none"}, from_scratch=True) == (
        "tfbert pretrain --set train.distribution=none --from-scratch"
    )
