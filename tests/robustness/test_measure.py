"""Measurement of robustness, with models that are functions."""

import dataclasses

import numpy as np
import pytest
from support.tagged import fitted as fitted_entities

from tfbert.robustness import measure as measuring
from tfbert.robustness.measure import measure, require_editable
from tfbert.tasks.base import fitted_kinds, load_task
from tfbert.tasks.regression import FittedRegression, RegressionOptions
from tfbert.text.edits import Edit
from tfbert.text.perturbations.perturbation import Perturbation
from tfbert.text.records import Record
from tfbert.text.spans import Span

PAIRS = [("my card card", "card"), ("a fee", "fee"), ("your card", "card"), ("the card", "fee"), ("nothing", "fee")]


def replacing(old, new, name="replaced"):
    def find(text, rng):
        if old in text:
            yield Edit(text.index(old), text.index(old) + len(old), new)

    return Perturbation(name, f"{old} is {new}", ("English",), find)


def test_scores_and_changed_predictions_are_those_of_the_changed_texts(predictions):
    make, _ = predictions
    result = measure(make(PAIRS), perturbations=[replacing("card", "crd"), replacing("zzz", "a", "unused")])
    assert (result.metric.name, result.num_examples, result.score["value"]) == ("accuracy", 5, 0.8)
    effect, unused = result.effects
    assert (effect.num_changed, effect.before["value"], effect.after["value"]) == (3, pytest.approx(2 / 3), 2 / 3)
    assert effect.difference["value"] == 0 and effect.difference["low"] < 0 < effect.difference["high"]
    # One of them becomes wrong, one right.
    assert (effect.flips["count"], effect.flips["value"]) == (2, pytest.approx(2 / 3))
    (worst,) = effect.worst
    assert (worst.where, worst.original, worst.perturbed) == ("test.csv:4", ("your card",), ("your crd",))
    assert (worst.gold, worst.before, worst.after) == ("card", "card", "fee") and worst.confidence > 0.7
    assert (unused.num_changed, unused.before, unused.flips, unused.worst) == (0, None, None, ())
    assert (result.always_right["count"], result.always_right["value"]) == (3, 0.6)


def test_identical_texts_are_never_counted_or_predicted_again(predictions):
    make, predicted = predictions
    same = Perturbation("same", "", ("English",), lambda text, rng: [Edit(0, 1, text[0])])
    result = measure(make(PAIRS), perturbations=[same])
    assert result.effects[0].num_changed == 0 and result.always_right["value"] == result.score["value"]
    assert all(predicted.count(text) == 1 for text, _ in PAIRS)


def test_of_many_records_the_same_ones_are_drawn(predictions):
    make, predicted = predictions
    pairs = [(f"fee number {index}", "fee") for index in range(50)]
    assert measure(make(pairs), 10, perturbations=[]).num_examples == 10
    first = sorted(predicted)
    measure(make(pairs), 10, perturbations=[])
    assert sorted(predicted) == sorted(first * 2) and len(set(first)) >= 10


def test_changes_of_predicted_numbers(predictions):
    make, _ = predictions
    task = FittedRegression(options=RegressionOptions(), has_pair=False, mean=0, scale=1, lowest=0, highest=50)

    def predict(items):
        return {"value": np.asarray([len(item["text"]) for item in items], np.float32)}

    records = [Record("card", 4.0, "1"), Record("my card", 7.0, "2"), Record("a fee", 6.0, "3")]
    labelled = dataclasses.replace(make(PAIRS), task=task, predict=predict, records=records)
    result = measure(labelled, perturbations=[replacing("card", "cards and"), replacing("fee", "fe", "omitted")])
    first, second = result.effects
    assert result.metric.name == "mae" and result.score["value"] == pytest.approx(1 / 3)
    assert (first.num_changed, first.before["value"], first.after["value"]) == (2, 0, 5)
    assert first.change["value"] == 5 and first.flips is None
    assert [(text.where, text.before, text.after, text.change) for text in second.worst] == [("3", "5", "4", 1)]
    assert result.always_right is None and result.worst_case is None


def test_predicted_spans_are_compared_at_the_same_places(predictions):
    make, _ = predictions
    task = fitted_entities(types=("name",))

    def predict(items):
        starts = np.asarray([[item["text"].find("Ada")] for item in items], np.int32)
        return {
            "start": starts,
            "end": starts + 3,
            "entity_label": np.full(starts.shape, b"name", object),
            "entity_text": np.full(starts.shape, b"Ada", object),
            "probability": np.ones(starts.shape, np.float32),
            "num_entities": (starts[:, 0] >= 0).astype(np.int32),
        }

    records = [Record("to Ada", (Span(3, 6, "name"),), "1"), Record("to all", (), "2")]
    labelled = dataclasses.replace(make(PAIRS), task=task, predict=predict, records=records)
    perturbations = [replacing("to", "towards", "moved"), replacing("Ada", "Adaa", "longer"), replacing("Ada", "Bob")]
    moved, longer, replaced = measure(labelled, perturbations=perturbations).effects
    assert (moved.num_changed, moved.flips["count"], moved.after["value"]) == (2, 0, 1)
    # The prediction covers only a part of the longer name.
    assert (longer.num_changed, longer.flips["count"], longer.after["value"]) == (1, 1, 0)
    assert (replaced.flips["count"], replaced.worst[0].after) == (1, "(none)")


@pytest.mark.parametrize("name", ["matching", "answers", "multiple_choice"])
def test_other_tasks_are_refused(name):
    task = fitted_kinds(name)[0]
    task = dataclasses.make_dataclass("Fitted", [])()
    task.definition, task.name = load_task(name), name
    with pytest.raises(ValueError, match=f"--robustness: not for the task {name}; expected one of classification, ent"):
        require_editable(task)


def test_the_worst_case_is_part_of_the_result(predictions, monkeypatch):
    make, _ = predictions
    attacked = []
    monkeypatch.setattr(measuring, "search_worst_cases", lambda *arguments: attacked.extend(arguments[-1]))
    measure(make(PAIRS), perturbations=[])
    assert [entry.record.where for entry in attacked] == ["test.csv:2", "test.csv:3", "test.csv:4", "test.csv:6"]
    assert attacked[0].probability > attacked[2].probability > 0.5
