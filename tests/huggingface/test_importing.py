"""Imported models compute what their weights say, know their task and labels, and are evaluated and exported."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from support import bert_files, small

from tfbert.encoder.backbone import load_encoder
from tfbert.huggingface.exporting import export_huggingface
from tfbert.huggingface.importing import is_huggingface, read_model
from tfbert.models.saved_run import load_run
from tfbert.serving import export_run, verify
from tfbert.serving.evaluate import evaluate

SEQUENCES = {
    "token_ids": np.array([[2, 5, 6, 3], [2, 8, 3, 0]], "int32"),
    "segment_ids": np.zeros((2, 4), "int32"),
    "padding_mask": np.array([[1, 1, 1, 1], [1, 1, 1, 0]], "int32"),
}
TAGS = ["I-place", "B-name", "O", "B-place"]


LABELS = ("yes", "no", "maybe")


def write_model(directory, suffix="SequenceClassification", labels=LABELS, layer="classifier", **config):
    """Write a small BERT with a random head, as transformers does."""
    tensors = {f"bert.{name}": tensor for name, tensor in bert_files.make_tensors(bert_files.CONFIG).items()}
    draw = np.random.default_rng(3)
    num_outputs = config.pop("num_outputs", len(labels))
    tensors[f"{layer}.weight"] = draw.normal(0, 0.5, (num_outputs, 12)).astype("float32")
    tensors[f"{layer}.bias"] = draw.normal(0, 0.5, num_outputs).astype("float32")
    config = {"architectures": [f"BertFor{suffix}"], "id2label": dict(enumerate(labels)), **config}
    bert_files.write(directory, config, tensors)
    return tensors[f"{layer}.weight"], tensors[f"{layer}.bias"]


def scores_of(run):
    return np.asarray(run.predictor.model(SEQUENCES, training=False))


def encoded(directory):
    return {name: np.asarray(value) for name, value in load_encoder(directory).backbone(SEQUENCES).items()}


@pytest.mark.parametrize(
    ("config", "chosen", "task"),
    [
        ({}, None, "classification"),
        ({"problem_type": "single_label_classification"}, "intent", "classification"),
        ({"problem_type": "multi_label_classification"}, None, "multilabel"),
        ({}, "multilabel", "multilabel"),
        ({"labels": ["LABEL_0"]}, None, "regression"),
        ({"labels": ["LABEL_0"], "problem_type": "regression"}, "regression", "regression"),
    ],
)
def test_the_task_is_derived_or_chosen(config, chosen, task, tmp_path):
    write_model(tmp_path / "model", **config)
    assert is_huggingface(str(tmp_path / "model"))
    model = read_model(str(tmp_path / "model"), chosen)
    assert model.task.name == task and model.may_read_pairs and model.record is None


def test_a_classifier_reads_the_pooler(tmp_path):
    weight, bias = write_model(tmp_path / "model")
    run = read_model(str(tmp_path / "model")).load()
    assert run.task.name == run.config.task == "classification"
    expected = encoded(tmp_path / "model")["pooled_output"] @ weight.T + bias
    np.testing.assert_allclose(scores_of(run), expected, atol=1e-5)
    assert run.config.encoder.sequence_length == 9 and run.config.head.pooling == "pooler"
    assert run.task.known_labels == LABELS


def test_a_tagger_gets_its_tags_in_our_order(tmp_path):
    weight, bias = write_model(tmp_path / "model", "TokenClassification", TAGS)
    run = read_model(str(tmp_path / "model")).load()
    assert run.task.types == ("place", "name") and run.task.borders == "words"
    logits = encoded(tmp_path / "model")["sequence_output"] @ weight.T + bias
    scores = scores_of(run)
    np.testing.assert_allclose(scores[..., :4], logits[..., [2, 3, 0, 1]], atol=1e-5)
    assert (scores[..., 4] < -1e8).all()  # the model has no I-name


def test_a_question_answerer_and_a_multiple_choice_model(tmp_path):
    weight, bias = write_model(tmp_path / "qa", "QuestionAnswering", "ab", "qa_outputs", max_position_embeddings=9)
    run_of = read_model(str(tmp_path / "qa"), "qa")
    with pytest.raises(ValueError, match="encoder.sequence_length=9: expected 16 or more"):
        run_of.load()
    assert run_of.task.name == "answers" and not run_of.may_read_pairs
    weight, bias = write_model(tmp_path / "choice", "MultipleChoice", "ab", num_outputs=1)
    run = read_model(str(tmp_path / "choice")).load()
    expected = encoded(tmp_path / "choice")["pooled_output"] @ weight.T + bias
    np.testing.assert_allclose(scores_of(run), expected, atol=1e-5)
    assert [len(item["choices"]) for item in run.samples] == [3, 3, 3]


def test_the_length_of_inputs_is_that_of_the_tokenizer(tmp_path):
    write_model(tmp_path / "model")
    path = tmp_path / "model" / "tokenizer_config.json"
    for stated, expected in ((7, 7), (int(1e30), 9)):
        path.write_text(json.dumps(bert_files.UNCASED | {"model_max_length": stated}))
        assert read_model(str(tmp_path / "model")).load().config.encoder.sequence_length == expected


@pytest.mark.parametrize(
    ("config", "task", "message"),
    [
        ({"model_type": "roberta"}, None, "config.json: model_type is 'roberta'; expected 'bert'"),
        ({"architectures": ["BertForMaskedLM"]}, None, "BertForMaskedLM.*; expected a model with the head of a task"),
        ({"architectures": None}, None, r"architectures is \[\]; expected a model with the head of a task"),
        ({"problem_type": "ranking"}, None, "problem_type is 'ranking'; expected one of single_label_classification, "),
        ({}, "entities", "--task entities: .* describes a BertForSequenceClassification; expected --task classif"),
        ({"problem_type": "regression"}, "multilabel", "with problem_type regression; expected --task regression"),
        ({"id2label": {"0": "a", "1": "a"}}, None, "id2label is .*; expected different labels for the ids 0 to 1"),
        ({"id2label": {"0": "a", "2": "b"}}, None, "id2label is .*; expected different labels for the ids 0 to 1"),
        ({"id2label": {"0": "a"}}, "classification", "config.json: the model has 1 label"),
        ({"id2label": {"0": "a", "1": "b"}}, None, r"'classifier.weight' has shape \(3, 12\); expected \(2, 12\)"),
    ],
)
def test_other_models_are_rejected(config, task, message, tmp_path):
    write_model(tmp_path / "model", **config)
    with pytest.raises(ValueError, match=message):
        read_model(str(tmp_path / "model"), task).load()


def test_missing_and_pickled_weights_are_rejected(tmp_path):
    write_model(tmp_path / "model")
    weights = tmp_path / "model" / "model.safetensors"
    save_file({name: tensor for name, tensor in load_file(weights).items() if "pooler" not in name}, weights)
    with pytest.raises(ValueError, match="has no pooler; BertForSequenceClassification needs one"):
        read_model(str(tmp_path / "model")).load()
    weights.rename(weights.with_name("pytorch_model.bin"))
    with pytest.raises(ValueError, match="weights are in pytorch_model.bin; .*AutoModelForSequenceClassification"):
        read_model(str(tmp_path / "model"))
    weights.with_name("pytorch_model.bin").unlink()
    with pytest.raises(ValueError, match="no model.safetensors"):
        read_model(str(tmp_path / "model"))


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """Return a finished run, and its export for transformers."""
    run_dir, _ = small.finished_run()
    directory = tmp_path_factory.mktemp("huggingface") / "model"
    export_huggingface(str(run_dir), directory)
    return run_dir, directory


def test_an_export_is_read_back_with_its_config(converted):
    run, back = load_run(converted[0]), read_model(str(converted[1])).load()
    assert back.task == run.task
    assert (back.config.encoder, back.config.head) == (run.config.encoder, run.config.head)
    np.testing.assert_array_equal(scores_of(back), scores_of(run))


def test_the_record_is_ignored_after_the_weights_have_changed(converted, tmp_path):
    directory = shutil.copytree(converted[1], tmp_path / "model")
    tensors = load_file(directory / "model.safetensors")
    tensors["classifier.bias"] += 1
    save_file(tensors, directory / "model.safetensors")
    model = read_model(str(directory))
    assert model.record is None and model.may_read_pairs
    back, run = model.load(has_pair=True), load_run(converted[0])
    assert back.task.has_pair and back.config.head.pooling == "mean"
    np.testing.assert_allclose(scores_of(back), scores_of(run) + 1, atol=1e-5)


def test_an_imported_model_is_evaluated(converted):
    run_dir, directory = converted
    run = load_run(run_dir)
    data = run.config.data.path
    evaluated = evaluate(str(directory), data, {})
    assert (evaluated["model"], evaluated["num_examples"]) == (str(directory), 12)
    assert evaluated["metrics"] == run.report["test"]["metrics"]
    with pytest.raises(ValueError, match="--task entities: .* knows its task"):
        evaluate(run_dir, data, {}, "entities")


@pytest.mark.slow
def test_an_imported_model_is_exported(converted, monkeypatch, tmp_path):
    directory = converted[1]
    # Verified in this process, which is faster.
    monkeypatch.setattr(export_run, "verify", verify.check)
    version_dir, checked = export_run.export_model(read_model(str(directory)).load(), tmp_path / "saved")
    assert checked["num_items"] == 3
    card = (version_dir / "MODEL_CARD.md").read_text()
    assert f"converted by tfbert from the Hugging Face model `{directory}`" in card and "Not measured" in card


def test_runs_and_saved_models_are_not_taken_for_huggingface_directories(tmp_path):
    run_dir, model_dir = small.finished_run()
    assert not any(map(is_huggingface, (str(run_dir), str(model_dir), str(tmp_path))))
    assert is_huggingface("hf://owner/name")
