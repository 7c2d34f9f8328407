"""Export of a trained model as a SavedModel that stock TensorFlow Serving loads, from raw inputs to decoded outputs."""

import contextlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import tensorflow as tf
from tensorflow.types.experimental import ConcreteFunction

from tfbert.config import Config
from tfbert.explanation.explainer import Explainer
from tfbert.files import acquire_lock, read_json, writing
from tfbert.models.decision_values import values_to_json
from tfbert.models.evidence import num_stored
from tfbert.models.predictor import Predictor
from tfbert.serving.guards import with_checked_sequences
from tfbert.serving.model_card import model_card
from tfbert.serving.warmup import write_warmup
from tfbert.tasks import base_outputs
from tfbert.tasks.base import FittedTask, fitted_from_json
from tfbert.tasks.base_outputs import EXPLAIN
from tfbert.text.inputs import Item

# Prefix of temporary directories; TensorFlow Serving ignores directories whose names are not numbers.
_TEMPORARY = ".writing-"
_ASSETS, _TASK = "assets", "task.json"


@dataclass(frozen=True, kw_only=True)
class Servable:
    """What a SavedModel is made from.

    Args:
        predictor: the trained model with its task and tokenizer.
        config: the config of the run.
        report: the content of `report.json`, for the model card.
        samples: a few real items, which a server replays when it loads the model.
        compared: the result of `precision_comparison.compare` for bfloat16 matrices; `None` for float32.
        explains: whether to add the signature `explain`, if the task has explanations; it doubles the graph.
    """

    predictor: Predictor
    config: Config
    report: dict
    samples: Sequence[Item]
    compared: dict | None = None
    explains: bool = True


class _Module(tf.Module):
    """Holds what the exported functions use, and no Keras object."""

    def __init__(self, servable: Servable):
        super().__init__()
        predictor = servable.predictor
        self.resources = predictor.tokenizer.trackables()
        specs = predictor.specs

        def predict(**inputs):
            # A server does not check an input's rank, and nested texts would be flattened into more texts.
            return predictor.predict(*(tf.ensure_shape(inputs[name], spec.shape) for name, spec in specs.items()))

        backbone = predictor.model.backbone
        sizes = backbone.vocabulary_size, backbone.num_segments, backbone.max_sequence_length
        self.signatures_by_name = {
            "serving_default": tf.function(predict).get_concrete_function(**specs),
            "token_ids": with_checked_sequences(predictor.predict_sequences, predictor.sequence_specs, *sizes),
            **predictor.signatures(predict),
        }
        if servable.explains and predictor.task.explained is not None:
            self.signatures_by_name[EXPLAIN] = Explainer(predictor).signature()
        # Only what the functions read, including index and thresholds. The model has more variables, such as float32
        # matrices of which the functions read a bfloat16 copy.
        read = (variable for function in self.signatures_by_name.values() for variable in _variables(function))
        self.weights = list({id(variable): variable for variable in read}.values())


def _variables(function) -> list[tf.Variable]:
    """Return the variables that a signature reads, directly or in functions that it calls."""
    traced = function if isinstance(function, ConcreteFunction) else function.get_concrete_function()
    return list(traced.variables)


def next_version(model_dir: Path) -> int:
    """Return the highest version in `model_dir` plus 1, or 1 if there is none."""
    versions = [int(entry.name) for entry in model_dir.glob("*") if entry.name.isdecimal()]
    return max(versions, default=0) + 1


def export(servable: Servable, model_dir: Path, check: Callable[[Path], None] = lambda _: None) -> Path:
    """Write the next version of a servable model.

    The version is written to a temporary directory, which TensorFlow Serving ignores, and renamed when complete.
    Temporary directories left by killed exports are removed.

    Args:
        servable: what to export.
        model_dir: `saved_models/NAME`; created if missing.
        check: called with the complete temporary directory; if it raises, no version is added, so a server that watches
            `model_dir` never sees an unchecked version.

    Returns:
        The version's directory.

    Raises:
        WriteError: the disk is full.
    """
    model_dir.mkdir(parents=True, exist_ok=True)
    with writing(model_dir), _temporary_dir(model_dir) as temporary:
        module = _Module(servable)
        tf.saved_model.save(module, str(temporary), signatures=module.signatures_by_name)
        _write_assets(servable, temporary / _ASSETS)
        explains = EXPLAIN in module.signatures_by_name
        write_warmup(temporary, servable.samples, servable.predictor.specs, explains=explains)
        card = model_card(
            servable.report,
            servable.predictor.task,
            sorted(module.signatures_by_name),
            servable.compared,
            num_evidence=num_stored(servable.predictor.evidence) if explains else 0,
        )
        (temporary / "MODEL_CARD.md").write_text(card, encoding="utf-8")
        # mkdtemp gives access only to this user, but servers usually run as another one.
        temporary.chmod(0o755)
        check(temporary)
        return _publish(temporary, model_dir)


@contextlib.contextmanager
def _temporary_dir(model_dir: Path) -> Iterator[Path]:
    """Create a directory in `model_dir` that is removed at the end unless it was renamed.

    This process holds a lock on it, which tells it from the directories left by killed processes.
    """
    model_lock = _lock(model_dir, math.inf)
    with model_lock or contextlib.nullcontext():
        if model_lock:
            for path in model_dir.glob(f"{_TEMPORARY}*"):
                if stale_lock := _lock(path):
                    with stale_lock:
                        shutil.rmtree(path, ignore_errors=True)
        temporary = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=model_dir))
        lock = _lock(temporary)
    with lock or contextlib.nullcontext():
        try:
            yield temporary
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _lock(directory: Path, wait_seconds: float = 0.0) -> contextlib.ExitStack | None:
    """Lock a directory; `None` if another process holds the lock, it is gone, or there are no locks here."""
    try:
        return acquire_lock(directory, wait_seconds)
    except OSError:
        return None


def _publish(temporary: Path, model_dir: Path) -> Path:
    """Rename a temporary directory to the next version number."""
    while True:
        version_dir = model_dir / str(next_version(model_dir))
        try:
            os.rename(temporary, version_dir)
            return version_dir
        except OSError:
            # Another export took this number in the meantime.
            if not version_dir.exists():
                raise


def exported_task(version_dir: Path) -> FittedTask:
    """Return the fitted task of an exported version.

    Raises:
        ValueError: the version was exported by an earlier version of tfbert, or its file is damaged.
    """
    path = version_dir / _ASSETS / _TASK
    if not path.exists():
        raise ValueError(
            f"{version_dir}: exported by an earlier version of tfbert; train the model again and export it"
        )
    return fitted_from_json(read_json(path))


def _write_assets(servable: Servable, directory: Path) -> None:
    directory.mkdir(exist_ok=True)
    tokenizer, task = servable.predictor.tokenizer, servable.predictor.task
    documents = {"config.json": servable.config.to_dict(), _TASK: task.to_json()}
    documents["outputs.json"] = base_outputs.to_json(task.outputs)
    documents["tokenizer.json"] = tokenizer.rules._asdict()
    if servable.predictor.decided:
        documents["decided.json"] = values_to_json(servable.predictor.decided_values())
    for name, document in documents.items():
        text = json.dumps(document, indent=2, ensure_ascii=False)
        (directory / name).write_text(text + "\n", encoding="utf-8")
    (directory / "vocabulary.txt").write_text("".join(f"{t}\n" for t in tokenizer.vocabulary), encoding="utf-8")
    if task.known_labels:
        (directory / "labels.txt").write_text("".join(f"{t}\n" for t in task.known_labels), encoding="utf-8")
