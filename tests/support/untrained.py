"""Runs whose encoder is `tiny` and whose head is random: all that conversions of models need, without training."""

import functools

import numpy as np

from tfbert.config import Config, override
from tfbert.encoder.backbone import load_encoder
from tfbert.encoder.weights import copy_weights
from tfbert.models.build import build_model, make_tokenizer
from tfbert.models.predictor import Predictor
from tfbert.models.saved_run import SavedRun
from tfbert.tasks.base import load_task
from tfbert.text.splits import load_splits

_SCORE = {"value": 0.5, "low": 0.25, "high": 0.75}


@functools.cache
def untrained_run(task, **values):
    """Return a run of a task fitted to its samples, made once, without calibration.

    Keywords are config paths with `__` for the dot.
    """
    definition = load_task(task)
    values = {path.replace("__", "."): value for path, value in values.items()}
    sizes = {"encoder.name": "tiny", "encoder.sequence_length": 40, "task": definition.name}
    config = override(Config(), {**definition.defaults, **sizes, **values})
    records = list(load_splits(config.data, definition.samples_dir, definition.schema)["train"])
    options = definition.options.from_config(config).without_calibration()
    fitted, encoder = definition.fit(records, options), load_encoder("tiny")
    model = build_model(fitted, encoder.spec, config)
    copy_weights(encoder.backbone, model.backbone)
    draw = np.random.default_rng(5)
    for weight in model.head.weights:
        if "float" in weight.dtype:
            weight.assign(draw.normal(0, 0.5, weight.shape))
    predictor = Predictor(fitted, model, make_tokenizer(encoder), config)
    report = {
        "encoder": {"name": "tiny", **encoder.spec.to_json()},
        "data": {"train": {"path": "train.csv", "num_examples": len(records), "sha256": "ab" * 32}},
        "test": {"metrics": {"accuracy": _SCORE}},
        "versions": {"keras": "3.15.1"},
    }
    samples = [fitted.inputs_of(record) for record in records[:2]]
    return SavedRun(config, predictor, report, samples)


def scores_of(run, sequences):
    """Return the scores of packed sequences."""
    return np.asarray(run.predictor.model(sequences, training=False))
