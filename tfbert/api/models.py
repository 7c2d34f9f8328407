"""Trained models in memory: a finished run or a SavedModel, which predicts, evaluates and exports."""

import functools
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfbert.api.report import Report
from tfbert.api.trained_model import TrainedModel
from tfbert.config import Config
from tfbert.explanation.explainer import Explainer
from tfbert.files import CONFIG, REPORT
from tfbert.huggingface.importing import is_huggingface, read_model
from tfbert.models.data import load_task_splits, tokenize_split
from tfbert.models.saved_run import SavedRun, finished_run, load_run
from tfbert.serving.evaluate import LoadedModel
from tfbert.serving.export_run import export_model, export_run
from tfbert.serving.input_spec import InputSpec
from tfbert.serving.saved_predictor import SavedPredictor, find_version
from tfbert.tasks.base import FittedTask
from tfbert.tasks.base_outputs import Outputs
from tfbert.text.batches import batches, plan_training
from tfbert.text.datasets import TokenizedSplit
from tfbert.text.inputs import Item
from tfbert.text.preprocessor import INPUTS

# The learning rate of the optimizer with which `Run.model` is compiled.
_LEARNING_RATE = 2e-5
# Up to this number of texts, tracing the graph of explanations would take longer than it saves.
_MAX_EAGER = 64


class _Plan:
    """The batches of a split, planned again in every pass.

    Args:
        split: the tokenized split.
        batch_size: number of examples per batch.
        config: determines the length and the order of the examples.
        shuffles: whether every pass has another order; otherwise examples are in the order of the file.
    """

    def __init__(self, split: TokenizedSplit, batch_size: int, config: Config, shuffles: bool):
        self.split, self.batch_size, self.config, self.shuffles = split, batch_size, config, shuffles
        self._epoch = 0

    def __iter__(self) -> Iterator[np.ndarray]:
        if not self.shuffles:
            yield from np.split(np.arange(len(self.split)), range(self.batch_size, len(self.split), self.batch_size))
            return
        lengths = np.minimum(self.split.lengths(), self.config.encoder.sequence_length)
        plan = plan_training(lengths, self.batch_size, self.config.train.seed, self._epoch)
        self._epoch += 1
        yield from plan


class _KerasModel(TrainedModel):
    """A trained model as a Keras model.

    Args:
        path: the directory that it was loaded from.
        saved: the loaded model.
    """

    def __init__(self, path: Path, saved: SavedRun):
        self.path, self._saved = path, saved

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"

    @property
    def task(self) -> FittedTask:
        """The task, fitted to the training data."""
        return self._saved.task

    @property
    def config(self) -> Config:
        """The config of the training."""
        return self._saved.config

    @property
    def inputs(self) -> Mapping[str, InputSpec]:
        """The dtype and rank of each input, by name."""
        specs = self._saved.predictor.specs
        return {name: InputSpec.of(spec) for name, spec in specs.items()}

    @property
    def _loaded(self) -> LoadedModel:
        return LoadedModel.of_run(self.path, self._saved)

    @property
    def _outputs(self) -> Outputs:
        return self.task.outputs

    def _explained(self, items: Sequence[Item], label: str, method: str) -> Iterable[tuple[Item, dict[str, Any]]]:
        explainer = Explainer(self._saved.predictor, run_eagerly=len(items) <= _MAX_EAGER)
        return explainer.explain(items, label, method)


class HuggingFaceModel(_KerasModel):
    """A fine-tuned BERT in Hugging Face's layout.

    Args:
        name: a directory or `hf://owner/name`.
        task: the task of the model; `None` to derive it from its config.
        pairs: whether the model reads pairs of texts, which its files do not say.

    Raises:
        ValueError: the model is not a BERT with the head of a task, a file is damaged, or an argument does not fit.
    """

    def __init__(self, name: str | os.PathLike, task: str | None = None, pairs: bool = False):
        model = read_model(os.fspath(name), task)
        super().__init__(model.directory, model.load(pairs))

    def export(self, path: str | os.PathLike) -> Path:
        """Export the model as the next version of a SavedModel, and verify it in a fresh process.

        Args:
            path: directory of the model, such as `saved_models/NAME`; created if missing.

        Returns:
            The directory of the version, such as `saved_models/NAME/1`.

        Raises:
            RuntimeError: the outputs of the export differ from those of the model; no version was added.
            WriteError: the disk is full; no version was added.
        """
        return export_model(self._saved, Path(path))[0]


