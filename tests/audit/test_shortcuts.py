"""Shortcuts: a planted token comes first, chance finds nothing, and mistakes on misleading texts are counted."""

import numpy as np
import pytest

from tfbert.audit.shortcuts import HIGH, LOW, audit_shortcuts, find_shortcuts, tokens_of
from tfbert.text.records import Record

WORDS = [f"w{index}" for index in range(50)]


def texts(number, seed, planted=0.0):
    """Return records of random words with random labels; a part of `yes` has a planted token."""
    rng = np.random.default_rng(seed)
    records = []
    for index in range(number):
        label = ["no", "yes"][rng.integers(2)]
        words = [*rng.choice(WORDS, 8), *(["Zx!"] if label == "yes" and rng.random() < planted else [])]
        records.append(Record(" ".join(words), label, f"f:{index}"))
    return records, np.array([[record.target == "no", record.target == "yes"] for record in records])


def test_tokens_are_words_characters_and_punctuation():
    record = Record("It's 12 DM!", "x", "", ("手机abc",))
    assert tokens_of(record) == {"it", "'", "s", "12", "dm", "!", "手", "机", "abc"}


def test_a_planted_token_is_found_and_chance_is_not():
    found, num_tokens = find_shortcuts(*_arguments(texts(600, 0, 0.15)))
    assert {shortcut.token for shortcut in found} == {"zx", "!"} and num_tokens == 52
    first = found[0]
    assert (first.label, first.fraction) == ("yes", 1.0) and first.z > 5 and 0.4 < first.expected < 0.6
    expected = np.sqrt(first.num_texts) * (1 - first.expected) / np.sqrt(first.expected * (1 - first.expected))
    assert first.z == pytest.approx(expected)
    assert [find_shortcuts(*_arguments(texts(600, seed)))[0] for seed in range(1, 11)].count([]) >= 9


def _arguments(pair):
    records, gold = pair
    return records, ("no", "yes"), gold


def test_texts_that_a_token_misleads_about_are_scored_apart():
    training, gold = texts(600, 0, 0.2)
    records = [Record("zx w1", ["no", "yes"][index % 2], "") for index in range(40)]
    held_out = np.array([[record.target == "no", record.target == "yes"] for record in records])

    def score(rows):  # a model that only looks at the token
        return float(held_out[rows, 1].mean())

    audit = audit_shortcuts("train", training, gold, ("no", "yes"), records, held_out, score)
    assert (audit.num_misleading, audit.misleading.value, audit.num_other, audit.other.value) == (20, 0.0, 20, 1.0)
    assert (audit.source, audit.num_texts, audit.num_found, len(audit.listed)) == ("train", 600, 2, 2)
    few = audit_shortcuts("train", training, gold, ("no", "yes"), records[:4], held_out[:4], score)
    assert few.num_misleading == 2 and few.misleading is None


def test_tokens_of_a_regression_point_to_high_or_low_values():
    rng = np.random.default_rng(0)
    records = [Record(["good", "bad", "the"][index % 3] + f" n{rng.integers(9)}", 0.0, "") for index in range(300)]
    values = np.array([[1.0, -1.0, 0.0][index % 3] for index in range(300)]) + rng.normal(0, 1, 300)
    found, _ = find_shortcuts(records, (), values[:, None])
    assert {(each.token, each.label) for each in found} == {("good", HIGH), ("bad", LOW)}
    audit = audit_shortcuts(
        "train", records, values[:, None], (), records, values[:, None], lambda rows: float(len(rows)), False
    )
    assert audit.num_misleading + audit.num_other == 200 and 0 < audit.num_misleading < audit.num_other
