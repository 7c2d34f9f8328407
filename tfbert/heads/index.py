"""Indexes: what a model searches to answer, and the one of answers, by their vectors and those of known questions.

An entry is an answer. It is found by its own vector and by those of the questions that it is known to answer. Two
questions are more similar to each other than a question and an answer, whether they match or not. An offset is
therefore subtracted from the similarity of questions; otherwise an entry with known questions would win over a better
one without any.
"""

import abc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfbert.text.records import Record, normalize_whitespace

# The offset without a validation split to tune it on, and the candidates: about the best, and the range in which it
# lay, on FAQ data with and without known questions, before and after training.
DEFAULT_OFFSET = 0.2
_OFFSETS = np.arange(9) / 20
# Less than any similarity, with and without an offset.
_NONE = -4.0
# Similarities held at once while searching outside the graph.
_BLOCK_VALUES = 2**24

# Texts to unit vectors, float32 `(texts, hidden_dim)`.
Embed = Callable[[Sequence[str]], np.ndarray]


class Index(abc.ABC):
    """What a model searches to answer; it is built again whenever the weights have changed.

    Attributes:
        specs: type and shape of its variables, by name; any size may be `None`.
    """

    specs: Mapping[str, tf.TensorSpec]

    @abc.abstractmethod
    def build(self, splits: Mapping[str, Iterable[Record]], embed: Embed) -> Mapping[str, np.ndarray]:
        """Return the values of the variables.

        Args:
            splits: all splits of the run. What is taken from validation and test must not give their targets away.
            embed: texts to what the head returns for each, with the model as it is now.
        """

    @abc.abstractmethod
    def entries(self, values: Mapping[str, np.ndarray]) -> tuple[np.ndarray, Iterator[dict[str, Any]]]:
        """Return what is searched, for an index outside the model.

        Args:
            values: the values of the variables.

        Returns:
            Vectors, float32 `(vectors, hidden_dim)`, and a description of each, ready for JSON.
        """


class AnswerIndex(Index):
    """The different answers of records, each a question with its answer.

    The variables are `answers` `(entries,)`, in the order in which they came; `vectors` `(vectors, hidden_dim)`, sorted
    by entry; of each vector the position of its answer, `entries`, and the question that it was made from, `questions`,
    which is "" for that of the answer itself, the first of every entry; and `offset`, which is subtracted from the
    similarities of questions.
    """

    specs = {
        "vectors": tf.TensorSpec([None, None], tf.float32),
        "entries": tf.TensorSpec([None], tf.int32),
        "questions": tf.TensorSpec([None], tf.string),
        "answers": tf.TensorSpec([None], tf.string),
        "offset": tf.TensorSpec([], tf.float32),
    }

    def build(self, splits: Mapping[str, Iterable[Record]], embed: Embed) -> dict[str, np.ndarray]:
        """Return the index of the answers of all splits, found by their own vectors and by the questions of train.

        Questions of validation and test are not in it, so that none of them finds its answer through itself. Those of
        validation decide the offset.
        """
        pairs = ((record.text, record.others[0]) for record in splits["train"])
        held_out = (splits[name] for name in ("validation", "test") if name in splits)
        index = build_index(pairs, (record.others[0] for split in held_out for record in split), embed)
        right: dict[str, list[str]] = {}
        for record in splits.get("validation", ()):
            right.setdefault(record.text, []).append(record.others[0])
        if right:
            index["offset"] = tuned_offset(index, embed(list(right)), list(right.values()))
        return index

    def entries(self, values: Mapping[str, np.ndarray]) -> tuple[np.ndarray, Iterator[dict[str, Any]]]:
        """Return the vectors, each with its `entry`, `answer`, `question` and the `offset` to subtract."""
        return values["vectors"], _descriptions(values)


def build_index(pairs: Iterable[tuple[str, str]], answers: Iterable[str], embed: Embed) -> dict[str, np.ndarray]:
    """Return the variables of an `AnswerIndex`, with the default offset.

    Args:
        pairs: questions by which an answer may be found, each with this answer; read once.
        answers: further answers; read once.
        embed: texts to unit vectors.
    """
    entries: dict[str, tuple[str, dict[str, str]]] = {}
    for question, answer in pairs:
        _, known = entries.setdefault(normalize_whitespace(answer), (answer, {}))
        known.setdefault(normalize_whitespace(question), question)
    for answer in answers:
        entries.setdefault(normalize_whitespace(answer), (answer, {}))
    texts, questions, positions = [], [], []
    for position, (answer, known) in enumerate(entries.values()):
        texts += [answer, *known.values()]
        questions += ["", *known.values()]
        positions += [position] * (1 + len(known))
    return {
        "vectors": embed(texts),
        "entries": np.asarray(positions, np.int32),
        "questions": _strings(questions),
        "answers": _strings([answer for answer, _ in entries.values()]),
        "offset": np.float32(DEFAULT_OFFSET),
    }


