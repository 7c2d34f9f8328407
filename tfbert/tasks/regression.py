"""Regression: a number per text or pair of texts, such as a rating, a price or the similarity of two sentences.

A record is a text, optionally a second text, and a number. The served output is a number in the same units.
"""

import math
import re
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tfbert.calibration.intervals import fit_half_width
from tfbert.evaluation import values as evaluation
from tfbert.evaluation.metric import Baseline, Evaluation
from tfbert.heads.pooled import PooledHead, start_with_ridge
from tfbert.space import COMMON, Choice
from tfbert.tasks import base_outputs
from tfbert.tasks.base import Embed
from tfbert.tasks.base_context import Served
from tfbert.tasks.base_decision import CALIBRATION, Decision, Predicted
from tfbert.tasks.base_explained import ExplainedTexts
from tfbert.tasks.base_huggingface import SEQUENCE_CLASSES
from tfbert.tasks.base_options import option
from tfbert.tasks.base_pooled import FittedPooledTask, PooledOptions, PooledTask, has_pair
from tfbert.text.datasets import Target, TokenizedSplit, Warn
from tfbert.text.readers.columns import Column, shown_json
from tfbert.text.readers.rows import Row
from tfbert.text.record_sequences import RecordSequences
from tfbert.text.records import Record

VALUE = Column(
    "value",
    "value, score, rating, stars, similarity, relatedness, grade, points, price, urgency, label, target",
    is_target=True,
)
# Stricter than float(), which also accepts values such as 1_000 or nan that are mistakes in a file.
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)
_EXPECTED = "expected a number, such as 3 or -0.25"
_LARGEST = float(np.finfo(np.float32).max)
# Largest accepted spacing of float32 numbers near the values, in standard deviations of the values.
_MAX_SPACING = 0.01
# The number of examples that the initial head is fitted to.
_MAX_EXAMPLES = 4000


@dataclass(frozen=True, kw_only=True)
class RegressionOptions(PooledOptions):
    """Options of regression."""

    coverage: float | None = option("decision.coverage")


class Regression(PooledTask):
    """Text regression: least squares on standardized values, which the graph maps back to the units of the data."""

    title = "a number per text or pair of texts"
    aliases = ("sts", "semantic_similarity", "similarity", "score", "rating", "text_regression")
    options = RegressionOptions
    model_class = SEQUENCE_CLASSES["regression"]
    search_space = COMMON | {"head.pooling": Choice("mean", "cls", "max")}

    def parse_target(self, row: Row) -> float:
        """Return the value of a row.

        Raises:
            ValueError: the value is not a number, or is out of the range of float32.
        """
        value = row.values.get("value")
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if isinstance(value, str):
            is_number = _NUMBER.fullmatch(value.strip()) is not None
        if not is_number:
            has_comma = isinstance(value, str) and _NUMBER.fullmatch(value.strip().replace(",", ".", 1))
            hint = ", with a decimal point and no thousands separators" if has_comma else ""
            raise ValueError(f"value is {shown_json(value)}; {_EXPECTED}{hint}")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not abs(number) <= _LARGEST:
            raise ValueError(f"value is {shown_json(value)}; expected a finite number, up to {_LARGEST:.3g}")
        return number

    def fit(self, records: Iterable[Record], options: RegressionOptions) -> "FittedRegression":
        """Return the task with the mean, the standard deviation and the range of the values.

        Raises:
            ValueError: all values are equal, or float32 is not precise enough to tell them apart.
        """
        pair, records = has_pair(records)
        values = np.asarray(array("d", (record.target for record in records)))
        lowest, highest = float(values.min()), float(values.max())
        scale = float(values.std())
        if lowest == highest:
            raise ValueError(f"every value in train is {lowest:g}; expected at least two that differ")
        if np.spacing(np.float32(max(-lowest, highest))) > _MAX_SPACING * scale:
            raise ValueError(
                f"values in train, {lowest:.10g} to {highest:.10g}, have too many digits for float32; subtract a "
                f"constant such as {lowest:.10g} from each"
            )
        return FittedRegression(
            options=options,
            has_pair=pair,
            mean=float(values.mean()),
            scale=scale,
            lowest=lowest,
            highest=highest,
        )

    def fit_to_model(self, labels: tuple[str, ...], options: RegressionOptions, has_pair: bool) -> "FittedRegression":
        """Return the task for a model that predicts values in their own units, without limits.

        Raises:
            ValueError: the model predicts several values.
        """
        if len(labels) > 1:
            raise ValueError(f"the model predicts {len(labels)} values; expected one")
        limits = {"lowest": -_LARGEST, "highest": _LARGEST}
        return FittedRegression(options=options, has_pair=has_pair, mean=0.0, scale=1.0, **limits)


