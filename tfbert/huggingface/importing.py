"""Import of a fine-tuned BERT in Hugging Face's layout, which is then evaluated, exported and served like a run."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfbert.config import Config, from_dict, override
from tfbert.encoder import hub, huggingface, presets
from tfbert.encoder.backbone import Encoder, load_encoder
from tfbert.encoder.weights import copy_weights
from tfbert.files import REPORT, naming, read_json
from tfbert.heads.pooled import PooledHead
from tfbert.huggingface.layout import CONFIG, COPYING_SLOPE, RECORD, WEIGHTS, has_copying_pooler, read_record
from tfbert.models.build import build_model, make_tokenizer
from tfbert.models.decision_values import values_from_json
from tfbert.models.predictor import Predictor
from tfbert.models.saved_run import SavedRun
from tfbert.tasks.base import fitted_from_json, list_tasks, load_task
from tfbert.tasks.base_huggingface import ConvertibleTask, FittedConvertibleTask
from tfbert.text.inputs import Input, Item
from tfbert.training.run_dir import versions

_ARCHITECTURE = re.compile(r"(?:Bert|Tfbert)For(\w+)")
_POOLING = "head.pooling"
_LENGTH = "encoder.sequence_length"
# The bias of a tag that the model does not have: its probability is 0, and sums of a few logits stay finite.
_NEVER = -1e9
# Texts with which an export is warmed up and verified.
_SENTENCES = ("The parcel arrived two days late and the box was damaged.", "How can I get a refund?", "Thank you!")


def is_huggingface(name: str) -> bool:
    """Return whether a name is `hf://...` or a directory in Hugging Face's layout."""
    path = Path(name) / CONFIG
    if name.startswith(hub.PREFIX):
        return True
    return path.is_file() and not (Path(name) / REPORT).exists() and "model_type" in read_json(path)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ForeignModel:
    """A fine-tuned model in Hugging Face's layout, of which only the description has been read.

    Args:
        name: the name or directory, as the user wrote it.
        directory: the directory.
        task: the task of the model.
        labels: the labels of the model, by id.
        record: the content of tfbert.json, if tfbert exported the model and its weights have not changed.
    """

    name: str
    directory: Path
    task: ConvertibleTask
    labels: tuple[str, ...]
    record: Mapping[str, Any] | None

    @property
    def may_read_pairs(self) -> bool:
        """Whether the model reads a single text or a pair of texts is unknown, as the layout does not tell."""
        return self.record is None and any(not declared.required for declared in self.task.inputs)

    def load(self, has_pair: bool = False) -> SavedRun:
        """Return the model as a finished run without data and scores.

        Args:
            has_pair: whether the model reads pairs of texts, which only models with `may_read_pairs` leave open.

        Raises:
            ValueError: a file is damaged or does not fit the others, the labels do not fit the task, or the inputs of
                the model are known.
        """
        if has_pair and not self.may_read_pairs:
            raise ValueError(f"--pairs (pairs=True in Python) does not apply to {self.name}: its inputs are known")
        encoder = load_encoder(self.directory, uses_pooler=False)
        config = self._config(encoder)
        task = self._fitted(config, has_pair)
        model = build_model(task, encoder.spec, config)
        copy_weights(encoder.backbone, model.backbone)
        if model.head.uses_pooler and not encoder.spec.has_pooler:
            architecture = self.task.model_class.architecture
            raise ValueError(f"{self.directory / WEIGHTS}: has no pooler; {architecture} needs one")
        kernel, bias = self._read_layer(encoder.spec.hidden_dim, task)
        if isinstance(model.head, PooledHead) and model.head.pooling == "cls":
            kernel = kernel * np.float32(COPYING_SLOPE)
        model.head.logits.set_weights([kernel, bias])
        predictor = Predictor(task, model, make_tokenizer(encoder), config)
        if self.record:
            for name, value in values_from_json(self.record["decided"]).items():
                predictor.decided[name].assign(value)
        return SavedRun(config, predictor, self._report(encoder, config), _sample_items(task.inputs))

    def _config(self, encoder: Encoder) -> Config:
        """Return the config in tfbert.json, or for other models the defaults of the task with what their files say."""
        if self.record:
            with naming(self.directory / RECORD):
                return from_dict(self.record["config"])
        own = read_json(self.directory / CONFIG)
        tokenizer_path = self.directory / "tokenizer_config.json"
        stated = (read_json(tokenizer_path) if tokenizer_path.is_file() else {}).get("model_max_length")
        longest = encoder.spec.max_sequence_length
        # Tokenizers without a limit state a huge number.
        longest = min(longest, stated) if isinstance(stated, int) else longest
        values = {"task": self.task.name, "encoder.name": self.name, "encoder.dropout": encoder.spec.dropout}
        values[_LENGTH] = min(longest, self.task.defaults.get(_LENGTH, longest))
        if _POOLING in self.task.options.paths().values():
            stock_pooling = "cls" if has_copying_pooler(encoder.backbone) else "pooler"
            is_own_type = own.get("model_type") == huggingface.OWN_MODEL_TYPE
            values[_POOLING] = own.get("pooling") if is_own_type else stock_pooling
        return override(Config(), self.task.defaults | values)

    def _fitted(self, config: Config, has_pair: bool) -> FittedConvertibleTask:
        if self.record:
            with naming(self.directory / RECORD):
                fitted = fitted_from_json(self.record["task"])
            assert isinstance(fitted, FittedConvertibleTask)
            return fitted
        with naming(self.directory / CONFIG):
            options = self.task.options.from_config(config).without_calibration()
            return self.task.fit_to_model(self.labels, options, has_pair)

    def _read_layer(self, hidden_dim: int, task: FittedConvertibleTask) -> tuple[np.ndarray, np.ndarray]:
        """Return kernel and bias of the head, with outputs in the order of the fitted task's labels.

        A label that the model lacks, such as the I tag of a type with one-word entities, gets probability 0.
        """
        model_class = task.definition.model_class
        size = model_class.num_outputs or len(self.labels)
        names = f"{model_class.layer}.weight", f"{model_class.layer}.bias"
        shapes = dict(zip(names, ((size, hidden_dim), (size,)), strict=True))
        tensors = huggingface.read_tensors(self.directory / WEIGHTS, shapes)
        kernel, bias = (tensors[name] for name in names)
        if len(self.labels) > 1:
            ids = {label: label_id for label_id, label in enumerate(self.labels)}
            # The column after the last one is that of labels that the model lacks.
            columns = [ids.get(label, size) for label in task.model_labels]
            kernel, bias = np.pad(kernel, [(0, 0), (0, 1)])[:, columns], np.append(bias, np.float32(_NEVER))[columns]
        scale, offset = np.float32(task.score_scale), np.float32(task.score_offset)
        return kernel / scale, (bias - offset) / scale

    def _report(self, encoder: Encoder, config: Config) -> dict[str, Any]:
        return {
            "task": self.task.name,
            "converted_from": self.name,
            "encoder": {"name": self.name, **encoder.spec.to_json()},
            "config": config.to_dict(),
            "data": {},
            "checks": {"warnings": []},
            "versions": versions(),
        }


