"""A corpus in, a table of how fast masked words are learned out, next to PyTorch transformers on the same rows."""

import logging
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np

from tfbert.bench.peers import peers_python
from tfbert.bench.picture import Speed
from tfbert.encoder.presets import resolve
from tfbert.files import read_json, write_json
from tfbert.pretraining.rows import load_rows

logger = logging.getLogger(__name__)

_TOOL = Path(__file__).parents[2] / "tools" / "pretrain.py"
_SCRIPT = Path(__file__).with_name("transformers_mlm_peer.py")
_CORPUS, _NUM_DOCUMENTS = "fomc_minutes", 40
_ENCODER, _BATCH_SIZE, _LEARNING_RATE, _MASK_FRACTION = "minilm", 32, 1e-4, 0.15
WAYS = {
    "tfbert": "tfbert",
    "float32": "transformers",
    "bfloat16": "transformers, bfloat16 autocast",
}


def measure(data_dir: Path, out_dir: Path, num_repeats: int = 3) -> list[dict]:
    """Learn from the first documents of a corpus for one epoch, by us and by the peer in turn.

    Args:
        data_dir: holds the corpus in a folder of its own.
        out_dir: for rows and runs.
        num_repeats: of every way.

    Returns:
        A dict a way: `way` (a key of `WAYS`), `tokens_per_second` of every repeat, padding not counted, and
        `peak_memory_bytes`, the highest.

    Raises:
        ValueError: the corpus is not there.
    """
    corpus = data_dir / _CORPUS
    if not corpus.is_dir():
        raise ValueError(f"{corpus}: is not there; wanted its documents")
    out_dir.mkdir(parents=True, exist_ok=True)
    python, rows = peers_python(), _rows(corpus, out_dir)
    found: dict[str, list[dict]] = {way: [] for way in (WAYS if python else ["tfbert"])}
    for repeat in range(num_repeats):
        ours = _ours(rows, out_dir / f"tfbert-{repeat}", repeat)
        found["tfbert"].append(ours)
        for way in list(found)[1:]:
            peer = out_dir / f"{way}-{repeat}"
            found[way].append(_peer(python, rows, peer, ours["updates"], repeat, way == "bfloat16"))
    return [
        {
            "way": way,
            "tokens_per_second": [one["num_tokens"] / one["seconds"] for one in repeats],
            "peak_memory_bytes": max(one["peak_memory_bytes"] for one in repeats),
        }
        for way, repeats in found.items()
    ]


def to_markdown(rows: list[dict]) -> str:
    """Return the table: medians, and the ratio of ours to each of the others."""
    ours = statistics.median(rows[0]["tokens_per_second"])
    lines = ["| masked words by | tokens a second (range) | tfbert is | peak memory |", "|---|---|---|---|"]
    for row in rows:
        speeds = row["tokens_per_second"]
        median = statistics.median(speeds)
        ratio = f"{ours / median:.2f} times as fast" if row is not rows[0] else ""
        spread = f"{median:,.0f} ({min(speeds):,.0f} to {max(speeds):,.0f})"
        lines.append(f"| {WAYS[row['way']]} | {spread} | {ratio} | {row['peak_memory_bytes'] / 2**30:.1f} GiB |")
    return "\n".join(lines)


def speeds(rows: list[dict]) -> list[Speed]:
    """Return what is drawn of the table: tokens a second."""
    return [Speed(_CORPUS, WAYS[row["way"]], row["tokens_per_second"], row is rows[0]) for row in rows]


def _rows(corpus: Path, out_dir: Path) -> Path:
    """Return the directory of rows without pairs, as the peer's recipe has none."""
    target = out_dir / "rows"
    if not (target / "index.json").exists():
        documents = sorted(path for path in corpus.iterdir() if path.is_file())[:_NUM_DOCUMENTS]
        command = [sys.executable, str(_TOOL), "prepare", "--encoder", _ENCODER, "--out", str(target)]
        command += ["--set", "examples.pairs=none", "--corpus", *map(str, documents)]
        subprocess.run(command, check=True)
    return target


def _ours(rows: Path, run_dir: Path, seed: int) -> dict:
    if not (run_dir / "report.json").exists():
        settings = {
            "examples.pairs": "none",
            "objective.masking": "token",
            "objective.mask_fraction": _MASK_FRACTION,
            "train.epochs": 1,
            "train.batch_size": _BATCH_SIZE,
            "train.learning_rate": _LEARNING_RATE,
            "train.evaluations": 1,
            "train.held_out_rows": 64,
            # The peer's new head learns together with the encoder too.
            "train.head_updates_fraction": 0,
        }
        command = [sys.executable, str(_TOOL), "--prepared", str(rows), "--encoder", _ENCODER, "--seed", str(seed)]
        command += ["--out", str(run_dir)]
        for path, value in settings.items():
            command += ["--set", f"{path}={value}"]
        subprocess.run(command, check=True)
    report = read_json(run_dir / "report.json")
    last = report["history"][-1]
    memory = report["peak_memory_bytes"]
    return {"num_tokens": last["num_tokens"], "seconds": last["seconds"], "updates": last["update"]} | {
        "peak_memory_bytes": memory
    }


def _peer(python: Path, rows: Path, run_dir: Path, updates: int, seed: int, is_bfloat16: bool) -> dict:
    run_dir.mkdir(exist_ok=True)
    out = run_dir / "summary.json"
    if not out.exists():
        found = load_rows(rows)
        arrays = run_dir / "rows.npz"
        np.savez(arrays, token_ids=found.token_ids.astype(np.int32), starts=found.starts)
        job = {
            "encoder": str(resolve(_ENCODER).directory),
            "rows": str(arrays),
            "out": str(out),
            "updates": updates,
            "batch_size": _BATCH_SIZE,
            "learning_rate": _LEARNING_RATE,
            "mask_fraction": _MASK_FRACTION,
            "bf16": is_bfloat16,
            "seed": seed,
        }
        write_json(run_dir / "job.json", job)
        command = [str(python), "-P", str(_SCRIPT.resolve()), str(run_dir / "job.json")]
        logger.info("%s", " ".join(command))
        subprocess.run(command, check=True)
    return read_json(out)
