"""Encoders on the Hugging Face hub by revision, read offline from the cache of the hub client."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from support import bert_files, small

from tfbert.encoder import hub, presets
from tfbert.encoder.backbone import load_encoder
from tfbert.training import problem, run

constants = pytest.importorskip("huggingface_hub.constants")

OLD, NEW = "a" * 40, "0123456789" * 4
WORDS = {OLD: "old", NEW: "new"}


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """Create a repository with two commits in the client's cache; return its `refs`, one file per branch or tag."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(hub, "resolved_commits", {})
    folder = tmp_path / "hub" / "models--owner--name"
    for number, (commit, word) in enumerate(WORDS.items(), 1):
        (folder / "snapshots").mkdir(parents=True, exist_ok=True)
        vocabulary = [*bert_files.VOCABULARY, word]
        directory = bert_files.write(
            folder / "snapshots" / commit, {"layer_norm_eps": number * 1e-4}, vocabulary=vocabulary
        )
        tensors = load_file(directory / "model.safetensors")
        tensors["embeddings.word_embeddings.weight"] += number
        save_file(tensors, directory / "model.safetensors")
    refs = folder / "refs"
    (refs / "feature").mkdir(parents=True)
    for name, commit in {"main": NEW, "v1": OLD, "feature/x": OLD}.items():
        (refs / name).write_text(commit)
    return refs


def check(encoder, commit):
    """Check that config, vocabulary and weights come from a commit."""
    number = list(WORDS).index(commit) + 1
    assert encoder.spec.commit == commit
    assert encoder.spec.layer_norm_epsilon == number * 1e-4
    assert encoder.vocabulary[-1] == WORDS[commit]
    original = bert_files.make_tensors(bert_files.CONFIG)["embeddings.word_embeddings.weight"]
    weights = np.asarray(encoder.backbone.token_embedding.embeddings)
    np.testing.assert_array_equal(weights, original + np.float32(number))


@pytest.mark.parametrize(
    ("name", "commit"),
    [
        ("hf://owner/name", NEW),
        ("hf://owner/name@main", NEW),
        ("hf://owner/name@v1", OLD),
        ("hf://owner/name@feature/x", OLD),
        (f"hf://owner/name@{OLD}", OLD),
        (f"hf://owner/name@{NEW}", NEW),
    ],
)
def test_all_files_are_from_the_revision(repository, name, commit):
    encoder = load_encoder(name)
    check(encoder, commit)
    assert encoder.source == name


def test_a_missing_revision_is_an_error(repository):
    with pytest.raises(
        ValueError, match=r"^encoder 'hf://owner/name@v2' could not be downloaded: .*Alternatively, copy"
    ):
        presets.resolve("hf://owner/name@v2")


@pytest.mark.parametrize("name", ["a/b@", "a/b@../../x", "a/b@/x", "a/b@x/", "a/b@x y", "a/b@x@y", "a/b/c", "@v1", ""])
def test_a_name_of_another_form_is_refused(name):
    with pytest.raises(ValueError) as error:
        presets.resolve(f"hf://{name}")
    expected = "hf://owner/name, or hf://owner/name@revision with a branch, a tag or a commit hash"
    assert str(error.value) == f"encoder 'hf://{name}': expected {expected}"


def test_a_branch_that_moves_does_not_mix_files_in_one_process(repository):
    first = presets.resolve("hf://owner/name")
    (repository / "main").write_text(OLD)
    assert presets.resolve("hf://owner/name") == first
    assert (first.commit, first.directory.name) == (NEW, NEW)
    hub.resolved_commits.clear()  # as in a new process
    check(load_encoder("hf://owner/name"), OLD)


def test_names_outside_the_hub_have_no_commit(repository, tmp_path):
    shutil.copytree(repository.parent / "snapshots" / OLD, tmp_path / OLD)
    assert presets.resolve(tmp_path / OLD).commit is None
    assert load_encoder(tmp_path / OLD).spec.commit is None


def test_runs_record_the_revision_and_different_revisions_share_no_cache(repository, tmp_path):
    data = small.write_data(tmp_path / "data")
    # Few words are in the repository's vocabulary.
    values = {"encoder__sequence_length": 8, "train__epochs": 1, "data__max_unknown_fraction": 1.0}
    by_tag, by_branch = (
        problem.prepare(small.config(data, encoder__name=f"hf://owner/name@{revision}", **values))
        for revision in ("v1", "feature/x")
    )
    assert by_tag.fingerprint(by_tag.config) != by_branch.fingerprint(by_branch.config)
    first = by_tag.tokenized["train"].sequences.values.filename
    assert first != by_branch.tokenized["train"].sequences.values.filename
    run.train(by_tag, tmp_path / "run", command="")
    report = json.loads((tmp_path / "run" / "report.json").read_text(encoding="utf-8"))
    assert (report["encoder"]["name"], report["encoder"]["commit"]) == ("hf://owner/name@v1", OLD)
    assert report["config"]["encoder"]["name"] == "hf://owner/name@v1"
    # The branch moves: the same name is now a different run, which must not resume from the first run's checkpoint.
    (repository / "v1").write_text(NEW)
    hub.resolved_commits.clear()
    moved = problem.prepare(by_tag.config)
    assert moved.fingerprint(moved.config) != by_tag.fingerprint(by_tag.config)
