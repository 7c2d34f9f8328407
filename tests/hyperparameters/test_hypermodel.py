"""Translation of search spaces to Keras Tuner's hyperparameters, and a user's own tuner."""

from dataclasses import replace
from types import SimpleNamespace

import keras_tuner
import pytest
from keras_tuner import HyperParameters
from support import small

from tfbert.config import Config, override
from tfbert.hyperparameters.hypermodel import HyperModel, declare, searchable, values_of
from tfbert.hyperparameters.plan import Plan
from tfbert.hyperparameters.run import search
from tfbert.space import Choice, LogRange, Range, When, check_space
from tfbert.tasks.base import load_task
from tfbert.training import fine_tuning
from tfbert.training.problem import prepare

SPACE = {
    "train.learning_rate": LogRange(1e-5, 1e-2),
    "train.weight_decay": Range(0.0, 0.1),
    "train.batch_size": Range(8, 64),
    "train.accumulation_steps": LogRange(1, 16),
    "train.epochs": Choice(2, None, 5),
    "train.ema_momentum": Choice(0, 0.9),
    "head.pooling": Choice("mean", "cls", "max"),
    "train.monitor": Choice(None, "accuracy"),
    "head.dropout": When("head.pooling", ("cls", "max"), Range(0.1, 0.5)),
    "train.clip_norm": When("train.optimizer", ("adamw",), Choice(0.0, 1.0)),
    "train.label_smoothing": When("train.epochs", (None, 5), Choice(0.1, 0.2)),
}


def sample_values(space, config=None, seed=0):
    """Return config values that Keras Tuner samples at random."""
    config = config or Config()
    check_space(space, config)
    hyperparameters = HyperParameters()
    declare(space, config, hyperparameters)
    drawing = HyperParameters()
    for index, dimension in enumerate(hyperparameters.space):
        drawing.merge([dimension])
        if drawing.is_active(dimension):
            drawing.values[dimension.name] = dimension.random_sample(1000 * seed + index)
    return values_of(drawing, space, config)


def test_sampled_values_fit_the_config_and_their_dimensions():
    samples = [sample_values(SPACE, seed=seed) for seed in range(60)]
    for values in samples:
        config = override(Config(), values)
        assert 1e-5 <= config.train.learning_rate <= 1e-2
        assert isinstance(values["train.batch_size"], int) and 8 <= values["train.batch_size"] <= 64
        assert isinstance(values["train.accumulation_steps"], int) and 1 <= values["train.accumulation_steps"] <= 16
        assert ("head.dropout" in values) == (values["head.pooling"] != "mean")
        assert ("train.label_smoothing" in values) == (values["train.epochs"] != 2)
        assert "train.clip_norm" in values
    for path, dimension in SPACE.items():
        if isinstance(dimension, Choice):
            assert {repr(values[path]) for values in samples} == set(map(repr, dimension.values)), path
    below = sum(values["train.learning_rate"] < 3e-4 for values in samples)
    assert 15 < below < 45, "all orders of magnitude are equally likely"


def test_defaults_are_those_of_the_config_if_they_are_in_the_space():
    hyperparameters = HyperParameters()
    config = override(Config(), {"train.learning_rate": 3e-3, "train.epochs": None, "head.pooling": "max"})
    declare(SPACE, config, hyperparameters)
    values = values_of(hyperparameters, SPACE, config)
    assert (values["train.learning_rate"], values["train.epochs"], values["head.pooling"]) == (3e-3, None, "max")
    # The default of 32 is in the range.
    assert values["train.batch_size"] == 32


def test_a_search_starts_in_the_middle_of_ranges_without_the_value_of_the_config():
    hyperparameters = HyperParameters()
    space = {"train.learning_rate": LogRange(1e-5, 1e-3), "head.dropout": Range(0.2, 0.4), "train.epochs": Range(2, 8)}
    declare(space, Config(), hyperparameters)
    values = values_of(hyperparameters, space, Config())
    assert values == pytest.approx({"train.learning_rate": 1e-4, "head.dropout": 0.3, "train.epochs": 5})


def test_a_condition_on_a_field_that_is_not_searched():
    space = {"head.dropout": When("head.pooling", ("cls",), Choice(0.1, 0.5)), "train.epochs": Choice(1, 2)}
    assert "head.dropout" in sample_values(space, override(Config(), {"head.pooling": "cls"}))


