"""One text or a pair of texts, one number: a rating, a price, how urgent a message or how similar two sentences are.

A record is a text, maybe a second one, and a number. The served answer is a number in the same units.
"""

import math
import re
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from tfbert.config import Config
from tfbert.evaluation.values import Values, residual_histogram, scatter
from tfbert.heads.pooled import start_with_ridge
from tfbert.space import COMMON, Choice
from tfbert.tasks.base import TaskModel
from tfbert.tasks.base_pooled import PooledTask, has_pair
from tfbert.text.columns import Column, shown_json
from tfbert.text.datasets import Example, Tokens
from tfbert.text.packing import Packer
from tfbert.text.records import Record
from tfbert.text.rows import Row

VALUE = Column(
    "value",
    "value, score, rating, stars, similarity, relatedness, grade, points, price, urgency, label, target",
    is_target=True,
)
# What Python takes for a number beyond that, such as 1_000 or nan, is a mistake in a file.
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)
_WISH = "wanted a number, such as 3 or -0.25"
_LARGEST = float(np.finfo(np.float32).max)
# Steps between float32 numbers as large as the values, at most, in standard deviations of the values.
_COARSEST = 0.01
# Examples that the head's start is fitted to.
_START_EXAMPLES = 4000


class Regression(PooledTask):
    """A number for every text: least squares on values of mean 0 and variance 1, mapped back in the graph."""

    title = "a number for every text or pair of texts"
    aliases = ("sts", "semantic_similarity", "similarity", "score", "rating", "text_regression")
    defaults = {}
    search_space = COMMON | {"head.pooling": Choice("mean", "cls", "max")}
    monitor = "spearman"

    def target_in(self, row: Row) -> float:
        """Return the value of a row.

        Raises:
            ValueError: it is no number, or one that float32 does not hold.
        """
        value = row.values.get("value")
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if isinstance(value, str):
            is_number = _NUMBER.fullmatch(value.strip()) is not None
        if not is_number:
            decimal = isinstance(value, str) and _NUMBER.fullmatch(value.strip().replace(",", ".", 1))
            hint = ", with a point and no separators of thousands" if decimal else ""
            raise ValueError(f"value is {shown_json(value)}; {_WISH}{hint}")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not abs(number) <= _LARGEST:
            raise ValueError(f"value is {shown_json(value)}; wanted a finite number, up to {_LARGEST:.3g}")
        return number

    def read_facts(self, records: Iterable[Record]) -> dict:
        """Return `mean` and `scale` (standard deviation) of the values, and the `lowest` and `highest`.

        Raises:
            ValueError: all values are equal, or so close to each other that float32 hardly tells them apart.
        """
        pair, records = has_pair(records)
        values = np.asarray(array("d", (record.target for record in records)))
        lowest, highest = float(values.min()), float(values.max())
        scale = float(values.std())
        if lowest == highest:
            raise ValueError(f"every value of train is {lowest:g}; wanted at least two that differ")
        if np.spacing(np.float32(max(-lowest, highest))) > _COARSEST * scale:
            wish = f"wanted less in common, such as what they are above {lowest:.10g}"
            raise ValueError(
                f"values of train, {lowest:.10g} to {highest:.10g}, have too many digits for float32; {wish}"
            )
        return {"mean": float(values.mean()), "scale": scale, "lowest": lowest, "highest": highest, "has_pair": pair}

    def target_of(self, record: Record, facts: dict) -> np.float32:
        """Return the value in standard deviations from the mean of train."""
        return np.float32((record.target - facts["mean"]) / facts["scale"])

    def gold_of(self, record: Record, facts: dict) -> float:
        """Return the value in its own units."""
        return record.target

    def num_outputs(self, facts: dict) -> int:
        """Return 1."""
        return 1

    def examples(
        self, record: Record, tokens: Sequence[Tokens], packer: Packer, facts: dict, config: Config, remark: Callable
    ) -> list[Example]:
        """Return the rows, and remark on a value outside of the range of train."""
        if not facts["lowest"] <= record.target <= facts["highest"]:
            remark(
                f"values lie outside of {facts['lowest']:g} to {facts['highest']:g}, the range of train and of answers"
            )
        return super().examples(record, tokens, packer, facts, config, remark)

    def build_head(self, facts: dict, config: Config) -> keras.layers.Layer:
        """Return a pooled head with one logit.

        Raises:
            ValueError: an option that only labels have.
        """
        for name, none in (("label_smoothing", 0.0), ("class_weights", "none")):
            value = getattr(config.train, name)
            if value != none:
                raise ValueError(f"train.{name}={value}: there are no labels in regression; wanted {none}")
        return super().build_head(facts, config)

    def start_head(
        self, model: TaskModel, embed: Callable[[np.ndarray], np.ndarray], targets: np.ndarray, config: Config
    ) -> None:
        """Start with ridge regression on some of the examples, unless `head.start` is `random`."""
        if config.head.start == "random":
            return
        indices = np.random.default_rng(config.train.seed).permutation(len(targets))[:_START_EXAMPLES]
        start_with_ridge(model.head, embed(indices), targets[indices])

    def loss(self, logits: tf.Tensor, batch: Mapping[str, tf.Tensor], config: Config) -> tf.Tensor:
        """Return the squared error in standard deviations."""
        return tf.square(logits[:, 0] - batch["targets"])

    def quick_scores(self, answers: Mapping[str, np.ndarray], gold: Sequence, facts: dict) -> dict[str, float]:
        """Return the correlations, and as `loss` the mean squared error in standard deviations.

        The mean distance is not among them: less of it is better, and an epoch is chosen by what is higher.
        """
        values, once = Values(np.asarray(gold), answers["value"]), np.ones(len(gold), np.int64)
        errors = (values.predicted - values.true) / facts["scale"]
        return {
            "spearman": values.spearman(once),
            "pearson": values.pearson(once),
            "loss": float(np.mean(errors**2)),
        }

    def scores(self, answers: Mapping[str, np.ndarray], gold: Sequence, facts: dict) -> dict:
        """Return Spearman's and Pearson's correlation and the mean distance, with their intervals."""
        values = Values(np.asarray(gold), answers["value"])
        functions = {"spearman": values.spearman, "pearson": values.pearson, "mae": values.mae}
        return {
            "metrics": {name: values.with_interval(score) for name, score in functions.items()},
            "per_label": {},
        }

    def details(self, answers: Mapping[str, np.ndarray], gold: Sequence, facts: dict) -> dict:
        """Return plots of values and errors, errors by range, and the predictions that are furthest off."""
        values = Values(np.asarray(gold), answers["value"])
        against = "Points on the dashed line are right. A flat cloud means that the model hardly tells the texts apart."
        errors = "A mean far from 0: the values of these texts lie elsewhere than those of train."
        return {
            "figures": [
                {"title": "Predicted and true values", "svg": scatter(values), "caption": against},
                {"title": "Errors", "svg": residual_histogram(values), "caption": errors},
            ],
            "tables": [values.error_table()],
            "worst": values.worst(),
        }

    def decode(self, logits: tf.Tensor, facts: dict) -> dict[str, tf.Tensor]:
        """Return `value` float32 `(batch,)`, in the units of the data and never outside the range that train has."""
        value = logits[:, 0] * facts["scale"] + facts["mean"]
        return {"value": tf.clip_by_value(value, facts["lowest"], facts["highest"])}

    def extra_signatures(self, answer: Callable[..., dict], facts: dict) -> dict:
        """Return `regress` (TF Serving's Regress and MultiInference calls)."""

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
        def regress(inputs):
            features = {name: tf.io.FixedLenFeature([], tf.string) for name in self.input_ranks(facts)}
            return {"outputs": answer(**tf.io.parse_example(inputs, features))["value"]}

        return {"regress": regress}


TASK = Regression(VALUE)
