"""The ranking loss: against a slow one in Python, and that nothing right is ever taken for wrong."""

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from tfbert.heads import negatives
from tfbert.heads.negatives import (
    MOST_RIGHT,
    ranking_loss,
    targets_of,
    with_all_right,
    with_mined,
    with_other_words,
)
from tfbert.text.datasets import TokenizedSplit


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def rows_of(records):
    """Return the targets of records, each the ids of a question, its answer and wrong answers, and its right ones."""
    rows = []
    for ids, right in records:
        of = np.stack(targets_of(ids))
        of[0, 3 : 3 + len(right)] = right
        rows.append(of)
    return np.concatenate(rows)


def with_asked_otherwise(vectors, records, others, scale):
    """Return vectors, targets and the slow losses where some records have their question in other words.

    Args:
        vectors: as many as there are rows then.
        records: as for `rows_of`.
        others: by record the id of that question and what is right for it.
        scale: as for `slow_loss`.
    """
    kept, rows, asked, at = [], [], {}, 0
    for number, record in enumerate(records):
        of = rows_of([record])
        kept += range(at, at + len(of))
        rows.append(of)
        at += len(of)
        if number in others:
            (ids, right), asked[number] = others[number], vectors[at]
            rows.append(np.array([[3, ids, *right, *[0] * (MOST_RIGHT - len(right))]], np.int32))
            at += 1
    plain = vectors[kept]
    starts = np.concatenate([[0], np.cumsum([len(ids) for ids, _ in records])])[:-1]
    losses = slow_loss(plain, records, scale)
    for number, vector in asked.items():
        ids, right = records[number][0][0], {records[number][0][1], *records[number][1]}
        own = scale * plain[starts[number]] @ vector
        candidates = [own]
        for other, theirs in asked.items():
            if others[other][0] != ids and not right & set(others[other][1]):
                candidates.append(scale * plain[starts[number]] @ theirs)
        for (of, known), start in zip(records, starts, strict=True):
            if of[0] != ids and not right & {of[1], *known}:
                candidates.append(scale * plain[starts[number]] @ plain[start])
        losses[number] = (losses[number] + np.log(np.exp(candidates).sum()) - own) / 2
    return np.concatenate(rows), losses


def slow_loss(vectors, records, scale):
    """Return the loss of each record, counting what is wrong for it one by one."""
    at, texts = 0, []
    for ids, right in records:
        texts.append((ids, {ids[1], *right}, vectors[at : at + len(ids)]))
        at += len(ids)
    losses = []
    for ids, right, own in texts:
        positive = scale * own[0] @ own[1]
        forth, back = [positive], [positive]
        for other, right_of_other, theirs in texts:
            same_question = other[0] == ids[0]
            for place in range(1, len(other)):
                is_right = other[place] in right or other[place] == ids[0] or (place == 1 and same_question)
                if not is_right:
                    forth.append(scale * own[0] @ theirs[place])
            if not same_question and not right & right_of_other:
                forth.append(scale * own[0] @ theirs[0])
            if not (ids[1] in right_of_other or ids[1] == other[0] or same_question):
                back.append(scale * theirs[0] @ own[1])
        losses.append((np.log(np.exp(forth).sum()) + np.log(np.exp(back).sum())) / 2 - positive)
    return losses


RECORDS = {
    "different": [((1, 11), ()), ((2, 12), ()), ((3, 13), ())],
    "wrong ones": [((1, 11, 21, 22), ()), ((2, 12), ()), ((3, 13, 23), ())],
    "same answer": [((1, 11), ()), ((2, 11), ()), ((3, 13), ())],
    "same question": [((1, 11), ()), ((1, 12), ()), ((3, 13), ())],
    "known elsewhere": [((1, 11), (12,)), ((2, 12), ()), ((3, 13), ())],
    "a wrong one is right for another": [((1, 11, 12), ()), ((2, 12), ()), ((3, 13, 11), ())],
    "an answer is a question": [((1, 2), ()), ((2, 12), ()), ((3, 13), ())],
    "questions share an answer": [((1, 11), (14,)), ((2, 12), (14,)), ((3, 13), ())],
    "alone": [((1, 11), ())],
    "all the same": [((1, 11), ()), ((1, 11), ())],
}


