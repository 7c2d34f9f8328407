"""A config in, the accuracy of the untouched encoder with logistic regression out: what fine-tuning has to beat."""

import numpy as np
from sklearn.linear_model import LogisticRegression

from tfbert.config import Config
from tfbert.heads.pooled import Embedder, PooledHead
from tfbert.training.fine_tuning import predict_rows
from tfbert.training.problem import prepare

# Inverse strengths of the penalty to choose from on validation, and the one taken where there is no validation.
_STRENGTHS = (1.0, 10.0, 100.0)
_DEFAULT_STRENGTH = 10.0


def frozen_accuracy(config: Config) -> float:
    """Return the test accuracy of logistic regression on the encoder's mean-pooled unit vectors.

    Args:
        config: of a classification with a test split; its data and encoder count, its training does not.
    """
    problem = prepare(config)
    embedder = Embedder(problem.encoder.backbone, PooledHead(1, pooling="mean"))
    vectors = {}
    for name, split in problem.tokenized.items():
        pooled = predict_rows(embedder, split, config.encoder.sequence_length, np.arange(len(split)))
        vectors[name] = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
    targets = {name: np.asarray(split.targets) for name, split in problem.tokenized.items()}

    def fit(strength: float) -> LogisticRegression:
        return LogisticRegression(C=strength, max_iter=1000).fit(vectors["train"], targets["train"])

    if "validation" not in vectors:
        return float(fit(_DEFAULT_STRENGTH).score(vectors["test"], targets["test"]))
    models = [fit(strength) for strength in _STRENGTHS]
    best = max(models, key=lambda model: model.score(vectors["validation"], targets["validation"]))
    return float(best.score(vectors["test"], targets["test"]))
