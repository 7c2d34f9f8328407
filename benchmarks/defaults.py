"""Test scores of the default settings on development sets, next to a frozen encoder, transformers and older defaults.

Every training is a process of its own with three seeds, and a run that exists is not repeated. `--set` changes settings
to try them, and then only tfbert is measured. `--against` names the checkout of another version to compare with.
"""

import statistics
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from benchmarks import internals, transformers_peer
from benchmarks.conversions import limited
from benchmarks.datasets import DEVELOPMENT_SETS, DataSet
from benchmarks.options import Options
from benchmarks.processes import ROOT, peers_python
from benchmarks.quality import train_once
from benchmarks.tables import Row, Table, mean
from tfbert.files import REPORT, read_json

# Peak learning rates of transformers' usual recipe; the better one on validation counts, chosen with the first seed.
_LEARNING_RATES = (5e-5, 2e-4)
_MAX_EPOCHS = 5
COLUMNS = (
    ("test score", mean),
    ("seconds per training", lambda row, _: f"{statistics.median(row.values['seconds']):.0f}"),
    ("difference to tfbert", lambda row, reference: _difference(row, reference)),
)


def measure(options: Options) -> Table:
    """Train and score every development set that exists, and average over the sets.

    Raises:
        ValueError: a name of `--only` is unknown or its data is missing.
    """
    options.check_only(data_set.name for data_set in DEVELOPMENT_SETS)
    rows: list[Row] = []
    for data_set in DEVELOPMENT_SETS:
        if options.only and data_set.name not in options.only:
            continue
        if data_set.path is not None:
            options.existing(data_set.path, f"the data of '{data_set.name}'")
        rows += _rows(data_set, options)
        _table(rows).write(options.out_dir / "defaults.json")
    return _table(rows)


def _table(rows: list[Row]) -> Table:
    return Table(columns=COLUMNS, rows=[*rows, *_averages(rows)])


def _rows(data_set: DataSet, options: Options) -> Iterator[Row]:
    """Yield the row of each system."""
    if options.max_examples and data_set.convert:
        data_set = replace(data_set, convert=limited(data_set.convert, options.max_examples))
    seeds = range(min(data_set.num_seeds, options.repeats or data_set.num_seeds))
    data = [data_set.prepared(options.data_dir, options.out_dir, seed) for seed in seeds]

    def trained(name: str, settings: Mapping[str, str], checkout: Path = ROOT) -> list[Path]:
        changed = replace(data_set, settings={**data_set.settings, **settings})
        run_dirs = [options.out_dir / f"{data_set.slug}-{name}-{seed}" for seed in seeds]
        for seed, run_dir in zip(seeds, run_dirs, strict=True):
            train_once(changed, data[seed], run_dir, seed, checkout)
        return run_dirs

    title = data_set.name + (" (held out)" if data_set.is_held_out else "")
    if options.settings:
        name = "-".join(f"{path.rpartition('.')[2]}={value}" for path, value in options.settings.items())
        yield _row(title, data_set, name, trained(name, options.settings))
        return
    runs = trained("tfbert", {})
    yield _row(title, data_set, "tfbert", runs)
    if options.against:
        yield _row(title, data_set, "tfbert, older", trained("older", {}, options.against))
    if data_set.peer in ("frozen", "untrained"):
        scores = [_untrained_score(data_set, run_dir) for run_dir in runs]
        yield Row(workload=title, system="frozen encoder", values={"score": scores, "seconds": [0.0]})
    else:
        yield _row(title, data_set, "frozen encoder", trained("frozen", {"train.trainable_layers": "0"}))
    if data_set.kind and peers_python():
        yield _transformers(title, data_set, runs)


def _row(title: str, data_set: DataSet, system: str, run_dirs: list[Path]) -> Row:
    reports = [read_json(run_dir / REPORT) for run_dir in run_dirs]
    scores = [report["test"]["metrics"][data_set.metrics[0]]["value"] for report in reports]
    seconds = [float((run_dir / "wall_seconds.txt").read_text(encoding="utf-8")) for run_dir in run_dirs]
    return Row(workload=title, system=system, values={"score": scores, "seconds": seconds})


def _untrained_score(data_set: DataSet, run_dir: Path) -> float:
    """Return the score of logistic regression on the encoder's vectors, or of its index where no head is needed."""
    if data_set.peer == "frozen":
        return internals.frozen_accuracy(run_dir)
    return internals.untrained_scores(run_dir)[data_set.metrics[0]]


def _transformers(title: str, data_set: DataSet, run_dirs: list[Path]) -> Row:
    """Return the row of transformers, with the learning rate whose validation loss is the lowest on the first seed."""

    def finetune(run_dir: Path, rate: float) -> transformers_peer.Finetuned:
        settings = {"learning_rate": rate, "keeps_best": True}
        out_dir = run_dir / f"transformers-{rate}"
        return transformers_peer.finetune(data_set.kind, run_dir, out_dir, _MAX_EPOCHS, settings=settings)

    first, *others = run_dirs
    tried = {rate: finetune(first, rate) for rate in _LEARNING_RATES}
    rate = min(tried, key=lambda rate: tried[rate].summary["validation_loss"])
    results = [tried[rate], *(finetune(run_dir, rate) for run_dir in others)]
    values = {
        "score": [result.scores[data_set.metrics[0]] for result in results],
        "seconds": [result.summary["seconds"] for result in results],
    }
    return Row(workload=title, system="transformers", values=values)


def _averages(rows: list[Row]) -> Iterator[Row]:
    """Yield the mean over the data sets of each system, over those that all systems have in common."""
    systems = list(dict.fromkeys(row.system for row in rows))
    for title, held_out in (("average of all sets", False), ("average of held-out sets", True)):
        by_set: dict[str, dict[str, Row]] = {}
        for row in rows:
            if row.workload.endswith(" (held out)") or not held_out:
                by_set.setdefault(row.workload, {})[row.system] = row
        common = [by_system for by_system in by_set.values() if len(by_system) == len(systems)]
        for system in systems if common else ():
            scores = [statistics.mean(by_system[system].values["score"]) for by_system in common]
            seconds = [sum(statistics.mean(by_system[system].values["seconds"]) for by_system in common)]
            values = {"score": [statistics.mean(scores)], "seconds": seconds}
            yield Row(workload=f"{title} ({len(common)})", system=system, values=values)


def _difference(row: Row, reference: Row | None) -> str:
    if reference is None:
        return ""
    difference = statistics.mean(row.values["score"]) - statistics.mean(reference.values["score"])
    return f"{100 * difference:+.1f} points"
