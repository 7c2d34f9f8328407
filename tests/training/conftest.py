"""Fixtures: small data, a prepared problem, and trainers that take about a second."""

import dataclasses

import keras
import pytest
import tensorflow as tf
from support import small

from tfbert.config import override
from tfbert.models.build import build_models
from tfbert.models.predictor import Predictor
from tfbert.training.checkpoint import Checkpoints
from tfbert.training.fine_tuning import task_trainer
from tfbert.training.problem import prepare

# The same seed gives the same numbers on every machine.
tf.config.experimental.enable_op_determinism()


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    return small.write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def base_problem(data_dir):
    return prepare(small.config(data_dir))


@pytest.fixture(scope="session")
def make_trainer(base_problem, tmp_path_factory):
    """Return a function from config paths to a trainer.

    Arguments of the function: `mode` is `real` or `eager`, which is faster than tracing for a few updates; `examples`
    limits the training split; `change` is called with each model before the optimizer is built; all others are config
    paths.
    """

    def make(
        mode="eager", run_dir=None, validation=True, fingerprint="fingerprint", examples=None, change=None, **values
    ):
        values = {path.replace("__", "."): value for path, value in values.items()}
        config = override(base_problem.config, values)
        keras.utils.set_random_seed(config.train.seed)
        problem = base_problem.with_config(config)
        model, evaluation_model = build_models(problem.task, problem.encoder, config)
        if change:
            change(model)
            if evaluation_model is not model:
                change(evaluation_model)
        predictor = Predictor(problem.task, evaluation_model, problem.tokenizer, config, run_eagerly=mode == "eager")
        train = problem.tokenized["train"]
        tokenized = problem.tokenized | {"train": train.head(examples or len(train))}
        splits = {name: split for name, split in problem.splits.items() if validation or name != "validation"}
        problem = dataclasses.replace(problem, tokenized=tokenized, splits=splits)
        run_dir = run_dir or tmp_path_factory.mktemp("run")
        checkpoints = Checkpoints(run_dir, fingerprint, config.train.checkpoint_seconds)
        return task_trainer(problem, config, model, predictor, checkpoints)

    return make
