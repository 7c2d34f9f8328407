"""Small data, and trainings of it that take a second."""

import os

import keras
import pytest
import tensorflow as tf
from support import small

from tfbert.config import override
from tfbert.training.problem import build_models, make_answering, prepare
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
    """Return a function from config paths to a trainer.

    Args of the function: `mode` is `real` or `eager`, which for a few updates is faster than tracing and compiling;
    `examples` cuts the training split; `change` is called with the model before there is an optimizer; the rest are
    config paths.
    """
    numbers = iter(range(100))

    def make(mode="eager", run_dir=None, validation=True, identity="identity", examples=None, change=None, **values):
        values = {path.replace("__", "."): value for path, value in values.items()}
        config = override(base_problem.config, values)
        keras.utils.set_random_seed(config.train.seed)
        model, evaluation_model = build_models(base_problem, config)
        if change:
            change(model)
        answering = make_answering(base_problem, evaluation_model, config)
        train = base_problem.tokenized["train"]
        train = train.head(examples or len(train))
        if run_dir is None:
            run_dir = tmp_path / f"run-{next(numbers)}"
            os.mkdir(run_dir)
        trainer = Trainer(
            task=base_problem.task,
            facts=base_problem.facts,
            model=model,
            answering=answering,
            config=config,
            train=train,
            validation=base_problem.splits["validation"] if validation else None,
            run_dir=run_dir,
            identity=identity,
        )
        if mode == "eager":
            for name in ("_gradients", "_add", "_update"):
                setattr(trainer.updater, name, getattr(trainer.updater, name).python_function)
            answering.answer = answering.answer.python_function
        return trainer

    return make
