"""Text without labels in, a table of what pretraining on it is worth to tasks out.

Every task is trained from the encoder before and after pretraining, on the same data with the same seeds, each training
a `tools/train.py` in a process of its own. What is there already is not repeated, so a stopped table goes on.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tfbert.bench.commands import run_tool
from tfbert.bench.conversions import copy_named, draw_from_train
from tfbert.bench.datasets import DataSet, check_names
from tfbert.bench.quality import train_once
from tfbert.bench.wording import spread
from tfbert.encoder.backbone import load_encoder, save_encoder
from tfbert.evaluation.comparison import paired_bootstrap
from tfbert.files import read_json, write_json
from tfbert.tasks.base import Task
from tfbert.text.splits import load_splits
from tfbert.training.answering import answer_all
from tfbert.training.finished import load_run

logger = logging.getLogger(__name__)

_WORD_METRICS = ("loss", "accuracy")
_BEFORE, _AFTER, _RANDOM = "before", "after", "random-encoder"


@dataclass(frozen=True)
class Transfer:
    """One pretraining and what is made of it.

    Args:
        name: of the corpus, which is a directory of that name.
        settings: of the pretraining, as `--set` takes them.
        tasks: rows of the table; the first metric of each is compared.
        encoder: to go on from; `None` starts from nothing, and stands next to the same architecture with random
            weights.
    """

    name: str
    settings: Mapping[str, str]
    tasks: tuple[DataSet, ...]
    encoder: str | None = "minilm"


_PHRASEBANK = DataSet(
    "financial_phrasebank", "financial_phrasebank/Sentences_50Agree.txt", {"data.separator": "@"}, peer=None
)
_FEW = {"settings": {"data.validation_fraction": "0"}}
TRANSFERS = (
    Transfer(
        "fomc_minutes",
        {"train.epochs": "1"},
        (
            replace(_PHRASEBANK, name="financial_phrasebank, 16 a label", prepare=draw_from_train(16, "@"), **_FEW),
            replace(_PHRASEBANK, name="financial_phrasebank, 64 a label", prepare=draw_from_train(64, "@"), **_FEW),
            _PHRASEBANK,
        ),
    ),
    Transfer(
        "peoples_daily_1998",
        # Every paragraph is a document, most of one sentence: there is no next one.
        {
            "encoder.vocabulary_size": "8000",
            "encoder.dropout": "0",
            "examples.pairs": "none",
            "examples.sequence_length": "64",
            "train.learning_rate": "0.0004",
            "train.warmup_fraction": "0.05",
            "train.epochs": "6",
        },
        (
            DataSet(
                "cluener",
                "cluener",
                prepare=copy_named(train="train.json as .jsonl", test="dev.json as .jsonl"),
                task="entities",
                metrics=("f1",),
                peer=None,
            ),
            DataSet("waimai_10k", "waimai_10k/waimai_10k.csv", peer=None),
        ),
        encoder=None,
    ),
)


def measure(data_dir: Path, out_dir: Path, names: list[str], num_seeds: int = 5) -> list[dict]:
    """Pretrain on every corpus wanted, and train its tasks with and without.

    Args:
        data_dir: holds corpora and data sets in folders of their own.
        out_dir: for encoders and runs, and `transfer.json` with the rows, in a folder a corpus.
        names: of the corpora wanted; empty means all.
        num_seeds: trainings of each task from each encoder; where train is drawn, each has a draw of its own.

    Returns:
        A dict a task: `corpus`, `masked_words` (held-out `loss` and `accuracy`, each before and after), `data`,
        `num_examples`, `metric`, `before` and `after` (values of the trainings), and what `paired_bootstrap` says.

    Raises:
        ValueError: an unknown name, or a corpus or data set that is not there.
    """
    check_names(names, [transfer.name for transfer in TRANSFERS])
    rows = []
    for transfer in TRANSFERS:
        if names and transfer.name not in names:
            continue
        for path in (transfer.name, *(entry.path for entry in transfer.tasks)):
            if not (data_dir / path).exists():
                raise ValueError(f"{data_dir / path}: is not there; wanted what '{transfer.name}' is measured on")
        place = out_dir / transfer.name
        masked_words, encoders = _pretrained(transfer, data_dir / transfer.name, place)
        for entry in transfer.tasks:
            row = {"corpus": transfer.name, "masked_words": masked_words}
            rows.append(row | _task_row(entry, encoders, data_dir, place, num_seeds))
            logger.info("%s", to_markdown(rows[-1:]).splitlines()[-1])
            write_json(place / "transfer.json", {"rows": [row for row in rows if row["corpus"] == transfer.name]})
    return rows


def to_markdown(rows: list[dict]) -> str:
    """Return the table."""
    lines = [
        "| text | masked words, held out: loss | accuracy | data | test examples | metric | before | after "
        "| gain (95 %) | verdict |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        words = [f"{row['masked_words'][name][0]:.3f} → {row['masked_words'][name][1]:.3f}" for name in _WORD_METRICS]
        cells = [row["corpus"], *words, row["data"], f"{row['num_examples']:,}", row["metric"].replace("_", " ")]
        cells += [spread(row[side]) for side in (_BEFORE, _AFTER)]
        cells += [f"{row['difference']:+.3f} ({row['low']:+.3f} to {row['high']:+.3f})", verdict(row)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def verdict(row: Mapping[str, float]) -> str:
    """Return in words what an interval of a difference says."""
    if row["low"] > 0:
        return "gain"
    return "loss" if row["high"] < 0 else "no gain that is sure"


def _pretrained(transfer: Transfer, corpus: Path, place: Path) -> tuple[dict, dict[str, str]]:
    """Return held-out numbers before and after, and the encoders of both sides."""
    run_dir = place / "pretraining"
    if not (run_dir / "report.json").exists():
        start = ["--encoder", transfer.encoder] if transfer.encoder else ["--from-scratch"]
        run_tool("pretrain", ["--corpus", str(corpus), "--out", str(run_dir), *start], transfer.settings)
    report = read_json(run_dir / "report.json")
    after = str(run_dir / "encoder")
    before = transfer.encoder
    if before is None:
        before = str(place / _RANDOM)
        if not Path(before).exists():
            fresh = load_encoder(after, load_weights=False)
            # The directory must not claim a pretraining that these weights have not seen.
            save_encoder(replace(fresh, spec=replace(fresh.spec, pretraining=None)), before)
    found = {name: [report[side][f"masked_word_{name}"] for side in (_BEFORE, _AFTER)] for name in _WORD_METRICS}
    return found, {_BEFORE: before, _AFTER: after}


def _task_row(entry: DataSet, encoders: dict[str, str], data_dir: Path, place: Path, num_seeds: int) -> dict:
    answers: dict[str, list[dict[str, np.ndarray]]] = {side: [] for side in encoders}
    values: dict[str, list[float]] = {side: [] for side in encoders}
    metric = entry.metrics[0]
    for seed in range(num_seeds):
        data = entry.data_of(data_dir, place, seed)
        for side, encoder in encoders.items():
            run_dir = place / f"{entry.slug}-{seed}-{side}"
            started = replace(entry, settings=dict(entry.settings) | {"encoder.name": encoder})
            report = train_once(started, data, run_dir, seed)
            values[side].append(report["test"]["metrics"][metric]["value"])
            found, gold, task, facts = _answers(run_dir)
            answers[side].append(found)
    compared = paired_bootstrap(_score_of(task, gold, facts, metric), answers[_AFTER], answers[_BEFORE], len(gold))
    return {"data": entry.name, "num_examples": len(gold), "metric": metric, **values, **compared}


def _answers(run_dir: Path) -> tuple[dict[str, np.ndarray], list, Task, dict]:
    """Return a finished run's answers to its test split, the truth, and the task with its facts."""
    finished = load_run(run_dir)
    task = finished.answering.task
    splits = load_splits(finished.config.data, Path(finished.config.data.path), task.schema)
    found, gold = answer_all(finished.answering, task, finished.facts, splits["test"], None, f"{run_dir.name}: test")
    return found, gold, task, finished.facts


def _score_of(task: Task, gold: list, facts: dict, metric: str):
    def score(answers: Mapping[str, np.ndarray], records: np.ndarray) -> float:
        drawn = {name: values[records] for name, values in answers.items()}
        return task.quick_scores(drawn, [gold[record] for record in records], facts)[metric]

    return score