class Run(_KerasModel):
    """A finished run: its report, its model, and the data that it was trained on.

    Args:
        path: the directory of the run.

    Raises:
        ValueError: the directory contains no finished run of a task, or one of another version of tfbert.
    """

    def __init__(self, path: str | os.PathLike):
        super().__init__(Path(path), load_run(Path(path)))

    @functools.cached_property
    def report(self) -> Report:
        """The report, which a notebook shows as a page."""
        return Report(self.path)

    @functools.cached_property
    def model(self) -> keras.Model:
        """The encoder with its head, in float32: a Keras model from an `x` of `dataset` to scores (logits).

        It is compiled with AdamW, a learning rate of 2e-5 and the loss of the task, so that `fit` continues the
        training; `compile` with a loss of your own replaces it. `predict`, `evaluate` and `export` use the changed
        weights, with the calibration and the thresholds of the run.
        """
        model = self._saved.predictor.model
        model.example_loss = self.task.loss
        model.compile(keras.optimizers.AdamW(_LEARNING_RATE), jit_compile=False)
        return model

    def dataset(self, split: str = "train", batch_size: int | None = None) -> tf.data.Dataset:
        """Return the batches of a split.

        Those of train have examples of similar length and another order in every pass, as in training; those of other
        splits are in the order of the file.

        Args:
            split: `train`, `validation` or `test`.
            batch_size: number of examples per batch; `None` for that of the run.

        Returns:
            Pairs `(x, y)` of dicts. `x`: int32 `token_ids`, `segment_ids` and `padding_mask` `(sequences, length)`, and
            features of the task. `y`: the targets of the task by name, int32 `example` `(sequences,)`, the position in
            the batch of the example of a sequence, and float32 `weights` `(examples,)`.

        Raises:
            ValueError: there is no such split, or its file has changed since the training.
        """
        tokenized, config = self._tokenized(split), self.config
        plan = _Plan(tokenized, batch_size or config.train.batch_size, config, shuffles=split == "train")
        names = (*INPUTS, *tokenized.features)
        weights = self.task.example_weights(tokenized) if split == "train" else None
        dataset = batches(tokenized, plan, config.encoder.sequence_length, weights)

        def pair(batch):
            inputs = {name: batch[name] for name in names}
            return inputs, {name: values for name, values in batch.items() if name not in names}

        num_batches = math.ceil(len(tokenized) / plan.batch_size)
        return dataset.map(pair).apply(tf.data.experimental.assert_cardinality(num_batches))

    def export(self, path: str | os.PathLike, precision: str = "float32") -> Path:
        """Export the model as the next version of a SavedModel, and verify it in a fresh process.

        Args:
            path: directory of the model, such as `saved_models/NAME`; created if missing.
            precision: dtype of the encoder's weight matrices, `float32` or `bfloat16`.

        Returns:
            The directory of the version, such as `saved_models/NAME/1`.

        Raises:
            ValueError: the precision is unknown, or for bfloat16, the data files are missing.
            RuntimeError: the outputs of the export differ from those of the model; no version was added.
            WriteError: the disk is full; no version was added.
        """
        return export_run(self.path, Path(path), precision, self._saved)[0]

    def _tokenized(self, name: str) -> TokenizedSplit:
        config, data = self.config, self.report["data"]
        if name not in data:
            raise ValueError(f"{self.path}: has no split {name!r}; expected one of {', '.join(data)}")
        split = load_task_splits(config, self.task.definition)[name]
        if split.sha256 != data[name]["sha256"]:
            raise ValueError(f"{split.path}: has changed since {self.path} was trained; restore it")
        return tokenize_split(split, self.task, self._saved.predictor.tokenizer, config)


class SavedModel(TrainedModel):
    """A SavedModel for TensorFlow Serving, loaded into this process.

    Args:
        path: `saved_models/NAME`, whose highest version is loaded, or the directory of a version.

    Raises:
        ValueError: there is no SavedModel, or one of its files is damaged.
    """

    def __init__(self, path: str | os.PathLike):
        self._predictor = SavedPredictor(Path(path))
        self.path = self._predictor.version_dir

    def __repr__(self) -> str:
        return f"SavedModel({str(self.path)!r})"

    @functools.cached_property
    def _loaded(self) -> LoadedModel:
        return LoadedModel.of_saved_model(self.path, self._predictor)

    @property
    def task(self) -> FittedTask:
        """The task, fitted to the training data."""
        return self._loaded.task

    @property
    def config(self) -> Config:
        """The config of the training."""
        return self._loaded.config

    @property
    def inputs(self) -> Mapping[str, InputSpec]:
        """The dtype and rank of each input, by name."""
        return self._predictor.inputs

    @property
    def _outputs(self) -> Outputs:
        return self._predictor.outputs

    def _explained(self, items: Sequence[Item], label: str, method: str) -> Iterable[tuple[Item, dict[str, Any]]]:
        return self._predictor.explain(items, label, method)


def load(path: str | os.PathLike, task: str | None = None, pairs: bool = False) -> Run | SavedModel | HuggingFaceModel:
    """Load a trained model.

    Args:
        path: the directory of a finished run or of a search, whose best run is loaded; `saved_models/NAME`, or the
            directory of a version; or a fine-tuned BERT in Hugging Face's layout, as a directory or `hf://owner/name`.
        task: as for `HuggingFaceModel`.
        pairs: as for `HuggingFaceModel`.

    Raises:
        ValueError: there is no such model, or an argument does not fit.
    """
    if is_huggingface(os.fspath(path)):
        return HuggingFaceModel(path, task, pairs)
    if task is not None or pairs:
        raise ValueError(f"{path}: expected a Hugging Face model with the arguments task and pairs")
    path = Path(path)
    if (path / REPORT).exists():
        return Run(finished_run(path))
    if (path / CONFIG).exists() and not (path / "saved_model.pb").exists():
        raise ValueError(f"{path}: is an unfinished run; the call or the command that started it continues it")
    try:
        find_version(path)
    except ValueError:
        raise ValueError(f"{path}: contains no finished run ({REPORT}), SavedModel or Hugging Face model") from None
    return SavedModel(path)
