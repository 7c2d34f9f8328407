"""Classification: records, pairs, long texts in windows, losses, outputs, and rejected input."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from support import small

from tfbert.config import Config, override
from tfbert.tasks import classification
from tfbert.tasks.base import fitted_from_json
from tfbert.tasks.base_config import used_options
from tfbert.tasks.base_context import Context, Served
from tfbert.tasks.classification import TASK, ClassificationOptions, FittedClassification
from tfbert.text.preprocessor import Preprocessor
from tfbert.text.record_sequences import RecordSequences
from tfbert.text.records import Record, read_records
from tfbert.training.problem import prepare

LABELS = ("fee", "lost card", "refund")
CONTEXT = Context({}, (), {})


def fitted(*, has_pair=False, **options):
    return FittedClassification(options=ClassificationOptions(**options), has_pair=has_pair, labels=LABELS)


def served(outputs):
    """Return the outputs after the initial decision."""
    decision = fitted().decision
    return {name: value.numpy() for name, value in decision.apply(outputs, decision.initial()).items()}


def records_in(path, content, **settings):
    path.write_text(content, encoding="utf-8")
    return list(read_records(path, small.config(path, **settings).data, TASK.schema))


def serialized_examples(*features):
    """Return `tf.train.Example`s with texts, as TF Serving's Classify calls send them."""
    return tf.constant(
        [
            tf.train.Example(
                features=tf.train.Features(
                    feature={
                        name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[text.encode()]))
                        for name, text in texts.items()
                    }
                )
            ).SerializeToString()
            for texts in features
        ]
    )


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
        (
            "text,text_pair,label\na,b,x\nc, ,y\n",
            "a.csv:3: text_pair is ' '; expected at least one non-whitespace character",
        ),
        ("text,text2,sentence2,label\na,b,c,x\n", "a.csv:1: more than one column could be the text_pair: 'text2'"),
    ],
)
def test_an_invalid_pair_is_rejected(tmp_path, content, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        records_in(tmp_path / "a.csv", content)


def test_labels_are_sorted_by_name():
    options = ClassificationOptions(dropout=0.3)
    task = TASK.fit([Record("a", "y", "t:1"), Record("b", "x", "t:2"), Record("c", "y", "t:3")], options)
    assert task == FittedClassification(options=options, has_pair=False, labels=("x", "y"))
    assert task.known_labels == ("x", "y") and task.num_scores == 2
    with pytest.raises(ValueError, match="^train has only the label 'x'; expected at least two labels$"):
        TASK.fit([Record("a", "x", "t:1"), Record("b", "x", "t:2")], options)


def test_a_fitted_task_survives_json():
    options = ClassificationOptions(
        dropout=0.3,
        part_tokens=64,
        head_learning_rate_factor=2.0,
        pooling="max",
        start="random",
        long_text="mean",
        window_overlap_fraction=0.5,
        label_smoothing=0.2,
        class_weights="balanced",
        noise=0.1,
        coverage=0.9,
        max_error=0.1,
        out_of_domain="energy",
        evidence=9,
        counterfactuals="gender",
        group_weights="names",
    )
    assert not any(getattr(options, field.name) == field.default for field in dataclasses.fields(options))
    for task in (
        FittedClassification(options=options, has_pair=False, labels=LABELS),
        fitted(has_pair=True, label_smoothing=0.5),
    ):
        assert fitted_from_json(json.loads(json.dumps(task.to_json()))) == task


def test_the_options_are_those_of_whole_texts_with_labels():
    assert used_options(TASK) == {
        "data.calibration", "data.calibration_fraction", "data.group_column", "data.label_names", "decision.coverage",
        "decision.evidence", "decision.max_error", "decision.out_of_domain", "encoder.long_text",
        "encoder.window_overlap_fraction",
        "head.dropout", "head.pooling", "head.start", "train.class_weights", "train.counterfactuals",
        "train.group_weights", "train.head_learning_rate_factor", "train.label_smoothing", "train.noise",
        "train.part_tokens", "data.corrections",
    }  # fmt: skip


def test_an_overlap_without_windows_is_rejected():
    config = override(Config(), {"encoder.window_overlap_fraction": 0.5})
    with pytest.raises(
        ValueError, match="window_overlap_fraction=0.5: there are no windows with encoder.long_text=cut"
    ):
        ClassificationOptions.from_config(config)
    options = ClassificationOptions.from_config(override(config, {"encoder.long_text": "max"}))
    assert (options.long_text, options.window_overlap_fraction) == ("max", 0.5)


def test_a_single_text_among_pairs_is_rejected():
    records = [Record("a", "x", "t:1", ("b",)), Record("c", "y", "t:2", ("d",))]
    task = TASK.fit(records, ClassificationOptions())
    assert task.has_pair and [text.name for text in task.inputs] == ["text", "text_pair"]
    assert task.inputs_of(records[0]) == {"text": "a", "text_pair": "b"}
    with pytest.raises(ValueError, match=r"t:9: has one text; expected two texts, like the first record of train"):
        task.inputs_of(Record("a", "x", "t:9"))
    with pytest.raises(ValueError, match=r"t:9: has two texts; expected one text, as in train"):
        fitted().inputs_of(Record("a", "x", "t:9", ("b",)))


def test_windows_of_pairs_are_rejected():
    with pytest.raises(
        ValueError, match="encoder.long_text=mean: pairs of texts are always cut; expected cut, or records"
    ):
        TASK.fit(
            [Record("a", "x", "t:1", ("b",)), Record("c", "y", "t:2", ("d",))], ClassificationOptions(long_text="mean")
        )


@pytest.mark.parametrize("label", ["refnd", "a", "zzz", "refunds"])
def test_a_label_that_train_lacks_is_rejected(label):
    with pytest.raises(ValueError, match=rf"^test.csv:3: label '{label}' is not one of the 3 labels of train"):
        fitted().target_of(Record("x", label, "test.csv:3"))
    assert [fitted().gold(Record("x", known, "w")) for known in LABELS] == [0, 1, 2]


def test_the_most_similar_label_is_suggested(tmp_path):
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
    assert split.sequences[3].tolist() == [special.start, *both[0], special.end, *both[1], special.end]
    assert split.second_starts[3] == len(both[0]) + 2
    assert split.targets["label_id"].tolist() == [0, 1, 0, 1, 0, 1]


FIVE = "the first number is two "


@pytest.mark.parametrize(("long_text", "starts"), [("cut", [0]), ("mean", [0, 4, 9, 14]), ("max", [0, 4, 9, 14])])
def test_long_texts_are_cut_or_become_windows(tiny_tokenizer, long_text, starts):
    task = fitted(long_text=long_text)
    ids = tiny_tokenizer(tf.constant([4 * FIVE])).to_list()[0]
    assert len(ids) == 20
    sequences = task.sequences({"text": tf.constant([4 * FIVE])}, Preprocessor(tiny_tokenizer, 8, 0.25))
    token_ids = sequences.token_ids.to_list()
    assert [row[1:-1] for row in token_ids] == [ids[start : start + 6] for start in starts]
    targets = task.targets_of(Record(4 * FIVE, "refund", "a:1"), RecordSequences(token_ids, {}), pytest.fail)
    assert targets == [{"label_id": 2}] * len(starts)
    assert task.cuts_texts == (long_text == "cut")


@pytest.mark.parametrize("long_text", ["cut", "mean", "max"])
def test_the_scores_of_windows_are_combined_by_record(tiny_tokenizer, long_text):
    task = fitted(long_text=long_text)

    def logits(packed):
        # Differs between sequences, and between labels.
        total = tf.cast(tf.reduce_sum(packed["token_ids"] * packed["padding_mask"], 1), tf.float32) / 100
        return tf.stack([total, -total, total**2 / 10], axis=1)

    texts = ["good people see you", 6 * FIVE]
    sequences = task.sequences({"text": tf.constant(texts)}, Preprocessor(tiny_tokenizer, 8, 0.25))
    outputs = task.decode(sequences.scores(logits), sequences, CONTEXT)
    for index, starts in enumerate([[0], [0, 4, 9, 14, 19, 24]]):
        ids = np.array(tiny_tokenizer(tf.constant([texts[index]])).to_list()[0])
        starts = starts[:1] if long_text == "cut" else starts
        totals = np.array([(ids[start : start + 6].sum() + 2 + 3) / 100 for start in starts])
        by_window = np.stack([totals, -totals, totals**2 / 10], axis=1)
        combined = by_window.max(0) if long_text == "max" else by_window.mean(0)
        np.testing.assert_allclose(outputs["logits"][index], combined, rtol=1e-5)
    assert outputs["truncated"].numpy().tolist() == [False, long_text == "cut"]


def test_loss_is_cross_entropy_with_smoothing():
    scores = np.array([[2.0, -1.0, 0.5], [0.0, 1.0, 3.0]], np.float32)
    batch = {"label_id": tf.constant([0, 1], tf.int64)}
    nll = np.log(np.exp(scores).sum(1, keepdims=True)) - scores
    right = nll[[0, 1], [0, 1]]
    np.testing.assert_allclose(fitted().loss(tf.constant(scores), batch), right, rtol=1e-5)
    smooth = fitted(label_smoothing=0.3).loss(tf.constant(scores), batch)
    np.testing.assert_allclose(smooth, 0.7 * right + 0.3 * nll.mean(1), rtol=1e-5)


def test_balanced_weights_give_every_label_the_same_total():
    split = SimpleNamespace(targets={"label_id": np.array([0, 0, 0, 2])})
    assert fitted().example_weights(split) is None
    weights = fitted(class_weights="balanced").example_weights(split)
    np.testing.assert_allclose(weights, [2 / 3, 2 / 3, 2 / 3, 2])
    assert weights.dtype == np.float32


def test_the_head_has_the_options():
    head = fitted(pooling="max", dropout=0.4).head(seed=0)
    head.build(4)
    assert head.pooling == "max" and head.dropout.rate == 0.4 and head.logits.kernel.shape == (4, 3)


@pytest.mark.parametrize(("num_labels", "num_each"), [(3, 50), (75, 20), (400, 10)])
def test_a_head_starts_from_some_examples_of_every_label(monkeypatch, num_labels, num_each):
    targets = np.random.default_rng(0).permutation(np.repeat(np.arange(num_labels), 60))
    split = SimpleNamespace(targets={"label_id": targets})
    fitted_labels = []
    monkeypatch.setattr(classification, "start_with_probe", lambda head, vectors, labels: fitted_labels.append(labels))
    fitted().initialize_head(None, lambda indices: np.zeros((len(indices), 2)), split, 0)
    assert np.bincount(fitted_labels[0]).tolist() == [num_each] * num_labels
    fitted(start="random").initialize_head(None, pytest.fail, split, 0)
    assert len(fitted_labels) == 1


def test_outputs_are_the_most_probable_label_and_all_probabilities():
    scores = tf.constant([[1.0, 3.0, 0.0], [0.5, 0.25, -4.0]])
    outputs = served(fitted().decode_sequences(scores, None))
    expected = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    np.testing.assert_allclose(outputs["probabilities"], expected, rtol=1e-5)
    np.testing.assert_allclose(outputs["probability"], expected.max(1), rtol=1e-5)
    assert outputs["label"].tolist() == [b"lost card", b"fee"]
    assert outputs["label_id"].tolist() == [1, 0] and outputs["label_id"].dtype == np.int32


def test_evaluation_of_outputs():
    scores = tf.constant([[1.0, 3.0, 0.0], [0.5, 0.25, -4.0], [0.0, 0.0, 1.0], [0.0, 2.0, 0.0]])
    outputs = served(fitted().decode_texts(scores))
    evaluation = fitted().evaluate(outputs, [1, 0, 2, 0], {})
    values = evaluation.values()
    assert values["accuracy"] == 0.75
    assert values["loss"] == pytest.approx(-np.log(outputs["probabilities"][[0, 1, 2, 3], [1, 0, 2, 0]]).mean())
    assert list(evaluation.per_label()) == list(LABELS)
    names = {metric.name for metric in FittedClassification.metrics}
    assert names == values.keys() | evaluation.intervals().keys() and FittedClassification.monitor.name in values


@pytest.mark.parametrize("has_pair", [False, True])
def test_the_signatures_of_classification(has_pair):
    requests = []
    probabilities = tf.constant([[0.1, 0.7, 0.2], [0.3, 0.3, 0.4]])

    def predict(**inputs):
        requests.append({name: value.numpy().tolist() for name, value in inputs.items()})
        return {"probabilities": probabilities}

    served = Served(predict, None, None, {})
    signatures = fitted(has_pair=has_pair).signatures(served)
    assert signatures.keys() == {"labels", "classify"}
    labels = signatures["labels"](tf.constant([2, -1, 3, 0]))
    assert labels["label"].numpy().tolist() == [b"refund", b"", b"", b"fee"]
    names = ["text", "text_pair"] if has_pair else ["text"]
    examples = serialized_examples(*({name: f"{row} {name}" for name in names} for row in ("one", "two")))
    outputs = signatures["classify"].python_function(examples)
    assert requests == [{name: [f"one {name}".encode(), f"two {name}".encode()] for name in names}]
    assert outputs["classes"].numpy().tolist() == [[label.encode() for label in LABELS]] * 2
    np.testing.assert_array_equal(outputs["scores"], probabilities)
