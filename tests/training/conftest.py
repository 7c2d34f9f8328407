"""Small data, and trainings of it that take a second."""

import os
import types

import keras
import pytest
import small
import tensorflow as tf

from tfbert.config import override
from tfbert.training.problem import build_models, prepare
from tfbert.training.trainer import Trainer

# Whatever machine runs this, the same seed gives the same numbers.
tf.config.experimental.enable_op_determinism()


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    return small.write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def base_problem(data_dir):
    return prepare(small.config(data_dir))


@pytest.fixture
def make_trainer(base_problem, tmp_path):
    """Return a function from config paths to a trainer; `graph=False` runs it eagerly, which saves seconds of tracing.

    The weights are those that the encoder starts with, the head's depend on the seed only.
    """
    numbers = iter(range(100))

    def make(graph=False, run_dir=None, validation=True, identity="identity", train=None, **values):
        values = {path.replace("__", "."): value for path, value in values.items()}
        config = override(base_problem.config, values)
        keras.utils.set_random_seed(config.train.seed)
        model, evaluation_model = build_models(base_problem, config)
        if run_dir is None:
            run_dir = tmp_path / f"run-{next(numbers)}"
            os.mkdir(run_dir)
        trainer = Trainer(
            task=base_problem.task,
            facts=base_problem.facts,
            model=model,
            evaluation_model=evaluation_model,
            config=config,
            train=train or base_problem.tokenized["train"],
            validation=base_problem.tokenized["validation"] if validation else None,
            run_dir=run_dir,
            identity=identity,
        )
        if not graph:
            for name in ("_single", "_accumulate", "_update"):
                setattr(trainer, name, getattr(trainer, name).python_function)
        return trainer

    return make


@pytest.fixture(scope="session")
def plain_problem(base_problem):
    """Return the parts of a problem that tests change one by one."""
    return types.SimpleNamespace(**vars(base_problem))
