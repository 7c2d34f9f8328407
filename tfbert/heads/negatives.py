"""Questions and answers in; which answers are wrong for a question, the nearest such, and the ranking loss out.

Rows have a target each, int32 `(2 + MOST_RIGHT,)`: whether the row is a question, its answer, a wrong answer or the
question in other words; the id of its text; and of a question, in whatever words, the ids of right answers, its own
first, 0 where there are no more.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import tensorflow as tf

from tfbert.heads.index import nearest
from tfbert.text.datasets import TokenizedSplit

MOST_RIGHT = 8
_QUESTION, _ANSWER, _WRONG, _OTHER_WORDS = 0, 1, 2, 3
# A wrong answer more similar to the question than this share of the right one's similarity may well be right too.
_MOST_SIMILAR = 0.95
# Candidates looked at for each wrong answer wanted, as some are right and others too similar.
_CANDIDATES = 10
_MASKED = -1e9


def targets_of(ids: Sequence[int]) -> list[np.ndarray]:
    """Return the targets of a record's rows.

    Args:
        ids: of its texts, above 0: the question, its answer, and any number of wrong answers.
    """
    question, answer, *wrong = ids
    rows = [(_QUESTION, question, answer), (_ANSWER, answer, 0), *((_WRONG, text, 0) for text in wrong)]
    return [np.asarray([*row, *[0] * (MOST_RIGHT - 1)], np.int32) for row in rows]


def ranking_loss(vectors: tf.Tensor, targets: tf.Tensor, scale: float) -> tf.Tensor:
    """Return the multiple negatives ranking loss of each record of a batch, in both directions.

    A question has to be more similar to its answer than to every other answer and every other question of the batch,
    and an answer to its question than to every other question; but never than to what is right as well: the same texts,
    answers known to be right for the question, questions that share a right answer with it. Where there is one of the
    latter, in a row of its own, the question has to be more similar to it too than to the other questions: an index
    finds answers by such.

    Args:
        vectors: unit vectors of the rows, float32 `(rows, hidden_dim)`; each record has one question and one answer.
        targets: of the rows.
        scale: what similarities are multiplied by.

    Returns:
        float32 `(records,)`; 0 for a record in a batch without anything that is wrong for it.

    Source: Henderson et al. 2017, "Efficient Natural Language Response Suggestion for Smart Reply", section 4.4, with
        cosines times a scale, as Sentence-BERT's code has it; and Li et al. 2023, "Towards General Text Embeddings with
        Multi-stage Contrastive Learning", section 3.3, for the other questions. Ours leaves out what is known to be
        right, which both take for wrong.
    """
    kind = targets[:, 0]
    question, answer, wrong = (tf.where(kind == of)[:, 0] for of in (_QUESTION, _ANSWER, _WRONG))
    q = tf.gather(vectors, question)
    candidates = tf.concat([answer, wrong], axis=0)
    ids, right = tf.gather(targets[:, 1], question), tf.gather(targets[:, 2:], question)
    candidate_ids = tf.gather(targets[:, 1], candidates)
    number = tf.shape(ids)[0]
    is_right = tf.reduce_any(right[:, None, :] == candidate_ids[None, :, None], -1)
    is_right |= ids[:, None] == candidate_ids[None, :]
    alike = _alike(targets, question, question)
    is_right |= tf.pad(ids[:, None] == ids[None, :], [[0, 0], [0, tf.shape(wrong)[0]]])
    to_answers = scale * tf.matmul(q, tf.gather(vectors, candidates), transpose_b=True)
    own = tf.linalg.diag_part(to_answers[:, :number])
    wrong_answers = tf.where(is_right, _MASKED, to_answers)
    wrong_questions = tf.where(alike, _MASKED, scale * tf.matmul(q, q, transpose_b=True))
    loss = tf.reduce_logsumexp(tf.concat([own[:, None], wrong_answers, wrong_questions], axis=1), axis=1) - own
    back = tf.where(is_right[:, :number], _MASKED, to_answers[:, :number])
    back = tf.reduce_logsumexp(tf.concat([own[None, :], back], axis=0), axis=0) - own
    return _with_other_words((loss + back) / 2, vectors, targets, wrong_questions, scale)


def _with_other_words(loss, vectors, targets, wrong_questions, scale: float):
    """Return the mean of a record's loss and of what its question in other words adds, where it has such."""
    kind = targets[:, 0]
    question, others = (tf.where(kind == of)[:, 0] for of in (_QUESTION, _OTHER_WORDS))
    # A record's rows follow its question.
    record = tf.gather(tf.cumsum(tf.cast(kind == _QUESTION, tf.int32)) - 1, others)
    to_others = scale * tf.matmul(tf.gather(vectors, question), tf.gather(vectors, others), transpose_b=True)
    own = tf.gather_nd(to_others, tf.stack([record, tf.range(tf.size(record))], axis=1))
    wrong_others = tf.where(_alike(targets, question, others), _MASKED, to_others)
    wrong = tf.gather(tf.concat([wrong_others, wrong_questions], axis=1), record)
    added = tf.reduce_logsumexp(tf.concat([own[:, None], wrong], axis=1), axis=1) - own
    return tf.tensor_scatter_nd_add(loss, record[:, None], (added - tf.gather(loss, record)) / 2)


