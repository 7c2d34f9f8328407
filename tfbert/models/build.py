"""Building models: an encoder with a task's head, in the training precision and in float32."""

from collections.abc import Callable
from typing import TypeVar

import keras

from tfbert.config import Config
from tfbert.encoder.backbone import Encoder
from tfbert.encoder.bert import build_encoder
from tfbert.encoder.precision import Precision, choose_precision
from tfbert.encoder.spec import EncoderSpec
from tfbert.encoder.tuning import check_layers
from tfbert.encoder.weights import copy_weights
from tfbert.models.task_model import TaskModel
from tfbert.tasks.base import FittedTask
from tfbert.text.tokenizer import Tokenizer

_FLOAT32 = Precision("float32")
Model = TypeVar("Model", bound=keras.Model)


def check_sizes(config: Config, encoder: Encoder) -> None:
    """Check the sequence length and the number of trainable layers against the encoder.

    Raises:
        ValueError: `encoder.sequence_length` is more than the encoder's `max_sequence_length`, or
            `train.trainable_layers` more than its `num_layers`.
    """
    check_layers(config.train.trainable_layers, encoder.backbone.num_layers, config.encoder.name)
    longest = encoder.backbone.max_sequence_length
    if config.encoder.sequence_length > longest:
        raise ValueError(
            f"encoder.sequence_length={config.encoder.sequence_length}: "
            f"{config.encoder.name} has positions for at most {longest} tokens"
        )


def make_tokenizer(encoder: Encoder) -> Tokenizer:
    """Return the tokenizer that an encoder was pretrained with."""
    return Tokenizer(encoder.vocabulary, **encoder.rules._asdict())


def build_in_two_precisions(build: Callable[[Precision], Model], precision: str, fast: bool) -> tuple[Model, Model]:
    """Return a model to train, in the configured precision, and one to evaluate, in float32.

    They are the same object if only the matrix products of training are in another precision.

    Args:
        build: returns a new model in a precision; called once or twice.
        precision: `encoder.precision` of the config.
        fast: `encoder.fast` of the config.
    """
    chosen = choose_precision(precision, fast)
    evaluation_model = build(Precision("float32", chosen.product_dtype))
    return evaluation_model if chosen.dtype == "float32" else build(chosen), evaluation_model


def build_models(task: FittedTask, encoder: Encoder, config: Config) -> tuple[TaskModel, TaskModel]:
    """Return a model to train, in the configured precision, and one to evaluate, in float32; they may be the same.

    The model to train starts from the encoder's weights. The caller sets Keras' random seed, on which dropout depends.

    Raises:
        ValueError: `train.trainable_layers` leaves no weights to train, or is more than the encoder's layers.
    """

    def build(precision: Precision) -> TaskModel:
        return build_model(task, encoder.spec, config, precision)

    model, evaluation_model = build_in_two_precisions(build, config.encoder.precision, config.encoder.fast)
    copy_weights(encoder.backbone, model.backbone)
    num_trainable = config.train.trainable_layers
    if num_trainable is not None:
        check_layers(num_trainable, model.backbone.num_layers, config.encoder.name)
        model.backbone.freeze(num_trainable)
        if not model.trainable_weights:
            raise ValueError(
                f"train.trainable_layers={num_trainable}: {task.name} has no weights outside the encoder; "
                "expected 1 or more"
            )
    return model, evaluation_model


def build_model(task: FittedTask, spec: EncoderSpec, config: Config, precision: Precision = _FLOAT32) -> TaskModel:
    """Return a model with randomly initialized encoder and head."""
    backbone = build_encoder(
        spec,
        dropout=config.encoder.dropout,
        dtype=precision.dtype,
        product_dtype=precision.product_dtype,
        fast=config.encoder.fast,
    )
    return TaskModel(backbone, task.head(config.train.seed))