@pytest.mark.parametrize("name", RECORDS)
def test_loss_equals_the_slow_one(name):
    records = RECORDS[name]
    targets = rows_of(records)
    vectors = unit(np.random.default_rng(len(name)).normal(size=(len(targets), 6)))
    found = ranking_loss(tf.constant(vectors), tf.constant(targets), 5.0).numpy()
    np.testing.assert_allclose(found, slow_loss(vectors.astype(np.float64), records, 5.0), rtol=1e-4, atol=1e-5)
    if name in ("alone", "all the same"):
        np.testing.assert_allclose(found, 0, atol=1e-6)


@pytest.mark.parametrize(
    "others",
    [
        {0: (5, (11,))},
        {0: (5, (11,)), 2: (6, (13,))},
        {0: (5, (11, 12)), 1: (6, (12,)), 2: (7, (13,))},
        {0: (2, (11, 12)), 2: (1, (13, 11))},
        {},
    ],
)
def test_a_question_is_near_to_itself_in_other_words(others):
    records = RECORDS["wrong ones"]
    rng = np.random.default_rng(len(others))
    vectors = unit(rng.normal(size=(len(rows_of(records)) + len(others), 6)))
    targets, losses = with_asked_otherwise(vectors.astype(np.float64), records, others, 5.0)
    found = ranking_loss(tf.constant(vectors), tf.constant(targets), 5.0).numpy()
    np.testing.assert_allclose(found, losses, rtol=1e-4, atol=1e-5)


def test_gradients_are_finite_where_nothing_is_wrong():
    vectors = tf.Variable(unit(np.random.default_rng(0).normal(size=(4, 6))))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(ranking_loss(vectors, tf.constant(rows_of(RECORDS["all the same"])), 20.0))
    np.testing.assert_allclose(tf.convert_to_tensor(tape.gradient(loss, vectors)), 0, atol=1e-6)


def test_targets():
    question, answer, wrong = targets_of([7, 8, 9])
    assert question.tolist() == [0, 7, 8, *[0] * (MOST_RIGHT - 1)]
    assert answer.tolist() == [1, 8, 0, *[0] * (MOST_RIGHT - 1)]
    assert wrong.tolist() == [2, 9, 0, *[0] * (MOST_RIGHT - 1)]
    assert question.dtype == np.int32


def split_of(records):
    """Return a split whose rows are of different lengths and have tokens of their own."""
    targets = rows_of([(ids, ()) for ids in records])
    lengths = 2 + np.arange(len(targets)) % 4
    starts = np.concatenate([[0], np.cumsum(lengths)])
    return TokenizedSplit(
        flat=np.arange(100, 100 + starts[-1], dtype=np.uint16),
        starts=starts,
        seconds=lengths.astype(np.int32),
        targets=targets,
        units=np.concatenate([[0], np.cumsum([len(ids) for ids in records])]),
        num_tokens=np.arange(len(records)),
        num_text_tokens=np.int64(0),
        num_unknown_tokens=np.int64(0),
        remarks={},
        special=SimpleNamespace(padding=0),
    )


def test_questions_learn_all_their_right_answers():
    split = with_all_right(split_of([(1, 11), (2, 12, 99), (1, 13), (3, 12), (1, 11), (2, 14)]))
    right = {}
    for row in split.targets:
        if row[0] == 0:
            right.setdefault(int(row[1]), []).append(set(row[2:].tolist()) - {0})
    assert right == {1: [{11, 13}] * 3, 2: [{12, 14}] * 2, 3: [{12}]}
    own = [row[2] for row in split.targets if row[0] == 0]
    assert own == [11, 12, 13, 12, 11, 14]


def test_of_many_right_answers_the_own_one_is_kept():
    records = [(1, 100 + number) for number in range(20)]
    split = with_all_right(split_of(records))
    questions = split.targets[split.targets[:, 0] == 0]
    assert questions[:, 2].tolist() == [100 + number for number in range(20)]
    assert (questions[:, 3:] >= 100).all()


