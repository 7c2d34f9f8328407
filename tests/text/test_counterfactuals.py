"""Counterfactual copies: the records of train, then their copies, without texts that are held out."""

from dataclasses import replace

import pytest
from support import small

from tfbert.data_config import DataConfig
from tfbert.text.counterfactuals import TrainingRecords
from tfbert.text.splits import load_splits
from tfbert.text.terms import load_terms


@pytest.fixture
def splits(tmp_path):
    texts = {"train": ["he paid", "no term", "Emma paid her bill"], "validation": ["She paid!"], "test": ["late"]}
    for name, pairs in texts.items():
        small.write_csv(tmp_path / f"{name}.csv", [(text, f"label of {text}") for text in pairs])
    return load_splits(DataConfig(), tmp_path)


def test_copies_follow_the_records_and_equal_no_held_out_text(splits):
    terms = load_terms("gender"), load_terms("names")
    records = TrainingRecords(train=splits["train"], held_out=(splits["validation"], splits["test"]), copied=terms)
    texts = [record.text for record in records]
    assert texts == ["he paid", "no term", "Emma paid her bill", "Emma paid his bill", "Oliver paid her bill"]
    assert [record.target for record in records][3:] == ["label of Emma paid her bill"] * 2
    assert [record.text for record in replace(records, held_out=())][3] == "she paid"
    assert [record.text for record in replace(records, copied=())] == texts[:3]


def test_the_digest_depends_on_the_lists_and_the_held_out_texts(splits):
    records = TrainingRecords(train=splits["train"], copied=(load_terms("gender"),))
    others = [
        replace(records, copied=(load_terms("names"),)),
        replace(records, held_out=(splits["test"],)),
        replace(records, copied=()),
    ]
    assert len({each.sha256 for each in (records, *others)}) == 4
    assert replace(records).sha256 == records.sha256
