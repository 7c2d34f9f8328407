"""Calibration of a trained model: its decision is fitted to held-out splits, its domain to train and calibration.

The training examples that the model keeps as evidence are those whose vectors the domain needs, too.
"""

import logging

import numpy as np

from tfbert.calibration.out_of_domain import (
    MAX_CALIBRATION_RECORDS,
    MAX_TRAIN_RECORDS,
    Method,
    Pooled,
    choose_method,
)
from tfbert.models import evidence
from tfbert.models.predictor import Predictor, assign, predict_all
from tfbert.models.task_model import Embedder, embed_sequences
from tfbert.tasks.base_decision import CALIBRATION, LOGITS, VECTOR, Predicted
from tfbert.tasks.base_pooled import FittedPooledTask
from tfbert.training.problem import Problem

logger = logging.getLogger(__name__)

# Training records from which the method for out-of-domain texts is chosen.
_MAX_COMPARED = 1500


def fit_decision(problem: Problem, predictor: Predictor, with_domain: bool = True) -> dict[str, Predicted]:
    """Fit the decision and the domain of a trained model, if the task has them.

    Args:
        problem: prepared.
        predictor: has the trained model.
        with_domain: whether the domain is fitted and evidence is stored, on which no score depends.

    Returns:
        The results of `Predictor.decode` for the splits that the decision is fitted to, by name.
    """
    task = problem.task
    names = list(task.decision.fitted_to) if task.decision else []
    if task.domain and with_domain and CALIBRATION not in names:
        names.append(CALIBRATION)
    decoded = {name: decode_split(problem, predictor, name) for name in names if name in problem.splits}
    if with_domain:
        _fit_to_train(problem, predictor, decoded.get(CALIBRATION))
    predictor.fit_decision(decoded)
    return decoded


def decode_split(problem: Problem, predictor: Predictor, name: str) -> Predicted:
    """Return the results of `Predictor.decode` for a split, with a progress bar."""
    total = len(problem.tokenized[name].num_tokens)
    return Predicted(*predict_all(predictor.decode, problem.task, problem.splits[name], total, name))


def _fit_to_train(problem: Problem, predictor: Predictor, calibration: Predicted | None) -> None:
    """Store training examples as evidence, and fit the domain, if the task has them, with the same vectors."""
    task, num_train = problem.task, len(problem.tokenized["train"].num_tokens)
    num_domain = MAX_TRAIN_RECORDS if task.domain else 0
    chosen, for_domain, kept = (
        _spread(num_train, number, problem.config.train.seed)
        for number in (max(num_domain, task.options.evidence), num_domain, task.options.evidence)
    )
    if not chosen:
        return
    records = problem.splits["train"].records_at(chosen)
    if task.domain:
        outputs, gold = predict_all(predictor.decode, task, records, len(records), "vectors of train")
        vectors, rows = outputs[VECTOR], np.searchsorted(chosen, for_domain)
        assert calibration is not None
        _fit_domain(
            problem, predictor, Pooled(vectors[rows], task.domain_labels([gold[row] for row in rows])), calibration
        )
    else:
        vectors = predictor.vectors([task.inputs_of(record) for record in records])
    if kept:
        rows = np.searchsorted(chosen, kept)
        examples = [records[row] for row in rows]
        labels = [evidence.describe(task.definition.truth_of(record)) for record in examples]
        assign(predictor.evidence, evidence.values(vectors[rows], [record.texts for record in examples], labels))


def _fit_domain(problem: Problem, predictor: Predictor, train: Pooled, calibration: Predicted) -> None:
    """Fit the domain to training records and to the predictions for the calibration split."""
    task = problem.task
    method = task.options.out_of_domain
    method = _best_method(problem) if method == "auto" else method
    # Any choice of calibration records that ignores their scores keeps the p-values valid.
    kept = np.linspace(0, len(calibration.gold) - 1, min(len(calibration.gold), MAX_CALIBRATION_RECORDS)).astype(int)
    logits = calibration.outputs.get(LOGITS)
    values = task.domain.fit(
        method,
        train,
        Pooled(calibration.outputs[VECTOR][kept], logits=None if logits is None else logits[kept]),
    )
    assign(predictor.domain, values)
    logger.info("out of domain: %s", method)


def _best_method(problem: Problem) -> Method:
    """Return the method that best recognizes labels that it has not seen, for vectors of the pretrained encoder."""
    task, seed = problem.task, problem.config.train.seed
    assert isinstance(task, FittedPooledTask)
    if not task.cuts_texts:
        # A text may have several vectors.
        return "neighbours"
    train = _frozen(problem, "train", _spread(len(problem.tokenized["train"]), _MAX_COMPARED, seed))
    calibration = problem.tokenized[CALIBRATION]
    indices = _spread(len(calibration), MAX_CALIBRATION_RECORDS, seed)
    return choose_method(train, _frozen(problem, CALIBRATION, indices), seed)


def _frozen(problem: Problem, name: str, indices: list[int]) -> Pooled:
    """Return vectors of the pretrained encoder and labels of records of a split with one sequence per record."""
    task, length = problem.task, problem.config.encoder.sequence_length
    gold = [task.gold(record) for record in problem.splits[name].records_at(indices)]
    embedder = Embedder(problem.encoder.backbone, task.head(problem.config.train.seed))
    return Pooled(embed_sequences(embedder, problem.tokenized[name], length, indices), task.domain_labels(gold))


def _spread(total: int, maximum: int, seed: int) -> list[int]:
    """Return up to `maximum` random positions below `total`, ascending."""
    return np.sort(np.random.default_rng(seed).permutation(total)[:maximum]).tolist()
