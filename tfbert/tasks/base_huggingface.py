"""Base classes of tasks whose models PyTorch transformers can hold: an encoder with one dense layer."""

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from tfbert.tasks.base import FittedTask, Task
from tfbert.tasks.base_options import Options


@dataclass(frozen=True, kw_only=True)
class ModelClass:
    """A class of PyTorch transformers.

    Args:
        suffix: the part of its name after `BertFor` and `AutoModelFor`.
        problem_type: the `problem_type` of its config; `None` if it has none.
        layer: the name of the dense layer on the encoder.
        pipeline: the name of its pipeline.
        num_outputs: the number of outputs of the layer; `None` for one per label.
    """

    suffix: str
    problem_type: str | None = None
    layer: str = "classifier"
    pipeline: str
    num_outputs: int | None = None

    @property
    def architecture(self) -> str:
        """The name of the class for BERT."""
        return f"BertFor{self.suffix}"

    @property
    def auto_class(self) -> str:
        """The name of the class that loads a model of any architecture."""
        return f"AutoModelFor{self.suffix}"


SEQUENCE_CLASSES = {
    problem_type: ModelClass(suffix="SequenceClassification", problem_type=problem_type, pipeline="text-classification")
    for problem_type in ("single_label_classification", "multi_label_classification", "regression")
}


class ConvertibleTask(Task):
    """Base class of tasks whose models can be converted from and to a class of PyTorch transformers.

    Attributes:
        model_class: the class.
    """

    model_class: ModelClass

    @abc.abstractmethod
    def fit_to_model(self, labels: tuple[str, ...], options: Options, has_pair: bool) -> "FittedConvertibleTask":
        """Return the task fitted to a model that was trained elsewhere.

        Args:
            labels: the labels of the model, by id.
            options: the options of the task.
            has_pair: whether the model reads pairs of texts, for tasks that may have one or two.

        Raises:
            ValueError: the task cannot have these labels.
        """


@dataclass(frozen=True, kw_only=True)
class FittedConvertibleTask(FittedTask):
    """Base class of fitted tasks whose models can be converted.

    Attributes:
        score_scale: the factor between the scores of the head and the logits of the model in transformers.
        score_offset: the logit for a score of 0.
    """

    score_scale: ClassVar[float] = 1.0
    score_offset: ClassVar[float] = 0.0

    @property
    def model_labels(self) -> Sequence[str]:
        """The labels in the model's config, by id; empty if it has none."""
        return self.known_labels

    @property
    def decoding(self) -> str:
        """What decoding does with the scores and transformers does not, as a sentence; empty for nothing."""
        return ""
