"""Comparison of systems on the same records: scores, differences beyond chance, and records on which they disagree."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from tfbert.comparison.systems import System
from tfbert.evaluation.comparison import RESAMPLES, Difference, ResampledScores, holm, resample, smallest_p_value
from tfbert.evaluation.formatting import listed
from tfbert.evaluation.metric import Evaluation, Metric, main_metric
from tfbert.nearest import did_you_mean

_LEVEL = 0.05
# Resamples per pair, so that Holm's correction leaves p-values that can be below the level.
_RESAMPLES_PER_PAIR = 100
# Percentile intervals of fewer records are too narrow.
_FEW_RECORDS = 30
# Equal scores may differ by this much.
_ROUNDING = 1e-9
# Labels that are named in a message.
_MAX_LABELS = 3
# With fewer common records than this, the result would say little about either test set.
_MIN_COMMON = 50


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two systems and the difference of their scores.

    Args:
        better: the index of the system with the better score.
        worse: the index of the other one.
        gain: how much better its score is, in the direction in which the metric improves.
        p_value: of the gain, corrected for the number of pairs.
        num_better: the number of records that the better system predicts better.
        num_worse: the number of records that it predicts worse.
    """

    better: int
    worse: int
    gain: Difference
    p_value: float
    num_better: int
    num_worse: int

    @property
    def num_differing(self) -> int:
        """The number of records that one of the systems predicts better."""
        return self.num_better + self.num_worse

    @property
    def is_tie(self) -> bool:
        """Whether the scores are equal, apart from rounding."""
        return self.gain.difference < _ROUNDING

    @property
    def is_significant(self) -> bool:
        """Whether the difference is more than chance at level 5 %."""
        return self.p_value <= _LEVEL


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Systems compared on the same records.

    Args:
        systems: two or more.
        metric: the metric that is compared.
        indices: for each system, the indices of the compared records among its records.
        evaluations: for each system, the evaluation of its shown training on these records.
        scores: for each system, the mean scores over its trainings by metric, with `value`, `low` and `high`.
        pairs: all pairs of systems.
        warnings: sentences about what makes the result less certain than usual.
        explanations: sentences on how to read the result.
    """

    systems: Sequence[System]
    metric: Metric
    indices: Sequence[Sequence[int]]
    evaluations: Sequence[Evaluation]
    scores: Sequence[Mapping[str, Mapping[str, float]]]
    pairs: Sequence[Pair]
    warnings: Sequence[str]
    explanations: Sequence[str]

    @property
    def num_records(self) -> int:
        """The number of records that all systems are compared on."""
        return len(self.indices[0])

    @property
    def num_trainings(self) -> int:
        """The number of seeds per system."""
        return len(self.systems[0].trainings)

    def ranking(self) -> list[int]:
        """Return the indices of the systems, best first."""
        values = [self.metric.sign * score[self.metric.name]["value"] for score in self.scores]
        return sorted(range(len(values)), key=lambda system: -values[system])

    def sentence(self, pair: Pair) -> str:
        """Return what a pair shows, in one to three sentences."""
        better, worse = (self.systems[index].name for index in (pair.better, pair.worse))
        gain, title = pair.gain, self.metric.title
        if not pair.num_differing:
            return f"{better} and {worse} are equally right on {self._every_record()}."
        direction = "lower" if self.metric.better == "lower" else "higher"
        amount = f"{self.metric.format_difference(gain.difference)} {direction}"
        difference = f"{better}'s {title} is {amount} than {worse}'s"
        interval = f"(95% interval {self.metric.format_difference_interval(gain.low, gain.high)})"
        if pair.is_significant:
            return f"{difference} {interval}: more than chance."
        if smallest_p_value(pair.num_differing) > _LEVEL:
            # Without the interval, which is too narrow if so few records differ.
            difference = f"{difference}."
            count = f"{pair.num_differing} of {self.num_records:,} records"
            reason = f"One is better than the other on only {count}, too few to tell."
        elif gain.p_value <= _LEVEL and len(self.pairs) > 1:
            difference = f"{difference} {interval}."
            reason = f"Alone, this difference would be more than chance; among {len(self.pairs)} pairs it is not."
        else:
            difference = f"{difference} {interval}, which may be chance."
            smallest = self.metric.format_difference((gain.high - gain.low) / 2)
            reason = f"With {self.num_records:,} records, only differences of about {smallest} or more can be detected."
        if pair.is_tie:
            difference = f"{better} and {worse} have the same {title}."
        return f"No difference can be shown: {difference} {reason}"

    def leaders(self) -> list[int]:
        """Return the indices of the systems with the best score: one, or several with equal scores."""
        best = self.ranking()[0]
        return [index for index in self.ranking() if index == best or self._pair(index, best).is_tie]

    def verdict(self) -> str:
        """Return the result of the whole comparison, in one to three sentences."""
        if len(self.pairs) == 1:
            return self.sentence(self.pairs[0])
        leaders, title = self.leaders(), self.metric.title
        others = [index for index in self.ranking() if index not in leaders]
        names = self._names(leaders)
        result, lead = f"{names} has the best {title}", "its lead"
        if len(leaders) > 1:
            tie = f"{names} have the same {title}."
            if not any(self._pair(*pair).num_differing for pair in itertools.combinations(leaders, 2)):
                tie = f"{names} are equally right on {self._every_record()}."
            if not others:
                return tie
            result, lead = f"{tie} Their {title} is the best", "their lead"
        unclear = [o for o in others if not all(self._pair(leader, o).is_significant for leader in leaders)]
        if not unclear:
            return f"{result}, by more than chance against {self._names(others)}."
        return f"{result}, but {lead} over {self._names(unclear)} may be chance."

    def _every_record(self) -> str:
        return "the only record" if self.num_records == 1 else f"each of the {self.num_records:,} records"

    def _pair(self, first: int, second: int) -> Pair:
        return next(pair for pair in self.pairs if {pair.better, pair.worse} == {first, second})

    def _names(self, indices: Sequence[int]) -> str:
        return listed([self.systems[index].name for index in indices])

    def disagreements(self) -> list[int]:
        """Return the positions of the records with different predictions, largest difference of their scores first."""
        scores = np.asarray([evaluation.record_scores() for evaluation in self.evaluations])
        spread = np.ptp(scores, axis=0)
        predictions = [
            [(o.predicted, o.predicted_spans) for o in map(evaluation.outcome, range(self.num_records))]
            for evaluation in self.evaluations
        ]
        differ = [len(set(values)) > 1 for values in zip(*predictions, strict=True)]
        return sorted(np.flatnonzero(differ).tolist(), key=lambda record: (-spread[record], record))

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Return the columns and rows of a table of the systems, best first, with the intervals of their scores."""
        names = [metric.name for metric in self.systems[0].task.metrics if metric.name in self.scores[0]]
        metrics = {metric.name: metric for metric in self.systems[0].task.metrics}
        rows = []
        for index in self.ranking():
            score = self.scores[index][self.metric.name]
            interval = self.metric.format_interval(score["low"], score["high"], with_unit=False)
            others = [
                metrics[name].format(self.scores[index][name]["value"]) for name in names if name != self.metric.name
            ]
            rows.append([self.systems[index].name, self.metric.format(score["value"]), interval, *others])
        titles = [metrics[name].title for name in names if name != self.metric.name]
        return ["model", self.metric.title, "95% interval", *titles], rows

    def to_json(self) -> list[dict[str, Any]]:
        """Return an object for each system and for each pair, ready for JSON."""
        systems = [
            {
                "kind": "model",
                "name": system.name,
                "path": str(system.path),
                "num_records": self.num_records,
                "num_seeds": len(system.trainings),
                "metrics": dict(scores),
            }
            for system, scores in zip(self.systems, self.scores, strict=True)
        ]
        pairs = [
            {
                "kind": "pair",
                "better": self.systems[pair.better].name,
                "worse": self.systems[pair.worse].name,
                "metric": self.metric.name,
                **asdict(pair.gain),
                "corrected_p_value": pair.p_value,
                "is_more_than_chance": pair.is_significant,
                "num_better": pair.num_better,
                "num_worse": pair.num_worse,
                "sentence": self.sentence(pair),
            }
            for pair in self.pairs
        ]
        return systems + pairs


