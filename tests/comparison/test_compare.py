"""Comparing systems: what the sentences say, common records, and systems that cannot be compared."""

import re
from dataclasses import replace

import numpy as np
import pytest
from support.systems import LABELS, labelled_records, replaced, right_except, system

from tfbert.comparison.compare import compare
from tfbert.tasks.base_pooled import LabelOptions
from tfbert.tasks.classification import ClassificationOptions, FittedClassification
from tfbert.tasks.multilabel import FittedMultilabel


def test_a_difference_that_is_more_than_chance():
    comparison = compare([system("a", right_except(200, *range(40))), system("b", right_except(200, *range(20)))])
    (pair,) = comparison.pairs
    assert (pair.better, pair.worse, pair.num_better, pair.num_worse) == (1, 0, 20, 0)
    assert pair.gain.difference == pytest.approx(0.1) and pair.is_significant
    assert comparison.verdict() == comparison.sentence(pair)
    assert re.fullmatch(
        r"b's accuracy is 10\.0 points higher than a's \(95% interval [56]\.\d to 14\.\d\): more than chance\.",
        comparison.verdict(),
    )
    assert [score["accuracy"]["value"] for score in comparison.scores] == pytest.approx([0.8, 0.9])
    assert comparison.ranking() == [1, 0]


def test_a_difference_that_may_be_chance_and_one_that_can_be_detected():
    comparison = compare([system("a", right_except(200, *range(20))), system("b", right_except(200, *range(15, 40)))])
    assert re.fullmatch(
        r"No difference can be shown: a's accuracy is 2\.5 points higher than b's \(95% interval -\d\.\d to \d\.\d\), "
        r"which may be chance\. With 200 records, only differences of about [56]\.\d points or more can be detected\.",
        comparison.verdict(),
    )
    assert not comparison.pairs[0].is_significant


def test_too_few_records_differ():
    comparison = compare([system("a", right_except(200)), system("b", right_except(200, 3, 7, 8, 9, 11))])
    # The bootstrap alone would call it more than chance.
    assert comparison.pairs[0].gain.p_value < 0.05 < comparison.pairs[0].p_value
    assert comparison.verdict().endswith("One is better than the other on only 5 of 200 records, too few to tell.")
    same_score = compare([system("a", right_except(200, 1)), system("b", right_except(200, 3))])
    assert "No difference can be shown: a and b have the same accuracy. One is better" in same_score.verdict()


def test_systems_that_are_right_on_the_same_records():
    comparison = compare([system("a", right_except(60, 1)), system("b", right_except(60, 1))])
    assert comparison.verdict() == "a and b are equally right on each of the 60 records."
    assert comparison.disagreements() == []


def test_few_records():
    comparison = compare([system("a", right_except(1)), system("b", right_except(1))])
    assert comparison.verdict() == "a and b are equally right on the only record."
    assert comparison.warnings == [
        "There is too little test data: intervals from only one record are usually too narrow."
    ]
    comparison = compare([system("a", right_except(29)), system("b", right_except(29, *range(20)))])
    assert "only 29 records" in comparison.warnings[0] and comparison.verdict().endswith("more than chance.")


def test_lower_is_better_for_the_loss():
    sharper = system("b", right_except(200, *range(10)))
    comparison = compare([system("a", right_except(200, *range(40))), sharper], "loss")
    (pair,) = comparison.pairs
    assert pair.better == 1 and pair.gain.difference > 0
    assert re.match(
        r"b's loss is 0\.\d{3} lower than a's \(95% interval 0\.\d{3} to 0\.\d{3}\): more", comparison.verdict()
    )


def test_three_systems():
    systems = [system(name, right_except(300, *range(wrong))) for name, wrong in (("a", 60), ("b", 20), ("c", 22))]
    comparison = compare(systems)
    assert [(pair.better, pair.worse) for pair in comparison.pairs] == [(1, 2), (1, 0), (2, 0)]
    assert comparison.verdict() == "b has the best accuracy, but its lead over c may be chance."
    best = compare([*systems[:1], system("d", right_except(300, *range(30))), system("e", right_except(300))])
    assert best.verdict() == "e has the best accuracy, by more than chance against d and a."
    assert "There are 3 pairs." in comparison.explanations[-1]
    # The same p-value is enough alone, but not among three pairs.
    gain = replace(comparison.pairs[0].gain, p_value=0.03)
    pair = replace(comparison.pairs[0], gain=gain, p_value=0.09, num_better=30)
    assert comparison.sentence(pair).endswith(
        "Alone, this difference would be more than chance; among 3 pairs it is not."
    )


def test_ties_of_three_systems():
    a, b, c = (right_except(300, *range(wrong)) for wrong in (60, 20, 22))
    other_records = right_except(300, *range(100, 120))

    def verdict(*is_right):
        return compare([system(name, right) for name, right in zip("abc", is_right, strict=True)]).verdict()

    equally = "are equally right on each of the 300 records."
    assert verdict(a, b, b) == f"b and c {equally} Their accuracy is the best, by more than chance against a."
    assert verdict(c, b, b) == f"b and c {equally} Their accuracy is the best, but their lead over a may be chance."
    assert verdict(b, b, b) == f"a, b and c {equally}"
    assert verdict(other_records, b, b) == "a, b and c have the same accuracy."
    assert verdict(other_records, b, c) == (
        "a and b have the same accuracy. Their accuracy is the best, but their lead over c may be chance."
    )


