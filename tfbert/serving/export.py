"""A trained model in, a SavedModel directory that stock TensorFlow Serving loads out: raw text in, answers out."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import tensorflow as tf

from tfbert.config import Config
from tfbert.serving.card import model_card
from tfbert.serving.warmup import write_warmup
from tfbert.tasks.base import Task, TaskModel
from tfbert.text.packing import pack
from tfbert.text.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True)
class Servable:
    """All that goes into a SavedModel.

    Args:
        task: decides what is answered.
        facts: of the task.
        model: trained, float32.
        tokenizer: the one it was trained with.
        config: of the run.
        report: what `report.json` holds, for the model card.
        samples: a few real texts, replayed when the server loads the model.
    """

    task: Task
    facts: dict
    model: TaskModel
    tokenizer: Tokenizer
    config: Config
    report: dict
    samples: Sequence[str]


class _Module(tf.Module):
    """Owns what the exported functions use, and nothing else: no Keras object is part of the SavedModel."""

    def __init__(self, servable: Servable):
        super().__init__()
        self.weights = [weight.value for weight in servable.model.weights]
        self.resources = servable.tokenizer.trackables()
        task, facts = servable.task, servable.facts
        sequence_length = servable.config.encoder.sequence_length
        ids = tf.TensorSpec([None, None], tf.int32)

        def answer_tokens(inputs):
            return task.decode(servable.model(inputs, training=False), facts)

        def answer_texts(text):
            packed = pack(servable.tokenizer(text), servable.tokenizer.special, sequence_length)
            truncated = packed.pop("truncated")
            return answer_tokens(packed) | {"truncated": truncated}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
        def serving_default(text):
            return answer_texts(text)

        @tf.function(
            input_signature=[
                tf.TensorSpec(ids.shape, ids.dtype, name=name) for name in ("token_ids", "segment_ids", "padding_mask")
            ]
        )
        def token_ids(token_ids, segment_ids, padding_mask):
            return answer_tokens({"token_ids": token_ids, "segment_ids": segment_ids, "padding_mask": padding_mask})

        self.signatures_by_name = {
            "serving_default": serving_default,
            "token_ids": token_ids,
            **task.extra_signatures(answer_texts, facts),
        }


def next_version(model_dir: Path) -> int:
    """Return one more than the highest version in `model_dir`, or 1."""
    versions = [int(entry.name) for entry in model_dir.glob("*") if entry.name.isdecimal()]
    return max(versions, default=0) + 1


def export(servable: Servable, model_dir: Path, check: Callable[[Path], None] = lambda _: None) -> Path:
    """Write the next version of a servable model.

    Everything is written aside, under a name that TensorFlow Serving ignores, and renamed when complete.

    Args:
        servable: what to export.
        model_dir: `saved_models/NAME`; made if missing.
        check: called with the complete directory before it gets its number; what it raises keeps it from getting one,
            so that a server that watches `model_dir` never sees a version that was not checked.

    Returns:
        The version's directory.
    """
    model_dir.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=".writing-", dir=model_dir))
    try:
        module = _Module(servable)
        tf.saved_model.save(module, str(aside), signatures=module.signatures_by_name)
        _write_assets(servable, aside / "assets")
        write_warmup(aside, servable.samples)
        card = model_card(servable.report, servable.task.title, sorted(module.signatures_by_name))
        (aside / "MODEL_CARD.md").write_text(card, encoding="utf-8")
        # mkdtemp made it for this user alone; the server usually runs as another.
        aside.chmod(0o755)
        check(aside)
        return _publish(aside, model_dir)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


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
    tokenizer = servable.tokenizer
    rules = {name: getattr(tokenizer, name) for name in ("lowercase", "strip_accents", "split_on_cjk")}
    documents = {"config.json": servable.config.to_dict(), "facts.json": servable.facts, "tokenizer.json": rules}
    for name, document in documents.items():
        text = json.dumps(document, indent=2, ensure_ascii=False)
        (directory / name).write_text(text + "\n", encoding="utf-8")
    (directory / "vocabulary.txt").write_text("".join(f"{t}\n" for t in tokenizer.vocabulary), encoding="utf-8")
    if "labels" in servable.facts:
        (directory / "labels.txt").write_text("".join(f"{t}\n" for t in servable.facts["labels"]), encoding="utf-8")
