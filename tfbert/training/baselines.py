"""Baselines of a fine-tuning: a constant prediction, the model before training, and heads fitted to less data."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tfbert.config import Config
from tfbert.encoder.weights import copy_weights
from tfbert.evaluation.comparison import paired_bootstrap, smallest_p_value
from tfbert.evaluation.metric import Evaluation, Metric, main_metric
from tfbert.models import weights
from tfbert.models.predictor import Predictor
from tfbert.models.task_model import Embedder, TaskModel, embed_sequences
from tfbert.tasks.base_decision import VALIDATION
from tfbert.tasks.base_pooled import FittedPooledTask
from tfbert.training.fine_tuning import initialize_head, monitored
from tfbert.training.problem import Problem

_CONSTANT, _UNTRAINED = "constant", "untrained"
# Records of validation that heads fitted to less data are scored on, which limits the time that their vectors take.
_MAX_VALIDATION = 1000
# Heads are fitted to every eighth, fourth and second example, and to this number of different parts of each size.
_STRIDES, _NUM_SUBSETS = (8, 4, 2), 2
_MIN_SEQUENCES = 32


@dataclass(frozen=True)
class StartingPoint:
    """The model before training: the pretrained encoder with the initial head.

    Args:
        title: describes the model in a few words.
        evaluations: evaluation by split.
        sizes: scores of heads that were fitted to less data, as in `report.json`; `None` if not measured.
    """

    title: str
    evaluations: dict[str, Evaluation]
    sizes: dict[str, Any] | None


def starting_point(
    problem: Problem,
    config: Config,
    predictor: Predictor,
    evaluate: Callable[[Sequence[str]], dict[str, Evaluation]],
) -> StartingPoint | None:
    """Evaluate the model as it was before training, and leave the predictor as it is.

    Args:
        problem: prepared; its cache of vectors saves the time to compute those of the initial head again.
        config: config of the training.
        predictor: has the trained model; its decision may change.
        evaluate: evaluates the current model of the predictor on the splits with these names, as far as they exist.

    Returns:
        `None` for a task whose initial head is random.
    """
    if not problem.task.predicts_untrained:
        return None
    model = predictor.model
    trained = weights.gather("model", model.weights)
    try:
        copy_weights(problem.encoder.backbone, model.backbone)
        _reset_head(model, problem, config)
        fitted_to = initialize_head(problem, model, config)
        predictor.refresh(problem.splits)
        # Validation was already evaluated before training, but its scores may depend on a decision.
        decision = problem.task.decision
        is_enough = "test" in problem.splits and (decision is None or VALIDATION not in decision.fitted_to)
        evaluations = evaluate(("test",) if is_enough else ("validation", "test"))
        sizes = None if fitted_to is None else _training_sizes(problem, config, model, *fitted_to)
    finally:
        weights.scatter("model", model.weights, trained)
    predictor.refresh(problem.splits)
    title = "frozen encoder with its initial head" if model.head.weights else "untouched encoder"
    return StartingPoint(title, evaluations, sizes)


def to_report(
    problem: Problem,
    config: Config,
    evaluations: Mapping[str, Evaluation],
    gold: Mapping[str, Sequence],
    start: StartingPoint | None,
    untrained: Mapping[str, float],
) -> dict[str, Any]:
    """Return the part of `report.json` about baselines.

    Args:
        problem: prepared.
        config: config of the training.
        evaluations: evaluation of the trained model by split.
        gold: the gold values by split.
        start: the model before training; `None` if there is none, or if it was kept.
        untrained: scores of the model before training on validation; empty without a validation split.

    Returns:
        `baselines`, each with `name`, `title` and scores by split; `gain`, how much better the trained model is than
        the one before training by the main metric, with its interval, its p-value and the number of records whose
        predictions are better or worse; and `training_sizes`.
    """
    rows = []
    by_split = {name: problem.task.constant_baseline(problem.tokenized["train"], gold[name]) for name in evaluations}
    constant = {name: baseline for name, baseline in by_split.items() if baseline is not None}
    if constant:
        title = next(iter(constant.values())).title
        rows.append({"name": _CONSTANT, "title": title} | {name: dict(b.scores) for name, b in constant.items()})
    if start is None:
        return {"baselines": rows, "gain": None, "training_sizes": None}
    scores = {name: evaluation.point_scores() for name, evaluation in start.evaluations.items()}
    known = {"validation": dict(untrained)} if untrained else {}
    rows.append({"name": _UNTRAINED, "title": start.title} | known | scores)
    split = "test" if "test" in evaluations else "validation"
    ours, theirs = evaluations.get(split), start.evaluations.get(split)
    gain = None
    if ours is not None and theirs is not None:
        metric = _main(problem, config, ours)
        functions = [evaluation.score_functions()[metric.name] for evaluation in (ours, theirs)]
        difference = paired_bootstrap([functions[0]], [functions[1]], len(gold[split]))
        num_differing = int(np.count_nonzero(ours.record_scores() != theirs.record_scores()))
        p_value = max(difference.p_value, smallest_p_value(num_differing))
        gain = {"metric": metric.name, "split": split, **asdict(difference)}
        gain |= {"p_value": p_value, "num_differing": num_differing}
    return {"baselines": rows, "gain": gain, "training_sizes": start.sizes}


def _main(problem: Problem, config: Config, evaluation: Evaluation) -> Metric:
    measured = evaluation.score_functions()
    return main_metric((m for m in problem.task.metrics if m.name in measured), config.train.monitor)


def _reset_head(model: TaskModel, problem: Problem, config: Config) -> None:
    """Give the head of a model the weights that a new one has."""
    head = problem.task.head(config.train.seed)
    head.build(model.backbone.hidden_dim)
    model.head.set_weights(head.get_weights())


def _training_sizes(
    problem: Problem, config: Config, model: TaskModel, sequences: np.ndarray, vectors: np.ndarray
) -> dict[str, Any] | None:
    """Fit heads to parts of the examples that the initial head was fitted to, and score them on validation.

    Args:
        problem: prepared.
        config: config of the training.
        model: has the weights before training, with the initial head; its head changes.
        sequences: the sequences of train that the initial head was fitted to.
        vectors: their pooled vectors.

    Returns:
        As for `_compare_sizes`; `None` if there are too few examples, or a text may have several sequences.
    """
    task, train = problem.task, problem.training_examples
    is_measured = isinstance(task, FittedPooledTask) and task.cuts_texts and "validation" in problem.splits
    if not is_measured or len(sequences) < _MIN_SEQUENCES:
        return None
    validation = problem.tokenized["validation"]
    number = min(len(validation), _MAX_VALIDATION)
    records = np.sort(np.random.default_rng(config.train.seed).permutation(len(validation))[:number])
    held_out = embed_sequences(
        Embedder(model.backbone, model.head), validation, config.encoder.sequence_length, records
    )
    gold = [task.gold(record) for record in problem.splits["validation"].records_at(records.tolist())]
    (target,) = (train.targets[name][sequences] for name in task.targets)
    decided = task.decision.initial() if task.decision else {}

    def evaluation() -> Evaluation:
        outputs = task.decode_texts(model.head.scores_of(held_out))
        outputs = task.decision.apply(outputs, decided) if task.decision else outputs
        return task.evaluate({name: values.numpy() for name, values in outputs.items()}, gold, decided)

    def fitted(positions: np.ndarray) -> Evaluation:
        _reset_head(model, problem, config)
        subset = train.take(sequences[positions], np.arange(len(positions) + 1))
        task.initialize_head(model.head, lambda chosen: vectors[positions[chosen]], subset, config.train.seed)
        return evaluation()

    by_stride = {1: [evaluation()]}
    for stride in _STRIDES:
        # Sequences of classification are in the order of their labels, so these subsets are stratified.
        subsets = [np.arange(offset, len(sequences), stride) for offset in range(_NUM_SUBSETS)]
        if all(len(np.unique(target[subset], axis=0)) > 1 for subset in subsets):
            by_stride[stride] = [fitted(subset) for subset in subsets]
    # Thresholds are not fitted here; the metric that chooses the best epoch does not depend on them by default.
    metric = monitored(task, config)
    if 2 not in by_stride:
        return None
    return {"num_train": len(problem.tokenized["train"])} | _compare_sizes(by_stride, metric, len(sequences), len(gold))


def _compare_sizes(
    by_stride: Mapping[int, Sequence[Evaluation]], metric: Metric, num_examples: int, num_records: int
) -> dict[str, Any]:
    """Return the scores by number of examples, and whether all are better than half.

    Args:
        by_stride: evaluations of heads that were fitted to every `stride`-th example.
        metric: the metric to compare by.
        num_examples: number of all examples.
        num_records: number of records of the evaluations.

    Returns:
        `metric`; `points`, each with `num_examples` and `scores`; and the `difference` between all examples and half of
        them with its interval `low`, `high`; and `num_differing`, the number of records whose predictions differ in
        how good they are.
    """
    functions = {
        stride: [evaluation.score_functions()[metric.name] for evaluation in evaluations]
        for stride, evaluations in sorted(by_stride.items(), reverse=True)
    }
    difference = paired_bootstrap(functions[1] * len(functions[2]), functions[2], num_records)
    every_record = np.arange(num_records)
    points = [
        {"num_examples": -(-num_examples // stride), "scores": [score(every_record) for score in scores]}
        for stride, scores in functions.items()
    ]
    bounds = {name: getattr(difference, name) for name in ("difference", "low", "high")}
    record_scores = [evaluation.record_scores() for stride in (1, 2) for evaluation in by_stride[stride]]
    num_differing = int(np.count_nonzero(np.ptp(record_scores, axis=0)))
    return {"metric": metric.name, "points": points, **bounds, "num_differing": num_differing}
