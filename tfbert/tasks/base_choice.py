"""Decision between several answers: calibrated probabilities, prediction sets, and abstention.

It is shared by the tasks with one right answer out of several: the labels of classification, the choices of multiple
choice.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tfbert.calibration.abstention import fit_selection, lowest_provable_error, min_records
from tfbert.calibration.out_of_domain import SIGNIFICANCE
from tfbert.calibration.prediction_sets import fit_set_threshold
from tfbert.calibration.temperature import fit_temperature
from tfbert.tasks.base_decision import CALIBRATION, LOGITS, OUT_OF_DOMAIN, Decision, Predicted
from tfbert.tasks.base_options import Options, option

# The logit of an answer that does not exist, such as padding.
NO_ANSWER_LOGIT = -1e9


@dataclass(frozen=True, kw_only=True)
class ChoiceOptions(Options):
    """Options of tasks with one right answer out of several."""

    coverage: float | None = option("decision.coverage")
    max_error: float | None = option("decision.max_error")


class ChoiceDecision(Decision):
    """Temperature of the softmax, and thresholds for the prediction set and for abstention.

    Outputs are decoded to `logits`, float32 `(batch, answers)`, and optionally `out_of_domain`, float32 `(batch,)`.

    Args:
        options: which outputs there are.
    """

    fitted_to = (CALIBRATION,)

    def __init__(self, options: ChoiceOptions):
        self._options = options
        self.specs = {name: tf.TensorSpec([], tf.float32) for name in self.initial()}

    def initial(self) -> Mapping[str, np.ndarray]:
        """Return a temperature of 1, and thresholds with which sets have all labels and the model always abstains."""
        values = {"temperature": np.float32(1)}
        if self._options.coverage:
            values["set_threshold"] = np.float32(0)
        if self._options.max_error:
            values["confidence_threshold"] = np.float32(np.inf)
        return values

    def fit(self, splits: Mapping[str, Predicted]) -> Mapping[str, np.ndarray]:
        """Return the temperature with the highest likelihood, and thresholds with the chosen guarantees."""
        values = dict(self.initial())
        if CALIBRATION not in splits:
            return values
        logits, targets = self._logits(splits[CALIBRATION]), self.targets_of(splits[CALIBRATION])
        values["temperature"] = np.float32(fit_temperature(logits.astype(np.float64), targets))
        if self._options.coverage:
            # As in the graph, to the last bit, because the threshold equals one of these probabilities.
            calibrated = tf.nn.softmax(logits / values["temperature"]).numpy()
            values["set_threshold"] = np.float32(fit_set_threshold(calibrated, targets, self._options.coverage))
        if self._options.max_error:
            confidences = self._usable(splits[CALIBRATION], values["temperature"])
            values["confidence_threshold"] = np.float32(fit_selection(*confidences, self._options.max_error).threshold)
        return values

    def limitation(self, splits: Mapping[str, Predicted]) -> str:
        """Return why no threshold satisfies `decision.max_error`."""
        error, calibration = self._options.max_error, splits.get(CALIBRATION)
        if not error or calibration is None or np.isfinite(self.fit(splits)["confidence_threshold"]):
            return ""
        confidences = self._usable(calibration, self.fit(splits)["temperature"])
        lowest, needed = lowest_provable_error(*confidences), min_records(error)
        return (
            f"decision.max_error={error:g}: no threshold satisfies it with {len(calibration.gold):,} calibration "
            f"records, so the model abstains from every prediction. The smallest max_error that they can show is "
            f"{lowest:g}; {error:g} needs a more accurate model, or more calibration records: without any error among "
            f"the most confident predictions, {needed:,} of them are enough, and with errors more"
        )

    def _logits(self, predicted: Predicted) -> np.ndarray:
        return self.logits_of({name: tf.constant(value) for name, value in predicted.outputs.items()}).numpy()

    def _usable(self, predicted: Predicted, temperature: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the confidence of the predictions for texts that are not out of domain, and whether each is right."""
        probabilities = tf.nn.softmax(self._logits(predicted) / temperature).numpy()
        is_right = probabilities.argmax(-1) == self.targets_of(predicted)
        is_usual = predicted.outputs.get(OUT_OF_DOMAIN, np.ones(len(is_right))) >= SIGNIFICANCE
        return probabilities.max(-1)[is_usual], is_right[is_usual]

    def logits_of(self, outputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Return the logits, `NO_ANSWER_LOGIT` for an answer that does not exist: float32 `(batch, answers)`."""
        return outputs[LOGITS]

    def targets_of(self, predicted: Predicted) -> np.ndarray:
        """Return the position of the right answer of each record, int `(records,)`."""
        return np.asarray(predicted.gold)

    def describe(self, decided: Mapping[str, np.ndarray]) -> str:
        """Return the temperature, unless it is 1, and the thresholds."""
        temperature = float(decided["temperature"])
        parts = [] if temperature == 1 else [f"logits divided by {temperature:.4g} before the softmax"]
        if self._options.coverage:
            parts.append(f"sets of answers with a probability of at least {float(decided['set_threshold']):.4g}")
        if self._options.max_error:
            parts.append(f"abstention below a probability of {float(decided['confidence_threshold']):.4g}")
        return ", ".join(parts)

    def calibrate(self, scores: tf.Tensor, decided: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Return the logits divided by the temperature."""
        return scores / decided["temperature"]

    def apply(self, outputs: Mapping[str, tf.Tensor], decided: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Return the outputs without `logits`, with the calibrated probabilities and what follows from them.

        Returns:
            `probabilities` float32 `(batch, answers)`, 0 for an answer that does not exist, and their maximum
            `probability`; `set_ids` int32 `(batch, width of the largest set)`, padded with -1, and `set_size`;
            `abstain` bool; the last three if an option adds them.
        """
        outputs = dict(outputs)
        logits = self.logits_of(outputs)
        del outputs[LOGITS]
        probabilities = tf.nn.softmax(self.calibrate(logits, decided))
        probabilities = tf.where(logits > NO_ANSWER_LOGIT, probabilities, 0.0)
        outputs |= {"probabilities": probabilities, "probability": tf.reduce_max(probabilities, axis=-1)}
        if self._options.coverage:
            outputs |= _sets(logits, probabilities, decided["set_threshold"])
        if self._options.max_error:
            abstains = outputs["probability"] < decided["confidence_threshold"]
            if OUT_OF_DOMAIN in outputs:
                abstains |= outputs[OUT_OF_DOMAIN] < SIGNIFICANCE
            outputs["abstain"] = abstains
        return outputs


def _sets(logits: tf.Tensor, probabilities: tf.Tensor, threshold: tf.Tensor) -> dict[str, tf.Tensor]:
    """Return the answers whose probability reaches a threshold, at least the most probable one."""
    is_answer = logits > NO_ANSWER_LOGIT
    is_chosen = ((probabilities >= threshold) | (probabilities >= tf.reduce_max(probabilities, -1, True))) & is_answer
    size = tf.reduce_sum(tf.cast(is_chosen, tf.int32), axis=-1)
    # At least one column: not every client and server can handle arrays without elements.
    width = tf.maximum(tf.reduce_max(size), 1)
    order = tf.math.top_k(tf.where(is_chosen, logits, logits.dtype.min), width).indices
    return {"set_ids": tf.where(tf.sequence_mask(size, width), order, -1), "set_size": size}