def test_a_custom_tuner(tmp_path):
    data_dir = small.write_data(tmp_path / "data", test=0)
    space = {"train.learning_rate": Choice(2e-3, 4e-3), "train.epochs": Choice(1, 2)}
    model = HyperModel(small.config(data_dir, train__batch_size=12), space)
    assert (model.objective.name, model.objective.direction) == ("accuracy", "max")
    tuner = keras_tuner.RandomSearch(
        model, objective=model.objective, max_trials=1, directory=tmp_path, project_name="own", seed=1
    )
    tuner.search(verbose=0)
    (trial,) = tuner.oracle.get_best_trials(1)
    assert set(trial.hyperparameters.values) == set(space)
    assert set(trial.metrics.metrics) == {"accuracy", "macro_f1", "mcc", "loss"}
    assert 0 < trial.score <= 1


def test_trials_that_train_only_the_head_share_the_vectors_of_the_encoder(tmp_path, monkeypatch):
    data_dir = small.write_data(tmp_path / "data", test=0)
    space = {"train.learning_rate": Choice(2e-3, 4e-3)}
    values = {"train__trainable_layers": 0, "train__epochs": 1, "head__start": "random"}
    model = HyperModel(small.config(data_dir, **values), space)
    embedded, embed = [], fine_tuning.embed_sequences
    monkeypatch.setattr(fine_tuning, "embed_sequences", lambda *args: embedded.append(len(args[-1])) or embed(*args))
    for rate in (2e-3, 4e-3):
        hyperparameters = HyperParameters()
        hyperparameters.Fixed("train.learning_rate", rate)
        scores = model.fit(hyperparameters, model.build(hyperparameters))
        assert 0 <= scores["accuracy"] <= 1
    assert embedded == [len(model.problem.tokenized["train"])]


def test_an_option_that_the_task_does_not_use_is_refused(tmp_path):
    space = {"train.hard_negatives": Choice(0, 1)}
    with pytest.raises(ValueError, match="search space: train.hard_negatives=0: classification does not use it; only"):
        HyperModel(small.config(small.write_data(tmp_path / "data")), space)


def test_a_search_with_scored_pairs(tmp_path):
    """Hard negatives are in the space of the task, but are omitted because they have no effect with scored pairs."""
    config = small.config(small.write_scored_pairs(tmp_path / "data"), task="matching")
    model = HyperModel(config)
    assert model.space.keys() == load_task("matching").search_space.keys() - {"train.hard_negatives"}
    path = "train.hard_negatives"
    space = {"train.epochs": Choice(1, 2), path: load_task("matching").search_space[path]}
    plan = Plan(config=config, space=space, algorithm="random", trials=1, confirmations=0)
    report = search(plan, tmp_path / "search")
    assert report["plan"]["space"].keys() == report["values"].keys() == {"train.epochs"}
    assert report["trials"][0]["state"] == "finished" and -1 <= report["trials"][0]["score"] <= 1
    other = {"train.epochs": Choice(1, 2), "train.hard_negatives": Choice(0, 5)}
    for refused in (lambda: HyperModel(config, other), lambda: search(replace(plan, space=other), tmp_path / "other")):
        with pytest.raises(ValueError, match="train.hard_negatives: has no effect with these training data"):
            refused()
    with pytest.raises(ValueError, match="train.hard_negatives=3: has no effect with these training data; expected 0"):
        model.problem.with_config(override(config, {"train.hard_negatives": 3}))


def test_a_training_of_several_processes_is_refused(tmp_path):
    problem = prepare(small.config(small.write_data(tmp_path / "data")))
    assert searchable(problem).vectors == {} and problem.vectors is None
    several = replace(problem, replicas=SimpleNamespace(num_workers=2))
    with pytest.raises(ValueError, match="TF_CONFIG names several processes, but one process trains a trial"):
        searchable(several)


def test_a_validation_split_is_required(tmp_path):
    data_dir = small.write_data(tmp_path / "data", validation=0)
    with pytest.raises(ValueError, match=r"trials are compared on a validation split; expected data\.valid"):
        HyperModel(small.config(data_dir, data__validation_fraction=0.0))
