"""Multi-label classification: scores equal to scikit-learn's, and thresholds of the highest F1."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from tfbert.evaluation import labelsets
from tfbert.evaluation.labelsets import (
    METRICS,
    LabelSetEvaluation,
    LabelSets,
    ThresholdSource,
    best_threshold,
    best_thresholds,
)

REPEATABLE = settings(deadline=None, derandomize=True, max_examples=150)


@st.composite
def label_sets(draw):
    """Draw label sets whose probabilities are multiples of 0.1, so that many are equal, and weights of the records."""
    # scikit-learn would interpret a single column as labels of two classes.
    shape = (draw(st.integers(1, 12)), draw(st.integers(2, 4)))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    gold = rng.random(shape) < draw(st.sampled_from([0.0, 0.2, 0.6, 1.0]))
    probabilities = (rng.integers(0, 11, shape) / 10).astype(np.float32)
    weights = rng.integers(0, 4, shape[0])
    weights[rng.integers(0, shape[0])] += 1
    return LabelSets(gold, probabilities >= np.float32(0.5), probabilities), weights


@REPEATABLE
@given(label_sets())
def test_weighted_scores_equal_scikit_learn_on_repeated_records(drawn):
    sets, weights = drawn
    gold, chosen, probabilities = (np.repeat(a, weights, axis=0) for a in (sets.gold, sets.chosen, sets.probabilities))
    with warnings.catch_warnings():
        # Labels without F1 (neither true nor chosen) or average precision (without examples) are omitted here.
        warnings.simplefilter("ignore")
        micro = reference.f1_score(gold, chosen, average="micro", zero_division=0)
        by_label = reference.f1_score(gold, chosen, average=None, zero_division=np.nan)
        precisions = [reference.average_precision_score(g, p) for g, p in zip(gold.T, probabilities.T, strict=True)]
    precisions = np.where(gold.any(0), precisions, np.nan)
    assert sets.micro_f1(weights) == pytest.approx(micro)
    occurs = gold.any(0) | chosen.any(0)
    assert sets.macro_f1(weights) == pytest.approx(np.atleast_1d(by_label)[occurs].mean() if occurs.any() else 0)
    np.testing.assert_allclose(sets.average_precisions(weights), precisions, rtol=1e-9)
    mean = np.nanmean(precisions) if gold.any() else 0
    assert sets.mean_average_precision(weights) == pytest.approx(mean)
    assert sets.subset_accuracy(weights) == pytest.approx(reference.accuracy_score(gold, chosen))


def test_average_precision_with_more_records_than_fit_into_a_block():
    rng = np.random.default_rng(4)
    gold = rng.random((30_000, 5)) < [0.5, 0.01, 0.0, 0.2, 0.9]
    probabilities = np.round(rng.random(gold.shape) * 0.7 + gold * 0.3, 2).astype(np.float32)
    weights = rng.integers(0, 3, len(gold))
    precisions = LabelSets(gold, probabilities >= np.float32(0.5), probabilities).average_precisions(weights)
    for label in (0, 1, 3, 4):
        expected = reference.average_precision_score(gold[:, label], probabilities[:, label], sample_weight=weights)
        assert precisions[label] == pytest.approx(expected)
    assert np.isnan(precisions[2])


@REPEATABLE
@given(label_sets())
def test_scores_of_each_label_equal_scikit_learn(drawn):
    sets, _ = drawn
    names = [f"label {index}" for index in range(sets.gold.shape[1])]
    scores = sets.per_label(names)
    assert list(scores) == names
    for index, name in enumerate(names):
        gold, chosen = sets.gold[:, index], sets.chosen[:, index]
        columns = reference.precision_recall_fscore_support(gold, chosen, average="binary", zero_division=0)
        assert [scores[name][key] for key in ("precision", "recall", "f1")] == pytest.approx(list(columns[:3]))
        assert (scores[name]["num_examples"], scores[name]["num_predicted"]) == (gold.sum(), chosen.sum())


def test_log_loss_equals_scikit_learn():
    rng = np.random.default_rng(1)
    gold, probabilities = rng.random((50, 3)) < 0.3, rng.random((50, 3)).astype(np.float32)
    expected = reference.log_loss(gold.ravel(), probabilities.ravel())
    assert LabelSets(gold, gold, probabilities).log_losses().mean() == pytest.approx(expected, rel=1e-5)


def test_intervals_contain_the_value_and_narrow_with_more_records():
    rng = np.random.default_rng(2)
    widths = []
    for num_records in (60, 960):
        gold = rng.random((num_records, 3)) < 0.3
        probabilities = np.clip(gold * 0.3 + rng.random((num_records, 3)) * 0.6, 0, 1).astype(np.float32)
        sets = LabelSets(gold, probabilities >= 0.5, probabilities)
        for score in (sets.micro_f1, sets.macro_f1, sets.mean_average_precision, sets.subset_accuracy):
            interval = sets.with_interval(score)
            assert interval["low"] < interval["value"] < interval["high"]
            assert interval["value"] == score(np.ones(num_records, int))
        widths.append(interval["high"] - interval["low"])
    # With 16 times as many records, an interval is about a quarter as wide.
    assert widths[1] == pytest.approx(widths[0] / 4, rel=0.3)


@REPEATABLE
@given(label_sets())
def test_no_threshold_has_a_much_higher_f1(drawn):
    sets, _ = drawn
    gold, probabilities = sets.gold[:, 0], sets.probabilities[:, 0]
    if not gold.any():
        return

    def f1(threshold):
        return reference.f1_score(gold, probabilities >= np.float32(threshold), zero_division=0)

    threshold = best_threshold(gold, probabilities)
    values = np.unique(probabilities)
    highest = max(f1(value) for value in values)
    assert highest - 0.5 / gold.sum() - 1e-9 <= f1(threshold) <= highest + 1e-9
    assert 0 <= threshold <= 1
    # It is not close to any probability, unless it is 0.
    gap = np.abs(np.append(values, 0.0) - threshold).min()
    assert gap >= 0.049 or threshold == 0.0


def test_thresholds_lie_halfway_between_probabilities_and_near_the_default():
    gold = np.array([1, 1, 0, 0], bool)
    assert best_threshold(gold, np.float32([0.9, 0.8, 0.2, 0.1])) == pytest.approx(0.5)
    # By descending probability, 20 examples with the label, 20 without and 10 with it. Choosing the first 20 has the
    # highest F1, 40/50. One more gives 40/51, lower by less than 1/60; one fewer gives 38/49, lower by more.
    gold = np.array([1] * 20 + [0] * 20 + [1] * 10, bool)
    groups = np.linspace(0.99, 0.9, 20), np.linspace(0.65, 0.6, 20), np.linspace(0.5, 0.4, 10)
    probabilities = np.concatenate(groups).astype(np.float32)
    assert best_threshold(gold, probabilities, 0.99) == pytest.approx((0.9 + 0.65) / 2)
    assert best_threshold(gold, probabilities, 0.1) == pytest.approx(groups[1][:2].mean())


def test_a_threshold_separates_neighbouring_floats():
    lower = np.float32(0.5)
    upper = np.nextafter(lower, np.float32(1))
    threshold = best_threshold(np.array([True, False]), np.array([upper, lower]))
    assert threshold == upper
    assert [p >= threshold for p in (upper, lower)] == [True, False]


def test_rare_labels_share_a_threshold():
    rng = np.random.default_rng(3)
    gold = np.zeros((200, 3), bool)
    gold[:80, 0] = gold[40:45, 1] = gold[:4, 2] = True
    probabilities = (0.1 + 0.2 * gold + 0.1 * rng.random(gold.shape)).astype(np.float32)
    probabilities[:, 1] += 0.5
    thresholds, sources = best_thresholds(gold, probabilities)
    assert thresholds.dtype == np.float32 and sources.dtype == np.int32
    assert sources.tolist() == [ThresholdSource.OWN, ThresholdSource.OWN, ThresholdSource.SHARED]
    common = best_threshold(gold.ravel(), probabilities.ravel())
    assert thresholds[2] == common
    assert thresholds[0] == best_threshold(gold[:, 0], probabilities[:, 0], common)
    # The common threshold would choose the label for every record; a separate one adds at most one to the correct five.
    chosen = probabilities[:, 1] >= np.float32(thresholds[1])
    assert chosen[gold[:, 1]].all() and chosen.sum() <= 6 and (probabilities[:, 1] > common).all()
    assert 0.2 < thresholds[0] < 0.3
    sparse = gold & (np.arange(200) < 2)[:, None]
    assert sparse.sum() == 4
    thresholds, sources = best_thresholds(sparse, probabilities)
    assert thresholds.tolist() == [0.5] * 3 and sources.tolist() == [ThresholdSource.SHARED] * 3


def test_reliability_is_of_the_chosen_labels():
    gold = np.array([[1, 0], [0, 0], [1, 1]], bool)
    probabilities = np.float32([[0.95, 0.1], [0.91, 0.65], [0.2, 0.6]])
    undecided = {"thresholds": np.float32([0.5, 0.5]), "sources": np.full(2, ThresholdSource.UNDECIDED)}
    reliability = LabelSetEvaluation(probabilities, gold, labels=["a", "b"], **undecided).sections()["reliability"]
    counts = [row["num_examples"] for row in reliability["bins"]]
    assert counts == [0, 0, 0, 0, 0, 0, 2, 0, 0, 2]
    assert (
        reliability["bins"][9]["mean_probability"] == pytest.approx(0.93) and reliability["bins"][9]["accuracy"] == 0.5
    )
    assert reliability["bins"][6]["accuracy"] == 0.5
    assert reliability["calibration_error"] == pytest.approx((2 * 0.43 + 2 * 0.125) / 4)


def test_tables_count_confused_labels_and_pairs():
    gold = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1], [0, 0, 0]], bool)
    chosen = np.array([[1, 1, 0], [1, 0, 1], [1, 0, 0], [0, 0, 0]], bool)
    sets = LabelSets(gold, chosen, np.where(chosen, 0.9, 0.1).astype(np.float32))
    sources = np.array([ThresholdSource.OWN, ThresholdSource.OWN, ThresholdSource.SHARED])
    values = np.float32([0.5, 0.25, 0.375])
    thresholds, confused, pairs = labelsets.tables(sets, ["a", "b", "c"], values, sources)
    assert [row[:4] for row in thresholds["rows"]] == [
        ["a", 0.5, "this label", 2],
        ["b", 0.25, "this label", 2],
        ["c", 0.375, "all labels", 1],
    ]
    assert confused["rows"] == [["b", "c", 1], ["c", "a", 1]]
    assert pairs["rows"] == [["a", "b", 2, 1], ["a", "c", 0, 1]]
    undecided = labelsets.tables(sets, ["a", "b", "c"], values, np.full(3, ThresholdSource.UNDECIDED))[0]
    assert {row[2] for row in undecided["rows"]} == {
        "nothing (default)"
    } and "validation split, and there is none" in undecided["caption"]


def test_the_worst_mistakes_are_the_most_confident():
    gold = np.array([[1, 0], [1, 0], [1, 1], [0, 0]], bool)
    probabilities = np.float32([[0.9, 0.1], [0.3, 0.2], [0.8, 0.9], [0.1, 0.95]])
    sources = np.array([ThresholdSource.SHARED] * 2)
    thresholds = np.float32([0.5, 0.5])
    evaluation = LabelSetEvaluation(probabilities, gold, labels=["a", "b"], thresholds=thresholds, sources=sources)
    assert evaluation.mistakes() == [3, 1]
    false_alarm, miss = evaluation.outcome(3), evaluation.outcome(1)
    assert (false_alarm.gold, false_alarm.predicted, false_alarm.note) == ("no label", "b", "b 95.0 %")
    assert (false_alarm.confused, miss.confused) == ((("(none)", "b"),), (("a", "(none)"),))
    assert (false_alarm.confidence, miss.confidence) == pytest.approx((0.95, 0.7))
    assert evaluation.outcome(0).confidence is None and evaluation.outcome(0).confused == ()


def test_the_plot_of_texts_without_labels():
    gold = np.array([[0, 0], [1, 1]], bool)
    assert "<svg" in labelsets.label_count_plot(gold, np.zeros_like(gold))


def test_evaluation_has_the_declared_metrics_and_the_report_sections():
    rng = np.random.default_rng(5)
    gold = rng.random((80, 2)) < [0.5, 0.2]
    probabilities = (0.6 * rng.random((80, 2)) + 0.4 * gold).astype(np.float32)
    thresholds = np.float32([0.5, 0.25])
    sources = np.array([ThresholdSource.OWN, ThresholdSource.SHARED])
    evaluation = LabelSetEvaluation(probabilities, gold, labels=["a", "b"], thresholds=thresholds, sources=sources)
    chosen = probabilities >= thresholds
    values, intervals = evaluation.values(), evaluation.intervals()
    assert values["micro_f1"] == pytest.approx(reference.f1_score(gold, chosen, average="micro"))
    assert values["macro_f1"] == pytest.approx(reference.f1_score(gold, chosen, average="macro"))
    assert values["subset_accuracy"] == pytest.approx(reference.accuracy_score(gold, chosen))
    assert values["mean_average_precision"] == pytest.approx(reference.average_precision_score(gold, probabilities))
    assert values["loss"] == pytest.approx(reference.log_loss(gold.ravel(), probabilities.ravel()), rel=1e-5)
    for name, interval in intervals.items():
        assert interval["low"] < interval["value"] == values[name] < interval["high"]
    declared = [metric.name for metric in METRICS]
    assert list(values) == declared and list(intervals) == declared[:-1]
    assert evaluation.per_label()["b"]["num_examples"] == gold[:, 1].sum()
    sections = evaluation.sections()
    assert sections["tables"][0]["rows"][1][:3] == ["b", 0.25, "all labels"]
    assert [figure["title"] for figure in sections["figures"]] == ["Labels per text"]
    assert sum(row["num_examples"] for row in sections["reliability"]["bins"]) == chosen.sum()
    assert sorted(evaluation.mistakes()) == np.flatnonzero((gold != chosen).any(1)).tolist()
