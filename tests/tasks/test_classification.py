"""Classification: its records, pairs, long texts in windows, and what it refuses."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from support import small

from tfbert.config import Config, override
from tfbert.tasks import classification
from tfbert.tasks.base import Encoding
from tfbert.tasks.classification import TASK
from tfbert.text.datasets import Tokens
from tfbert.text.packing import Packer
from tfbert.text.records import Record, read_records
from tfbert.training.problem import prepare

FACTS = {"labels": ["fee", "lost card", "refund"], "counts": [1, 1, 1], "has_pair": False}


def records_in(path, content, **settings):
    path.write_text(content, encoding="utf-8")
    return list(read_records(path, small.config(path, **settings).data, TASK.schema))


def test_a_second_text_is_found_by_its_usual_names_or_given(tmp_path):
    rows = records_in(tmp_path / "a.csv", "premise,hypothesis,label\nIt rains.,It is wet.,yes\n")
    assert rows == [Record("It rains.", "yes", "a.csv:2", ("It is wet.",))]
    named = {"data__columns": "text=#1,text_pair=#2,label=Quality", "data__format": "tsv"}
    rows = records_in(tmp_path / "b.txt", "Quality\t#1\t#2\n1\ta\tb\n", **named)
    assert rows == [Record("a", "1", "b.txt:2", ("b",))]
    rows = records_in(tmp_path / "c.jsonl", '{"text": "a", "label": 1}\n{"text": "b", "label": 2, "text_pair": "c"}')
    assert [record.others for record in rows] == [(), ("c",)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("text,text_pair,label\na,b,x\nc, ,y\n", "a.csv:3: text_pair is ' '; wanted at least one character"),
        ("text,text2,sentence2,label\na,b,c,x\n", "a.csv:1: more than one column could be the text_pair: 'text2'"),
    ],
)
def test_a_bad_pair_is_refused(tmp_path, content, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        records_in(tmp_path / "a.csv", content)


def test_one_text_among_pairs_is_refused():
    facts = TASK.read_facts([Record("a", "x", "t:1", ("b",)), Record("c", "y", "t:2", ("d",))])
    assert facts == {"labels": ["x", "y"], "counts": [1, 1], "has_pair": True}
    with pytest.raises(ValueError, match=r"t:9: 1 text; wanted two texts, as the first record of train has"):
        TASK.inputs_of(Record("a", "x", "t:9"), facts)
    with pytest.raises(ValueError, match=r"t:9: 2 text; wanted one text, as in train"):
        TASK.inputs_of(Record("a", "x", "t:9", ("b",)), facts | {"has_pair": False})


@pytest.mark.parametrize("label", ["refnd", "a", "zzz", "refunds"])
def test_a_label_unknown_to_train_is_refused(label):
    with pytest.raises(ValueError, match=rf"^test.csv:3: label '{label}' is not one of the 3 labels of train"):
        TASK.target_of(Record("x", label, "test.csv:3"), FACTS)
    assert [TASK.target_of(Record("x", known, "w"), FACTS) for known in FACTS["labels"]] == [0, 1, 2]


def test_the_nearest_label_is_named(tmp_path):
    data = small.write_data(tmp_path / "data")
    with open(data / "test.csv", "a", encoding="utf-8") as stream:
        stream.write("another text,laon\n")
    with pytest.raises(ValueError, match=r"test.csv:14: label 'laon' is not .* did you mean 'loan'\? 1 record with"):
        prepare(small.config(data))


def test_pairs_become_two_segments(tmp_path):
    lines = [{"text": f"my card {i}", "text_pair": "the fee is low", "label": "xy"[i % 2]} for i in range(6)]
    for name in ("train", "validation", "test"):
        text = "".join(json.dumps(line | {"text": f"{line['text']} {name}"}) + "\n" for line in lines)
        (tmp_path / f"{name}.jsonl").write_text(text)
    problem = prepare(small.config(tmp_path))
    split = problem.tokenized["train"]
    both = [problem.tokenizer(tf.constant([text])).to_list()[0] for text in ("my card 3 train", "the fee is low")]
    special = problem.tokenizer.special
    assert split.row(3).tolist() == [special.start, *both[0], special.end, *both[1], special.end]
    assert split.seconds[3] == len(both[0]) + 2


IDS = np.arange(10, 30, dtype=np.int32)


@pytest.mark.parametrize(("long_text", "num_rows"), [("cut", 1), ("mean", 4), ("max", 4)])
def test_long_texts_are_cut_or_become_windows(tmp_path, tiny_tokenizer, long_text, num_rows):
    config = override(small.config(tmp_path), {"encoder.long_text": long_text, "encoder.sequence_length": 8})
    packer = Packer(tiny_tokenizer.special, 8, 0.25)
    record = Record("any", "refund", "a:1")
    rows = TASK.examples(record, [Tokens(IDS)], packer, FACTS, config, lambda *_: None)
    starts = packer.window_starts(20, 6)[:num_rows]
    assert [row.token_ids[1:-1].tolist() for row in rows] == [IDS[start : start + 6].tolist() for start in starts]
    assert [row.target for row in rows] == [2] * num_rows
    assert TASK.cut_length(FACTS, config) == (8 if long_text == "cut" else None)


@pytest.mark.parametrize("long_text", ["cut", "mean", "max"])
def test_windows_are_joined_by_record(tmp_path, tiny_tokenizer, long_text):
    config = override(small.config(tmp_path), {"encoder.long_text": long_text, "encoder.sequence_length": 8})
    packer = Packer(tiny_tokenizer.special, 8, 0.25)

    def logits(packed):
        # Something of each row that differs between rows, and is not the same for each label.
        total = tf.cast(tf.reduce_sum(packed["token_ids"] * packed["padding_mask"], 1), tf.float32) / 100
        return tf.stack([total, -total, total**2 / 10], axis=1)

    texts = ["good people see you", "the first number is two " * 6]
    encoding = Encoding(tiny_tokenizer, packer, logits, config)
    answers = TASK.answer({"text": tf.constant(texts)}, encoding, FACTS)
    for index, text in enumerate(texts):
        ids = np.array(tiny_tokenizer(tf.constant([text])).to_list()[0])
        starts = packer.window_starts(len(ids), 6) if long_text != "cut" else [0]
        totals = np.array([(ids[start : start + 6].sum() + 2 + 3) / 100 for start in starts])
        by_window = np.stack([totals, -totals, totals**2 / 10], axis=1)
        joined = by_window.max(0) if long_text == "max" else by_window.mean(0)
        expected = np.exp(joined) / np.exp(joined).sum()
        np.testing.assert_allclose(answers["probabilities"][index], expected, rtol=1e-5)
    assert answers["truncated"].numpy().tolist() == [False, long_text == "cut"]


@pytest.mark.parametrize(("num_labels", "of_each"), [(3, 50), (75, 20), (400, 10)])
def test_a_head_starts_from_some_examples_of_every_label(monkeypatch, num_labels, of_each):
    targets = np.random.default_rng(0).permutation(np.repeat(np.arange(num_labels), 60))
    seen = []
    monkeypatch.setattr(classification, "start_with_probe", lambda head, vectors, labels: seen.append(labels))
    model = SimpleNamespace(head=None)
    TASK.start_head(model, lambda rows: np.zeros((len(rows), 2)), targets, Config())
    assert np.bincount(seen[0]).tolist() == [of_each] * num_labels
    TASK.start_head(model, pytest.fail, targets, override(Config(), {"head.start": "random"}))
    assert len(seen) == 1
