"""The ranking loss equals a slow one in Python; negatives are never correct; mining of negatives and paraphrases."""

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from tfbert.heads import index
from tfbert.heads.negatives import (
    ANSWER,
    MAX_POSITIVES,
    NEGATIVE,
    PARAPHRASE,
    QUESTION,
    TARGETS,
    ranking_loss,
    targets_of,
    with_all_positives,
    with_hard_negatives,
    with_paraphrases,
)
from tfbert.text.datasets import TokenizedSplit
from tfbert.text.ragged import Ragged


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def padded(ids):
    return [*ids, *[0] * (MAX_POSITIVES - len(ids))]


def batch_of(records, paraphrases=None):
    """Return a batch with the targets of records.

    Args:
        records: for each, the ids of a question, its answer and negatives, and the ids of other correct answers.
        paraphrases: by record, the id of another question in its example, and the ids of the correct answers to that.
    """
    role, text_id, positive_ids, example = [], [], [], []
    for number, (ids, other_correct) in enumerate(records):
        targets = targets_of(ids)
        role += [target["role"] for target in targets]
        text_id += [target["text_id"] for target in targets]
        positive_ids += [padded([ids[1], *other_correct]), *[target["positive_ids"] for target in targets[1:]]]
        if number in (paraphrases or {}):
            paraphrase_id, correct = paraphrases[number]
            role.append(PARAPHRASE)
            text_id.append(paraphrase_id)
            positive_ids.append(padded(correct))
        example += [number] * (len(role) - len(example))
    columns = {"role": role, "text_id": text_id, "positive_ids": positive_ids, "example": example}
    return {name: np.asarray(values, np.int32) for name, values in columns.items()}


def loss_of(vectors, batch, scale):
    return ranking_loss(tf.constant(vectors), {name: tf.constant(values) for name, values in batch.items()}, scale)


def slow_loss_with_paraphrases(vectors, batch, records, paraphrases, scale):
    """Return the loss of each record, some of which have a paraphrase.

    Args:
        vectors: one per sequence of the batch.
        batch: the result of `batch_of` for `records` and `paraphrases`.
        records: as for `batch_of`.
        paraphrases: as for `batch_of`.
        scale: as for `slow_loss`.
    """
    is_paraphrase = batch["role"] == PARAPHRASE
    plain = vectors[~is_paraphrase]
    paraphrase_vectors = dict(zip(batch["example"][is_paraphrase], vectors[is_paraphrase], strict=True))
    starts = np.concatenate([[0], np.cumsum([len(ids) for ids, _ in records])])[:-1]
    losses = slow_loss(plain, records, scale)
    for number, vector in paraphrase_vectors.items():
        question_id, correct = records[number][0][0], {records[number][0][1], *records[number][1]}
        own = scale * plain[starts[number]] @ vector
        logits = [own]
        for other, other_vector in paraphrase_vectors.items():
            if paraphrases[other][0] != question_id and not correct & set(paraphrases[other][1]):
                logits.append(scale * plain[starts[number]] @ other_vector)
        for (other_ids, other_correct), start in zip(records, starts, strict=True):
            if other_ids[0] != question_id and not correct & {other_ids[1], *other_correct}:
                logits.append(scale * plain[starts[number]] @ plain[start])
        losses[number] = (losses[number] + np.log(np.exp(logits).sum()) - own) / 2
    return losses


def slow_loss(vectors, records, scale):
    """Return the loss of each record, counting its negatives one by one."""
    start, examples = 0, []
    for ids, other_correct in records:
        examples.append((ids, {ids[1], *other_correct}, vectors[start : start + len(ids)]))
        start += len(ids)
    losses = []
    for ids, correct, own_vectors in examples:
        positive = scale * own_vectors[0] @ own_vectors[1]
        to_answers, to_questions = [positive], [positive]
        for other_ids, other_correct, other_vectors in examples:
            same_question = other_ids[0] == ids[0]
            for position in range(1, len(other_ids)):
                answers_same_question = position == 1 and same_question
                if not (other_ids[position] in correct or other_ids[position] == ids[0] or answers_same_question):
                    to_answers.append(scale * own_vectors[0] @ other_vectors[position])
            if not same_question and not correct & other_correct:
                to_answers.append(scale * own_vectors[0] @ other_vectors[0])
            if not (ids[1] in other_correct or ids[1] == other_ids[0] or same_question):
                to_questions.append(scale * other_vectors[0] @ own_vectors[1])
        losses.append((np.log(np.exp(to_answers).sum()) + np.log(np.exp(to_questions).sum())) / 2 - positive)
    return losses


