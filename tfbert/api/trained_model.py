"""What trained models in memory have in common: they predict, explain and evaluate."""

import abc
import json
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from tfbert.api import memory
from tfbert.api.options import config_values
from tfbert.config import Config
from tfbert.explanation.explanations import Explanation
from tfbert.fields import either
from tfbert.models.predictions import predict_items
from tfbert.nearest import did_you_mean
from tfbert.serving.evaluate import LoadedModel, predict_records
from tfbert.serving.input_spec import InputSpec
from tfbert.serving.requests import parse_item
from tfbert.tasks.base import FittedTask
from tfbert.tasks.base_outputs import Outputs
from tfbert.text.inputs import Item
from tfbert.text.readers.columns import listing

# Batches that are read together to group texts of similar length.
_NUM_POOLED = 16
Method = Literal["default", "occlusion", "gradients"]


class TrainedModel(abc.ABC):
    """A trained model in memory.

    Attributes:
        path: the directory that it was loaded from.
        task: the fitted task, with `known_labels`, `inputs` and `outputs`.
        config: the config of its training.
    """

    path: Path
    task: FittedTask
    config: Config

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the order of the output `probabilities`; empty for tasks without labels."""
        return tuple(self.task.known_labels)

    @property
    @abc.abstractmethod
    def inputs(self) -> Mapping[str, InputSpec]:
        """The dtype and rank of each input, by name."""

    @property
    @abc.abstractmethod
    def _loaded(self) -> LoadedModel:
        """The model with its current weights."""

    @property
    @abc.abstractmethod
    def _outputs(self) -> Outputs:
        """The declared outputs."""

    @abc.abstractmethod
    def _explained(self, items: Sequence[Item], label: str, method: str) -> Iterable[tuple[Item, dict[str, Any]]]:
        """Return items with the outputs that explain them; "" for the defaults."""

    def predict(self, texts: str | Mapping | Iterable[str | Mapping], batch_size: int = 64) -> list[dict[str, Any]]:
        """Return the predictions for texts: what the exported SavedModel returns for them.

        Args:
            texts: texts, or dicts with a value for each input if the model has several; also a DataFrame with a column
                for each input. A single text or dict counts as a list of one.
            batch_size: number of texts per call of the model.

        Returns:
            One dict per text, from output name to a value of JSON: `label`, `probability` and others, which the page of
            the task in `docs/` describes. Lists have no padding.

        Raises:
            ValueError: a text is not a string, an input is missing, or its value has the wrong type.
        """
        predictions = predict_items(self._loaded.predict, self._outputs, self._items(texts), batch_size, _NUM_POOLED)
        return [prediction for _, prediction in predictions]

    def explain(
        self, texts: str | Mapping | Iterable[str | Mapping], label: str = "", method: Method = "default"
    ) -> list[Explanation]:
        """Return what each word of texts contributes to a prediction, and similar training examples.

        Args:
            texts: as for `predict`.
            label: the label to explain; "" for the predicted one.
            method: `occlusion` or `gradients`; `default` chooses by the length of the text.

        Raises:
            ValueError: the task has no explanations, the SavedModel was exported without them, the model does not have
                the label, the method is unknown, or a text cannot be used.
        """
        if method not in get_args(Method):
            raise ValueError(f"method={method!r}: expected {either(get_args(Method))}")
        if self.task.explained is None:
            raise ValueError(f"models of the task {self.task.name} have no explanations")
        if label and label not in self.task.explained.labels:
            hint = did_you_mean(label, self.task.explained.labels)
            raise ValueError(f"label={label!r}: expected one of the labels of the model{hint}")
        explained = self._explained(self._items(texts), label, "" if method == "default" else method)
        return [Explanation.from_outputs(outputs) for _, outputs in explained]

    def evaluate(self, data: memory.Data, **options: Any) -> dict[str, Any]:
        """Evaluate the model on labelled data.

        Args:
            data: path of a labelled file, all of which is used, or of a directory, whose test split is used; or a
                DataFrame, or a list of dicts or tuples, as for `tfbert.fine_tune`.
            **options: config fields of the section `data`, such as `columns={"text": "review", "label": "stars"}`.

        Returns:
            `model`, `data`, `num_examples`; `metrics`, from the name of a metric to its `value` and to the bounds `low`
            and `high` of the 95% confidence interval; and `per_label`.

        Raises:
            ValueError: the data cannot be read, or the model does not know a label.
            TypeError: an option does not exist.
        """
        values = config_values("evaluate", options, Config)
        for path in values:
            if not path.startswith("data."):
                raise TypeError(f"evaluate() got {path}, which has no effect; expected a field of data, such as format")
        if memory.is_path(data):
            path = os.fspath(data)
            return {"model": str(self.path), "data": path, **predict_records(self._loaded, path, values).scores()}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "test.json"
            columns = values.get("data.columns", self.config.data.columns)
            path.write_text(memory.json_text(data, "test", self.task.definition, columns), encoding="ascii")
            scores = predict_records(self._loaded, str(path), memory.reading_values(values)).scores()
        return {"model": str(self.path), "data": "in memory", **scores}

    def _items(self, texts: str | Mapping | Iterable[str | Mapping]) -> list[Item]:
        if isinstance(texts, str | Mapping):
            texts = [texts]
        frame = memory.rows_of_frame(texts)
        return [self._item(text, f"texts[{index}]") for index, text in enumerate(texts if frame is None else frame)]

    def _item(self, text: Any, where: str) -> Item:
        only, *others = self.inputs
        if isinstance(text, str) and not others and self.inputs[only] == InputSpec():
            return {only: str(text)}
        if not isinstance(text, Mapping):
            expected = f"a dict with the keys {', '.join(map(repr, self.inputs))}" if others else "a text"
            raise ValueError(f"{where}: is {text!r:.40} ({type(text).__name__}); expected {expected}")
        missing = [name for name in self.inputs if name not in text]
        if missing:
            raise ValueError(f"{where}: has no {missing[0]!r} among {listing(list(map(str, text)))}; expected that key")
        values = {name: memory.plain(text[name], f"{where}: {name}") for name in self.inputs}
        return parse_item(json.dumps(values), where, self.inputs)