def _alike(targets, ones, others):
    """Say of each of some questions and each of others whether they are the same or share a right answer."""
    ids, right = (tf.gather(targets[:, part], ones) for part in (1, slice(2, None)))
    other_ids, other_right = (tf.gather(targets[:, part], others) for part in (1, slice(2, None)))
    is_shared = (right[:, None, :, None] == other_right[None, :, None, :]) & (right > 0)[:, None, :, None]
    return tf.reduce_any(is_shared, [2, 3]) | (ids[:, None] == other_ids[None, :])


def with_all_right(split: TokenizedSplit) -> TokenizedSplit:
    """Return a split whose questions know all their right answers, as far as there is place.

    Args:
        split: whose questions know the answer of their own record.
    """
    targets = np.array(split.targets)
    question, answer = (np.flatnonzero(targets[:, 0] == kind) for kind in (_QUESTION, _ANSWER))
    pairs = np.unique(np.stack([targets[question, 1], targets[answer, 1]], axis=1), axis=0)
    ids, first, count = np.unique(pairs[:, 0], return_index=True, return_counts=True)
    at = np.searchsorted(ids, targets[question, 1])
    for place in range(1, MOST_RIGHT):
        there = count[at] >= place
        targets[question[there], 2 + place] = pairs[first[at[there]] + place - 1, 1]
    return replace(split, targets=targets)


def with_other_words(split: TokenizedSplit, seed: int) -> TokenizedSplit:
    """Return a split that has in every record, where there is one, another question that shares its right answer.

    Args:
        split: as `with_all_right` or `with_mined` gives it.
        seed: chooses among several.
    """
    targets, rng = split.targets, np.random.default_rng(seed)
    question, answer = (np.flatnonzero(targets[:, 0] == kind) for kind in (_QUESTION, _ANSWER))
    ids, answer_ids = targets[question, 1].astype(np.int64), targets[answer, 1].astype(np.int64)
    # A number an answer and question: in their order an answer's records stand together, and in it those of a question.
    step = ids.max(initial=0) + 1
    pairs = answer_ids * step + ids
    order = np.argsort(pairs, kind="stable")
    of_answer, of_next, own, after_own = (
        np.searchsorted(pairs[order], wanted)
        for wanted in (answer_ids * step, (answer_ids + 1) * step, pairs, pairs + 1)
    )
    num_own = after_own - own
    num_others = of_next - of_answer - num_own
    # Drawn as if the records of the question itself were not there, and moved behind them where they come before.
    drawn = of_answer + rng.integers(np.maximum(num_others, 1))
    drawn += num_own * (drawn >= own)
    added = [question[order[place : place + (number > 0)]] for place, number in zip(drawn, num_others, strict=True)]
    return _with_rows(split, added, _OTHER_WORDS)


def with_mined(split: TokenizedSplit, embed: Callable[[np.ndarray], np.ndarray], number: int) -> TokenizedSplit:
    """Return a split that has in every record the answers nearest to its question among those that are wrong for it.

    Args:
        split: as `with_all_right` gives it.
        embed: row numbers to vectors, float32 `(rows, hidden_dim)`, of any length above 0.
        number: of wrong answers a record; there are fewer where nearly all answers are right.

    Source: Moreira et al. 2024, "NV-Retriever", section 3: the positive-aware limit, 95 % of the right answer's
        similarity.
    """
    if not number:
        return split
    targets = split.targets
    question, answer = (np.flatnonzero(targets[:, 0] == kind) for kind in (_QUESTION, _ANSWER))
    ids, first, which = np.unique(targets[answer, 1], return_index=True, return_inverse=True)
    answers, questions = _unit(embed(answer[first])), _unit(embed(question))
    limits = _MOST_SIMILAR * np.einsum("nd,nd->n", questions, answers[which])
    mined = []
    for record, (found, similar) in enumerate(nearest(questions, answers, number * _CANDIDATES)):
        row = targets[question[record]]
        is_wrong = ~np.isin(ids[found], row[1:]) & (similar < limits[record])
        mined.append(answer[first[found[is_wrong][:number]]])
    return _with_rows(split, mined, _WRONG)


def _with_rows(split: TokenizedSplit, added: Sequence[np.ndarray], kind: int) -> TokenizedSplit:
    """Return a split with copies of some rows at the end of each unit, as rows of a kind."""
    counts = np.asarray([len(rows) for rows in added])
    own = np.diff(split.units)
    units = np.concatenate([[0], np.cumsum(own + counts)])
    is_added = np.arange(units[-1]) - np.repeat(units[:-1], own + counts) >= np.repeat(own, own + counts)
    source = np.zeros(units[-1], np.int64)
    source[~is_added], source[is_added] = np.arange(split.units[-1]), np.concatenate(added)
    lengths = np.diff(split.starts)[source]
    starts = np.concatenate([[0], np.cumsum(lengths)])
    places = np.arange(starts[-1]) + np.repeat(split.starts[source] - starts[:-1], lengths)
    targets = split.targets[source]
    targets[is_added, 0] = kind
    return replace(
        split, flat=split.flat[places], starts=starts, seconds=split.seconds[source], targets=targets, units=units
    )


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
