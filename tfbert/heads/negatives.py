"""Contrastive learning of ranking: the loss, and mining of hard negatives and paraphrases for the training split.

The sequences of an example are a question, its answer, and any number of negatives: answers that are wrong for the
question. Each has three targets: its `role` in the example, the `text_id` of its text, and `positive_ids`. For a
question, these are the text ids of all known correct answers, that of its own example first, padded with 0.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import tensorflow as tf

from tfbert.heads.index import nearest_neighbors
from tfbert.text.datasets import Target, TokenizedSplit

MAX_POSITIVES = 8
TARGETS = {
    "role": Target("int32"),
    "text_id": Target("int32"),
    "positive_ids": Target("int32", (MAX_POSITIVES,)),
}
# A paraphrase is another question with the same answer.
QUESTION, ANSWER, NEGATIVE, PARAPHRASE = range(4)
# A candidate whose similarity exceeds this fraction of the correct answer's similarity may be correct too.
_MAX_SIMILARITY_FRACTION = 0.95
# Candidates per hard negative, because some are correct and others too similar.
_CANDIDATES = 10
_MASKED = -1e9

Batch = Mapping[str, tf.Tensor]


def targets_of(text_ids: Sequence[int]) -> list[dict[str, int | np.ndarray]]:
    """Return the targets of a record's sequences.

    Args:
        text_ids: ids, above 0, of the record's texts: the question, its answer, and any number of negatives.
    """
    _, answer, *negatives = text_ids
    roles = [QUESTION, ANSWER, *[NEGATIVE] * len(negatives)]
    targets = []
    for role, text_id in zip(roles, text_ids, strict=True):
        positive_ids = np.zeros(MAX_POSITIVES, np.int32)
        positive_ids[0] = answer if role == QUESTION else 0
        targets.append({"role": role, "text_id": text_id, "positive_ids": positive_ids})
    return targets


def ranking_loss(vectors: tf.Tensor, batch: Batch, scale: float) -> tf.Tensor:
    """Return the multiple negatives ranking loss of each example of a batch, in both directions.

    A question has to be more similar to its answer than to every other answer and every other question of the batch,
    and an answer has to be more similar to its question than to every other question. Texts that are correct too are
    excluded: equal texts, known correct answers to the question, and questions that share a correct answer with it. A
    paraphrase in the example has to be more similar to the question than the other questions are, since an index
    contains such questions.

    Args:
        vectors: unit vectors of the sequences, float32 `(sequences, hidden_dim)`; each example has one question and one
            answer.
        batch: the targets, and `example`, the position of each sequence's example.
        scale: factor on the similarities.

    Returns:
        float32 `(examples,)`; 0 for an example without any negative in the batch.

    Source: Henderson et al. 2017, "Efficient Natural Language Response Suggestion for Smart Reply", section 4.4, with
        cosines times a scale, as in Sentence-BERT's code; and Li et al. 2023, "Towards General Text Embeddings with
        Multi-stage Contrastive Learning", section 3.3, for the other questions. Ours excludes texts known to be
        correct, which both count as negatives.
    """
    question, answer, negative = (_sequences_of(batch, role) for role in (QUESTION, ANSWER, NEGATIVE))
    question_vectors = tf.gather(vectors, question)
    candidates = tf.concat([answer, negative], axis=0)
    ids, positive_ids = (tf.gather(batch[name], question) for name in ("text_id", "positive_ids"))
    candidate_ids = tf.gather(batch["text_id"], candidates)
    num_examples = tf.shape(ids)[0]
    is_positive = tf.reduce_any(positive_ids[:, None, :] == candidate_ids[None, :, None], -1)
    is_positive |= ids[:, None] == candidate_ids[None, :]
    is_positive |= tf.pad(ids[:, None] == ids[None, :], [[0, 0], [0, tf.shape(negative)[0]]])
    to_answers = scale * tf.matmul(question_vectors, tf.gather(vectors, candidates), transpose_b=True)
    own = tf.linalg.diag_part(to_answers[:, :num_examples])
    wrong_answers = tf.where(is_positive, _MASKED, to_answers)
    to_questions = scale * tf.matmul(question_vectors, question_vectors, transpose_b=True)
    wrong_questions = tf.where(_are_related(batch, question, question), _MASKED, to_questions)
    loss = tf.reduce_logsumexp(tf.concat([own[:, None], wrong_answers, wrong_questions], axis=1), axis=1) - own
    from_answers = tf.where(is_positive[:, :num_examples], _MASKED, to_answers[:, :num_examples])
    reverse_loss = tf.reduce_logsumexp(tf.concat([own[None, :], from_answers], axis=0), axis=0) - own
    return _with_paraphrases((loss + reverse_loss) / 2, vectors, batch, wrong_questions, scale)


def _with_paraphrases(
    loss: tf.Tensor, vectors: tf.Tensor, batch: Batch, wrong_questions: tf.Tensor, scale: float
) -> tf.Tensor:
    """Return the mean of each example's loss and the loss of its paraphrase, or its loss if it has no paraphrase."""
    question, paraphrase = (_sequences_of(batch, role) for role in (QUESTION, PARAPHRASE))
    example = tf.gather(batch["example"], paraphrase)
    to_paraphrases = scale * tf.matmul(tf.gather(vectors, question), tf.gather(vectors, paraphrase), transpose_b=True)
    own = tf.gather_nd(to_paraphrases, tf.stack([example, tf.range(tf.size(example))], axis=1))
    wrong_paraphrases = tf.where(_are_related(batch, question, paraphrase), _MASKED, to_paraphrases)
    wrong = tf.gather(tf.concat([wrong_paraphrases, wrong_questions], axis=1), example)
    paraphrase_loss = tf.reduce_logsumexp(tf.concat([own[:, None], wrong], axis=1), axis=1) - own
    return tf.tensor_scatter_nd_add(loss, example[:, None], (paraphrase_loss - tf.gather(loss, example)) / 2)


