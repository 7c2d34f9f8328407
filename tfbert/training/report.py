"""What a fine-tuning run writes about itself: the content of `report.json` and the details of the page."""

import dataclasses
import json
from typing import Any

from tfbert.evaluation.metric import Evaluation
from tfbert.models.data import data_title
from tfbert.tasks import base_config
from tfbert.training.history import EpochHistory
from tfbert.training.problem import Problem
from tfbert.training.progress import Progress


def run_report(problem: Problem, progress: Progress, scores: dict[str, dict]) -> dict:
    """Return the part of `report.json` that only fine-tuning runs have.

    Args:
        problem: prepared.
        progress: of the finished training.
        scores: the scores of each split that was evaluated, as `Evaluation.scores` returns them.
    """
    checked, history = problem.checked, EpochHistory.of(progress)
    data = {
        name: {
            "path": str(split.path),
            "sha256": split.sha256,
            "num_examples": len(problem.tokenized[name].num_tokens),
            "note": split.note,
        }
        for name, split in problem.splits.items()
    }
    with_counts = {name: {"num_examples": data[name]["num_examples"], **score} for name, score in scores.items()}
    seconds = {
        "start": progress.start_seconds,
        "train": progress.seconds,
        "validate": sum(entry.get("validation_seconds", 0.0) for entry in history.history),
    }
    return {
        "task": problem.task.name,
        "data_name": data_title(problem.config),
        "data": data,
        "checks": {
            **checked.to_dict(),
            "lines": [*checked.interpreted, *checked.lines()],
            "warnings": checked.warnings,
            "score_warnings": checked.score_warnings,
        },
        "seconds": problem.seconds | seconds,
        "first_update_at": progress.first_update_at,
        **vars(history),
        "validation": with_counts.get("validation"),
        "test": with_counts.get("test"),
        "seeds": None,
        "metrics": [metric.to_json() for metric in problem.task.metrics],
    }


def run_details(
    problem: Problem, evaluations: dict[str, Evaluation], progress: Progress, measured: dict[str, Any]
) -> dict:
    """Return what the report page shows beyond `report.json`, ready for JSON.

    Args:
        problem: prepared.
        evaluations: the evaluation of each split.
        progress: of the finished training.
        measured: the result of `trust.measure`.
    """
    details: dict = {
        "step_losses": [(point["update"], point["loss"]) for point in progress.curve],
        "lengths": {name: split.num_tokens for name, split in problem.tokenized.items()},
        "sequence_length": problem.config.encoder.sequence_length if problem.task.cuts_texts else None,
        "defaults": base_config.defaults_with_effect(problem.task),
        "trust": measured,
    }
    shown = next((name for name in ("test", "validation") if name in evaluations), None)
    if shown:
        details |= evaluations[shown].sections()
        mistakes = evaluations[shown].mistakes()
        details["mistakes"] = [
            {"texts": record.texts, "where": record.where, **dataclasses.asdict(evaluations[shown].outcome(index))}
            for index, record in zip(mistakes, problem.splits[shown].records_at(mistakes), strict=True)
        ]
        details["split"] = shown
    return json.loads(json.dumps(details, default=lambda value: value.tolist()))
