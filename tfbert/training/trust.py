"""When to trust a trained model: what the report measures of its calibration, its guarantees and its domain."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfbert.calibration.out_of_domain import MAX_CALIBRATION_RECORDS, SIGNIFICANCE
from tfbert.calibration.prediction_sets import coverage_interval
from tfbert.evaluation import trust
from tfbert.evaluation.metric import Evaluation
from tfbert.models.predictor import Predictor
from tfbert.tasks.base_decision import CALIBRATION, OUT_OF_DOMAIN, Predicted
from tfbert.training.problem import Problem

_MAX_ERROR = "decision.max_error"


def measure(
    problem: Problem, predictor: Predictor, decoded: Mapping[str, Predicted], evaluations: Mapping[str, Evaluation]
) -> dict[str, Any]:
    """Return the part `trust` of the details of a report, measured on test, or on validation without a test split.

    Args:
        problem: prepared.
        predictor: has the trained model with its fitted decision and domain.
        decoded: results of `Predictor.decode` by split.
        evaluations: the evaluation of the served outputs by split.

    Returns:
        As the functions of `tfbert.evaluation.trust` return them, by their names, as far as the task has them; `split`;
        and `limitation`, why a guarantee cannot be given; empty if nothing can be measured.
    """
    split = next((name for name in ("test", "validation") if name in evaluations), None)
    if split is None:
        limitation = _limitation(problem, predictor, decoded)
        return {"limitation": limitation} if limitation else {}
    task, evaluation, num_calibration = problem.task, evaluations[split], _num_calibration(problem)
    served, gold = predictor.apply_decision(decoded[split].outputs), decoded[split].gold
    measured: dict[str, Any] = {}
    confidences = evaluation.confidences()
    if confidences is not None and len(confidences.is_right):
        # The predictions of several labels per text are decisions about each label, most of which are easy.
        if not task.definition.several_labels:
            measured["selection"] = trust.selection(confidences)
            paths = task.options.paths().values()
            measured["can_guarantee"] = _MAX_ERROR in paths and not task.options.is_enabled(_MAX_ERROR)
        if num_calibration and task.decision is not None:
            before = predictor.apply_decision(decoded[split].outputs, task.decision.initial())
            uncalibrated = task.evaluate(before, gold, predictor.decided_values()).confidences()
            measured["calibration"] = trust.calibration(uncalibrated, confidences, num_calibration)
    if task.decision is not None:
        measured |= _guarantees(problem, served, decoded[split].gold, confidences)
        if limitation := _limitation(problem, predictor, decoded):
            measured["limitation"] = limitation
    if OUT_OF_DOMAIN in served:
        number = min(num_calibration, MAX_CALIBRATION_RECORDS)
        measured["domain"] = trust.domain(served[OUT_OF_DOMAIN], SIGNIFICANCE, number)
    return measured and {"split": split, **measured}


def _limitation(problem: Problem, predictor: Predictor, decoded: Mapping[str, Predicted]) -> str:
    """Return why a guarantee cannot be given; empty if it can."""
    if problem.task.decision is None or CALIBRATION not in decoded:
        return ""
    return problem.task.decision.limitation(predictor.with_domain({CALIBRATION: decoded[CALIBRATION]}))


def _guarantees(problem: Problem, served: Mapping[str, np.ndarray], gold: Sequence, confidences: Any) -> dict[str, Any]:
    """Return what the user asked for, and whether it holds."""
    decision, options = problem.task.decision, problem.config.decision
    assert decision is not None
    measured: dict[str, Any] = {}
    is_covered = decision.covered(served, gold)
    if is_covered is not None and options.coverage:
        expected = coverage_interval(_num_calibration(problem), options.coverage)
        if "set_size" in served:
            measured["prediction_sets"] = trust.prediction_sets(
                served["set_size"], is_covered, options.coverage, expected
            )
        else:
            measured["intervals"] = trust.intervals(
                served["low"], served["high"], is_covered, options.coverage, expected
            )
    if "abstain" in served and options.max_error:
        measured["abstention"] = trust.abstention(served["abstain"], confidences.is_right, options.max_error)
    return measured


def _num_calibration(problem: Problem) -> int:
    return len(problem.tokenized[CALIBRATION].num_tokens) if CALIBRATION in problem.splits else 0
