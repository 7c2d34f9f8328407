from tfbert.training.history import EpochHistory
from tfbert.training.progress import EvaluationPoint, Progress


def point(update, scores, **values):
    base = {"num_examples": 8 * update, "num_tokens": 0, "seconds": 0.5 * update, "evaluation_seconds": 0.25}
    base |= {"loss": 1.0 / update if update else None, "learning_rate": 1e-3}
    return EvaluationPoint(update=update, epoch=update / 4, scores=scores, **base | values)


def test_the_history_by_epoch():
    history = [point(0, {"f1": 0.3}), point(4, {"f1": 0.2}), point(8, {"f1": 0.1}, seconds=6.0)]
    history_by_epoch = EpochHistory.of(Progress(history=history, best_update=0))
    common = {"learning_rate": 1e-3, "validation_seconds": 0.25}
    assert history_by_epoch.history == [
        common | {"epoch": 1, "loss": 0.25, "seconds": 2.0, "examples_per_second": 16.0, "validation": {"f1": 0.2}},
        common | {"epoch": 2, "loss": 0.125, "seconds": 4.0, "examples_per_second": 8.0, "validation": {"f1": 0.1}},
    ]
    assert (history_by_epoch.best_epoch, history_by_epoch.untrained, history_by_epoch.best_scores) == (
        0,
        {"f1": 0.3},
        {"f1": 0.3},
    )
    trained = EpochHistory.of(Progress(history=history[1:], best_update=8))
    assert (trained.best_epoch, trained.untrained, trained.best_scores) == (2, None, {"f1": 0.1})


def test_without_validation_there_are_no_scores():
    history_by_epoch = EpochHistory.of(Progress(history=[point(4, None)], best_update=4))
    assert history_by_epoch.best_epoch == 1 and history_by_epoch.best_scores is None
    assert not {"validation", "validation_seconds"} & history_by_epoch.history[0].keys()
