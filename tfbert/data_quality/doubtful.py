"""Examination of labelled data without training: doubtful labels, values of rows, near-duplicates and drift."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from tfbert.data_quality.drift import Drift, measure_drift
from tfbert.data_quality.label_errors import LabelScores, score_labels, supporting_rows
from tfbert.data_quality.near_duplicates import NearDuplicate, find_near_duplicates
from tfbert.data_quality.vectors import record_vectors
from tfbert.encoder.backbone import Encoder
from tfbert.tasks.base import FittedTask, Task, list_tasks, load_task
from tfbert.text.datasets import TokenizedSplit
from tfbert.text.records import Record
from tfbert.text.splits import Split

# Records of a split that are examined: the time grows with their square.
MAX_RECORDS = 50_000
_CORRECTIONS = "data.corrections"


@dataclass(frozen=True, kw_only=True)
class DoubtfulRow:
    """A record whose label is doubtful.

    Args:
        split: the name of its split.
        record: the record.
        suggested: the label that it probably should have.
        score: margin of the given label, negative; the lower, the more doubtful.
        self_confidence: the probability of the given label.
        margin: margin of the probe or the model alone.
        disagreement: the fraction of the nearest neighbours with another label; `None` if they were not asked.
        value: KNN-Shapley value of a row of train; `None` for other splits.
        neighbours: the nearest records of train that have the suggested label.
    """

    split: str
    record: Record
    suggested: str
    score: float
    self_confidence: float
    margin: float
    disagreement: float | None = None
    value: float | None = None
    neighbours: tuple[Record, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Examination:
    """What was found in the data.

    Args:
        num_records: number of records by split.
        num_examined: number of examined records by split.
        num_unjudged: number of examined records by split whose label no other record of train has.
        rows: the doubtful rows of all splits, most doubtful first.
        values: the KNN-Shapley value of each examined record of train, lowest first.
        near_duplicates: near-duplicates within and between splits.
        drift: the drift between each pair of splits.
    """

    num_records: Mapping[str, int]
    num_examined: Mapping[str, int]
    num_unjudged: Mapping[str, int]
    rows: Sequence[DoubtfulRow]
    values: Sequence[tuple[Record, float]]
    near_duplicates: Sequence[NearDuplicate]
    drift: Sequence[Drift]


def check_supported(task: Task) -> None:
    """Refuse a task whose labels cannot be judged.

    Raises:
        ValueError: the task has no labels, or other ones.
    """
    if _CORRECTIONS not in task.data_options:
        supported = [name for name in list_tasks() if _CORRECTIONS in load_task(name).data_options]
        raise ValueError(
            f"--doubtful: labels of the task {task.name} cannot be judged; expected {' or '.join(supported)}"
        )


def examine(
    task: FittedTask,
    splits: Mapping[str, Split],
    tokenized: Mapping[str, TokenizedSplit],
    encoder: Encoder,
    sequence_length: int,
    seed: int = 0,
) -> Examination:
    """Examine labelled data with the frozen encoder.

    Args:
        task: fitted to the training records; each record has one label.
        splits: the records by split.
        tokenized: their tokens.
        encoder: the encoder, which is not changed.
        sequence_length: maximum length of a sequence in tokens.
        seed: random seed for folds, and for the choice of records if a split has more than `MAX_RECORDS`.
    """
    num_records = {name: len(split.num_tokens) for name, split in tokenized.items()}
    chosen = {name: choose(number, MAX_RECORDS, seed) for name, number in num_records.items()}
    records = {name: splits[name].records_at(indices.tolist()) for name, indices in chosen.items()}
    vectors = {name: record_vectors(encoder, tokenized[name], sequence_length, chosen[name]) for name in chosen}
    ids = {label: label_id for label_id, label in enumerate(task.known_labels)}
    targets = {name: np.asarray([ids[record.target] for record in of_split]) for name, of_split in records.items()}
    others = {name: (vectors[name], targets[name]) for name in records if name != "train"}
    train_scores, scores, values = score_labels(vectors["train"], targets["train"], len(ids), others, seed)
    scores = {"train": train_scores, **scores}
    rows = [
        row
        for name in records
        for row in doubtful_rows(
            name,
            records[name],
            task.known_labels,
            scores[name],
            (vectors[name], vectors["train"]),
            (records["train"], targets["train"]),
            values if name == "train" else None,
        )
    ]
    order = np.argsort(values, kind="stable")
    labels = {
        name: [label for record in of_split for label in task.definition.labels_of(record)]
        for name, of_split in records.items()
    }
    return Examination(
        num_records=num_records,
        num_examined={name: len(of_split) for name, of_split in records.items()},
        num_unjudged={name: int(np.count_nonzero(~of_split.is_judged)) for name, of_split in scores.items()},
        rows=sorted(rows, key=lambda row: row.score),
        values=[(records["train"][index], float(values[index])) for index in order],
        near_duplicates=find_near_duplicates(records, vectors),
        drift=[
            measure_drift(pair, *(vectors[name] for name in pair), *(labels[name] for name in pair), seed)
            for pair in combinations(records, 2)
        ],
    )


def choose(number: int, limit: int, seed: int) -> np.ndarray:
    """Return the indices of at most `limit` of a number of records, chosen at random, in ascending order."""
    return np.sort(np.random.default_rng(seed).permutation(number)[:limit])


def doubtful_rows(
    split: str,
    records: Sequence[Record],
    labels: Sequence[str],
    scores: LabelScores,
    vectors: tuple[np.ndarray, np.ndarray] | None,
    train: tuple[Sequence[Record], np.ndarray],
    values: np.ndarray | None = None,
    limit: int | None = None,
) -> list[DoubtfulRow]:
    """Return the doubtful rows of a split, most doubtful first.

    Args:
        split: its name.
        records: its records.
        labels: the labels by id.
        scores: the scores of the records.
        vectors: unit vectors of the records and of train; `None` lists no neighbours.
        train: the records of train and their label ids.
        values: the KNN-Shapley values of the records; `None` if they have none.
        limit: largest number of rows; `None` for no limit.
    """
    doubtful = scores.doubtful[:limit]
    suggested = scores.suggested[doubtful]
    support: Sequence[np.ndarray] = [np.zeros(0, np.int64)] * len(doubtful)
    if vectors is not None and len(doubtful):
        own, of_train = vectors
        own_rows = doubtful if split == "train" else np.full(len(doubtful), -1)
        support = supporting_rows(own[doubtful], suggested, of_train, train[1], own_rows)
    return [
        DoubtfulRow(
            split=split,
            record=records[index],
            suggested=labels[label],
            score=float(scores.score[index]),
            self_confidence=float(scores.self_confidence[index]),
            margin=float(scores.margin[index]),
            disagreement=_value(scores.disagreement, index),
            value=_value(values, index),
            neighbours=tuple(train[0][neighbour] for neighbour in neighbours),
        )
        for index, label, neighbours in zip(doubtful, suggested, support, strict=True)
    ]


def _value(values: np.ndarray | None, index: int) -> float | None:
    return None if values is None else float(values[index])
