"""Search for misleading edits."""

import pytest

from tfbert.robustness.worst_case import MAX_QUERIES, MAX_TEXTS, Attacked, search_worst_cases


@pytest.fixture
def search(predictions):
    """Return a function from texts with labels to the result, and the predicted texts."""
    make, predicted = predictions

    def run(pairs):
        labelled = make(pairs)
        probabilities = labelled.outputs["probabilities"][range(len(pairs)), labelled.gold]
        attacked = [Attacked(r, float(p)) for r, p in zip(labelled.records, probabilities, strict=True)]
        return search_worst_cases(labelled.predict, labelled.task, {}, attacked)

    return run, predicted


def test_the_word_that_decides_is_misspelt(search):
    run, predicted = search
    result = run([("please show every card tomorrow morning", "card"), ("please show the fee", "fee")])
    assert (result.num_texts, result.success["count"], result.success["value"]) == (2, 1, 0.5)
    (worst,) = result.worst
    assert worst.where == "test.csv:2" and (worst.gold, worst.before, worst.after) == ("card", "card", "fee")
    (text,) = worst.perturbed
    original = worst.original[0].split()
    assert [a for a, b in zip(original, text.split(), strict=True) if a != b] == ["card"]
    # Each word is left out once before the first edit.
    assert " ".join(word for word in original if word != "card") in [" ".join(text.split()) for text in predicted]
    assert result.mean_queries * 2 == len(predicted) and result.max_queries == MAX_QUERIES


def test_the_number_of_queries_is_limited(search):
    run, predicted = search
    result = run([("some other words without that word " * 10, "fee")])
    assert result.success["count"] == 0 and result.worst == [] and len(predicted) == result.mean_queries == MAX_QUERIES


def test_every_word_is_edited_at_most_twice(search):
    run, _ = search
    result = run([("card card card card card card", "card")])
    assert result.success["count"] == 1
    for word in result.worst[0].perturbed[0].split():
        assert word == "card" or 2 <= len(word) <= 6


def test_texts_without_words_and_many_texts(search):
    run, predicted = search
    assert run([]) is None
    result = run([("12", "fee")])
    assert (result.success["count"], result.mean_queries, predicted) == (0, 0, [])
    assert run([(f"card {index}", "card") for index in range(MAX_TEXTS + 1)]).num_texts == MAX_TEXTS
