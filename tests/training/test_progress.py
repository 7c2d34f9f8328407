"""Progress: the state of a training in a checkpoint besides its arrays."""

import json

from tfbert.training.progress import EvaluationPoint, Progress, add


def point(update, scores, **values):
    base = {"num_examples": 8 * update, "num_tokens": 0, "seconds": 0.5 * update, "evaluation_seconds": 0.25}
    base |= {"loss": 1.0 / update if update else None, "learning_rate": 1e-3}
    return EvaluationPoint(update=update, epoch=update / 4, scores=scores, **base | values)


def test_progress_is_restored_from_json():
    progress = Progress(update=4, history=[point(0, {"f1": 0.1}), point(4, None)], curve=[{"update": 1, "loss": 2.0}])
    add(progress.sums, {"task": {"loss": 0.1}})
    stored = json.loads(json.dumps(progress.to_dict()))
    assert Progress.from_dict(stored) == progress
    assert isinstance(Progress.from_dict(stored).history[1], EvaluationPoint)


def test_sums_are_separate_for_each_objective():
    totals = {}
    add(totals, {"a": {"loss": 1.0}, "b": {"loss": 2.0}})
    add(totals, {"a": {"loss": 0.5, "more": 3.0}})
    assert totals == {"a": {"loss": 1.5, "more": 3.0}, "b": {"loss": 2.0}}
