"""Wrong labels: how well they are found, next to cleanlab, and the seconds that it takes.

In banking77, a tenth of the labels of train are changed, either to any other label or to the one that is most often
confused with the right one. In noisy_ag_news, annotators have made the errors. cleanlab ranks the same out-of-fold
probabilities of the probe by self-confidence.
"""

import csv
import gzip
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from benchmarks import internals
from benchmarks.options import Options
from benchmarks.processes import peers_python, run_worker
from benchmarks.tables import Row, Table, median

_NUM_SEEDS, _FRACTION = 3, 0.1
_OURS, _PEER = "tfbert", "cleanlab"
# The data set, the number of first rows whose precision is measured, and the file.
BANKING, NEWS = "banking77", "noisy_ag_news"
_FILES = {BANKING: "banking77/train.csv", NEWS: "noisy_ag_news/samples10000valMed.csv.gz"}
_NUM_FIRST = {BANKING: 500, NEWS: 1000}
COLUMNS = (
    ("wrong labels", median("wrong", ".1%")),
    ("AUROC", median("auroc", ".3f", with_range=True)),
    ("precision of the first 500", median("precision_500", ".3f", with_range=True)),
    ("precision of the first 1,000", median("precision_1000", ".3f", with_range=True)),
    ("seconds", median("seconds", ".0f")),
)


def measure(options: Options) -> Table:
    """Rank the rows of both data sets by how doubtful their labels are.

    Raises:
        ValueError: a name of `--only` is unknown or its data is missing.
    """
    options.check_only(_FILES)
    rows: list[Row] = []
    for name, file in _FILES.items():
        if not options.only or name in options.only:
            path = options.existing(file, f"the data of '{name}'")
            rows += _banking_rows(path, options) if name == BANKING else _news_rows(path, options)
    return Table(columns=COLUMNS, rows=rows)


def _banking_rows(path: Path, options: Options) -> list[Row]:
    texts, labels = zip(*((row["text"], row["category"]) for row in _read(path)), strict=True)
    names, targets = np.unique(labels, return_inverse=True)
    started = time.monotonic()
    vectors = internals.text_vectors(_written(texts, labels, options.out_dir / BANKING))
    seconds = time.monotonic() - started
    _, probabilities = internals.judge_labels(vectors, targets, len(names), 0)
    confusion = np.zeros((len(names), len(names)))
    np.add.at(confusion, targets, probabilities)
    np.fill_diagonal(confusion, 0.0)
    rows: list[Row] = []
    for workload, chances in (("uniform", np.ones_like(confusion)), ("most confused", _only_largest(confusion))):
        measured = []
        for seed in range(options.repeats or _NUM_SEEDS):
            given = _changed(targets, chances, seed)
            measured.append(_measured(BANKING, vectors, given, given != targets, seconds, seed, options))
        rows += _rows(f"{BANKING}, {workload}", measured)
    return rows


def _news_rows(path: Path, options: Options) -> list[Row]:
    rows = _read(path)
    texts, given, true = zip(*((row["text"], row["label"], row["gt"]) for row in rows), strict=True)
    _, targets = np.unique(given, return_inverse=True)
    started = time.monotonic()
    vectors = internals.text_vectors(_written(texts, given, options.out_dir / NEWS))
    seconds = time.monotonic() - started
    is_wrong = np.asarray(given) != np.asarray(true)
    seeds = range(options.repeats or _NUM_SEEDS)
    return _rows(NEWS, [_measured(NEWS, vectors, targets, is_wrong, seconds, seed, options) for seed in seeds])


def _rows(workload: str, measured: Sequence[Mapping[str, dict[str, float]]]) -> list[Row]:
    return [
        Row(
            workload=workload,
            system=system,
            values={key: [of_seed[system][key] for of_seed in measured] for key in measured[0][system]},
        )
        for system in measured[0]
    ]


def _measured(
    name: str,
    vectors: np.ndarray,
    targets: np.ndarray,
    is_wrong: np.ndarray,
    seconds: float,
    seed: int,
    options: Options,
) -> dict[str, dict[str, float]]:
    """Return by system how well a ranking finds the wrong labels."""
    started, num_first = time.monotonic(), _NUM_FIRST[name]
    score, probabilities = internals.judge_labels(vectors, targets, int(targets.max()) + 1, seed)
    seconds += time.monotonic() - started
    scores = {_OURS: score}
    if peers_python():
        scores[_PEER] = _cleanlab_scores(probabilities, targets, options.out_dir / "cleanlab")
    return {
        system: {
            "wrong": float(is_wrong.mean()),
            "auroc": float(roc_auc_score(is_wrong, -values)),
            f"precision_{num_first}": float(is_wrong[np.argsort(values, kind="stable")[:num_first]].mean()),
        }
        | ({"seconds": seconds} if system == _OURS else {})
        for system, values in scores.items()
    }


def _cleanlab_scores(probabilities: np.ndarray, targets: np.ndarray, directory: Path) -> np.ndarray:
    directory.mkdir(parents=True, exist_ok=True)
    job = {name: str(directory / f"{name}.npy") for name in ("probabilities", "labels", "scores")}
    np.save(job["probabilities"], probabilities)
    np.save(job["labels"], targets)
    run_worker("label_quality", job, directory / "job.json", peers_python())
    return np.load(job["scores"])


def _only_largest(confusion: np.ndarray) -> np.ndarray:
    """Return 1 for the most confused label of each label, else 0."""
    return np.eye(len(confusion))[confusion.argmax(axis=1)]


def _changed(targets: np.ndarray, chances: np.ndarray, seed: int) -> np.ndarray:
    """Return targets of which a tenth are changed, with the given relative chances of other labels."""
    rng, changed = np.random.default_rng(seed), targets.copy()
    for row in rng.permutation(len(targets))[: round(_FRACTION * len(targets))]:
        weights = np.where(np.arange(len(chances)) == targets[row], 0.0, chances[targets[row]])
        changed[row] = rng.choice(len(chances), p=weights / weights.sum())
    return changed


def _read(path: Path) -> list[dict[str, str]]:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def _written(texts: Sequence[str], labels: Sequence[str], directory: Path) -> Path:
    """Write a training split, and return its path."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "train.csv"
    with open(path, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["text", "label"])
        writer.writerows(zip(texts, labels, strict=True))
    return path
