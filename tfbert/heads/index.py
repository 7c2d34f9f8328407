"""Texts with their vectors in, an index out; vectors and an index in, the nearest entries out.

An entry is an answer. It is found by its own vector and by those of the questions that are known to ask for it. Two
questions are more alike than a question and an answer, whether they match or not, so that the similarity of a question
counts less by an offset: otherwise an entry with known questions would win over a better one that has none.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf

SPECS = {
    "index_vectors": tf.TensorSpec([None, None], tf.float32),
    "index_entries": tf.TensorSpec([None], tf.int32),
    "index_questions": tf.TensorSpec([None], tf.string),
    "index_answers": tf.TensorSpec([None], tf.string),
    "index_offset": tf.TensorSpec([], tf.float32),
}
# What the offset is where no validation split can tell, and what it may be: about the best and the range in which it
# lay on FAQ with and without known questions, before and after training.
USUAL_OFFSET = 0.2
_OFFSETS = np.arange(9) / 20
# Less than any similarity, with and without an offset.
_NONE = -4.0
# Similarities held at once while searching outside the graph.
_BLOCK_VALUES = 2**24


def same_text(text: str) -> str:
    """Return what texts have in common that differ in blanks at most, which no tokenizer of BERT sees."""
    return " ".join(text.split())


def build(
    pairs: Iterable[tuple[str, str]], answers: Iterable[str], embed: Callable[[Sequence[str]], np.ndarray]
) -> dict[str, np.ndarray]:
    """Return an index of all different answers, as `SPECS` describes it.

    Args:
        pairs: questions by which an answer may be found, each with this answer; read once.
        answers: further answers; read once.
        embed: texts to unit vectors, float32 `(texts, hidden_dim)`.

    Returns:
        `index_answers` `(entries,)`, in the order in which they came. By vector, sorted by entry: `index_vectors`
        float32 `(vectors, hidden_dim)`, `index_entries` int32, the number of its answer, and `index_questions`, the
        question it is of, or "" for the answer's own, which is the first of its entry. `index_offset` is the usual one.
    """
    entries: dict[str, tuple[str, dict[str, str]]] = {}
    for question, answer in pairs:
        _, questions = entries.setdefault(same_text(answer), (answer, {}))
        questions.setdefault(same_text(question), question)
    for answer in answers:
        entries.setdefault(same_text(answer), (answer, {}))
    texts, questions, numbers = [], [], []
    for number, (answer, asked) in enumerate(entries.values()):
        texts += [answer, *asked.values()]
        questions += ["", *asked.values()]
        numbers += [number] * (1 + len(asked))
    return {
        "index_vectors": embed(texts),
        "index_entries": np.asarray(numbers, np.int32),
        "index_questions": _strings(questions),
        "index_answers": _strings([answer for answer, _ in entries.values()]),
        "index_offset": np.float32(USUAL_OFFSET),
    }


def tuned_offset(index: Mapping[str, np.ndarray], vectors: np.ndarray, right: Sequence[Iterable[str]]) -> np.float32:
    """Return the offset with which the right entries come first for some questions that are not in the index.

    It is that of the highest mean of one over the rank of the first right entry, ranks beyond 10 counting nothing; of
    equally good ones the nearest to the usual one.

    Args:
        index: as `build` gives it.
        vectors: of the questions, float32 `(questions, hidden_dim)`.
        right: of each question the right answers, all of which are in the index.
    """
    numbers = {same_text(answer.decode()): number for number, answer in enumerate(index["index_answers"])}
    starts = np.flatnonzero(index["index_questions"] == b"")
    is_right = np.zeros((len(_OFFSETS), len(vectors)))
    step = max(1, _BLOCK_VALUES // len(index["index_vectors"]))
    for begin in range(0, len(vectors), step):
        similar = vectors[begin : begin + step] @ index["index_vectors"].T
        answers = similar[:, starts]
        similar[:, starts] = _NONE
        questions = np.maximum.reduceat(similar, starts, axis=1)
        places = [[numbers[same_text(answer)] for answer in of] for of in right[begin : begin + step]]
        for row, offset in enumerate(_OFFSETS):
            by_entry = np.maximum(answers, questions - offset)
            best = np.asarray([by_entry[at, of].max() for at, of in enumerate(places)])
            rank = 1 + (by_entry > best[:, None]).sum(1)
            is_right[row, begin : begin + step] = np.where(rank <= 10, 1 / rank, 0)
    score = is_right.mean(1).round(6)
    return np.float32(min(_OFFSETS[score == score.max()], key=lambda offset: abs(offset - USUAL_OFFSET)))


def search(vectors: tf.Tensor, index: Mapping[str, tf.Tensor], most: int) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return the nearest entries inside the graph, by comparing with every vector of the index.

    Args:
        vectors: unit vectors, float32 `(batch, hidden_dim)`.
        index: as `SPECS` describes it; it may be empty.
        most: entries wanted; there are fewer if the index has fewer.

    Returns:
        `(batch, found)` each, the most similar first: the answers; of their questions the most similar, or "" where
        none is known; and the similarities: that of the answer, or that of the question less the offset if that is
        more. Of equal ones the entry that is earlier in the index comes first.
    """
    entries, questions = (tf.convert_to_tensor(index[f"index_{name}"]) for name in ("entries", "questions"))
    others = tf.reshape(index["index_vectors"], [-1, tf.shape(vectors)[1]])  # of an empty index even the width is 0
    by_vector = tf.matmul(vectors, others, transpose_b=True)
    by_vector -= tf.where(questions == "", 0.0, index["index_offset"])
    by_entry = tf.transpose(tf.math.segment_max(tf.transpose(by_vector), entries))
    best = tf.math.top_k(by_entry, tf.minimum(most, tf.shape(by_entry)[1]))
    shape, flat = tf.shape(best.indices), tf.reshape(best.indices, [-1])
    begins, ends = (tf.searchsorted(entries, flat, side) for side in ("left", "right"))
    places = tf.ragged.range(begins + 1, ends)  # the first vector of an entry is that of the answer
    rows = tf.gather(tf.repeat(tf.range(shape[0]), shape[1]), tf.cast(places.value_rowids(), tf.int32))
    found = places.with_values(tf.gather_nd(by_vector, tf.stack([rows, places.values], axis=1)))
    # A column that wins only where an entry has no question, so that there is always one to choose.
    padded = tf.concat([tf.fill([tf.size(flat), 1], _NONE), found.to_tensor(_NONE - 1)], axis=1)
    which = tf.argmax(padded, axis=1, output_type=tf.int32)
    matched = tf.where(which > 0, tf.gather(questions, begins + which), "")
    return tf.gather(index["index_answers"], best.indices), tf.reshape(matched, shape), best.values


def nearest(vectors: np.ndarray, others: np.ndarray, most: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield for each vector the most similar of the others, in blocks, so that memory does not grow with their product.

    Args:
        vectors: unit vectors, float32 `(number, hidden_dim)`.
        others: likewise.
        most: how many; all of the others if there are fewer.

    Yields:
        Their numbers, int64 `(most,)`, most similar first, and their similarities.
    """
    most = min(most, len(others))
    step = max(1, _BLOCK_VALUES // max(1, len(others)))
    for start in range(0, len(vectors), step):
        similar = vectors[start : start + step] @ others.T
        part = np.argpartition(-similar, most - 1, axis=1)[:, :most]
        order = np.argsort(-np.take_along_axis(similar, part, axis=1), axis=1, kind="stable")
        part = np.take_along_axis(part, order, axis=1)
        yield from zip(part, np.take_along_axis(similar, part, axis=1), strict=True)


def _strings(texts: Sequence[str]) -> np.ndarray:
    return np.asarray([text.encode() for text in texts], dtype=object)
