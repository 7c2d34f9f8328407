"""Examination of labelled data without training: doubtful labels, values of rows, near-duplicates and drift."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from tfbert.config import Config
from tfbert.data_quality.drift import Drift, measure_drift
from tfbert.data_quality.label_errors import LabelScores, score_labels, supporting_rows
from tfbert.data_quality.labels import GivenLabel, JudgedLabels, Labels
from tfbert.data_quality.near_duplicates import NearDuplicate, find_near_duplicates
from tfbert.data_quality.spans import span_labels
from tfbert.data_quality.vectors import record_vectors
from tfbert.data_quality.words import Words, mean_vectors, word_vectors
from tfbert.encoder.backbone import Encoder
from tfbert.models.build import make_tokenizer
from tfbert.models.data import record_sequences
from tfbert.tasks.base import FittedTask, Task, list_tasks, load_task
from tfbert.tasks.base_explained import ExplainedTags
from tfbert.text.datasets import TokenizedSplit
from tfbert.text.records import Record
from tfbert.text.spans import Span
from tfbert.text.splits import Split

# Records of a split that are examined: the time grows with their square. And for labels of spans the values of the
# vectors of all words, which limits memory.
MAX_RECORDS, _MAX_VALUES = 50_000, 2**26
_CORRECTIONS = "data.corrections"


@dataclass(frozen=True, kw_only=True)
class DoubtfulRow:
    """A doubtful label.

    Args:
        split: the name of its split.
        given: the label in the data.
        suggested: the label that it probably should be.
        score: margin of the given label, negative; the lower, the more doubtful.
        self_confidence: the probability of the given label.
        margin: margin of the probe or the model alone.
        disagreement: the fraction of the nearest neighbours with another label; `None` if they were not asked.
        value: KNN-Shapley value of a label of train; `None` for other splits and for missed entities.
        neighbours: the nearest labels of train that are the suggested one.
    """

    split: str
    given: GivenLabel
    suggested: str
    score: float
    self_confidence: float
    margin: float
    disagreement: float | None = None
    value: float | None = None
    neighbours: tuple[GivenLabel, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What was found in the labels.

    Args:
        has_spans: whether labels belong to spans of the text.
        num_records: number of records by split.
        num_examined: number of examined records by split.
        num_labels: number of judged labels by split.
        num_unjudged: number of labels by split that no other label of train is equal to.
        rows: the doubtful labels of all splits, most doubtful first.
        values: the KNN-Shapley value of each judged label of train, lowest first.
    """

    has_spans: bool
    num_records: Mapping[str, int]
    num_examined: Mapping[str, int]
    num_labels: Mapping[str, int]
    num_unjudged: Mapping[str, int]
    rows: Sequence[DoubtfulRow]
    values: Sequence[tuple[GivenLabel, float]]


@dataclass(frozen=True, kw_only=True)
class Examination:
    """What was found in the data.

    Args:
        labels: what was found in the labels.
        near_duplicates: near-duplicates within and between splits.
        drift: the drift between each pair of splits.
    """

    labels: Judgement
    near_duplicates: Sequence[NearDuplicate]
    drift: Sequence[Drift]


@dataclass(frozen=True, kw_only=True)
class LabelledData:
    """The data of a task and the encoder that judges it.

    Args:
        task: fitted to the training records.
        splits: the records by split, with those of train.
        tokenized: their tokens.
        encoder: the encoder, which is not changed.
        config: the config of the training; the seed is that of folds, and of the choice of records.
    """

    task: FittedTask
    splits: Mapping[str, Split]
    tokenized: Mapping[str, TokenizedSplit]
    encoder: Encoder
    config: Config

    def records_at(self, chosen: Mapping[str, np.ndarray]) -> dict[str, list[Record]]:
        """Return the chosen records of some splits."""
        return {name: self.splits[name].records_at(indices.tolist()) for name, indices in chosen.items()}


def check_supported(task: Task) -> None:
    """Refuse a task whose labels cannot be judged.

    Raises:
        ValueError: the task has no labels, or other ones.
    """
    if not is_supported(task):
        supported = [name for name in list_tasks() if is_supported(load_task(name))]
        raise ValueError(
            f"--doubtful: labels of the task {task.name} cannot be judged; expected {' or '.join(supported)}"
        )


