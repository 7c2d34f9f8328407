"""Search index of answers: nearest-neighbor search over the vectors of answers and their known questions.

An entry is an answer. A search compares a text with the vector of the answer and with those of the questions that it is
known to answer. Two questions are more similar to each other than a question and an answer, whether they match or not.
An offset is therefore subtracted from the similarity of questions; otherwise an entry with known questions would rank
before a better one without any.
"""

import abc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfbert.text.records import Record, normalize_whitespace

# The offset that is used without a validation split, and the candidates for tuning it. On FAQ data with and without
# known questions, before and after training, the best offsets were in this range, and the default was near the best.
DEFAULT_OFFSET = 0.2
_OFFSETS = np.arange(9) / 20
# Lower than any similarity, with or without an offset.
_NONE = -4.0
# Number of similarities in memory at once in searches outside the graph.
_BLOCK_VALUES = 2**24

# Texts to unit vectors, float32 `(texts, hidden_dim)`.
Embed = Callable[[Sequence[str]], np.ndarray]


class Index(abc.ABC):
    """Data that a model searches to predict; it is built again whenever the weights have changed.

    Attributes:
        specs: dtype and shape of the variables by name; any size may be `None`.
    """

    specs: Mapping[str, tf.TensorSpec]

    @abc.abstractmethod
    def build(self, splits: Mapping[str, Iterable[Record]], embed: Embed) -> Mapping[str, np.ndarray]:
        """Return the values of the variables.

        Args:
            splits: all splits of the run. Data from validation and test must not reveal their targets.
            embed: returns the output of the head for texts, computed with the current weights.
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
    """An index of the distinct answers of records, each of which is a question with its answer.

    The variables are `answers` `(entries,)`, in order of first occurrence; `vectors` `(vectors, hidden_dim)`, sorted by
    entry; `entries` `(vectors,)`, the position of each vector's answer; `questions` `(vectors,)`, the question of each
    vector, or "" for the vector of the answer itself, which is the first of its entry; and `offset`, which is
    subtracted from the similarities of questions.
    """

    specs = {
        "vectors": tf.TensorSpec([None, None], tf.float32),
        "entries": tf.TensorSpec([None], tf.int32),
        "questions": tf.TensorSpec([None], tf.string),
        "answers": tf.TensorSpec([None], tf.string),
        "offset": tf.TensorSpec([], tf.float32),
    }

    def build(self, splits: Mapping[str, Iterable[Record]], embed: Embed) -> dict[str, np.ndarray]:
        """Return the index of the answers of all splits, with the questions of the training split.

        It does not contain the questions of validation and test, because each of them would match itself. The questions
        of validation are used to tune the offset.
        """
        pairs = ((record.text, record.others[0]) for record in splits["train"])
        held_out = (splits[name] for name in ("validation", "calibration", "test") if name in splits)
        index = build_index(pairs, (record.others[0] for split in held_out for record in split), embed)
        answers_by_question: dict[str, list[str]] = {}
        for record in splits.get("validation", ()):
            answers_by_question.setdefault(record.text, []).append(record.others[0])
        if answers_by_question:
            vectors = embed(list(answers_by_question))
            index["offset"] = tuned_offset(index, vectors, list(answers_by_question.values()))
        return index

    def entries(self, values: Mapping[str, np.ndarray]) -> tuple[np.ndarray, Iterator[dict[str, Any]]]:
        """Return the vectors, each with its `entry`, `answer`, `question` and the `offset` to subtract."""
        return values["vectors"], _descriptions(values)


def build_index(pairs: Iterable[tuple[str, str]], answers: Iterable[str], embed: Embed) -> dict[str, np.ndarray]:
    """Return the variables of an `AnswerIndex`, with the default offset.

    Args:
        pairs: known questions, each with its answer; iterated once.
        answers: additional answers; iterated once.
        embed: returns unit vectors for texts.
    """
    entries: dict[str, tuple[str, dict[str, str]]] = {}
    for question, answer in pairs:
        _, known_questions = entries.setdefault(normalize_whitespace(answer), (answer, {}))
        known_questions.setdefault(normalize_whitespace(question), question)
    for answer in answers:
        entries.setdefault(normalize_whitespace(answer), (answer, {}))
    texts, questions, positions = [], [], []
    for position, (answer, known_questions) in enumerate(entries.values()):
        texts += [answer, *known_questions.values()]
        questions += ["", *known_questions.values()]
        positions += [position] * (1 + len(known_questions))
    return {
        "vectors": embed(texts),
        "entries": np.asarray(positions, np.int32),
        "questions": _strings(questions),
        "answers": _strings([answer for answer, _ in entries.values()]),
        "offset": np.float32(DEFAULT_OFFSET),
    }


def tuned_offset(
    index: Mapping[str, np.ndarray], vectors: np.ndarray, correct_answers: Sequence[Iterable[str]]
) -> np.float32:
    """Return the offset that ranks the correct entries best for questions that are not in the index.

    It maximizes the mean reciprocal rank of the first correct entry, where a rank above 10 counts as 0. Among equally
    good offsets, the nearest to the default is chosen.

    Args:
        index: the variables of an `AnswerIndex`.
        vectors: the vectors of the questions, float32 `(questions, hidden_dim)`.
        correct_answers: the correct answers to each question, all of which are in the index.
    """
    positions = {normalize_whitespace(answer.decode()): entry for entry, answer in enumerate(index["answers"])}
    correct_entries = [[positions[normalize_whitespace(answer)] for answer in answers] for answers in correct_answers]
    starts = np.flatnonzero(index["questions"] == b"")
    reciprocal_rank = np.zeros((len(_OFFSETS), len(vectors)))
    block_size = max(1, _BLOCK_VALUES // len(index["vectors"]))
    for begin in range(0, len(vectors), block_size):
        block = slice(begin, begin + block_size)
        similarity = vectors[block] @ index["vectors"].T
        to_answers = similarity[:, starts]
        similarity[:, starts] = _NONE
        to_questions = np.maximum.reduceat(similarity, starts, axis=1)
        for offset_index, offset in enumerate(_OFFSETS):
            by_entry = np.maximum(to_answers, to_questions - offset)
            pairs = zip(by_entry, correct_entries[block], strict=True)
            best = np.asarray([similarities[entries].max() for similarities, entries in pairs])
            rank = 1 + (by_entry > best[:, None]).sum(1)
            reciprocal_rank[offset_index, block] = np.where(rank <= 10, 1 / rank, 0)
    score = reciprocal_rank.mean(1).round(6)
    return np.float32(min(_OFFSETS[score == score.max()], key=lambda offset: abs(offset - DEFAULT_OFFSET)))


def search(
    vectors: tf.Tensor, index: Mapping[str, tf.Tensor], max_entries: int
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return the nearest entries by exhaustive search in the graph.

    Args:
        vectors: unit vectors, float32 `(batch, hidden_dim)`.
        index: the variables of an `AnswerIndex`, which may be empty.
        max_entries: the number of entries to return; all entries if the index has fewer.

    Returns:
        Three tensors `(batch, entries)`, the most similar entry first: the answers; the most similar known question of
        each, or "" if it has none; and the similarities: that of the answer, or that of the question minus the offset
        if this is higher. Equally similar entries keep their order in the index.
    """
    entries, questions = (tf.convert_to_tensor(index[name]) for name in ("entries", "questions"))
    index_vectors = tf.reshape(index["vectors"], [-1, tf.shape(vectors)[1]])  # an empty index has a hidden_dim of 0
    by_vector = tf.matmul(vectors, index_vectors, transpose_b=True)
    by_vector -= tf.where(questions == "", 0.0, index["offset"])
    by_entry = tf.transpose(tf.math.segment_max(tf.transpose(by_vector), entries))
    best = tf.math.top_k(by_entry, tf.minimum(max_entries, tf.shape(by_entry)[1]))
    shape, flat = tf.shape(best.indices), tf.reshape(best.indices, [-1])
    begins, ends = (tf.searchsorted(entries, flat, side) for side in ("left", "right"))
    positions = tf.ragged.range(begins + 1, ends)  # the first vector of an entry is that of the answer
    texts = tf.gather(tf.repeat(tf.range(shape[0]), shape[1]), tf.cast(positions.value_rowids(), tf.int32))
    similarity = positions.with_values(tf.gather_nd(by_vector, tf.stack([texts, positions.values], axis=1)))
    # The first column is the maximum only if an entry has no question, so that there is always one to choose.
    padded = tf.concat([tf.fill([tf.size(flat), 1], _NONE), similarity.to_tensor(_NONE - 1)], axis=1)
    column = tf.argmax(padded, axis=1, output_type=tf.int32)
    matched = tf.where(column > 0, tf.gather(questions, begins + column), "")
    return tf.gather(index["answers"], best.indices), tf.reshape(matched, shape), best.values


def nearest_neighbors(
    vectors: np.ndarray, candidates: np.ndarray, count: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the most similar candidates for each vector, computed in blocks to bound memory.

    Args:
        vectors: unit vectors, float32 `(vectors, hidden_dim)`.
        candidates: unit vectors, float32 `(candidates, hidden_dim)`.
        count: number of neighbors of each vector; all candidates if there are fewer.

    Yields:
        The indices of the neighbors, int64 `(count,)`, most similar first, and their similarities.
    """
    count = min(count, len(candidates))
    block_size = max(1, _BLOCK_VALUES // max(1, len(candidates)))
    for begin in range(0, len(vectors), block_size):
        similarity = vectors[begin : begin + block_size] @ candidates.T
        indices = np.argpartition(-similarity, count - 1, axis=1)[:, :count]
        order = np.argsort(-np.take_along_axis(similarity, indices, axis=1), axis=1, kind="stable")
        indices = np.take_along_axis(indices, order, axis=1)
        yield from zip(indices, np.take_along_axis(similarity, indices, axis=1), strict=True)


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
