"""Shapley values: exact for few words, sampled for many, and always efficient."""

import numpy as np
import pytest

from tfbert.explanation.shapley import shapley_values


def game(sets):
    """Return 2 for the first word, 3 for the second and third together, and 1 for any of the others."""
    return 2.0 * sets[:, 0] + 3.0 * (sets[:, 1] & sets[:, 2]) + sets[:, 3:].any(axis=1) - 0.5


def test_few_words_are_exact():
    assert shapley_values(5, game) == pytest.approx([2, 1.5, 1.5, 0.5, 0.5])
    assert shapley_values(0, game).shape == (0,)


@pytest.mark.parametrize("num_words", [9, 30, 150])
def test_many_words_are_sampled(num_words):
    counts = []

    def counted(sets):
        counts.append(len(sets))
        return game(sets)

    values = shapley_values(num_words, counted)
    assert values.sum() == pytest.approx(6, abs=1e-9)
    assert values[0] == pytest.approx(2)
    assert len(counts) == 1 and counts[0] <= max(200, 2 * num_words)


def test_sampling_approaches_the_exact_values(monkeypatch):
    exact = shapley_values(8, game)
    monkeypatch.setattr("tfbert.explanation.shapley.MAX_EXACT_WORDS", 0)
    sampled = np.mean([shapley_values(8, game, seed) for seed in range(40)], axis=0)
    assert sampled == pytest.approx(exact, abs=0.1)
