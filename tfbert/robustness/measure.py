"""Measurement of robustness: predictions for perturbed texts next to those for the same original texts."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tfbert.evaluation.comparison import resample
from tfbert.evaluation.metric import Evaluation, Metric, Outcome, main_metric
from tfbert.evaluation.metrics import proportion, resampled
from tfbert.models.predictor import predict_all
from tfbert.robustness.results import NUM_WORST, Effect, Robustness, WorstText
from tfbert.robustness.variants import Variants, vary
from tfbert.robustness.worst_case import Attacked, search_worst_cases
from tfbert.serving.evaluate import LabelledPredictions
from tfbert.tasks.base import FittedTask, list_tasks, load_task
from tfbert.tasks.base_editing import EditableTask
from tfbert.text.edits import Edit, shifted
from tfbert.text.perturbations.catalog import PERTURBATIONS
from tfbert.text.perturbations.perturbation import Perturbation
from tfbert.text.records import Record

DEFAULT_EXAMPLES = 1000
_SEED = 0
# The evaluation of the records at some positions.
Evaluate = Callable[[Sequence[int]], Evaluation]


def require_editable(task: FittedTask) -> None:
    """Check that the robustness of models of a task can be measured.

    Raises:
        ValueError: it cannot; the message names the tasks for which it can.
    """
    if not isinstance(task.definition, EditableTask):
        names = [name for name in list_tasks() if isinstance(load_task(name), EditableTask)]
        raise ValueError(f"--robustness: not for the task {task.name}; expected one of {', '.join(names)}")


def measure(
    predictions: LabelledPredictions,
    max_examples: int = DEFAULT_EXAMPLES,
    perturbations: Sequence[Perturbation] = PERTURBATIONS,
) -> Robustness:
    """Measure how robust a model is against perturbations and against a search for misleading edits.

    Args:
        predictions: the model with its predictions for labelled records.
        max_examples: the maximum number of records. Of more, this many are drawn at random, always the same.
        perturbations: the perturbations.

    Raises:
        ValueError: robustness cannot be measured for the task.
    """
    predict, task, decided = predictions.predict, predictions.task, predictions.decided
    require_editable(task)
    records = _drawn(list(predictions.records), max_examples)
    all_variants = [vary(task.definition, records, perturbation, _SEED) for perturbation in perturbations]
    varied = [record for variants in all_variants for record in variants.records]
    outputs, gold = predict_all(predict, task, [*records, *varied], len(records) + len(varied), "robustness")

    def evaluate(indices: Sequence[int]) -> Evaluation:
        return task.evaluate({n: v[list(indices)] for n, v in outputs.items()}, [gold[i] for i in indices], decided)

    original = evaluate(range(len(records)))
    numbers = _predicted_numbers(task, outputs)
    metric = _metric(task, original, predictions.config.train.monitor, numbers is not None)
    is_right = original.record_scores() == 1
    always_right, effects, start = is_right.copy(), [], len(records)
    for variants in all_variants:
        positions = range(start, start + len(variants.records))
        comparison = _Comparison(records, variants, positions, evaluate, metric, numbers)
        effects.append(comparison.effect())
        always_right[variants.indices] &= comparison.is_right()
        start = positions.stop
    attacked = [
        Attacked(records[index], original.outcome(index).gold_probability) for index in np.flatnonzero(is_right)
    ]
    has_label = any(output.is_label for output in task.outputs)
    return Robustness(
        metric=metric,
        num_examples=len(records),
        score=resampled(original.score_functions()[metric.name], len(records), is_fraction=metric.unit == "fraction"),
        effects=effects,
        always_right=proportion(int(always_right.sum()), len(records)) if numbers is None else None,
        worst_case=search_worst_cases(predict, task, decided, attacked) if has_label else None,
    )


class _Comparison:
    """The records that a perturbation changes, and the predictions for them before and after.

    Args:
        records: all original records.
        variants: the changed records.
        positions: the position of each of them among all predictions.
        evaluate: returns an evaluation of predictions.
        metric: the metric of the scores.
        numbers: all predicted numbers; `None` if the task predicts something else.
    """

    def __init__(
        self,
        records: Sequence[Record],
        variants: Variants,
        positions: Sequence[int],
        evaluate: Evaluate,
        metric: Metric,
        numbers: np.ndarray | None,
    ):
        self._variants, self._metric = variants, metric
        self._records = [records[index] for index in variants.indices]
        self._numbers = numbers if numbers is None else (numbers[list(variants.indices)], numbers[list(positions)])
        self._evaluations = (evaluate(variants.indices), evaluate(positions)) if len(positions) else ()

    def is_right(self) -> np.ndarray:
        """Return whether the prediction for each changed record is right, bool `(records,)`."""
        return self._evaluations[1].record_scores() == 1 if self._evaluations else np.zeros(0, bool)

    def effect(self) -> Effect:
        """Return the effect of the perturbation."""
        perturbation, count = self._variants.perturbation, len(self._records)
        described = {
            "perturbation": perturbation.name,
            "description": perturbation.description,
            "languages": perturbation.languages,
            "num_changed": count,
        }
        if not count:
            return Effect(**described)
        functions = [[evaluation.score_functions()[self._metric.name]] for evaluation in self._evaluations]
        scores = resample(functions, count)
        before, after = (scores.interval(system, self._metric.unit == "fraction") for system in (0, 1))
        gain = scores.difference(1, 0)
        difference = {"value": gain.difference, "low": gain.low, "high": gain.high}
        outcomes = [[evaluation.outcome(i) for i in range(count)] for evaluation in self._evaluations]
        if self._numbers is None:
            are_equal = [_equal(*pair, edits) for *pair, edits in zip(*outcomes, self._variants.edits, strict=True)]
            before_right, after_right = (evaluation.record_scores() == 1 for evaluation in self._evaluations)
            worst = np.flatnonzero(before_right & ~after_right)
            worst = sorted(worst, key=lambda record: -(outcomes[1][record].confidence or 0.0))
            measured = {"flips": proportion(are_equal.count(False), count)}
        else:
            changes = np.abs(self._numbers[1] - self._numbers[0])
            worst = [record for record in np.argsort(-changes, kind="stable") if changes[record] > 0]
            measured = {"change": resampled(lambda indices: float(changes[indices].mean()), count, is_fraction=False)}
        texts = [self._worst(record, outcomes[0][record], outcomes[1][record]) for record in worst[:NUM_WORST]]
        return Effect(**described, before=before, after=after, difference=difference, **measured, worst=texts)

    def _worst(self, index: int, before: Outcome, after: Outcome) -> WorstText:
        record, perturbed = self._records[index], self._variants.records[index]
        return WorstText(
            where=record.where,
            original=record.texts,
            perturbed=perturbed.texts,
            gold=before.gold,
            before=before.predicted,
            after=after.predicted,
            confidence=after.confidence,
            change=None if self._numbers is None else float(abs(self._numbers[1][index] - self._numbers[0][index])),
        )


def _drawn(records: list[Record], max_examples: int) -> list[Record]:
    if len(records) <= max_examples:
        return records
    indices = np.random.default_rng(_SEED).choice(len(records), max_examples, replace=False)
    return [records[index] for index in sorted(indices)]


def _predicted_numbers(task: FittedTask, outputs: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """Return the predicted numbers, if the answer of the task is a number."""
    names = [output.name for output in task.outputs if output.role == "answer" and output.dtype == "float32"]
    return outputs[names[0]] if names else None


def _metric(task: FittedTask, evaluation: Evaluation, monitor: str | None, has_numbers: bool) -> Metric:
    """Return the metric to compare: for numbers an error in their units, which few records suffice for."""
    metrics = [metric for metric in task.metrics if metric.name in evaluation.score_functions()]
    return main_metric([m for m in metrics if m.unit == "target"] if has_numbers else metrics, monitor)


def _equal(before: Outcome, after: Outcome, edits: Sequence[Edit]) -> bool:
    """Return whether two predictions are equal; those with spans, if the spans are at the same places of the text."""
    if not (before.predicted_spans or after.predicted_spans):
        return before.predicted == after.predicted
    moved = {(*shifted(span.start, span.end, edits), span.label) for span in before.predicted_spans}
    return moved == {(span.start, span.end, span.label) for span in after.predicted_spans}