def _are_related(batch: Batch, questions: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    """Return whether questions are equal or share a correct answer: bool `(questions, others)`."""
    ids, positive_ids = (tf.gather(batch[name], questions) for name in ("text_id", "positive_ids"))
    other_ids, other_positive_ids = (tf.gather(batch[name], others) for name in ("text_id", "positive_ids"))
    is_shared = positive_ids[:, None, :, None] == other_positive_ids[None, :, None, :]
    is_shared &= (positive_ids > 0)[:, None, :, None]
    return tf.reduce_any(is_shared, [2, 3]) | (ids[:, None] == other_ids[None, :])


def _sequences_of(batch: Batch, role: int) -> tf.Tensor:
    return tf.where(batch["role"] == role)[:, 0]


def with_all_positives(split: TokenizedSplit) -> TokenizedSplit:
    """Return a split whose `positive_ids` contain all correct answers to each question, up to `MAX_POSITIVES`.

    Args:
        split: a split with the targets of `targets_of`, which contain only the answer of the question's own record.
    """
    question, answer = (np.flatnonzero(split.targets["role"] == role) for role in (QUESTION, ANSWER))
    text_id, positive_ids = split.targets["text_id"], np.array(split.targets["positive_ids"])
    pairs = np.unique(np.stack([text_id[question], text_id[answer]], axis=1), axis=0)
    ids, first, count = np.unique(pairs[:, 0], return_index=True, return_counts=True)
    group = np.searchsorted(ids, text_id[question])
    for column in range(1, MAX_POSITIVES):
        has_answer = count[group] >= column
        positive_ids[question[has_answer], column] = pairs[first[group[has_answer]] + column - 1, 1]
    return replace(split, targets={**split.targets, "positive_ids": positive_ids})


def with_paraphrases(split: TokenizedSplit, seed: int) -> TokenizedSplit:
    """Return a split with a paraphrase added to every example whose answer has another question.

    Args:
        split: the result of `with_all_positives` or `with_hard_negatives`.
        seed: random seed for choosing one of several paraphrases.
    """
    rng = np.random.default_rng(seed)
    question, answer = (np.flatnonzero(split.targets["role"] == role) for role in (QUESTION, ANSWER))
    ids, answer_ids = (split.targets["text_id"][sequences].astype(np.int64) for sequences in (question, answer))
    # One number per pair of answer and question. Sorting by it groups examples by answer, and within an answer by
    # question.
    step = ids.max(initial=0) + 1
    pairs = answer_ids * step + ids
    order = np.argsort(pairs, kind="stable")
    same_answer, next_answer, same_pair, next_pair = (
        np.searchsorted(pairs[order], value) for value in (answer_ids * step, (answer_ids + 1) * step, pairs, pairs + 1)
    )
    num_equal = next_pair - same_pair
    num_others = next_answer - same_answer - num_equal
    # Draw as if the examples of the question itself did not exist, then skip those that come before the drawn position.
    drawn = same_answer + rng.integers(np.maximum(num_others, 1))
    drawn += num_equal * (drawn >= same_pair)
    added = [question[order[start : start + (number > 0)]] for start, number in zip(drawn, num_others, strict=True)]
    return _with_sequences(split, added, PARAPHRASE)


def with_hard_negatives(
    split: TokenizedSplit, embed: Callable[[np.ndarray], np.ndarray], num_negatives: int
) -> TokenizedSplit:
    """Return a split with hard negatives added to every example: the wrong answers nearest to its question.

    Args:
        split: the result of `with_all_positives`.
        embed: returns vectors, float32 `(sequences, hidden_dim)`, of any length above 0, for indices of sequences.
        num_negatives: hard negatives per example; there are fewer if nearly all answers are correct.

    Source: Moreira et al. 2024, "NV-Retriever", section 3: the positive-aware limit, 95 % of the correct answer's
        similarity.
    """
    if not num_negatives:
        return split
    text_id, positive_ids = split.targets["text_id"], split.targets["positive_ids"]
    question, answer = (np.flatnonzero(split.targets["role"] == role) for role in (QUESTION, ANSWER))
    ids, first, own_answer = np.unique(text_id[answer], return_index=True, return_inverse=True)
    answers, questions = _unit(embed(answer[first])), _unit(embed(question))
    limits = _MAX_SIMILARITY_FRACTION * np.einsum("nd,nd->n", questions, answers[own_answer])
    mined = []
    neighbors = nearest_neighbors(questions, answers, num_negatives * _CANDIDATES)
    for example, (candidates, similarity) in enumerate(neighbors):
        sequence = question[example]
        known_ids = [text_id[sequence], *positive_ids[sequence]]
        is_wrong = ~np.isin(ids[candidates], known_ids) & (similarity < limits[example])
        mined.append(answer[first[candidates[is_wrong][:num_negatives]]])
    return _with_sequences(split, mined, NEGATIVE)


def _with_sequences(split: TokenizedSplit, added: Sequence[np.ndarray], role: int) -> TokenizedSplit:
    """Return a split with copies of some sequences, in another role, at the end of each example."""
    counts = np.asarray([len(sequences) for sequences in added])
    own = np.diff(split.examples)
    total = own + counts
    examples = np.concatenate([[0], np.cumsum(total)])
    is_added = np.arange(examples[-1]) - np.repeat(examples[:-1], total) >= np.repeat(own, total)
    source = np.zeros(examples[-1], np.int64)
    source[~is_added], source[is_added] = np.arange(split.examples[-1]), np.concatenate(added)
    taken = split.take(source, examples)
    return replace(taken, targets={**taken.targets, "role": np.where(is_added, role, taken.targets["role"])})


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
