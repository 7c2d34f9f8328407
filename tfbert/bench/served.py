"""Data and, if there is one, a finished run in; one model for both sides of the serving tables out, with texts to ask.

Ours is the exported SavedModel, that with matrices in bfloat16 where the processor multiplies it, and LiteRT's model
where that is installed. The peers get the encoder in Hugging Face's layout, and the head beside it.
"""

import importlib.util
import logging
import random
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfbert.bench.commands import run_tool
from tfbert.bench.datasets import DATA_SETS
from tfbert.config import DataConfig
from tfbert.encoder.precision import choose_precision
from tfbert.files import write_json
from tfbert.serving import fidelity, litert, publish
from tfbert.serving.encoders import export_huggingface
from tfbert.text.records import Record
from tfbert.text.splits import load_splits
from tfbert.training.finished import FinishedRun, load_run
from tfbert.training.run_dir import REPORT

logger = logging.getLogger(__name__)

# What the model learns, and what it is asked: short texts, which have labels it knows, and longer ones.
LEARNED = "banking77, 10 a label"
_ASKED = {"banking77": DataConfig(), "bbc_news": DataConfig(encoding_errors="replace")}
SHORT = "banking77"
_NUM_TEXTS = 500
# Of a run, for it to be what the peers build.
_WANTED = {"head.pooling": "mean", "encoder.long_text": "cut"}


@dataclass(frozen=True, kw_only=True)
class Served:
    """One model in two forms.

    Args:
        model_dir: with the SavedModel as version 1.
        peer_dir: `encoder/` as transformers reads it; `head.npz` with `kernel` `(hidden_dim, num_classes)` and `bias`
            `(num_classes,)`, float32; `model.json` with `labels`, `sequence_length`, `num_heads` and `hidden_dim`.
        labels: by id.
        litert_dir: with the LiteRT model; `None` where LiteRT is not installed.
        bfloat16_dir: version with matrices in bfloat16; `None` where the processor does not multiply it.
    """

    model_dir: Path
    peer_dir: Path
    labels: list[str]
    litert_dir: Path | None = None
    bfloat16_dir: Path | None = None

    @property
    def version_dir(self) -> Path:
        """The version's own directory."""
        return self.model_dir / "1"


def make_served(
    data_dir: Path, out_dir: Path, run_dir: Path | None = None, settings: Mapping[str, str] | None = None
) -> Served:
    """Return a model to be served, exported anew for both sides.

    Args:
        data_dir: holds the data sets in folders of their own.
        out_dir: for the run, which is kept, and the exports.
        run_dir: of a finished classification; `None` trains one for one epoch, unless that was done before.
        settings: config paths and values of that training, besides its data and epochs.

    Raises:
        ValueError: there is no such run, or not one that the peers can build; the data is not there.
    """
    if run_dir is None:
        run_dir = _trained(data_dir, out_dir, settings or {})
    run = load_run(run_dir)
    _check(run, run_dir)
    model_dir, bfloat16_dir, peer_dir = out_dir / "model", out_dir / "model-bfloat16", out_dir / "peer"
    for stale in (model_dir, bfloat16_dir, peer_dir):
        shutil.rmtree(stale, ignore_errors=True)
    peer_dir.mkdir(parents=True)
    publish.export_run(run_dir, model_dir)
    export_huggingface(str(run_dir), peer_dir / "encoder")
    _write_head(run, peer_dir)
    litert_dir = None
    if importlib.util.find_spec("ai_edge_litert"):
        litert_dir = out_dir / "litert"
        logger.info("%s: %s", litert_dir, litert.summary(litert.export_litert(run_dir, litert_dir)))
    return Served(
        model_dir=model_dir,
        peer_dir=peer_dir,
        labels=run.facts["labels"],
        litert_dir=litert_dir,
        bfloat16_dir=_export_bfloat16(run_dir, bfloat16_dir),
    )


def draw_records(data_dir: Path) -> dict[str, list[Record]]:
    """Return test records in a random order that is always the same, at most 500 of a data set.

    Args:
        data_dir: holds the data sets in folders of their own; one that is not there is left out, and that is logged.

    Raises:
        ValueError: the short texts are not there.
    """
    found = {}
    for name, config in _ASKED.items():
        path = data_dir / name
        if not path.exists():
            if name == SHORT:
                raise ValueError(f"{path}: is not there; wanted the texts to ask")
            logger.info("%s: no %s, left out", name, path)
            continue
        records = list(load_splits(config, path)["test"])
        found[name] = random.Random(0).sample(records, min(_NUM_TEXTS, len(records)))
    return found


def _trained(data_dir: Path, out_dir: Path, settings: Mapping[str, str]) -> Path:
    run_dir = out_dir / "run"
    if not (run_dir / REPORT).exists():
        entry = next(entry for entry in DATA_SETS if entry.name == LEARNED)
        source = data_dir / entry.path
        if not source.exists():
            raise ValueError(f"{source}: is not there; wanted the data of '{entry.name}', or --model RUN")
        data = entry.data_of(data_dir, out_dir, 0)
        arguments = ["--data", str(data), "--out", str(run_dir), "--no-export"]
        run_tool("train", arguments, entry.settings | {"train.epochs": "1"} | settings)
    return run_dir


def _export_bfloat16(run_dir: Path, model_dir: Path) -> Path | None:
    if choose_precision("auto").product_dtype != "bfloat16":
        logger.info("no model in bfloat16: the processor does not multiply it")
        return None
    version_dir, checked = publish.export_run(run_dir, model_dir, "bfloat16")
    logger.info("%s: %s", version_dir, fidelity.said(checked["compared"]))
    return version_dir


def _check(run: FinishedRun, run_dir: Path) -> None:
    said = run.config.to_dict()
    for path, wanted in _WANTED.items():
        section, field = path.split(".")
        if said[section][field] != wanted:
            raise ValueError(f"{run_dir}: {path} is {said[section][field]!r}; wanted {wanted!r}, which the peers build")
    if set(run.answering.specs) != {"text"} or "label_id" not in run.answering(run.samples[:1]):
        raise ValueError(f"{run_dir}: wanted the run of a classification of single texts")


def _write_head(run: FinishedRun, peer_dir: Path) -> None:
    model = run.answering.model
    kernel, bias = (np.asarray(weight) for weight in (model.head.logits.kernel, model.head.logits.bias))
    np.savez(peer_dir / "head.npz", kernel=kernel, bias=bias)
    facts = {name: getattr(model.backbone, name) for name in ("num_heads", "hidden_dim")}
    facts |= {"labels": run.facts["labels"], "sequence_length": run.config.encoder.sequence_length}
    write_json(peer_dir / "model.json", facts)
