"""Mitigations of bias: copies are trained on, weights make groups and labels independent, and neither is silent."""

import csv

import numpy as np
import pytest
from support import small

from tfbert.config import override
from tfbert.text.counterfactuals import TrainingRecords
from tfbert.text.terms import load_terms
from tfbert.training.problem import prepare

# Three of four texts of `yes` mention a woman, and one of four of `no`.
TEXTS = [
    ("she likes it", "yes", "north"), ("her dog likes it", "yes", "north"), ("the woman likes it", "yes", "south"),
    ("he likes it", "yes", "south"), ("she hates it", "no", "north"), ("he hates it", "no", ""),
    ("his dog hates it", "no", "south"), ("the man hates it", "no", "south"),
]  # fmt: skip


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    directory = tmp_path_factory.mktemp("mitigated")
    for name in ("train", "validation"):
        with open(directory / f"{name}.csv", "w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows([("text", "label", "region"), *((f"{name} {t}", *r) for t, *r in TEXTS)])
    return directory


def problem_of(data_dir, **values):
    return prepare(small.config(data_dir, data__test_fraction=0.0, **values))


def test_copies_are_trained_on_after_the_texts(data_dir):
    problem = problem_of(data_dir, train__counterfactuals="gender")
    examples, train = problem.training_examples, problem.tokenized["train"]
    assert (len(train), len(examples)) == (8, 16)
    first_tokens = train.sequences.values
    assert np.array_equal(examples.sequences.values[: len(first_tokens)], first_tokens)
    lengths = examples.sequences.lengths()
    # The tiny encoder tokenizes by characters.
    assert lengths[0] != lengths[8] and not np.array_equal(examples.sequences[1], examples.sequences[9])
    copies = TrainingRecords(train=problem.splits["train"], copied=(load_terms("gender"),))
    texts = [record.text for record in copies]
    assert texts[8:10] == ["train he likes it", "train his dog likes it"]
    assert np.array_equal(examples.targets["label_id"][8:], examples.targets["label_id"][:8])
    assert problem.mitigation.weights is None and problem.mitigation.digests == (load_terms("gender").sha256,)


def test_weights_make_groups_and_labels_independent(data_dir):
    problem = problem_of(data_dir, train__group_weights="gender", train__class_weights="balanced")
    weights = problem.mitigation.combined_with(problem.task.example_weights(problem.training_examples))
    is_female = np.array([text.startswith(("she", "her", "the w")) for text, *_ in TEXTS])
    is_yes = np.array([label == "yes" for _, label, _ in TEXTS])
    assert weights.dtype == np.float32 and weights.mean() == pytest.approx(1)
    assert np.average(is_yes[is_female], weights=weights[is_female]) == pytest.approx(0.5)
    assert np.average(is_yes[~is_female], weights=weights[~is_female]) == pytest.approx(0.5)
    assert weights[0] == pytest.approx(4 * 4 / 8 / 3)
    assert problem.training_examples is problem.tokenized["train"]


def test_weights_by_a_column_count_texts_without_a_value_as_a_group(data_dir):
    problem = problem_of(data_dir, train__group_weights="column", data__group_column="Region")
    assert [record.subgroup for record in problem.splits["train"]] == [region or None for *_, region in TEXTS]
    expected = np.array([3 * 4 / 2] * 2 + [4 * 4 / 2] * 2 + [3 * 4 / 1, 1 * 4 / 1] + [4 * 4 / 2] * 2) / 8
    assert problem.mitigation.weights == pytest.approx(expected / expected.mean())


def test_a_changed_list_is_another_problem(data_dir, tmp_path):
    path, fingerprints = tmp_path / "terms.txt", []
    for term in ("he", "man"):
        path.write_text(f"groups: a | b\nshe | {term}\n")
        problem = problem_of(data_dir, train__counterfactuals=str(path))
        fingerprints.append((problem.fingerprint(), len(problem.training_examples)))
    assert [number for _, number in fingerprints] == [12, 11]
    assert fingerprints[0][0] != fingerprints[1][0]
    without = problem.with_config(override(problem.config, {"train.counterfactuals": None}))
    assert without.mitigation is None and len(without.training_examples) == 8


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"train__counterfactuals": "religions"}, "train.counterfactuals=religions: no text of train has a copy"),
        ({"train__group_weights": "religions"}, "of one group, or none contain terms of one group of the list"),
        ({"train__group_weights": "column"}, "train.group_weights=column: expected the name of the column in data.gr"),
        ({"train__group_weights": "column", "data__group_column": "area"}, "or none have a value in 'area'"),
        ({"train__group_weights": "gender,names"}, "expected column, or one list of terms"),
        ({"data__group_column": "a, b"}, "data.group_column=a, b: expected the name of one column"),
        ({"task": "entities", "train__counterfactuals": "gender"}, "entities does not use it; classification, multil"),
        ({"task": "regression", "train__group_weights": "gender"}, "regression does not use it; only classification"),
    ],
)
def test_a_mitigation_without_effect_is_rejected(data_dir, values, message):
    with pytest.raises(ValueError, match=message):
        problem_of(data_dir, **values)