class Interval(Decision):
    """The interval around the predicted number that contains the true one with the chosen coverage.

    Args:
        coverage: the fraction of intervals that should contain the true number.
    """

    specs = {"half_width": tf.TensorSpec([], tf.float32)}
    fitted_to = (CALIBRATION,)

    def __init__(self, coverage: float):
        self._coverage = coverage

    def initial(self) -> Mapping[str, np.ndarray]:
        """Return an infinite interval."""
        return {"half_width": np.float32(np.inf)}

    def fit(self, splits: Mapping[str, Predicted]) -> Mapping[str, np.ndarray]:
        """Return the half-width for the calibration split."""
        if CALIBRATION not in splits:
            return self.initial()
        residuals = splits[CALIBRATION].outputs["value"] - np.asarray(splits[CALIBRATION].gold, np.float64)
        # Rounded up, so that float32 does not exclude the record that determines the width.
        return {"half_width": np.nextafter(np.float32(fit_half_width(residuals, self._coverage)), np.float32(np.inf))}

    def describe(self, decided: Mapping[str, np.ndarray]) -> str:
        """Return the half-width of the interval."""
        return f"an interval of the value plus and minus {float(decided['half_width']):.4g}"

    def apply(self, outputs: Mapping[str, tf.Tensor], decided: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Return the outputs with `low` and `high`, float32 `(batch,)`."""
        value, half_width = outputs["value"], decided["half_width"]
        return {**outputs, "low": value - half_width, "high": value + half_width}

    def covered(self, outputs: Mapping[str, np.ndarray], gold: Sequence[float]) -> np.ndarray:
        """Return whether each interval has the true number."""
        true = np.asarray(gold)
        return (outputs["low"] <= true) & (true <= outputs["high"])


@dataclass(frozen=True, kw_only=True)
class FittedRegression(FittedPooledTask):
    """Regression with the distribution of the training values.

    Args:
        mean: the mean of the values.
        scale: the standard deviation of the values.
        lowest: the smallest value, which is also the lower limit of predictions.
        highest: the largest value, which is also the upper limit of predictions.
    """

    options: RegressionOptions
    mean: float
    scale: float
    lowest: float
    highest: float

    all_outputs = base_outputs.REGRESSION
    metrics = evaluation.METRICS
    monitor = evaluation.SPEARMAN
    targets = {"value": Target("float32")}

    @property
    def decision(self) -> Interval | None:
        """The interval that contains the true number, if `decision.coverage` is set."""
        return Interval(self.options.coverage) if self.options.coverage else None

    @property
    def score_scale(self) -> float:
        """The standard deviation: in transformers, the logit is the value in the units of the data."""
        return self.scale

    @property
    def score_offset(self) -> float:
        """The mean of the values."""
        return self.mean

    @property
    def model_labels(self) -> Sequence[str]:
        """The name of the value."""
        return ("value",)

    @property
    def decoding(self) -> str:
        """The limits of predictions."""
        if self.highest == _LARGEST:
            return ""
        return f"the limits of predictions, {self.lowest:g} to {self.highest:g}, the range of the training values"

    @property
    def num_scores(self) -> int:
        """1: the only score is the standardized value."""
        return 1

    @property
    def explained(self) -> ExplainedTexts:
        """The value in the units of the data, before it is limited to the range of train."""
        return ExplainedTexts(self.model_labels, "number", self.options.long_text, self.scale)

    def target_of(self, record: Record) -> np.float32:
        """Return the standardized value: its distance from the mean of train, in standard deviations."""
        return np.float32((record.target - self.mean) / self.scale)

    def targets_of(self, record: Record, sequences: RecordSequences, warn: Warn) -> Sequence[Mapping[str, Any]]:
        """Return the standardized value for each sequence, and warn of a value outside the range of train."""
        if not self.lowest <= record.target <= self.highest:
            warn(f"values lie outside {self.lowest:g} to {self.highest:g}, the range of train and of predictions")
        return super().targets_of(record, sequences, warn)

    def gold(self, record: Record) -> float:
        """Return the value in the units of the data."""
        return record.target

    def initialize_head(self, head: PooledHead, embed: Embed, split: TokenizedSplit, seed: int) -> None:
        """Fit the head by ridge regression to some of the examples, unless `head.start` is `random`."""
        if self.options.start == "random":
            return
        values = split.targets["value"]
        indices = np.random.default_rng(seed).permutation(len(values))[:_MAX_EXAMPLES]
        start_with_ridge(head, embed(indices), values[indices])

    def loss(self, scores: tf.Tensor, batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Return the squared error of the standardized value."""
        return tf.square(scores[:, 0] - batch["value"])

    def decode_texts(self, scores: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return `value`, float32 `(batch,)`, in the units of the data and within the range of train."""
        value = scores[:, 0] * self.scale + self.mean
        return {"value": tf.clip_by_value(value, self.lowest, self.highest)}

    def evaluate(
        self, outputs: Mapping[str, np.ndarray], gold: Sequence[float], decided: Mapping[str, np.ndarray]
    ) -> Evaluation:
        """Return the evaluation of predicted values."""
        return evaluation.ValueEvaluation(outputs["value"], np.asarray(gold), self.scale)

    def constant_baseline(self, train: TokenizedSplit, gold: Sequence[float]) -> Baseline:
        """Return the scores of the mean of train."""
        predicted = np.full(len(gold), self.mean)
        scores = evaluation.ValueEvaluation(predicted, np.asarray(gold), self.scale).point_scores()
        return Baseline(f"always predicting {self.mean:.4g}, the mean of train", scores)

    def signatures(self, served: Served) -> dict[str, Any]:
        """Return `regress`, for TF Serving's Regress and MultiInference calls."""

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
        def regress(inputs):
            return {"outputs": self.predict_examples(served, inputs)["value"]}

        return {"regress": regress}


TASK = Regression(VALUE)