def read_model(name: str, task: str | None = None) -> ForeignModel:
    """Return the description of a fine-tuned model in Hugging Face's layout.

    Args:
        name: `hf://owner/name` or a directory.
        task: the name of the task; `None` to derive it from the model's class and `problem_type`.

    Raises:
        ValueError: the model is not a BERT with the head of a task, it has no model.safetensors, or its class does not
            fit the task.
    """
    directory = hub.download(name)[0] if name.startswith(hub.PREFIX) else Path(name)
    path = directory / CONFIG
    config = read_json(path)
    huggingface.check_config(config, path)
    suffix = _suffix(config, path)
    _check_weights(directory, suffix)
    labels = _labels(config, path)
    definition = _task_of(suffix, config.get("problem_type") or None, len(labels), task, path)
    return ForeignModel(
        name=name,
        directory=directory,
        task=definition,
        labels=() if definition.model_class.num_outputs else labels,
        record=read_record(directory),
    )


def _suffix(config: Mapping[str, Any], path: Path) -> str:
    """Return the part of the class name that says what kind of head the model has."""
    architectures = config.get("architectures") or []
    match = _ARCHITECTURE.fullmatch(architectures[0]) if len(architectures) == 1 else None
    known = {task.model_class.suffix for task in _convertible_tasks().values()}
    if not match or match[1] not in known:
        expected = ", ".join(f"BertFor{suffix}" for suffix in sorted(known))
        raise ValueError(
            f"{path}: architectures is {architectures}; expected a model with the head of a task, one of {expected}; "
            "to fine-tune an encoder, use tfbert train --encoder"
        )
    return match[1]