RECORDS = {
    "different": [((1, 11), ()), ((2, 12), ()), ((3, 13), ())],
    "negatives": [((1, 11, 21, 22), ()), ((2, 12), ()), ((3, 13, 23), ())],
    "same answer": [((1, 11), ()), ((2, 11), ()), ((3, 13), ())],
    "same question": [((1, 11), ()), ((1, 12), ()), ((3, 13), ())],
    "known elsewhere": [((1, 11), (12,)), ((2, 12), ()), ((3, 13), ())],
    "a negative is correct for another": [((1, 11, 12), ()), ((2, 12), ()), ((3, 13, 11), ())],
    "an answer is a question": [((1, 2), ()), ((2, 12), ()), ((3, 13), ())],
    "questions share an answer": [((1, 11), (14,)), ((2, 12), (14,)), ((3, 13), ())],
    "alone": [((1, 11), ())],
    "all the same": [((1, 11), ()), ((1, 11), ())],
}


@pytest.mark.parametrize("name", RECORDS)
def test_loss_equals_the_slow_one(name):
    records = RECORDS[name]
    batch = batch_of(records)
    vectors = unit(np.random.default_rng(len(name)).normal(size=(len(batch["role"]), 6)))
    losses = loss_of(vectors, batch, 5.0).numpy()
    np.testing.assert_allclose(losses, slow_loss(vectors.astype(np.float64), records, 5.0), rtol=1e-4, atol=1e-5)
    if name in ("alone", "all the same"):
        np.testing.assert_allclose(losses, 0, atol=1e-6)


@pytest.mark.parametrize(
    "paraphrases",
    [
        {0: (5, (11,))},
        {0: (5, (11,)), 2: (6, (13,))},
        {0: (5, (11, 12)), 1: (6, (12,)), 2: (7, (13,))},
        {0: (2, (11, 12)), 2: (1, (13, 11))},
        {},
    ],
)
def test_loss_with_paraphrases_equals_the_slow_one(paraphrases):
    records = RECORDS["negatives"]
    batch = batch_of(records, paraphrases)
    vectors = unit(np.random.default_rng(len(paraphrases)).normal(size=(len(batch["role"]), 6)))
    expected = slow_loss_with_paraphrases(vectors.astype(np.float64), batch, records, paraphrases, 5.0)
    np.testing.assert_allclose(loss_of(vectors, batch, 5.0), expected, rtol=1e-4, atol=1e-5)


def test_gradients_are_finite_without_negatives():
    batch = {name: tf.constant(values) for name, values in batch_of(RECORDS["all the same"]).items()}
    vectors = tf.Variable(unit(np.random.default_rng(0).normal(size=(4, 6))))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(ranking_loss(vectors, batch, 20.0))
    np.testing.assert_allclose(tf.convert_to_tensor(tape.gradient(loss, vectors)), 0, atol=1e-6)


def test_targets():
    targets = targets_of([7, 8, 9, 10])
    assert [(target["role"], target["text_id"]) for target in targets] == [
        (QUESTION, 7), (ANSWER, 8), (NEGATIVE, 9), (NEGATIVE, 10),
    ]  # fmt: skip
    assert [target["positive_ids"].tolist() for target in targets] == [padded([8]), padded([]), padded([]), padded([])]
    assert all(target.keys() == TARGETS.keys() for target in targets)
    assert TARGETS["positive_ids"].shape == targets[0]["positive_ids"].shape


def split_of(records):
    """Return a split whose sequences have different lengths and no tokens in common.

    Args:
        records: for each, the ids of a question, its answer and negatives.
    """
    targets = batch_of([(ids, ()) for ids in records])
    del targets["example"]
    lengths = 2 + np.arange(len(targets["role"])) % 4
    starts = np.concatenate([[0], np.cumsum(lengths)])
    return TokenizedSplit(
        sequences=Ragged(np.arange(100, 100 + starts[-1], dtype=np.uint16), starts),
        second_starts=lengths.astype(np.int32),
        targets=targets,
        features={},
        examples=np.concatenate([[0], np.cumsum([len(ids) for ids in records])]),
        records=None,
        num_tokens=np.arange(len(records)),
        num_text_tokens=np.int64(0),
        num_unknown_tokens=np.int64(0),
        warnings={},
        special=SimpleNamespace(padding=0),
        target_specs=TARGETS,
    )


def examples_of(split):
    """Return the role and the text id of each sequence, grouped by example."""
    pairs = np.stack([split.targets["role"], split.targets["text_id"]], axis=1).tolist()
    return [pairs[start:end] for start, end in zip(split.examples[:-1], split.examples[1:], strict=True)]


def assert_copied(split, augmented, role):
    """Check that sequences with a role are copies of one with the same text, and that all others are unchanged."""
    texts = {}
    for sequence, text_id in enumerate(split.targets["text_id"]):
        texts.setdefault(int(text_id), []).append(split.sequences[sequence].tolist())
    for sequence, text_id in enumerate(augmented.targets["text_id"]):
        token_ids = augmented.sequences[sequence].tolist()
        assert token_ids in texts[int(text_id)]
        assert augmented.second_starts[sequence] == len(token_ids)
    assert augmented.sequences.starts[-1] == len(augmented.sequences.values)
    assert len(augmented) == len(split)
    for example in range(len(split)):
        own = np.arange(split.examples[example], split.examples[example + 1])
        copied = augmented.examples[example] + np.arange(len(own))
        for name in TARGETS:
            np.testing.assert_array_equal(augmented.targets[name][copied], split.targets[name][own])
            assert augmented.targets[name].dtype == split.targets[name].dtype == np.int32
        for before, after in zip(own, copied, strict=True):
            assert split.sequences[before].tolist() == augmented.sequences[after].tolist()
        added = np.arange(copied[-1] + 1, augmented.examples[example + 1])
        assert (augmented.targets["role"][added] == role).all()


