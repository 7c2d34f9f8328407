"""Fine-tuning with PyTorch transformers on the data and with the settings of a finished run."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.internals import RunData, encoder_dir, run_data
from benchmarks.processes import peers_python, run_worker
from tfbert.files import read_json


@dataclass(frozen=True)
class Finetuned:
    """Summary of the worker, and test scores by metric."""

    summary: dict
    scores: dict[str, float]


def finetune(
    kind: str,
    run_dir: Path,
    out_dir: Path,
    num_epochs: int,
    arguments: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Finetuned:
    """Fine-tune and score, unless that has been done; `peers_python` must exist.

    Args:
        kind: of model, a key of `KINDS` in `workers.transformers_finetune`.
        run_dir: finished run, for data, encoder, batch size and learning rate.
        out_dir: absolute path for job and predictions.
        num_epochs: of the training.
        arguments: further `TrainingArguments`.
        settings: entries of the job that differ from those of the run.
    """
    data = run_data(run_dir)
    job = common_job(data, out_dir) | {"kind": kind, "epochs": num_epochs, **(settings or {})}
    job["arguments"] = {"disable_tqdm": True, **(arguments or {})}
    if not Path(job["summary"]).exists():
        run_worker("transformers_finetune", job, out_dir / "job.json", peers_python())
    return Finetuned(read_json(Path(job["summary"])), data.test_scores(Path(job["out"])))


def common_job(data: RunData, out_dir: Path) -> dict[str, Any]:
    """Return what every worker that trains needs to know, after writing the records to `out_dir`."""
    train, encoder = data.config.train, data.config.encoder
    return {
        **data.write_records(out_dir),
        "encoder": str(encoder_dir(encoder.name)),
        "out": str(out_dir / "predictions.jsonl"),
        "summary": str(out_dir / "summary.json"),
        "started_at": time.time(),
        "seed": train.seed,
        "batch_size": train.batch_size * train.accumulation_steps,
        "learning_rate": train.learning_rate,
        "weight_decay": train.weight_decay,
        "warmup_fraction": train.warmup_fraction,
        "sequence_length": encoder.sequence_length,
        "window_overlap": int(encoder.sequence_length * encoder.window_overlap_fraction),
    }