def compare(systems: Sequence[System], metric_name: str | None = None) -> Comparison:
    """Compare systems on the records that all of them have predicted.

    Args:
        systems: two or more, of the same task and with the same labels.
        metric_name: the metric that is compared; `None` for the main metric of the task.

    Raises:
        ValueError: the systems have different tasks or labels, or too few common records; the task has no such metric.
    """
    _require_same_task(systems)
    indices, warnings = _common_records(systems)
    evaluations = [system.evaluations(rows) for system, rows in zip(systems, indices, strict=True)]
    metric = _metric(systems[0], evaluations[0][0], metric_name)
    functions = [[evaluation.score_functions() for evaluation in trainings] for trainings in evaluations]
    num_resamples = max(RESAMPLES, _RESAMPLES_PER_PAIR * math.comb(len(systems), 2))
    resampled = {
        name: resample([[training[name] for training in s] for s in functions], len(indices[0]), num_resamples)
        for name in functions[0][0]
    }
    fractions = {metric.name for metric in systems[0].task.metrics if metric.unit == "fraction"}
    scores = [
        {name: values.interval(index, name in fractions) for name, values in resampled.items()}
        for index in range(len(systems))
    ]
    shown = [trainings[system.shown] for system, trainings in zip(systems, evaluations, strict=True)]
    record_scores = [np.mean([e.record_scores() for e in trainings], axis=0) for trainings in evaluations]
    pairs = _pairs(resampled[metric.name], metric, record_scores)
    return Comparison(
        systems=systems,
        metric=metric,
        indices=indices,
        evaluations=shown,
        scores=scores,
        pairs=pairs,
        warnings=warnings,
        explanations=_explanations(systems, len(pairs)),
    )


