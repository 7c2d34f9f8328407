"""Speed and memory of one epoch of fine-tuning, next to PyTorch transformers and KerasNLP's `fit`.

Every training is a process of its own, and the systems take turns. Tokenization counts as training; reading files and
importing libraries do not, but are part of the time from the start of the command to the first update.
"""

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks import internals, transformers_peer
from benchmarks.datasets import BY_NAME, DataSet
from benchmarks.options import Options
from benchmarks.processes import peers_python, run, run_worker, tool_command
from benchmarks.tables import Row, Table, mean, median, peak_gib, speedup
from tfbert.files import REPORT, read_json, write_json

# The kind of model that transformers uses.
KINDS = {"banking77": "sequence", "bbc_news": "sequence", "wnut17": "tokens"}
_ENCODER = "minilm"
# KerasNLP pads every text to 512 tokens by default; a whole epoch would take an hour.
_KERASNLP = {"num_batches": 24, "num_warm_batches": 4}
_REPEATS = 3
COLUMNS = (
    ("examples per second (range)", median("examples_per_second", ",.1f", with_range=True)),
    ("tfbert is", speedup("examples_per_second", "higher")),
    ("seconds to the first update", median("seconds_to_first_update", ".1f")),
    ("peak memory", peak_gib),
    ("test score after one epoch", mean),
)


@dataclass(frozen=True)
class System:
    """A library with its settings.

    Args:
        name: in the table.
        directory: for its runs.
        library: `tfbert`, `transformers` or `kerasnlp`.
        options: of the library's worker.
        repeats: whether it is measured as often as tfbert, or once, because it is far from the fastest.
    """

    name: str
    directory: str
    library: str
    options: Mapping[str, Any] = field(default_factory=dict)
    repeats: bool = False


SYSTEMS = (
    System("tfbert", "tfbert", "tfbert", repeats=True),
    System("transformers, float32", "transformers", "transformers"),
    System("transformers, bfloat16 autocast", "transformers-bfloat16", "transformers", {"bf16": True}, repeats=True),
    System("KerasNLP `fit`, defaults", "kerasnlp", "kerasnlp"),
    System("KerasNLP `fit`, length set", "kerasnlp-length", "kerasnlp", {"with_length": True}),
    System(
        "KerasNLP `fit`, length set, mixed_bfloat16 without XLA",
        "kerasnlp-bfloat16",
        "kerasnlp",
        {"with_length": True, "dtype": "mixed_bfloat16", "jit_compile": False},
    ),
)


def measure(options: Options) -> Table:
    """Train one epoch of every data set with every system; what exists is not repeated.

    Raises:
        ValueError: a name of `--only` is unknown, or data is missing.
    """
    options.check_only(KINDS)
    names = [name for name in KINDS if not options.only or name in options.only]
    for name in names:
        options.existing(BY_NAME[name].path, f"the data of '{name}'")
    python, rows = peers_python(), []
    for name in names:
        settings = {**BY_NAME[name].settings, "train.epochs": "1", "encoder.name": _ENCODER}
        data_set = replace(BY_NAME[name], settings=settings)
        summaries: dict[str, list[dict]] = {}
        for repeat in range(options.repeats or _REPEATS):
            run_dir = options.out_dir / f"{data_set.slug}-{repeat}"
            for system in SYSTEMS:
                # KerasNLP has no model for labels of words.
                is_missing = {"transformers": not python, "kerasnlp": KINDS[name] != "sequence"}.get(system.library)
                if not is_missing and (system.repeats or repeat == 0):
                    summary = _summary(system, data_set, options.data_dir, run_dir, repeat)
                    summaries.setdefault(system.name, []).append(summary)
        rows += [_row(data_set, name, measured) for name, measured in summaries.items()]
    return Table(columns=COLUMNS, rows=rows)


def _row(data_set: DataSet, system: str, summaries: list[dict]) -> Row:
    names = ("seconds_to_first_update", "peak_memory_bytes", "score")
    values = {name: [each[name] for each in summaries if name in each] for name in names}
    values["examples_per_second"] = [each["num_examples"] / each["train_seconds"] for each in summaries]
    return Row(workload=data_set.name, system=system, metric=data_set.metrics[0], values=values)


def _summary(system: System, data_set: DataSet, data_dir: Path, run_dir: Path, seed: int) -> dict:
    """Return what one training took, which is done unless it has been.

    Returns:
        `num_examples` and the `train_seconds` in which they were tokenized and learned, `seconds_to_first_update`,
        `peak_memory_bytes`, and, after a whole epoch, `score`.
    """
    out_dir = run_dir / system.directory
    path = out_dir / "measured.json"
    if path.exists():
        return read_json(path)
    if system.library == "tfbert":
        summary = _train_tfbert(data_set, data_set.prepared(data_dir, run_dir), run_dir, seed)
    elif system.library == "transformers":
        kind = KINDS[data_set.name]
        done = transformers_peer.finetune(kind, run_dir / "tfbert", out_dir, 1, system.options)
        summary = done.summary | {"score": done.scores[data_set.metrics[0]]}
    else:
        summary = _train_kerasnlp(system, run_dir, out_dir)
    write_json(path, summary)
    return summary


def _train_tfbert(data_set: DataSet, data: Path, run_dir: Path, seed: int) -> dict:
    arguments = ["--task", data_set.task, "--data", str(data), "--out", str(run_dir / "tfbert"), "--no-export"]
    command = tool_command("train", [*arguments, "--seed", str(seed)], data_set.settings)
    cache = cache_without_tokens(run_dir)
    started = time.time()
    run(command, environment={"TFBERT_CACHE": str(cache)})
    report = read_json(run_dir / "tfbert" / REPORT)
    seconds, splits = report["seconds"], report["data"]
    num_examples = splits["train"]["num_examples"]
    # All splits are tokenized together.
    train_fraction = num_examples / sum(split["num_examples"] for split in splits.values())
    return {
        "num_examples": num_examples,
        "train_seconds": train_fraction * seconds["tokenize"] + seconds["start"] + seconds["train"],
        "seconds_to_first_update": report["first_update_at"] - started,
        "peak_memory_bytes": report["peak_memory_bytes"],
        "score": report["test"]["metrics"][data_set.metrics[0]]["value"],
    }


def cache_without_tokens(run_dir: Path) -> Path:
    """Return a new cache with the encoders of the usual one but no tokens, because tokenization is measured."""
    encoder, cache = internals.encoder_dir(_ENCODER), run_dir / "cache"
    shutil.rmtree(cache, ignore_errors=True)
    cache.mkdir(parents=True)
    (cache / encoder.parent.name).symlink_to(encoder.parent)
    return cache


def _train_kerasnlp(system: System, run_dir: Path, out_dir: Path) -> dict:
    preset = run_dir / "preset"
    if not preset.exists():
        internals.save_preset(_ENCODER, preset)
    job = transformers_peer.common_job(internals.run_data(run_dir / "tfbert"), out_dir)
    job |= system.options | _KERASNLP | {"preset": str(preset)}
    run_worker("kerasnlp_fit", job, out_dir / "job.json")
    return read_json(out_dir / "summary.json")