def tuned_offset(index: Mapping[str, np.ndarray], vectors: np.ndarray, right: Sequence[Iterable[str]]) -> np.float32:
    """Return the offset with which the right entries come first for some questions that are not in the index.

    It maximizes the mean reciprocal rank of the first right entry, which counts 0 beyond rank 10; of equally good
    offsets, the nearest to the default one.

    Args:
        index: variables of an `AnswerIndex`.
        vectors: of the questions, float32 `(questions, hidden_dim)`.
        right: the right answers to each question, all of which are in the index.
    """
    positions = {normalize_whitespace(answer.decode()): entry for entry, answer in enumerate(index["answers"])}
    starts = np.flatnonzero(index["questions"] == b"")
    reciprocal_rank = np.zeros((len(_OFFSETS), len(vectors)))
    step = max(1, _BLOCK_VALUES // len(index["vectors"]))
    for begin in range(0, len(vectors), step):
        similarity = vectors[begin : begin + step] @ index["vectors"].T
        to_answers = similarity[:, starts]
        similarity[:, starts] = _NONE
        to_questions = np.maximum.reduceat(similarity, starts, axis=1)
        entries = [
            [positions[normalize_whitespace(each)] for each in answers] for answers in right[begin : begin + step]
        ]
        for row, offset in enumerate(_OFFSETS):
            by_entry = np.maximum(to_answers, to_questions - offset)
            best = np.asarray([by_entry[question, each].max() for question, each in enumerate(entries)])
            rank = 1 + (by_entry > best[:, None]).sum(1)
            reciprocal_rank[row, begin : begin + step] = np.where(rank <= 10, 1 / rank, 0)
    score = reciprocal_rank.mean(1).round(6)
    return np.float32(min(_OFFSETS[score == score.max()], key=lambda offset: abs(offset - DEFAULT_OFFSET)))


def search(
    vectors: tf.Tensor, index: Mapping[str, tf.Tensor], max_entries: int
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return the nearest entries, in the graph, by comparing with every vector of the index.

    Args:
        vectors: unit vectors, float32 `(batch, hidden_dim)`.
        index: variables of an `AnswerIndex`, which may be empty.
        max_entries: fewer are returned if the index has fewer.

    Returns:
        Three tensors `(batch, entries)`, the most similar entry first: the answers; the most similar known question of
        each, or "" where it has none; and the similarities: that of the answer, or that of the question minus the
        offset if that is more. Of equally similar entries, the one that is earlier in the index comes first.
    """
    entries, questions = (tf.convert_to_tensor(index[name]) for name in ("entries", "questions"))
    others = tf.reshape(index["vectors"], [-1, tf.shape(vectors)[1]])  # in an empty index even the width is 0
    by_vector = tf.matmul(vectors, others, transpose_b=True)
    by_vector -= tf.where(questions == "", 0.0, index["offset"])
    by_entry = tf.transpose(tf.math.segment_max(tf.transpose(by_vector), entries))
    best = tf.math.top_k(by_entry, tf.minimum(max_entries, tf.shape(by_entry)[1]))
    shape, flat = tf.shape(best.indices), tf.reshape(best.indices, [-1])
    begins, ends = (tf.searchsorted(entries, flat, side) for side in ("left", "right"))
    places = tf.ragged.range(begins + 1, ends)  # the first vector of an entry is that of the answer
    rows = tf.gather(tf.repeat(tf.range(shape[0]), shape[1]), tf.cast(places.value_rowids(), tf.int32))
    similarity = places.with_values(tf.gather_nd(by_vector, tf.stack([rows, places.values], axis=1)))
    # The first column wins only where an entry has no question, so that there is always one to choose.
    padded = tf.concat([tf.fill([tf.size(flat), 1], _NONE), similarity.to_tensor(_NONE - 1)], axis=1)
    which = tf.argmax(padded, axis=1, output_type=tf.int32)
    matched = tf.where(which > 0, tf.gather(questions, begins + which), "")
    return tf.gather(index["answers"], best.indices), tf.reshape(matched, shape), best.values


def nearest(vectors: np.ndarray, others: np.ndarray, count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the most similar of some other vectors for each vector, in blocks, to bound memory.

    Args:
        vectors: unit vectors, float32 `(vectors, hidden_dim)`.
        others: likewise.
        count: how many for each vector; all of the others if there are fewer.

    Yields:
        Their indices, int64 `(count,)`, most similar first, and their similarities.
    """
    count = min(count, len(others))
    step = max(1, _BLOCK_VALUES // max(1, len(others)))
    for start in range(0, len(vectors), step):
        similarity = vectors[start : start + step] @ others.T
        part = np.argpartition(-similarity, count - 1, axis=1)[:, :count]
        order = np.argsort(-np.take_along_axis(similarity, part, axis=1), axis=1, kind="stable")
        part = np.take_along_axis(part, order, axis=1)
        yield from zip(part, np.take_along_axis(similarity, part, axis=1), strict=True)


def _descriptions(values: Mapping[str, np.ndarray]) -> Iterator[dict[str, Any]]:
    answers = [answer.decode() for answer in values["answers"]]
    offset = float(f"{values['offset']:.6g}")
    for entry, question in zip(values["entries"].tolist(), values["questions"], strict=True):
        yield {
            "entry": entry,
            "answer": answers[entry],
            "question": question.decode(),
            "offset": offset if question else 0.0,
        }


def _strings(texts: Sequence[str]) -> np.ndarray:
    return np.asarray([text.encode() for text in texts], dtype=object)
