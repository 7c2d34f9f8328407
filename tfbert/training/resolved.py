"""Resolved settings: the values that a fine-tuning uses for config fields that are none."""

from typing import Any

import tensorflow as tf

from tfbert.config import Config, value_at
from tfbert.tasks.base_config import monitored_metric
from tfbert.training.problem import Problem

# On a CPU larger micro-batches are no faster.
_MICRO_BATCH_TOKENS = 2048


def max_micro_batch_tokens(config: Config) -> int:
    """Return the maximum number of tokens in a micro-batch per device; 0 means that batches are not split."""
    if config.train.part_tokens is not None:
        return config.train.part_tokens
    return 0 if tf.config.list_physical_devices("GPU") else _MICRO_BATCH_TOKENS


def resolved_settings(problem: Problem, config: Config) -> dict[str, Any]:
    """Return the value that a training uses for each config field that is none because it depends on the data.

    Args:
        problem: prepared.
        config: config of the training.

    Returns:
        Values by config path.

    Raises:
        ValueError: `train.monitor` is not a metric of the task.
    """
    values = {
        "train.epochs": config.train.num_epochs(len(problem.training_examples), problem.task.predicts_untrained),
        "train.learning_rate": config.train.peak_learning_rate(problem.encoder.backbone.hidden_dim),
        "train.monitor": monitored_metric(problem.task, config.train.monitor).name,
        "train.part_tokens": max_micro_batch_tokens(config),
    }
    return {path: value for path, value in values.items() if value_at(config, path) is None}