def _check_weights(directory: Path, suffix: str) -> None:
    if (directory / WEIGHTS).is_file():
        return
    others = [name for name in presets.OTHER_WEIGHTS if (directory / name).is_file()]
    if not others:
        raise ValueError(f"{directory}: no {WEIGHTS}")
    raise ValueError(
        f"{directory}: weights are in {others[0]}; expected one {WEIGHTS}. Convert them with the transformers package: "
        f"AutoModelFor{suffix}.from_pretrained(DIR).save_pretrained(NEW, max_shard_size='100GB'), and copy the "
        "tokenizer's files"
    )


def _labels(config: Mapping[str, Any], path: Path) -> tuple[str, ...]:
    """Return the labels by id; transformers names them LABEL_0 and so on if the config does not."""
    number = config.get("num_labels", 2)
    names = config.get("id2label") or {str(label_id): f"LABEL_{label_id}" for label_id in range(number)}
    labels = tuple(str(names.get(str(label_id))) for label_id in range(len(names)))
    if set(names) != set(map(str, range(len(names)))) or len(set(labels)) < len(labels):
        raise ValueError(f"{path}: id2label is {names}; expected different labels for the ids 0 to {len(names) - 1}")
    return labels


def _convertible_tasks() -> dict[str, ConvertibleTask]:
    tasks = {name: load_task(name) for name in list_tasks()}
    return {name: task for name, task in tasks.items() if isinstance(task, ConvertibleTask)}


def _task_of(suffix: str, problem_type: str | None, num_labels: int, chosen: str | None, path: Path) -> ConvertibleTask:
    """Return the task of a model.

    Args:
        suffix: the part of the class name that says what kind of head the model has.
        problem_type: the config's; `None` if it has none.
        num_labels: the number of labels.
        chosen: the task that the user chose; `None` for the one that transformers itself assumes.
        path: the path of config.json, for error messages.
    """
    tasks = {name: task for name, task in _convertible_tasks().items() if task.model_class.suffix == suffix}
    if problem_type is not None:
        fitting = {name: task for name, task in tasks.items() if task.model_class.problem_type == problem_type}
        if not fitting:
            expected = ", ".join(str(task.model_class.problem_type) for task in tasks.values())
            raise ValueError(f"{path}: problem_type is {problem_type!r}; expected one of {expected}")
        tasks = fitting
    if chosen is not None:
        task = tasks.get(load_task(chosen).name)
        if task is None:
            kind = f"BertFor{suffix}" + (f" with problem_type {problem_type}" if problem_type else "")
            raise ValueError(f"--task {chosen}: {path} describes a {kind}; expected --task {' or '.join(tasks)}")
        return task
    if len(tasks) > 1:
        # As transformers: one output without a problem_type is a regression, several are one label of several.
        assumed = "regression" if num_labels == 1 else "single_label_classification"
        tasks = {name: task for name, task in tasks.items() if task.model_class.problem_type == assumed}
    return next(iter(tasks.values()))


def _sample_items(inputs: Sequence[Input]) -> list[Item]:
    return [
        {declared.name: _SENTENCES if declared.many else sentence for declared in inputs} for sentence in _SENTENCES
    ]
