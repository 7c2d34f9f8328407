"""What a checkpoint stores of a training besides arrays, and the history of a fine-tuning made of it."""

import json

from tfbert.training.fine_tuning import EpochHistory
from tfbert.training.progress import EvaluationPoint, Progress, add


def point(update, scores, **values):
    base = {"num_examples": 8 * update, "num_tokens": 0, "seconds": 0.5 * update, "evaluation_seconds": 0.25}
    base |= {"loss": 1.0 / update if update else None, "learning_rate": 1e-3}
    return EvaluationPoint(update=update, epoch=update / 4, scores=scores, **base | values)


def test_it_survives_json():
    progress = Progress(update=4, history=[point(0, {"f1": 0.1}), point(4, None)], curve=[{"update": 1, "loss": 2.0}])
    add(progress.sums, {"task": {"loss": 0.1}})
    stored = json.loads(json.dumps(progress.to_dict()))
    assert Progress.from_dict(stored) == progress
    assert isinstance(Progress.from_dict(stored).history[1], EvaluationPoint)


def test_sums_are_kept_apart_by_objective():
    totals = {}
    add(totals, {"a": {"loss": 1.0}, "b": {"loss": 2.0}})
    add(totals, {"a": {"loss": 0.5, "more": 3.0}})
    assert totals == {"a": {"loss": 1.5, "more": 3.0}, "b": {"loss": 2.0}}


def test_the_history_by_epoch():
    history = [point(0, {"f1": 0.3}), point(4, {"f1": 0.2}), point(8, {"f1": 0.1}, seconds=6.0)]
    course = EpochHistory.of(Progress(history=history, best_update=0))
    common = {"learning_rate": 1e-3, "validation_seconds": 0.25}
    assert course.history == [
        common | {"epoch": 1, "loss": 0.25, "seconds": 2.0, "examples_per_second": 16.0, "validation": {"f1": 0.2}},
        common | {"epoch": 2, "loss": 0.125, "seconds": 4.0, "examples_per_second": 8.0, "validation": {"f1": 0.1}},
    ]
    assert (course.best_epoch, course.untrained, course.best_scores) == (0, {"f1": 0.3}, {"f1": 0.3})
    trained = EpochHistory.of(Progress(history=history[1:], best_update=8))
    assert (trained.best_epoch, trained.untrained, trained.best_scores) == (2, None, {"f1": 0.1})


def test_without_validation_there_are_no_scores():
    course = EpochHistory.of(Progress(history=[point(4, None)], best_update=4))
    assert course.best_epoch == 1 and course.best_scores is None
    assert not {"validation", "validation_seconds"} & course.history[0].keys()
