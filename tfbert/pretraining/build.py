"""Pretraining models: an encoder with the heads for masked words and pairs of segments."""

import logging

import keras

from tfbert.encoder import presets
from tfbert.encoder.backbone import Encoder
from tfbert.encoder.bert import build_encoder
from tfbert.encoder.precision import Precision
from tfbert.encoder.weights import copy_weights
from tfbert.models.build import build_in_two_precisions
from tfbert.pretraining.config import PretrainConfig
from tfbert.pretraining.heads import PretrainingHead, PretrainingModel

logger = logging.getLogger(__name__)


def build_models(encoder: Encoder, config: PretrainConfig) -> tuple[PretrainingModel, PretrainingModel, bool]:
    """Return a model to train, in the configured precision, one to evaluate, in float32, and whether heads were loaded.

    The models may be the same. Both start from the encoder's weights, and from the heads in its directory if it has
    them.
    """
    keras.utils.set_random_seed(config.train.seed)

    def build(precision: Precision) -> PretrainingModel:
        options = {"dropout": config.encoder.dropout, "fast": config.encoder.fast}
        backbone = build_encoder(encoder.spec, **precision._asdict(), **options)
        head = PretrainingHead(
            backbone,
            activation=encoder.spec.activation,
            layer_norm_epsilon=encoder.spec.layer_norm_epsilon,
            with_pairs=config.examples.pairs != "none",
            product_dtype=precision.product_dtype,
        )
        model = PretrainingModel(backbone, head)
        copy_weights(encoder.backbone, backbone)
        return model

    model, evaluation_model = build_in_two_precisions(build, config.encoder.precision, config.encoder.fast)
    loaded = []
    if config.encoder.name is not None:
        source = presets.resolve(config.encoder.name)
        loaded = evaluation_model.head.load(source.directory) if source.directory else []
        logger.info("heads: %s", f"{len(loaded)} tensors from the encoder's directory" if loaded else "new")
    copy_weights(evaluation_model.head, model.head)
    return model, evaluation_model, bool(loaded)
