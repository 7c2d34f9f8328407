"""The data of a fitted task: its path, and the tokenized split with its cache."""

import dataclasses

import pytest
from support import small

from tfbert.config import Config, override
from tfbert.models import data
from tfbert.models.build import make_tokenizer
from tfbert.models.data import data_name, data_path, data_title, tokenize_split
from tfbert.tasks.base import load_task


def test_the_samples_of_the_task_are_the_default_data(tmp_path):
    config = small.config(tmp_path)
    assert data_path(config) == tmp_path
    samples = override(config, {"data.path": None, "task": "regression"})
    assert data_path(samples) == load_task("regression").samples_dir and data_path(samples).is_dir()


@pytest.mark.parametrize(
    ("values", "name", "title"),
    [
        ({"data.path": "reviews.csv.gz"}, "reviews", "reviews"),
        ({"data.path": "v1.2"}, "v1.2", "v1.2"),
        ({"data.path": "train.csv"}, "train", "train"),
        ({"data.train": "v1.2/train.csv"}, "v1.2", "v1.2"),
        ({"data.train": "a/tickets.csv"}, "tickets", "tickets"),
        ({}, "classification", "samples"),
    ],
)
def test_the_name_of_the_data(tmp_path, monkeypatch, values, name, title):
    (tmp_path / "v1.2").mkdir()
    monkeypatch.chdir(tmp_path)
    config = override(Config(), values)
    assert (data_name(config), data_title(config)) == (name, title)


def tokenized(problem, split="train", **values):
    config = override(problem.config, {path.replace("__", "."): value for path, value in values.items()})
    return tokenize_split(problem.splits[split], problem.task, make_tokenizer(problem.encoder), config)


def test_sequences_and_targets_follow_the_records(problem):
    split = tokenized(problem)
    records = list(problem.splits["train"])
    assert split.num_sequences == len(records) == 24
    assert split.targets["label_id"].tolist() == [problem.task.labels.index(record.target) for record in records]
    tokenizer = make_tokenizer(problem.encoder)
    for index in (0, 17):
        tokens = [tokenizer.vocabulary[token_id] for token_id in split.sequences[index]]
        assert (tokens[0], tokens[-1]) == ("[CLS]", "[SEP]") and len(tokens) > 4


def test_the_sequence_length_limits_the_sequences(problem):
    assert max(tokenized(problem).lengths()) > 8
    assert max(tokenized(problem, encoder__sequence_length=8).lengths()) == 8


def test_a_split_is_tokenized_once(problem, monkeypatch, tmp_path):
    monkeypatch.setattr(data, "cache_dir", lambda: tmp_path)
    first = tokenized(problem)
    files = sorted(path.name for path in (tmp_path / "tokens").iterdir())
    assert files
    second = tokenized(problem)
    assert [list(second.sequences[index]) for index in range(24)] == [
        list(first.sequences[index]) for index in range(24)
    ]
    assert sorted(path.name for path in (tmp_path / "tokens").iterdir()) == files


@pytest.mark.parametrize(
    ("path", "value", "affects_sequences"),
    [
        ("encoder.sequence_length", 8, True),
        ("encoder.long_text", "mean", True),
        ("data.validation_fraction", 0.3, True),
        ("encoder.dropout", 0.3, False),
        ("encoder.precision", "float16", False),
        ("encoder.fast", False, False),
        ("head.dropout", 0.3, False),
        ("head.pooling", "max", False),
        ("train.label_smoothing", 0.2, False),
        ("train.learning_rate", 3.0, False),
    ],
)
def test_only_options_that_affect_sequences_tokenize_again(
    problem, monkeypatch, tmp_path, path, value, affects_sequences
):
    monkeypatch.setattr(data, "cache_dir", lambda: tmp_path)
    tokenize_split(problem.splits["train"], problem.task, problem.tokenizer, problem.config)
    config = override(problem.config, {path: value})
    options = type(problem.task.options).from_config(config)
    task = dataclasses.replace(problem.task, options=options)
    tokenize_split(problem.splits["train"], task, problem.tokenizer, config)
    assert len(list((tmp_path / "tokens").iterdir())) == (2 if affects_sequences else 1)
    # The options of the task count even if they differ from the config.
    tokenize_split(problem.splits["train"], task, problem.tokenizer, problem.config)
    is_option = path in type(task.options).paths().values()
    assert len(list((tmp_path / "tokens").iterdir())) == 1 + affects_sequences * (1 + is_option)


def test_texts_with_typing_errors_are_cached_by_probability_and_seed(problem, monkeypatch, tmp_path):
    monkeypatch.setattr(data, "cache_dir", lambda: tmp_path)

    def ids(noise, seed):
        config = override(problem.config, {"train.noise": noise})
        split = tokenize_split(problem.splits["train"], problem.task, problem.tokenizer, config, noise_seed=seed)
        return split.sequences.values.tobytes(), split.targets["label_id"].tolist()

    cases = [(0.5, 0), (0.5, 1), (0.9, 0), (0.5, None)]
    found = [ids(*case) for case in cases]
    assert len({tokens for tokens, _ in found}) == 4 and all(targets == found[0][1] for _, targets in found)
    assert [ids(*case) for case in cases] == found and len(list((tmp_path / "tokens").iterdir())) == 4
    # Without noise, its probability does not matter.
    assert ids(0.9, None) == found[3] and len(list((tmp_path / "tokens").iterdir())) == 4
