"""Exports a trained model as a SavedModel that stock TensorFlow Serving loads: raw text in, decoded answers out."""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import tensorflow as tf
from tensorflow.types.experimental import ConcreteFunction

from tfbert.config import Config
from tfbert.files import writing
from tfbert.models.predictor import Predictor
from tfbert.serving.card import model_card
from tfbert.serving.decided import decided_to_json
from tfbert.serving.guards import with_checked_rows
from tfbert.serving.warmup import write_warmup
from tfbert.text.inputs import Item

# TensorFlow Serving takes directories whose names are numbers, and ignores these.
_ASIDE = ".writing-"


@dataclass(frozen=True, kw_only=True)
class Servable:
    """All that goes into a SavedModel.

    Args:
        predictor: the trained model with its task and tokenizer.
        config: the config of the run.
        report: what `report.json` holds, for the model card.
        samples: a few real requests, replayed when the server loads the model.
        compared: what its matrices in bfloat16 change, as `fidelity.compare` found it; `None` in float32.
    """

    predictor: Predictor
    config: Config
    report: dict
    samples: Sequence[Item]
    compared: dict | None = None


class _Module(tf.Module):
    """Owns what the exported functions use, and nothing else: no Keras object is part of the SavedModel."""

    def __init__(self, predictor: Predictor):
        super().__init__()
        self.resources = predictor.tokenizer.trackables()
        specs = predictor.specs

        def predict(**inputs):
            # A server does not compare an input's rank with the signature, and texts of texts would become more texts.
            return predictor.predict(*(tf.ensure_shape(inputs[name], spec.shape) for name, spec in specs.items()))

        backbone = predictor.model.backbone
        sizes = backbone.vocabulary_size, backbone.num_segments, backbone.max_sequence_length
        self.signatures_by_name = {
            "serving_default": tf.function(predict).get_concrete_function(**specs),
            "token_ids": with_checked_rows(predictor.predict_sequences, *sizes),
            **predictor.signatures(predict),
        }
        # What the functions read, an index and thresholds included. The model has more, such as matrices of which they
        # read a copy.
        read = (variable for function in self.signatures_by_name.values() for variable in _variables(function))
        self.weights = list({id(variable): variable for variable in read}.values())


def _variables(function) -> list[tf.Variable]:
    """Return the variables that a signature reads, itself or by what it calls."""
    traced = function if isinstance(function, ConcreteFunction) else function.get_concrete_function()
    return list(traced.variables)


def next_version(model_dir: Path) -> int:
    """Return one more than the highest version in `model_dir`, or 1."""
    versions = [int(entry.name) for entry in model_dir.glob("*") if entry.name.isdecimal()]
    return max(versions, default=0) + 1


def export(servable: Servable, model_dir: Path, check: Callable[[Path], None] = lambda _: None) -> Path:
    """Write the next version of a servable model.

    Everything is written aside, under a name that TensorFlow Serving ignores, and renamed when complete. What exports
    that were killed have left aside is removed.

    Args:
        servable: what to export.
        model_dir: `saved_models/NAME`; made if missing.
        check: called with the complete directory before it gets its number; what it raises keeps it from getting one,
            so that a server that watches `model_dir` never sees a version that was not checked.

    Returns:
        The version's directory.

    Raises:
        WriteError: the disk is full.
    """
    model_dir.mkdir(parents=True, exist_ok=True)
    with writing(model_dir), _aside(model_dir) as aside:
        module = _Module(servable.predictor)
        tf.saved_model.save(module, str(aside), signatures=module.signatures_by_name)
        _write_assets(servable, aside / "assets")
        write_warmup(aside, servable.samples)
        card = model_card(
            servable.report, servable.predictor.task, sorted(module.signatures_by_name), servable.compared
        )
        (aside / "MODEL_CARD.md").write_text(card, encoding="utf-8")
        # mkdtemp made it for this user alone; the server usually runs as another.
        aside.chmod(0o755)
        check(aside)
        return _publish(aside, model_dir)


@contextlib.contextmanager
def _aside(model_dir: Path) -> Iterator[Path]:
    """Make a directory in `model_dir` that is removed at the end unless it was renamed.

    It is locked as long as this process lives, by which others tell it from what killed processes have left.
    """
    with _locked(model_dir) as is_locked:
        if is_locked:
            for path in model_dir.glob(f"{_ASIDE}*"):
                with _locked(path, wait=False) as is_left:
                    if is_left:
                        shutil.rmtree(path, ignore_errors=True)
        aside = Path(tempfile.mkdtemp(prefix=_ASIDE, dir=model_dir))
        holding = contextlib.ExitStack()
        holding.enter_context(_locked(aside))
    with holding:
        try:
            yield aside
        finally:
            shutil.rmtree(aside, ignore_errors=True)


@contextlib.contextmanager
def _locked(directory: Path, wait: bool = True) -> Iterator[bool]:
    """Hold a directory against other processes; give whether it is held, which not every file system can tell."""
    try:
        import fcntl  # not on every system
    except ImportError:
        yield False
        return
    try:
        descriptor = os.open(directory, os.O_RDONLY)
    except OSError:
        yield False
        return
    try:
        is_locked = True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError:
            is_locked = False
        yield is_locked
    finally:
        os.close(descriptor)


def _publish(aside: Path, model_dir: Path) -> Path:
    while True:
        version_dir = model_dir / str(next_version(model_dir))
        try:
            os.rename(aside, version_dir)
            return version_dir
        except OSError:
            # Another export took this number between the listing and the renaming.
            if not version_dir.exists():
                raise


def _write_assets(servable: Servable, directory: Path) -> None:
    directory.mkdir(exist_ok=True)
    tokenizer, task = servable.predictor.tokenizer, servable.predictor.task
    rules = {name: getattr(tokenizer, name) for name in ("lowercase", "strip_accents", "split_on_cjk")}
    documents = {"config.json": servable.config.to_dict(), "task.json": task.to_json(), "tokenizer.json": rules}
    if servable.predictor.decided:
        documents["decided.json"] = decided_to_json(servable.predictor.decided_values())
    for name, document in documents.items():
        text = json.dumps(document, indent=2, ensure_ascii=False)
        (directory / name).write_text(text + "\n", encoding="utf-8")
    (directory / "vocabulary.txt").write_text("".join(f"{t}\n" for t in tokenizer.vocabulary), encoding="utf-8")
    if task.known_labels:
        (directory / "labels.txt").write_text("".join(f"{t}\n" for t in task.known_labels), encoding="utf-8")