def test_several_seeds_are_averaged():
    ours = system("a", right_except(100, *range(10)), right_except(100, *range(20)))
    theirs = system("b", right_except(100, *range(30)), right_except(100, *range(40)))
    comparison = compare([replaced(ours, shown=1), theirs])
    assert [score["accuracy"]["value"] for score in comparison.scores] == pytest.approx([0.85, 0.65])
    assert comparison.explanations[0].startswith("Scores are means over 2 seeds")
    assert comparison.evaluations[0].values()["accuracy"] == pytest.approx(0.8)


def test_the_best_of_several_seeds_is_pointed_out():
    several = replaced(system("a", right_except(60)), num_seeds=3)
    warnings = compare([several, system("b", right_except(60))]).warnings
    assert len(warnings) == 1 and warnings[0].startswith("Some runs have several seeds")


def test_only_common_records_are_compared():
    ours = system("a", right_except(80, 0), records=labelled_records(80))
    # In another order, with other records, and right except on `text 70`.
    reversed_records = labelled_records(100, first=20)[::-1]
    index = [record.text for record in reversed_records].index("text 70")
    theirs = system("b", right_except(100, index), records=reversed_records)
    comparison = compare([ours, theirs])
    assert comparison.num_records == 60
    assert [r.text for r in (theirs.records[i] for i in comparison.indices[1])] == [f"text {i}" for i in range(20, 80)]
    assert [score["accuracy"]["value"] for score in comparison.scores] == [1.0, pytest.approx(59 / 60)]
    assert comparison.disagreements() == [50]
    assert (
        "The test sets differ (a 80, b 100 records)" in comparison.warnings[0]
        and "the 60 records" in (comparison.warnings[0])
    )


def test_repeated_records_are_matched_one_to_one():
    twice = labelled_records(60) + labelled_records(60)
    comparison = compare(
        [system("a", right_except(120), records=twice), system("b", right_except(120, 61), records=twice)]
    )
    assert comparison.num_records == 120 and not comparison.warnings and comparison.disagreements() == [61]


def test_too_few_common_records():
    ours, theirs = system("a", right_except(60)), system("b", right_except(60), records=labelled_records(60, first=30))
    with pytest.raises(
        ValueError, match=r"^the test sets differ \(a 60, b 60 records\) and have only 30 .* give --data"
    ):
        compare([ours, theirs])
    # A changed label makes it another record.
    changed = [replace(record, target="loan") for record in labelled_records(60)]
    with pytest.raises(ValueError, match="have only 20 records in common"):
        compare([ours, system("b", right_except(60), records=changed)])


OTHER_TASK = FittedMultilabel(options=LabelOptions(), has_pair=False, labels=LABELS, counts=(1, 1, 1), num_examples=3)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            replaced(system("b", right_except(60)), task=OTHER_TASK),
            "runs/a is a model of classification and runs/b one of multilabel; expected models of the same task",
        ),
        (
            system("b", right_except(60), labels=("card", "fee", "house", "loan")),
            "runs/a and runs/b have different labels: 'house' is known to only one of them; expected models with the",
        ),
        (
            system("b", right_except(60), labels=("card", "fee", "loan", "q", "r", "s", "t", "u")),
            "runs/a and runs/b have different labels: 'q', 'r', 's' and 2 more are known to only one of them; expected",
        ),
        (
            replaced(
                system("b", right_except(60)),
                task=FittedClassification(options=ClassificationOptions(), has_pair=True, labels=LABELS),
            ),
            "runs/a predicts from text and runs/b from text and text_pair; expected models with the same inputs",
        ),
    ],
)
def test_systems_that_cannot_be_compared(other, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        compare([system("a", right_except(60)), other])


def test_an_unknown_metric():
    with pytest.raises(ValueError, match=r"^--metric acuracy: expected one of accuracy, .*; did you mean 'accuracy'\?"):
        compare([system("a", right_except(60)), system("b", right_except(60))], "acuracy")


def test_json_and_table():
    comparison = compare([system("a", right_except(200, *range(40))), system("b", right_except(200, *range(20)))])
    first, second, pair = comparison.to_json()
    assert (first["kind"], first["name"], first["num_records"]) == ("model", "a", 200)
    assert second["metrics"]["accuracy"]["value"] == pytest.approx(0.9)
    assert (pair["kind"], pair["better"], pair["worse"], pair["is_more_than_chance"]) == ("pair", "b", "a", True)
    columns, rows = comparison.table()
    assert columns == ["model", "accuracy", "95% interval", "macro F1", "MCC", "loss"]
    assert [row[:2] for row in rows] == [["b", "90.0 %"], ["a", "80.0 %"]]
    assert np.all([len(row) == len(columns) for row in rows])
