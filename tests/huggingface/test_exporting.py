"""Export for PyTorch: models of all tasks, and the encoder of a run, of a pretraining run, or by name."""

import dataclasses

import numpy as np
import pytest
from safetensors import safe_open
from support import small
from support.untrained import scores_of, untrained_run

from tfbert.encoder.backbone import load_encoder, save_encoder
from tfbert.huggingface.exporting import export_encoder, export_huggingface, export_model
from tfbert.huggingface.importing import read_model
from tfbert.models.saved_run import load_run

INPUTS = {
    "token_ids": np.array([[2, 9, 30, 3], [2, 100, 3, 0]], "int32"),
    "segment_ids": np.zeros((2, 4), "int32"),
    "padding_mask": np.array([[1, 1, 1, 1], [1, 1, 1, 0]], "int32"),
}


def vectors(backbone):
    return backbone(INPUTS)["sequence_output"].numpy()


def test_the_encoder_of_a_run_is_the_fine_tuned_one(tmp_path):
    run_dir, _ = small.finished_run()
    export_huggingface(str(run_dir), tmp_path / "out")
    loaded = load_encoder(tmp_path / "out")
    finished = load_run(run_dir)
    np.testing.assert_array_equal(vectors(loaded.backbone), vectors(finished.predictor.model.backbone))
    assert np.abs(vectors(loaded.backbone) - vectors(load_encoder("tiny").backbone)).max() > 1e-3
    assert loaded.vocabulary == finished.predictor.tokenizer.vocabulary
    assert loaded.lowercase and loaded.strip_accents


def test_the_encoder_of_a_pretraining_run_is_its_result(tmp_path):
    encoder = load_encoder("tiny", seed=5)
    heads = {"cls.predictions.bias": np.arange(3, dtype="float32")}
    save_encoder(encoder, tmp_path / "run" / "encoder", heads)
    export_huggingface(str(tmp_path / "run"), tmp_path / "out")
    np.testing.assert_array_equal(vectors(load_encoder(tmp_path / "out").backbone), vectors(encoder.backbone))
    with safe_open(tmp_path / "out" / "model.safetensors", framework="np") as file:
        np.testing.assert_array_equal(file.get_tensor("cls.predictions.bias"), np.arange(3))


def test_an_encoder_by_name(tmp_path):
    export_huggingface("tiny", tmp_path / "out")
    np.testing.assert_array_equal(
        vectors(load_encoder(tmp_path / "out").backbone), vectors(load_encoder("tiny").backbone)
    )
    with pytest.raises(ValueError, match="encoder 'tinny' is not known; .*; did you mean 'tiny'\\?"):
        export_huggingface("tinny", tmp_path / "other")


@pytest.mark.parametrize(
    ("task", "values"),
    [
        ("classification", {"head__pooling": "max", "encoder__long_text": "max"}),
        ("classification", {"head__pooling": "cls"}),
        ("multilabel", {"head__pooling": "pooler"}),
        ("regression", {}),
        ("entities", {"encoder__window_overlap_fraction": 0.5}),
        ("answers", {}),
        ("multiple_choice", {}),
    ],
)
def test_a_model_is_the_same_after_export_and_import(task, values, tmp_path):
    run = untrained_run(task, **values)
    before = run.predictor.decided_values()
    for variable in run.predictor.decided.values():
        variable.assign(variable * 0 + 3)
    exported = export_model(run, tmp_path / "model")
    for name, value in before.items():
        run.predictor.decided[name].assign(value)
    back = read_model(str(tmp_path / "model")).load()
    assert (back.task, back.config.encoder) == (run.task, run.config.encoder)
    np.testing.assert_allclose(scores_of(back, INPUTS), scores_of(run, INPUTS), atol=1e-5)
    assert all((value == 3).all() for value in back.predictor.decided_values().values())
    assert back.predictor.tokenizer.vocabulary == run.predictor.tokenizer.vocabulary
    names = {path.name for path in (tmp_path / "model").iterdir()}
    files = {"model.safetensors", "config.json", "tokenizer.json", "vocab.txt", "README.md", "tfbert.json"}
    assert files <= names
    assert ("modeling_tfbert.py" in names) == ("trust_remote_code" in exported.usage)


def test_what_the_terminal_shows(tmp_path):
    run = untrained_run("multiple_choice")
    exported = export_model(run, tmp_path / "model")
    assert exported.describe() == "TfbertForMultipleChoice, 2 layers, hidden size 32"
    (loading,) = exported.lines()
    assert f'AutoModelForMultipleChoice.from_pretrained("{tmp_path}/model", trust' in loading
    many = dataclasses.replace(exported, left_out=("label 0.5, " * 1000,))
    assert many.lines()[1].startswith("not included: label 0.5, label") and len(many.lines()[1]) <= 500
    assert many.lines()[1].endswith("... (all in README.md)")


def test_the_encoder_of_a_run_is_written_without_its_head(tmp_path):
    run_dir, _ = small.finished_run()
    export_encoder(run_dir, tmp_path / "out")
    assert load_encoder(tmp_path / "out").spec.has_pooler
    with safe_open(tmp_path / "out" / "model.safetensors", framework="np") as file:
        assert not any("classifier" in name for name in file.keys())  # noqa: SIM118 (it is not a dict)


def test_embeddings_are_written_for_sentence_transformers(tmp_path):
    exported = export_model(untrained_run("matching"), tmp_path / "model")
    assert exported.architecture == "BertModel" and "SentenceTransformer(" in exported.usage
    assert (tmp_path / "model" / "modules.json").exists()
    with pytest.raises(ValueError, match="architectures is \\['BertModel'\\]"):
        read_model(str(tmp_path / "model"))
    # An export of another kind replaces it.
    export_model(untrained_run("regression"), tmp_path / "model")
    assert not (tmp_path / "model" / "modules.json").exists()


def test_a_directory_with_other_files_is_not_replaced(tmp_path):
    (tmp_path / "README.md").write_text("notes")
    with pytest.raises(
        ValueError, match="contains 'README.md'; expected a new or empty directory, or an earlier export"
    ):
        export_huggingface("tiny", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]


def test_only_an_export_with_unchanged_weights_is_replaced(tmp_path):
    """A model that transformers downloaded or trained further has files of the same names."""
    export_huggingface("tiny", tmp_path / "out")
    export_encoder(small.finished_run()[0], tmp_path / "out")
    export_huggingface("tiny", tmp_path / "out")
    weights = tmp_path / "out" / "model.safetensors"
    weights.write_bytes(b"trained further")
    expected = "contains 'config.json'; expected a new or empty directory, or an earlier export with unchanged weights"
    with pytest.raises(ValueError, match=expected):
        export_huggingface("tiny", tmp_path / "out")
    (tmp_path / "out" / "tfbert.json").unlink()
    with pytest.raises(ValueError, match=expected):
        export_huggingface("tiny", tmp_path / "out")
    assert weights.read_bytes() == b"trained further"
