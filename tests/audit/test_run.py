"""The audit of a run and of its SavedModel: groups, swaps, shortcuts, and which data tokens are counted in."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from support import small

from tfbert.audit.run import audit_model, audit_predictions, training_records
from tfbert.config import override
from tfbert.serving.evaluate import LoadedModel, predict_records
from tfbert.text.terms import load_terms

TERMS = "# Words of topics\ngroups: cards | fees\ncard | fee\npin | cost\natm | price\n"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Return the path of labelled texts with a column of regions, and of a list of terms."""
    folder = tmp_path_factory.mktemp("audit")
    lines = [
        {"text": text, "label": label, "region": ["north", "south"][index % 2]}
        for index, (text, label) in enumerate(small.rows(120, 7))
    ]
    (folder / "new.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "terms.txt").write_text(TERMS)
    return folder


@pytest.fixture(scope="module")
def model():
    return LoadedModel.load(small.finished_run()[0])


@pytest.fixture(scope="module")
def audit(model, data):
    predictions = predict_records(model, str(data / "new.jsonl"), {"data.group_column": "region"})
    lists = [load_terms(str(data / "terms.txt")), load_terms("religions")]
    return audit_predictions(model, predictions, lists, training_records(model, predictions))


def test_an_audit_has_groups_swaps_and_shortcuts(audit, data):
    by_region, by_terms = audit.groups
    assert [group.name for group in by_region.groups] == ["north", "south"]
    assert [group.num_texts for group in by_region.groups] == [60, 60] and by_region.gap.p_value > 0.05
    assert by_terms.grouping.source == str(data / "terms.txt") and by_terms.grouping.description == "Words of topics"
    (swap,) = audit.swaps
    assert swap.is_judged and swap.num_terms == 3 and swap.change.value > 0.2 and swap.flips.value > 0.2
    assert audit.unmentioned == ("religions",) and audit.metric.name == "accuracy" and audit.has_labels
    shortcuts = audit.shortcuts
    assert shortcuts.source == "the training data of the run" and shortcuts.num_texts == 48
    topics = {word: topic for topic, words in small.TOPICS.items() for word in words}
    assert shortcuts.listed and all(topics[each.token] == each.label for each in shortcuts.listed)


def test_findings_are_sentences_about_words(audit, data):
    fee = next(line for line in audit.findings() if "'fee'" in line and "probability" in line)
    start = f"{data / 'terms.txt'}: with a term of fees in place of cards"
    assert fee.startswith(f"{start}, the probability of 'fee' is 0.")
    assert " higher (interval 0." in fee
    assert not any("region" in line for line in audit.findings())
    nothing = replace(audit, swaps=(), groups=audit.groups[:1])
    assert nothing.findings() == []


def test_an_audit_is_json(audit):
    tree = json.loads(json.dumps(audit.to_json(), allow_nan=False))
    assert tree["findings"] == audit.findings() and tree["metric"] == "accuracy" and tree["num_texts"] == 120
    assert tree["groups"][0]["source"] == "region" and tree["groups"][0]["groups"][1]["name"] == "south"
    assert tree["swaps"][0]["worst"][0]["text"][0] != tree["swaps"][0]["worst"][0]["swapped"][0]


def test_tokens_of_a_saved_model_are_counted_in_the_audited_data(data):
    model_dir = small.finished_run()[1]
    predictions, audit = audit_model(model_dir, str(data / "new.jsonl"), {}, str(data / "terms.txt"))
    assert audit.shortcuts.source.startswith("the audited data, because ") and audit.shortcuts.num_texts == 120
    assert "is a SavedModel" in audit.shortcuts.source and len(predictions.gold) == 120


def test_changed_training_data_are_not_used(model, data, tmp_path):
    predictions = predict_records(model, str(data / "new.jsonl"), {})
    shutil.copytree(Path(model.config.data.path), tmp_path / "data")
    (tmp_path / "data" / "train.csv").write_text("text,label\nmy card,card\nmy fee,fee\n")
    for directory, reason in ((tmp_path / "data", "has changed since the run"), (tmp_path / "none", "cannot be read")):
        moved = replace(model, config=override(model.config, {"data.path": str(directory)}))
        training = training_records(moved, predictions)
        assert reason in training.source and len(training.records) == 120


def test_mitigations_of_the_run_are_named(model, data):
    mitigated = replace(model, config=override(model.config, {"train.counterfactuals": "names"}))
    predictions = predict_records(mitigated, str(data / "new.jsonl"), {})
    audit = audit_predictions(mitigated, predictions, [load_terms("names")], training_records(model, predictions))
    assert audit.mitigations == {"train.counterfactuals": "names"}
    assert audit.groups == audit.swaps == () and audit.findings() == []


def test_models_of_other_libraries_are_refused():
    with pytest.raises(ValueError, match="--audit: hf://a/b is a Hugging Face model; export it first"):
        audit_model("hf://a/b", "data.csv", {})
