"""Tensors and config of heads in the form of transformers and sentence-transformers."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file
from support.untrained import untrained_run

from tfbert.huggingface.heads import convert_embedding_head, convert_head, write_embedding_modules


def dense(run):
    return [np.asarray(weight) for weight in run.predictor.model.head.logits.weights]


def test_labels_and_problem_type():
    run = untrained_run("multilabel", head__pooling="pooler")
    converted = convert_head(run)
    labels = run.task.labels
    assert converted.head.architecture == "BertForSequenceClassification" and converted.has_pooler
    assert converted.head.config == {
        "id2label": {str(label_id): label for label_id, label in enumerate(labels)},
        "label2id": {label: label_id for label_id, label in enumerate(labels)},
        "problem_type": "multi_label_classification",
    }
    assert converted.head.max_tokens == 40
    kernel, bias = dense(run)
    assert set(converted.head.tensors) == {"classifier.weight", "classifier.bias"}
    np.testing.assert_array_equal(converted.head.tensors["classifier.weight"], kernel.T)
    np.testing.assert_array_equal(converted.head.tensors["classifier.bias"], bias)


def test_other_pooling_needs_code():
    converted = convert_head(untrained_run("multiple_choice"))
    assert converted.has_code and not converted.has_pooler
    assert converted.auto_class == "AutoModelForMultipleChoice"
    assert converted.head.config == {
        "model_type": "tfbert",
        "pooling": "mean",
        "auto_map": {
            "AutoConfig": "modeling_tfbert.TfbertConfig",
            "AutoModel": "modeling_tfbert.TfbertModel",
            "AutoModelForMultipleChoice": "modeling_tfbert.TfbertForMultipleChoice",
        },
    }
    assert converted.head.tensors["classifier.weight"].shape == (1, 32)


def test_cls_is_a_pooler_that_copies():
    run = untrained_run("classification", head__pooling="cls")
    tensors, vector = convert_head(run).head.tensors, np.linspace(-4, 4, 32, dtype="float32")
    kernel, bias = dense(run)
    pooled = np.tanh(tensors["bert.pooler.dense.weight"] @ vector + tensors["bert.pooler.dense.bias"])
    logits = tensors["classifier.weight"] @ pooled + tensors["classifier.bias"]
    np.testing.assert_allclose(logits, vector @ kernel + bias, atol=1e-5)


def test_a_regression_returns_values_in_the_units_of_the_data():
    run = untrained_run("regression")
    kernel, bias = dense(run)
    tensors, vector = convert_head(run).head.tensors, np.linspace(-1, 1, 32, dtype="float32")
    expected = run.task.mean + run.task.scale * (vector @ kernel + bias)
    np.testing.assert_allclose(tensors["classifier.weight"] @ vector + tensors["classifier.bias"], expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("pooling", "mode", "kinds"),
    [
        ("mean", "pooling_mode_mean_tokens", ["Transformer", "Pooling", "Normalize"]),
        ("pooler", "pooling_mode_cls_token", ["Transformer", "Pooling", "Dense", "Normalize"]),
    ],
)
def test_modules_of_sentence_transformers(pooling, mode, kinds, tmp_path):
    run = untrained_run("matching", head__pooling=pooling)
    write_embedding_modules(tmp_path, run)
    modules = json.loads((tmp_path / "modules.json").read_text())
    assert [module["type"] for module in modules] == [f"sentence_transformers.models.{kind}" for kind in kinds]
    assert all((tmp_path / module["path"]).is_dir() for module in modules)
    config = json.loads((tmp_path / "1_Pooling" / "config.json").read_text())
    assert [name for name, value in config.items() if value is True] == [mode]
    assert config["word_embedding_dimension"] == 32
    assert json.loads((tmp_path / "sentence_bert_config.json").read_text())["max_seq_length"] == 40
    assert convert_embedding_head(run).has_pooler == (pooling == "pooler")
    if pooling == "pooler":
        tensors = load_file(tmp_path / "2_Dense" / "model.safetensors")
        kernel = np.asarray(run.predictor.model.backbone.pooled_dense.kernel)
        np.testing.assert_array_equal(tensors["linear.weight"], kernel.T)