def test_questions_get_all_their_correct_answers():
    before = split_of([(1, 11), (2, 12, 99), (1, 13), (3, 12), (1, 11), (2, 14)])
    split = with_all_positives(before)
    is_question = split.targets["role"] == QUESTION
    correct = {}
    for text_id, positive_ids in zip(
        split.targets["text_id"][is_question], split.targets["positive_ids"][is_question], strict=True
    ):
        correct.setdefault(int(text_id), []).append(set(positive_ids.tolist()) - {0})
    assert correct == {1: [{11, 13}] * 3, 2: [{12, 14}] * 2, 3: [{12}]}
    assert split.targets["positive_ids"][is_question, 0].tolist() == [11, 12, 13, 12, 11, 14]
    assert not split.targets["positive_ids"][~is_question].any()
    # The tokenized split itself, which other training runs read, is unchanged.
    assert not before.targets["positive_ids"][:, 1:].any()


def test_the_own_answer_is_kept_among_many_correct_ones():
    split = with_all_positives(split_of([(1, 100 + number) for number in range(20)]))
    positive_ids = split.targets["positive_ids"][split.targets["role"] == QUESTION]
    assert positive_ids[:, 0].tolist() == [100 + number for number in range(20)]
    assert (positive_ids[:, 1:] >= 100).all()


def test_a_paraphrase_is_another_question_with_the_same_answer():
    split = with_all_positives(split_of([(1, 11), (2, 11, 99), (3, 12), (1, 11), (4, 11), (5, 13), (5, 13)]))
    augmented = [with_paraphrases(split, seed) for seed in range(20)]
    paraphrases = {}
    for result in augmented:
        assert_copied(split, result, PARAPHRASE)
        for example, (before, after) in enumerate(zip(examples_of(split), examples_of(result), strict=True)):
            paraphrases.setdefault(example, set()).update(text_id for _, text_id in after[len(before) :])
            assert len(after) <= len(before) + 1
        # A paraphrase keeps its own correct answers.
        for sequence in np.flatnonzero(result.targets["role"] == PARAPHRASE):
            assert set(result.targets["positive_ids"][sequence].tolist()) == {11, 0}
    assert paraphrases == {0: {2, 4}, 1: {1, 4}, 2: set(), 3: {2, 4}, 4: {1, 2}, 5: set(), 6: set()}
    assert examples_of(augmented[3]) == examples_of(with_paraphrases(split, 3))


def test_hard_negatives_are_the_nearest_wrong_answers():
    # Answer 12 is correct for question 1 too, and 15 is nearly as similar to question 1 as its own answer, 11.
    split = with_all_positives(split_of([(1, 11), (2, 12), (3, 13), (1, 12), (4, 15)]))
    angles = {1: 0, 11: 20, 12: 25, 13: 60, 15: 21, 2: 30, 3: 65, 4: 90}

    def embed(sequences):
        radians = np.radians([angles[int(split.targets["text_id"][sequence])] for sequence in sequences])
        return 3 * np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)

    mined = with_hard_negatives(split, embed, 1)
    # For question 2, answers 15 and 11 (9 and 10 degrees away) are too similar, because its own is 5 degrees away.
    assert examples_of(mined) == [
        [[QUESTION, 1], [ANSWER, 11], [NEGATIVE, 13]],
        [[QUESTION, 2], [ANSWER, 12], [NEGATIVE, 13]],
        [[QUESTION, 3], [ANSWER, 13], [NEGATIVE, 12]],
        [[QUESTION, 1], [ANSWER, 12], [NEGATIVE, 13]],
        [[QUESTION, 4], [ANSWER, 15]],
    ]
    assert_copied(split, mined, NEGATIVE)
    assert with_hard_negatives(split, embed, 0) is split


def test_mining_does_not_depend_on_blocks(monkeypatch):
    split = with_all_positives(split_of([(number, 100 + number // 2) for number in range(1, 40)]))
    vectors = unit(np.random.default_rng(0).normal(size=(split.num_sequences, 4)))
    in_one_block = with_hard_negatives(split, lambda sequences: vectors[sequences], 2)
    monkeypatch.setattr(index, "_BLOCK_VALUES", 50)  # of 20 answers: 2 questions at once
    in_blocks = with_hard_negatives(split, lambda sequences: vectors[sequences], 2)
    assert examples_of(in_one_block) == examples_of(in_blocks)
    assert 0 < np.count_nonzero(in_one_block.targets["role"] == NEGATIVE) <= 2 * len(split)
