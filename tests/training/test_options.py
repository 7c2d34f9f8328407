"""Options of training that all tasks use: each has an effect. `tests/test_contract.py` checks those of single tasks."""

import numpy as np
import pytest

from tfbert.config import Config, paths
from tfbert.tasks.base import list_tasks, load_task
from tfbert.tasks.base_config import used_options

# Values that differ from the defaults and from those of `small.config`.
OTHER_VALUES = {
    "encoder.dropout": 0.5,
    "encoder.fast": False,
    "encoder.precision": "bfloat16",
    "encoder.sequence_length": 5,
    "train.accumulation_steps": 2,
    "train.averaged_epochs": 0,
    "train.batch_size": 6,
    "train.clip_norm": 1e-3,
    "train.ema_momentum": 0.9,
    "train.epochs": 3,
    "train.layer_decay": 0.5,
    "train.learning_rate": 1e-4,
    "train.monitor": "loss",
    "train.optimizer": "lamb",
    "train.patience_epochs": 1,
    "train.schedule": "constant",
    "train.seed": 7,
    "train.trainable_layers": 1,
    "train.warmup_fraction": 0.7,
    "train.weight_decay": 0.9,
}
# The files of the test modules check these, as their effect is not on the numbers of a training.
ELSEWHERE = {"encoder.name", "train.checkpoint_seconds", "train.distribution", "train.track"}


def result_of(trainer):
    """Return everything that a training computes, without times."""
    measure, num_evaluations = trainer.evaluator.measure, []
    trainer.evaluator.measure = lambda check: num_evaluations.append(1) or measure(check)
    progress = trainer.train()
    scores = [(point.update, point.learning_rate, point.scores) for point in progress.history]
    weights = [np.asarray(variable).tobytes() for variable in trainer.model.weights]
    return scores, progress.best_score, progress.curve, weights, len(num_evaluations)


@pytest.fixture(scope="module")
def default(make_trainer):
    return result_of(make_trainer(examples=12, train__epochs=2))


def test_every_option_of_all_tasks_is_checked():
    of_some_tasks = {path for name in list_tasks() for path in used_options(load_task(name))}
    common = {path for path in paths(Config) if path.startswith(("encoder.", "train.")) and path not in of_some_tasks}
    assert common == OTHER_VALUES.keys() | ELSEWHERE


def test_equal_options_give_equal_results(make_trainer, default):
    assert result_of(make_trainer(examples=12, train__epochs=2)) == default


@pytest.mark.parametrize("path", OTHER_VALUES)
def test_an_option_has_an_effect(make_trainer, default, path):
    values = {"train.epochs": 2, path: OTHER_VALUES[path]}
    # Patience has an effect only where training goes on after an epoch that was not better.
    if path == "train.patience_epochs":
        values |= {"train.epochs": 4, "train.learning_rate": 1e-9}
        patient = result_of(make_trainer(examples=12, train__epochs=4, train__learning_rate=1e-9))
        assert len(result_of(make_trainer(examples=12, **values))[0]) < len(patient[0])
        return
    assert result_of(make_trainer(examples=12, **values)) != default