def _pairs(resampled: ResampledScores, metric: Metric, record_scores: Sequence[np.ndarray]) -> list[Pair]:
    """Return all pairs of systems, with p-values corrected for their number.

    Args:
        resampled: the scores of all systems.
        metric: the metric of the scores.
        record_scores: for each system, how good its predictions for each record are.
    """
    pairs = []
    for first, second in itertools.combinations(range(len(record_scores)), 2):
        is_swapped = metric.sign * (resampled.observed[second] - resampled.observed[first]) > 0
        better, worse = (second, first) if is_swapped else (first, second)
        gain = resampled.difference(*((better, worse) if metric.better == "higher" else (worse, better)))
        num_better = int(np.count_nonzero(record_scores[better] > record_scores[worse]))
        num_worse = int(np.count_nonzero(record_scores[better] < record_scores[worse]))
        p_value = max(gain.p_value, smallest_p_value(num_better + num_worse))
        pair = Pair(better=better, worse=worse, gain=gain, p_value=p_value, num_better=num_better, num_worse=num_worse)
        pairs.append(pair)
    corrected = holm([pair.p_value for pair in pairs])
    pairs = [replace(pair, p_value=p_value) for pair, p_value in zip(pairs, corrected, strict=True)]
    # The best system first.
    rank = np.argsort(np.argsort(-metric.sign * resampled.observed, kind="stable"))
    return sorted(pairs, key=lambda pair: (rank[pair.better], rank[pair.worse]))


