"""Preparation: the defaults fit every named encoder, and data that cannot be learned from are refused."""

import csv

import keras
import numpy as np
import pytest
from support import small

from tfbert.config import override
from tfbert.encoder import presets
from tfbert.models.build import build_models
from tfbert.tasks.base import list_tasks
from tfbert.text.unknown_tokens import advise
from tfbert.training.problem import prepare

LENGTHS = dict.fromkeys(list_tasks(), 128) | {"answers": 384}
CHINESE = ["味道很好，送餐也快", "太慢了，不好吃", "非常满意，下次再来", "送来的时候都凉了"]


def options_of(*arguments):
    train = small.load_command("train")
    return train.read_config(train.build_parser("train").parse_args(arguments))


@pytest.mark.parametrize("name", list_tasks())
def test_every_task_works_with_the_tiny_encoder_and_defaults(name):
    config = options_of("--task", name, "--encoder", "tiny")
    assert config.encoder.sequence_length == LENGTHS[name]
    problem = prepare(config)
    assert problem.encoder.backbone.max_sequence_length == 512
    keras.utils.set_random_seed(0)
    model, _ = build_models(problem.task, problem.encoder, config)
    ids = np.full((2, LENGTHS[name]), 7, np.int32)
    packed = {"token_ids": ids, "segment_ids": np.zeros_like(ids), "padding_mask": np.ones_like(ids)}
    sequence = np.asarray(model.backbone(packed)["sequence_output"])
    # The weights differ between positions, so the outputs for the same token differ.
    assert np.abs(np.diff(sequence, axis=1)).max(axis=(0, 2)).min() > 1e-3
    assert np.isfinite(sequence).all()


def test_another_config_cannot_have_options_that_the_task_does_not_use(tmp_path):
    config = small.config(small.write_data(tmp_path / "data"))
    problem = prepare(config)
    smoothed = problem.with_config(override(config, {"train.label_smoothing": 0.2}))
    assert smoothed.task.options.label_smoothing == 0.2
    with pytest.raises(ValueError, match="train.hard_negatives=2: classification does not use it; only matching does"):
        problem.with_config(override(config, {"train.hard_negatives": 2}))


def write(path, pairs):
    path.parent.mkdir(exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *pairs])


def refused(path, **values):
    with pytest.raises(ValueError) as caught:
        prepare(small.config(path, **values))
    return str(caught.value)


def test_options_about_validation_scores_need_a_validation_split(tmp_path):
    path = small.write_data(tmp_path / "data")
    (path / "validation.csv").unlink()
    without = {"data__validation_fraction": 0.0}
    message = "has no effect without a validation split; expected"
    assert refused(path, train__patience_epochs=3, **without) == f"train.patience_epochs=3: {message} 2"
    assert refused(path, train__averaged_epochs=2, **without) == f"train.averaged_epochs=2: {message} 3"
    prepare(small.config(path, train__averaged_epochs=0, train__patience_epochs=0, **without))
    assert refused(path, train__monitor="mcc", **without) == f"train.monitor=mcc: {message} none"


def test_a_coverage_needs_enough_calibration_records(tmp_path):
    data = small.write_data(tmp_path / "data", validation=120)
    problem = prepare(small.config(data))
    number = len(problem.tokenized["calibration"])
    message = f"^decision.coverage=0.99: expected 99 or more calibration records; there are {number}$"
    for refuse in (prepare, problem.with_config):
        with pytest.raises(ValueError, match=message):
            refuse(small.config(data, **{"decision.coverage": 0.99}))
    assert problem.with_config(small.config(data, **{"decision.coverage": 0.9})).task.options.coverage == 0.9


def test_labels_of_given_splits_that_train_lacks_are_reported_together(tmp_path):
    write(tmp_path / "data" / "train.csv", [("the card", "card"), ("a fee", "fee"), ("my card", "card")])
    write(tmp_path / "data" / "validation.csv", [("the pin", "card"), ("the loan", "loan")])
    write(tmp_path / "data" / "test.csv", [("my cards", "cards"), ("a loan", "loan"), ("cost", "fee")])
    assert refused(tmp_path / "data") == (
        "validation.csv:3: label 'loan' is not one of the 2 labels of train. Train lacks 2 labels of 3 "
        "records: 'loan' (2, first validation.csv:3), 'cards' (1, first test.csv:2). Add examples of these labels to "
        "train, or remove or relabel these records"
    )


def test_a_rare_label_does_not_stop_training(tmp_path):
    pairs = [(text, "rare") if number == 9 else (text, label) for number, (text, label) in enumerate(small.rows(60, 1))]
    write(tmp_path / "data.csv", pairs)
    for fraction in (0.1, 0.2, 0.3, 0.4):
        problem = prepare(small.config(tmp_path / "data.csv", data__test_fraction=fraction))
        assert problem.task.labels == ("card", "fee", "loan", "rare")
        assert np.count_nonzero(problem.tokenized["train"].targets["label_id"] == 3) == 1
        assert (
            "1 label with one example in train, too few to learn from (add examples, or merge or remove these "
            "labels): 'rare'"
        ) in problem.checked.warnings


def test_text_that_the_encoder_cannot_read_is_refused_before_training(tmp_path):
    pairs = [(text + str(number), "ab"[number % 2]) for number, text in enumerate(CHINESE * 5)]
    write(tmp_path / "data" / "train.csv", pairs)
    write(tmp_path / "data" / "test.csv", [("good 1", "a"), ("bad 2", "b")])
    settings = {"data__validation_fraction": 0.0}
    # 8 + 6 + 8 + 8 ideographs and 3 commas, five times; a number has one piece for each digit.
    unknown, known = 5 * (8 + 6 + 8 + 8 + 3), 10 + 2 * 10
    percentage = f"{100 * unknown / (unknown + known):.3g}%"
    message = refused(tmp_path / "data", **settings)
    assert message == (
        f"the encoder tiny cannot read parts of the text: [UNK] is {percentage} of the tokens of train, most often for "
        "'，', '好', '送', '了', '来'; expected at most 30%. Use --encoder bert_base_zh for Chinese text. To train "
        "anyway: --set data.max_unknown_fraction=1"
    )
    problem = prepare(small.config(tmp_path / "data", data__max_unknown_fraction=1.0, **settings))
    assert problem.checked.unknown.fractions == {"train": unknown / (unknown + known), "test": 0.0}
    assert f"unknown tokens ([UNK]): train {percentage}, test 0%" in problem.checked.lines()
    warning = (
        f"the encoder tiny cannot read parts of the text: [UNK] is {percentage} of the tokens of train, most often for "
        "'，', '好', '送', '了', '来'. Use --encoder bert_base_zh for Chinese text."
    )
    assert warning in problem.checked.warnings
    assert warning in problem.checked.score_warnings
    # The same from the cache.
    assert refused(tmp_path / "data", **settings) == message


@pytest.mark.parametrize("text", ["味道很好", "とても美味しい", "맛있어요", "очень вкусно"])
def test_suggested_encoders_exist_and_differ_from_the_one_in_use(text):
    names = [name for name, _ in presets.list_encoders()]
    for used in ("minilm", "bert_base_zh", "bert_base_multi"):
        suggested = [word.strip(".") for word in advise([text], {text: 1}, {used}).split() if word.startswith("bert_")]
        assert used not in suggested
        assert set(suggested) <= set(names)
