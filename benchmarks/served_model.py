"""The classifier that the serving benchmarks measure, in the forms that tfbert and the other libraries load."""

import importlib.util
import random
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks import internals
from benchmarks.datasets import BY_NAME
from benchmarks.options import Options
from benchmarks.processes import run, run_worker, tool_command
from benchmarks.quality import train_once
from tfbert.files import read_json

# Trained for one epoch where no run is given.
_TRAINED_ON = "banking77, 10 per label"
# Texts to predict: short ones whose labels the model knows, and long ones.
SHORT, LONG = "banking77", "bbc_news"
_NUM_TEXTS = 500


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """One model in several forms.

    Args:
        model_dir: directory with the SavedModel as version 1.
        bfloat16_dir: the same with matrices in bfloat16; `None` if the processor does not multiply it.
        litert_dir: the same for LiteRT; `None` if that is not installed.
        peer_dir: `encoder/` as transformers reads it, and what `internals.write_head` writes.
        labels: by id.
    """

    model_dir: Path
    bfloat16_dir: Path | None = None
    litert_dir: Path | None = None
    peer_dir: Path
    labels: list[str]

    def write_onnx(self, python: Path) -> bool:
        """Write the ONNX files, and return whether PyTorch multiplies bfloat16 on this processor."""
        job = {"model": str(self.peer_dir), "kind": "write"}
        run_worker("peer_models", job, self.peer_dir / "write.json", python)
        return read_json(self.peer_dir / "about.json")["has_bfloat16"]


def texts_of(options: Options) -> dict[str, tuple[list[str], list[str]]]:
    """Return by data set up to 500 random test texts, the same in every call, and their labels.

    Raises:
        ValueError: the short texts are missing; long ones may be.
    """
    options.existing(SHORT, "the texts to predict")
    drawn = {}
    for name in (SHORT, LONG):
        if (options.data_dir / name).exists():
            records = internals.read_splits(options.data_dir / name, {"encoding_errors": "replace"})["test"]
            records = random.Random(0).sample(records, min(_NUM_TEXTS, len(records)))
            drawn[name] = ([record.text for record in records], [record.target for record in records])
    return drawn


def export(options: Options, required_labels: list[str] | None = None) -> ServedModel:
    """Export the model of `--model`, or of a run that is trained now unless it exists, in all forms.

    Args:
        options: of the command.
        required_labels: labels that the model must know.

    Raises:
        ValueError: the run is missing, does not know a label, or is not one that other libraries can build.
    """
    out_dir = options.out_dir.parent / "served"
    run_dir, exports = options.run_dir or _trained(options, out_dir), out_dir / "exports"
    peer_dir = exports / "peer"
    known = internals.known_labels(run_dir)
    for label in required_labels or ():
        if label not in known:
            raise ValueError(f"--model {run_dir}: does not know the label {label!r} of the test texts of {SHORT}")
    # Only now, so that a rejected model leaves earlier results alone.
    shutil.rmtree(exports, ignore_errors=True)
    peer_dir.mkdir(parents=True)
    labels = internals.write_head(run_dir, peer_dir)
    internals.export_saved_model(run_dir, exports / "float32")
    internals.export_encoder(run_dir, peer_dir / "encoder")
    served = ServedModel(model_dir=exports / "float32", peer_dir=peer_dir, labels=labels)
    if importlib.util.find_spec("ai_edge_litert"):
        run(tool_command("export", [str(run_dir), "--litert", str(exports / "litert")]))
        served = replace(served, litert_dir=exports / "litert")
    if internals.multiplies_bfloat16():
        internals.export_saved_model(run_dir, exports / "bfloat16", "bfloat16")
        served = replace(served, bfloat16_dir=exports / "bfloat16")
    return served


def _trained(options: Options, out_dir: Path) -> Path:
    data_set = BY_NAME[_TRAINED_ON]
    options.existing(data_set.path, f"the data of '{_TRAINED_ON}', which is needed without --model RUN")
    data_set = replace(data_set, settings={**data_set.settings, "train.epochs": "1"})
    train_once(data_set, data_set.prepared(options.data_dir, out_dir), out_dir / "run", 0)
    return out_dir / "run"
