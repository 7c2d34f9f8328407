"""Small data sets in, a table of what searching hyperparameters is worth out, next to chance and to Optuna.

Every search is `tools/search.py` in a process of its own, with the task's own space; the test scores are those of the
winner and of the default config, each trained with fresh seeds. What is there already is not repeated.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

from tfbert.bench import peers
from tfbert.bench.commands import run_tool
from tfbert.bench.conversions import draw_from_train
from tfbert.bench.datasets import DataSet, check_names
from tfbert.bench.wording import spread
from tfbert.files import read_json, write_json
from tfbert.space import Choice, LogRange
from tfbert.tasks.base import load_task
from tfbert.training.run_dir import REPORT

logger = logging.getLogger(__name__)

_TRIALS = 20
_ALGORITHMS = ("bayesian", "random")
_OPTUNA = "Optuna + transformers"
# What a stock training of transformers has too; it knows no rates by layer and no pooling.
_SHARED = {
    "train.learning_rate": "learning_rate",
    "train.epochs": "epochs",
    "train.batch_size": "batch_size",
    "encoder.dropout": "dropout",
    "train.label_smoothing": "label_smoothing",
}

# Ten examples a label to learn from, and ten to choose by.
DATA_SETS = (
    DataSet(
        "financial_phrasebank, 10 a label",
        "financial_phrasebank/Sentences_50Agree.txt",
        prepare=draw_from_train(10, "@", num_validation=10),
    ),
    DataSet("banking77, 10 a label", "banking77", prepare=draw_from_train(10, num_validation=10)),
)


def measure(
    data_dir: Path, out_dir: Path, names: Sequence[str] = (), num_seeds: int = 5, trials: int = _TRIALS
) -> list[dict]:
    """Search on every data set wanted, in every way.

    Args:
        data_dir: holds the data sets in folders of their own.
        out_dir: for searches and `search.json`.
        names: of the rows wanted; empty means all.
        num_seeds: with which the winner of each way, and the default config, are trained again.
        trials: of each way.

    Returns:
        A dict a data set and way: `data`, `way`, `num_examples`, `metric`, `default` and `best`, test scores a seed
        each (`default` is absent for a peer), `difference` with `low` and `high`, `sentence`, `seconds` and `bytes`.

    Raises:
        ValueError: an unknown name, or a data set that was asked for and is not there.
    """
    check_names(names, [entry.name for entry in DATA_SETS])
    rows = []
    for entry in DATA_SETS:
        if names and entry.name not in names:
            continue
        if not (data_dir / entry.path).exists():
            raise ValueError(f"{data_dir / entry.path}: is not there; wanted the data of '{entry.name}'")
        data = entry.data_of(data_dir, out_dir, 0)
        for algorithm in _ALGORITHMS:
            rows.append(_searched(entry, data, out_dir / f"{entry.slug}-{algorithm}", algorithm, num_seeds, trials))
        rows += _peer_row(entry, out_dir / f"{entry.slug}-{_ALGORITHMS[0]}" / "best", num_seeds, trials)
        write_json(out_dir / "search.json", {"rows": rows})
    return rows


def to_markdown(rows: list[dict]) -> str:
    """Return the table."""
    lines = [
        "| data | test examples | metric | way | defaults | best of the search | gain (95 %) | minutes | disk |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        gain = ""
        if row.get("low") is not None:
            gain = f"{row['difference']:+.3f} ({row['low']:+.3f} to {row['high']:+.3f})"
        cells = [row["data"], f"{row['num_examples']:,}", row["metric"], row["way"]]
        cells += [spread(row["default"]) if row.get("default") else "", spread(row["best"]), gain]
        cells += [f"{row['seconds'] / 60:.1f}", f"{row['bytes'] / 2**20:,.0f} MiB" if row.get("bytes") else ""]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _searched(entry: DataSet, data: Path, out_dir: Path, algorithm: str, num_seeds: int, trials: int) -> dict:
    if not (out_dir / REPORT).exists():
        arguments = ["--task", entry.task, "--data", str(data), "--out", str(out_dir), "--no-export"]
        arguments += ["--algorithm", algorithm, "--trials", str(trials), "--confirm", str(num_seeds)]
        run_tool("search", arguments, entry.settings)
    report = read_json(out_dir / REPORT)
    compared = report["comparison"]
    own = (path for path in out_dir.rglob("*") if path.is_file() and peers.FOLDER not in path.parts)
    return {
        "data": entry.name,
        "way": f"{algorithm}, {len(report['trials'])} trials",
        "num_examples": report["test"]["num_examples"],
        "metric": report["objective"]["name"],
        "default": compared["theirs"]["values"],
        "best": compared["ours"]["values"],
        **{name: compared[name] for name in ("difference", "low", "high")},
        "sentence": report["sentence"],
        "seconds": sum(report["seconds"].values()),
        "bytes": sum(path.stat().st_size for path in own),
    }


def _peer_row(entry: DataSet, run_dir: Path, num_seeds: int, trials: int) -> list[dict]:
    """Return the row of Optuna with the same records, trials and seeds, where its environment is there."""
    space, ranges = load_task(entry.task).search_space, {}
    for path, name in _SHARED.items():
        dimension = space[path]
        assert isinstance(dimension, Choice | LogRange)
        ranges[name] = [dimension.low, dimension.high] if isinstance(dimension, LogRange) else list(dimension.values)
    search = {"trials": trials, "ranges": ranges, "seeds": list(range(1, num_seeds + 1))}
    found = peers.optuna("sequence", run_dir, search)
    if found is None:
        return []
    report = read_json(run_dir / REPORT)
    metric = "accuracy"
    row = {"data": entry.name, "way": f"{_OPTUNA}, {trials} trials", "metric": metric}
    row |= {"num_examples": report["test"]["num_examples"], "best": found["test"][metric]}
    return [row | {"seconds": found["seconds"], "sentence": f"Best values: {found['best']}"}]