def is_supported(task: Task) -> bool:
    """Return whether the labels of a task can be judged and corrected."""
    return _CORRECTIONS in task.data_options


def examine(data: LabelledData) -> Examination:
    """Examine labelled data with the frozen encoder."""
    num_records = {name: len(split.num_tokens) for name, split in data.tokenized.items()}
    judged = judge(data, num_records)
    seed, definition, vectors = data.config.train.seed, data.task.definition, judged.vectors
    labels = {
        name: [label for record in records for label in definition.labels_of(record)]
        for name, records in judged.records.items()
    }
    return Examination(
        labels=judged.judgement,
        near_duplicates=find_near_duplicates(judged.records, vectors),
        drift=[
            measure_drift(pair, *(vectors[name] for name in pair), *(labels[name] for name in pair), seed)
            for pair in combinations(judged.records, 2)
        ],
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class Judged:
    """Judged data.

    Args:
        judgement: what was found in the labels.
        train: the labels of train, those without a label of their own last.
        records: the judged records by split.
        vectors: their unit vectors, float32 `(records, size)`.
    """

    judgement: Judgement
    train: Labels
    records: Mapping[str, Sequence[Record]]
    vectors: Mapping[str, np.ndarray]


def judge(data: LabelledData, limits: Mapping[str, int]) -> Judged:
    """Judge labels with the frozen encoder.

    Args:
        data: the data.
        limits: the largest number of records of each split to judge, which are chosen at random; with train.
    """
    chosen = {name: _chosen(data, name, limit) for name, limit in limits.items()}
    records = data.records_at(chosen)
    if isinstance(data.task.explained, ExplainedTags):
        labels, vectors = _labels_of_spans(data, chosen, records)
    else:
        labels, vectors = _labels_of_records(data, chosen, records)
    rows, num_unjudged, values = _judged(labels, data.config.train.seed)
    order = np.argsort(values, kind="stable")
    judgement = Judgement(
        has_spans=isinstance(data.task.explained, ExplainedTags),
        num_records={name: len(data.tokenized[name].num_tokens) for name in chosen},
        num_examined={name: len(indices) for name, indices in chosen.items()},
        num_labels={"train": labels.num_listed} | {name: len(of_split) for name, of_split in labels.others.items()},
        num_unjudged=num_unjudged,
        rows=rows,
        values=[(labels.train.given[index], float(values[index])) for index in order],
    )
    return Judged(judgement=judgement, train=labels.train, records=records, vectors=vectors)


def _chosen(data: LabelledData, name: str, limit: int) -> np.ndarray:
    """Return the records of a split to examine."""
    num_tokens, seed = data.tokenized[name].num_tokens, data.config.train.seed
    chosen = choose(len(num_tokens), min(limit, MAX_RECORDS), seed)
    if not isinstance(data.task.explained, ExplainedTags):
        return chosen
    order = np.random.default_rng(seed).permutation(chosen)
    total = np.cumsum(num_tokens[order]) * data.encoder.backbone.hidden_dim
    return np.sort(order[: max(1, int(np.searchsorted(total, _MAX_VALUES, "right")))])


def choose(number: int, limit: int, seed: int) -> np.ndarray:
    """Return the indices of at most `limit` of a number of records, chosen at random, in ascending order."""
    return np.sort(np.random.default_rng(seed).permutation(number)[:limit])


def _labels_of_records(
    data: LabelledData, chosen: Mapping[str, np.ndarray], records: Mapping[str, Sequence[Record]]
) -> tuple[JudgedLabels, dict[str, np.ndarray]]:
    """Return the label of each record, and the vectors of the records."""
    ids = {label: label_id for label_id, label in enumerate(data.task.known_labels)}
    length = data.config.encoder.sequence_length
    vectors = {name: record_vectors(data.encoder, data.tokenized[name], length, chosen[name]) for name in chosen}
    labels = {
        name: Labels(
            [GivenLabel(record, record.target) for record in of_split],
            vectors[name],
            np.asarray([ids[record.target] for record in of_split], np.int64),
        )
        for name, of_split in records.items()
    }
    train = labels.pop("train")
    return JudgedLabels(
        names=data.task.known_labels, train=train, num_listed=len(train), missed={}, others=labels
    ), vectors


def _labels_of_spans(
    data: LabelledData, chosen: Mapping[str, np.ndarray], records: Mapping[str, Sequence[Record]]
) -> tuple[JudgedLabels, dict[str, np.ndarray]]:
    """Return the entities, the spans that may be missed entities, and the vectors of the records."""
    explained, config, tokenizer = data.task.explained, data.config, make_tokenizer(data.encoder)
    assert isinstance(explained, ExplainedTags)

    def words_of(name: str) -> Words:
        tokens = record_sequences(records[name], data.task, tokenizer, config)
        length = config.encoder.sequence_length
        return word_vectors(data.encoder, data.tokenized[name], length, chosen[name], tokens, explained.continues)

    words = {name: words_of(name) for name in chosen}
    spans = {
        name: [[Span(*entity[:3]) for entity in data.task.gold(record)] for record in of_split]
        for name, of_split in records.items()
    }
    vectors = {
        name: mean_vectors(of_split.vectors, list(zip(of_split.first[:-1], of_split.first[1:], strict=True)))
        for name, of_split in words.items()
    }
    return span_labels(records, spans, words, data.task.known_labels, config.train.seed), vectors


def _judged(labels: JudgedLabels, seed: int) -> tuple[list[DoubtfulRow], dict[str, int], np.ndarray]:
    """Return the doubtful labels, the number of labels by split that cannot be judged, and the values of train."""
    train, number = labels.train, labels.num_listed
    if len(train) < 2:
        # Nothing judges the only label.
        return [], {"train": number}, np.zeros(number)
    judged = {("given", name): of_split for name, of_split in labels.others.items() if len(of_split)}
    judged |= {("missed", name): of_split for name, of_split in labels.missed.items() if len(of_split)}
    others = {key: (of_split.vectors, of_split.targets) for key, of_split in judged.items()}
    train_scores, scores, values = score_labels(train.vectors, train.targets, len(labels.names), others, seed)
    of_train = train_scores.take(np.arange(number))
    rows = doubtful_rows("train", train.given[:number], labels.names, of_train, train.vectors[:number], train, values)
    num_unjudged = {"train": int(np.count_nonzero(~of_train.is_judged))}
    for (kind, name), of_split in judged.items():
        rows += doubtful_rows(name, of_split.given, labels.names, scores[kind, name], of_split.vectors, train)
        if kind == "given":
            num_unjudged[name] = int(np.count_nonzero(~scores[kind, name].is_judged))
    return sorted(rows, key=lambda row: row.score), num_unjudged, values[:number]


def doubtful_rows(
    split: str,
    given: Sequence[GivenLabel],
    names: Sequence[str],
    scores: LabelScores,
    vectors: np.ndarray,
    train: Labels,
    values: np.ndarray | None = None,
) -> list[DoubtfulRow]:
    """Return the doubtful labels of a split, most doubtful first.

    Args:
        split: its name.
        given: the labels in the data.
        names: the names of labels by id.
        scores: the scores of the labels.
        vectors: unit vectors of what has the labels.
        train: the labels of train, among which neighbours are looked for. Those of the split train come first, in the
            same order as `given`.
        values: the KNN-Shapley values of the labels; `None` if they have none.
    """
    doubtful = scores.doubtful
    if not len(doubtful):
        return []
    suggested = scores.suggested[doubtful]
    own_rows = doubtful if values is not None else np.full(len(doubtful), -1)
    support = supporting_rows(vectors[doubtful], suggested, train.vectors, train.targets, own_rows)
    return [
        DoubtfulRow(
            split=split,
            given=given[index],
            suggested=names[label],
            score=float(scores.score[index]),
            self_confidence=float(scores.self_confidence[index]),
            margin=float(scores.margin[index]),
            disagreement=_value(scores.disagreement, index),
            value=_value(values, index),
            neighbours=tuple(train.given[neighbour] for neighbour in neighbours),
        )
        for index, label, neighbours in zip(doubtful, suggested, support, strict=True)
    ]


def _value(values: np.ndarray | None, index: int) -> float | None:
    return None if values is None else float(values[index])