def test_other_words_are_a_question_with_the_same_answer():
    records = [(1, 11), (2, 11, 99), (3, 12), (1, 11), (4, 11), (5, 13), (5, 13)]
    split = with_all_right(split_of(records))
    several = [with_other_words(split, seed) for seed in range(20)]
    seen = {}
    for found in several:
        assert len(found) == len(split) and found.starts[-1] == len(found.flat)
        for record, (start, end) in enumerate(zip(found.units[:-1], found.units[1:], strict=True)):
            own = split.units[record + 1] - split.units[record]
            assert found.targets[start : start + own].tolist() == (
                split.targets[split.units[record] : split.units[record + 1]].tolist()
            )
            added = found.targets[start + own : end]
            seen.setdefault(record, set()).update(added[:, 1].tolist())
            for row, target in zip(range(start + own, end), added, strict=True):
                source = np.flatnonzero((split.targets[:, 0] == 0) & (split.targets[:, 1] == target[1]))
                assert target[0] == 3 and any(found.row(row).tolist() == split.row(at).tolist() for at in source)
    assert seen == {0: {2, 4}, 1: {1, 4}, 2: set(), 3: {2, 4}, 4: {1, 2}, 5: set(), 6: set()}
    assert np.array_equal(several[3].targets, with_other_words(split, 3).targets)


def test_mined_answers_are_the_nearest_wrong_ones():
    # Questions 1 to 4; answer 12 is right for 1 as well, 15 nearly as near to it as its own.
    records = [(1, 11), (2, 12), (3, 13), (1, 12), (4, 15)]
    split = with_all_right(split_of(records))
    angles = {1: 0, 11: 20, 12: 25, 13: 60, 15: 21, 2: 30, 3: 65, 4: 90}

    def embed(rows):
        turned = np.radians([angles[int(split.targets[row, 1])] for row in rows])
        return 3 * np.stack([np.cos(turned), np.sin(turned)], axis=1).astype(np.float32)

    mined = with_mined(split, embed, 1)
    found = [
        mined.targets[start:end, :2].tolist() for start, end in zip(mined.units[:-1], mined.units[1:], strict=True)
    ]
    # For 2, 15 (9 degrees away) is too near to 12 (5 degrees); the next is 11. 13 is the own of 3, then come 12 and 15.
    assert found == [
        [[0, 1], [1, 11], [2, 13]],
        [[0, 2], [1, 12], [2, 13]],
        [[0, 3], [1, 13], [2, 12]],
        [[0, 1], [1, 12], [2, 13]],
        [[0, 4], [1, 15]],
    ]
    assert len(mined) == len(split)
    texts = {int(split.targets[row, 1]): split.row(row).tolist() for row in range(len(split.targets))}
    for row, target in enumerate(mined.targets):
        if target[0] == 2:
            assert mined.row(row).tolist() in [
                split.row(at).tolist() for at in range(len(split.targets)) if split.targets[at, 1] == target[1]
            ]
            assert mined.seconds[row] == len(mined.row(row))
        assert target[1] in texts
    for unit_number in range(len(split)):
        before, after = (s.row(s.units[unit_number]).tolist() for s in (split, mined))
        assert before == after
    assert with_mined(split, embed, 0) is split


def test_mining_does_not_depend_on_blocks(monkeypatch):
    split = with_all_right(split_of([(number, 100 + number // 2) for number in range(1, 40)]))
    vectors = unit(np.random.default_rng(0).normal(size=(len(split.targets), 4)))
    first = with_mined(split, lambda rows: vectors[rows], 2)
    monkeypatch.setattr(negatives, "nearest", lambda *args: iter(list(negatives_nearest(*args))))
    second = with_mined(split, lambda rows: vectors[rows], 2)
    np.testing.assert_array_equal(first.targets, second.targets)
    wrong = first.targets[first.targets[:, 0] == 2]
    assert 0 < len(wrong) <= 2 * len(split)


negatives_nearest = negatives.nearest