def _require_same_task(systems: Sequence[System]) -> None:
    first = systems[0]
    for other in systems[1:]:
        if first.task.definition != other.task.definition:
            raise ValueError(
                f"{first.path} is a model of {first.task.name} and {other.path} one of {other.task.name}; "
                "expected models of the same task"
            )
        ours, theirs = set(first.task.known_labels), set(other.task.known_labels)
        if ours != theirs:
            labels = [repr(label) for label in sorted(ours ^ theirs)]
            if len(labels) > _MAX_LABELS:
                labels = [*labels[:_MAX_LABELS], f"{len(labels) - _MAX_LABELS} more"]
            verb = "is" if len(labels) == 1 else "are"
            raise ValueError(
                f"{first.path} and {other.path} have different labels: {listed(labels)} {verb} known to only one of "
                "them; expected models with the same labels"
            )
        inputs = [[declared.name for declared in system.task.inputs] for system in (first, other)]
        if type(first.task) is not type(other.task) or inputs[0] != inputs[1]:
            raise ValueError(
                f"{first.path} predicts from {listed(inputs[0])} and {other.path} from {listed(inputs[1])}; "
                "expected models with the same inputs"
            )


def _common_records(systems: Sequence[System]) -> tuple[list[list[int]], list[str]]:
    """Return the indices of the records that all systems have, in the same order for each, and warnings.

    Raises:
        ValueError: the systems have different records, of which too few are common.
    """
    warnings = []
    if any(system.num_seeds > len(system.trainings) for system in systems):
        warnings.append(
            "Some runs have several seeds, of which only the one with the best score on validation is compared. The "
            "best of several seeds is partly luck, so these runs look better than they are."
        )
    keys = [system.keys() for system in systems]
    common = set(keys[0]).intersection(*keys[1:])
    if any(len(system_keys) != len(common) for system_keys in keys):
        counts = ", ".join(f"{system.name} {len(k):,}" for system, k in zip(systems, keys, strict=True))
        if len(common) < _MIN_COMMON:
            raise ValueError(
                f"the test sets differ ({counts} records) and have only {len(common):,} records in common; "
                "give --data to evaluate all models on the same records"
            )
        warnings.append(
            f"The test sets differ ({counts} records). The models are compared on the {len(common):,} records that "
            "all of them have, so the scores differ from those in their reports."
        )
    if len(common) < _FEW_RECORDS:
        records = "one record" if len(common) == 1 else f"{len(common)} records"
        warnings.append(f"There is too little test data: intervals from only {records} are usually too narrow.")
    order = [key for key in keys[0] if key in common]
    positions = [{key: index for index, key in enumerate(system_keys)} for system_keys in keys]
    return [[system_positions[key] for key in order] for system_positions in positions], warnings


def _metric(system: System, evaluation: Evaluation, name: str | None) -> Metric:
    measured = evaluation.score_functions()
    metrics = {metric.name: metric for metric in system.task.metrics if metric.name in measured}
    if name is None:
        in_report = [metrics[key] for key in evaluation.intervals()]
        return main_metric(in_report, system.config.train.monitor)
    if name not in metrics:
        raise ValueError(f"--metric {name}: expected one of {', '.join(metrics)}{did_you_mean(name, metrics)}")
    return metrics[name]


def _explanations(systems: Sequence[System], num_pairs: int) -> list[str]:
    num_trainings, sentences = len(systems[0].trainings), []
    if num_trainings > 1:
        sentences.append(
            f"Scores are means over {num_trainings} seeds, and the intervals include how much seeds differ. The "
            "predictions shown are those of the seed with the best score on validation."
        )
    else:
        sentences.append(
            "The intervals say how much the result depends on the choice of test records, not on the random seed of "
            "training. Train with --seeds 3 or more to include it."
        )
    if num_pairs > 1:
        sentences.append(
            f"There are {num_pairs} pairs. The more pairs are compared, the more of them differ by chance alone, so a "
            "difference must be clearer than between two models (Holm's correction); the intervals are not corrected."
        )
    return sentences
