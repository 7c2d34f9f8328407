"""Pretraining as a person does it: every command, an encoder that tasks and KerasNLP take, kills, and mistakes."""

import json

import numpy as np
import pytest
from keras_hub.models import BertBackbone
from safetensors.numpy import load_file
from support import small

from tfbert.encoder.backbone import load_encoder
from tfbert.pretraining.page import render

TINY = ["--encoder", "tiny"]
OPTIONS = {
    "encoder.precision": "float32",
    "examples.sequence_length": 32,
    "train.batch_size": 64,
    "train.epochs": 1,
    "train.evaluations": 2,
    "train.head_updates_fraction": 0.25,
    "train.learning_rate": 3e-3,
    "train.checkpoint_seconds": 0,
    "train.ema_momentum": 0.5,
}
CHECKPOINT, BEST = "checkpoint.safetensors", "best.safetensors"
KILLS = {
    "the second checkpoint written but not in place": (CHECKPOINT, 2, "before"),
    "training ended, no report": (BEST, 3, "after"),
}
NEW = {"encoder.num_layers": 1, "encoder.hidden_dim": 16, "encoder.num_heads": 2, "encoder.intermediate_dim": 24}
# Arguments of pretrain, and the end of the one line it answers with.
MISTAKES = {
    "corpus": (["--corpus", "nowhere"], "nowhere: no such file or directory"),
    "empty corpus": (["--corpus", "empty.txt"], "empty"),
    "binary": (["--corpus", "binary.bin"], "binary.bin"),
    "encoder": (["--encoder", "tinny"], "tinny"),
    "length": (["--set", "examples.sequence_length=513"], "the encoder has positions for at most 512 tokens"),
    "path": (["--set", "objective.mask_fracton=0.1"], "did you mean 'objective.mask_fraction'?"),
    "vocabulary of another": (["--prepared", "rows"], "prepare the corpus anew for this encoder"),
    "two vocabularies": (["--vocabulary", "vocabulary.txt"], "tiny has a vocabulary of its own"),
    "no vocabulary": (["--from-scratch", "--vocabulary", "empty.txt"], "empty.txt: token 0 is ''"),
    "no rows": (["--prepared", "."], "no index.json"),
    "code in a file": (["--config", "code.json", "--allow-code"], "code to run, which is never taken from a file"),
    "code without a word": (["--set", "examples.segmenter=os:system"], "examples.segmenter=os:system: names code to"),
    "no place": (["prepare"], "--out is missing; wanted the directory to write rows to"),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Do everything at once."""
    folder = tmp_path_factory.mktemp("pretraining")
    small.write_data(folder / "data")
    (folder / "empty.txt").write_text("")
    (folder / "code.json").write_text('{"examples": {"segmenter": "os:system"}}')
    (folder / "binary.bin").write_bytes(bytes(range(256)) * 50)
    tools = small.tools()

    def pretrain(*args, kill=None):
        options = [] if args[0] == "vocabulary" else small.assignments(OPTIONS)
        return tools.step("pretrain", *options, *args, cwd=folder, kill=kill)

    def train(*args):
        options = {"encoder.sequence_length": 32, "encoder.precision": "float32", "train.epochs": 1}
        data = ["--data", "data", "--no-export", "--set", "train.learning_rate=0.002", "--set", "train.batch_size=8"]
        return tools.step("train", *data, *small.assignments(options), *args, cwd=folder)

    new = ["--from-scratch", "--vocabulary", "vocabulary.txt", *small.assignments(NEW)]
    chains = {
        "whole": [
            pretrain("--out", "whole", *TINY),
            train("--encoder", "whole/encoder", "--out", "task"),
            # Rows know their own length, and 128 is more than the encoder has positions for.
            pretrain(
                *["--out", "further", "--encoder", "whole/encoder", "--prepared", "whole/rows"],
                *["--set", "examples.sequence_length=128"],
            ),
        ],
        "new": [
            pretrain("vocabulary", "--size", "400", "--out", "vocabulary.txt"),
            pretrain("prepare", *new, "--out", "rows", "--show", "2"),
            pretrain(*new, "--prepared", "rows", "--out", "new"),
            *[pretrain(*arguments, *TINY[: 0 if "--from-scratch" in arguments or "--encoder" in arguments else 2])
              for arguments, _ in MISTAKES.values()],
        ],
        "adapt": [train("--encoder", "tiny", "--adapt", "--out", "adapt")],
    }  # fmt: skip
    for index, kill in enumerate(KILLS.values()):
        out = ["--out", str(index), *TINY]
        chains[index] = [pretrain(*out, kill=kill), pretrain(*out)]
    return folder, dict(zip(chains, tools.run(*chains.values()), strict=True))


def report_of(path):
    return json.loads((path / "report.json").read_text(encoding="utf-8"))


def test_what_is_said_and_left(runs):
    folder, done = runs
    first = done["whole"][0]
    assert first.code == 0, first.err
    assert "held-out masked words: loss" in first.out and "encoder  whole/encoder" in first.out
    report, names = report_of(folder / "whole"), {path.name for path in (folder / "whole").iterdir()}
    assert names >= {"config.json", "report.html", "encoder", "rows", "tensorboard", BEST} and CHECKPOINT not in names
    assert [entry["update"] for entry in report["history"]] == [0, 1, 2, 4]
    assert report["best_update"] == 4
    assert report["after"] == report["history"][-1]["held_out"]
    assert report["after"]["masked_word_loss"] < report["before"]["masked_word_loss"] - 0.05
    assert report["head_updates"] == 1 and report["before"] == report["history"][1]["held_out"]
    assert report["corpus"]["documents"] == 40
    assert report["rows"]["train"]["num_documents"] + report["rows"]["held_out"]["num_documents"] == 40
    guess = report["guesses"][0]
    assert len(guess["guesses"]) == 3 and guess["truth"]
    assert [g["probability"] for g in guess["guesses"]] == sorted(
        (g["probability"] for g in guess["guesses"]), reverse=True
    )
    page = (folder / "whole" / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 5 and "Loss of pairs of segments by update" in page
    assert "tiny, pretrained further" in page and f"{report['after']['masked_word_loss']:.3f}" in page


@pytest.mark.parametrize(("better", "is_said"), [(0.01, False), (0.0, True)])
def test_the_page_says_what_guessing_by_frequency_gives(runs, tmp_path, better, is_said):
    report = report_of(runs[0] / "whole")
    report["by_frequency"]["masked_word_loss"] = report["after"]["masked_word_loss"] + better
    render(report, tmp_path / "report.html")
    page = " ".join((tmp_path / "report.html").read_text(encoding="utf-8").split())
    assert f"would be right, with a loss of {report['by_frequency']['masked_word_loss']:.3f}." in page
    assert ("has not learned to read" in page) == is_said


def test_the_encoder_is_the_best_one_and_says_where_it_is_from(runs):
    folder, _ = runs
    directory, report = folder / "whole" / "encoder", report_of(folder / "whole")
    encoder = load_encoder(str(directory))
    said = encoder.spec.pretraining
    assert (said["from"], said["updates"]) == ("tiny", report["best_update"])
    assert said["tokens"] == report["history"][-1]["num_tokens"]
    assert said["corpus_sha256"] == report["corpus"]["sha256"]
    best = load_file(folder / "whole" / BEST)
    arrays = [best[name] for name in sorted(best)]
    plain = BertBackbone.from_preset(str(directory))
    for backbone in (encoder.backbone, plain):
        for weight, array in zip(backbone.weights, arrays, strict=False):
            np.testing.assert_array_equal(np.asarray(weight), array)
    start = load_encoder("tiny").backbone
    assert not np.array_equal(start.weights[0], encoder.backbone.weights[0])
    assert encoder.spec.has_pooler and encoder.spec.activation == "gelu"


def test_a_task_takes_the_encoder(runs):
    folder, done = runs
    assert done["whole"][1].code == 0, done["whole"][1].err
    facts = report_of(folder / "task")["encoder"]
    assert facts["pretraining"] == load_encoder(str(folder / "whole" / "encoder")).spec.pretraining


def test_going_on_starts_where_it_ended(runs):
    folder, done = runs
    assert done["whole"][2].code == 0, done["whole"][2].err
    assert "heads: 7 tensors of the encoder's own" in done["whole"][2].err
    first, further = report_of(folder / "whole"), report_of(folder / "further")
    assert further["config"]["examples"] == first["config"]["examples"]
    assert further["config"]["corpus"] == first["config"]["corpus"]
    assert further["before"] == pytest.approx(first["after"], rel=1e-4)
    assert further["head_updates"] == 0
    assert further["encoder"]["pretraining"]["updates"] == first["best_update"]


def test_a_new_encoder_with_a_vocabulary_of_its_own(runs):
    folder, done = runs
    vocabulary, prepared, trained = done["new"][:3]
    assert vocabulary.code == 0 and "vocabulary.txt  (400 tokens)" in vocabulary.out, vocabulary.err
    assert prepared.code == 0, prepared.err
    assert prepared.out.count("\n") == 5 and "[MASK]{" in prepared.out
    assert trained.code == 0, trained.err
    encoder, report = load_encoder(str(folder / "new" / "encoder")), report_of(folder / "new")
    assert encoder.vocabulary == (folder / "vocabulary.txt").read_text(encoding="utf-8").split("\n")[:-1]
    assert (encoder.backbone.num_layers, encoder.backbone.hidden_dim, encoder.spec.activation) == (
        1,
        16,
        "gelu_tanh",
    )
    # As unsure as among all tokens: nothing was known before.
    assert report["before"]["perplexity"] == pytest.approx(400, rel=0.05)
    assert report["head_updates"] == 0 and report["encoder"]["has_pooler"] is False
    assert encoder.spec.has_pooler


@pytest.mark.parametrize("moment", KILLS)
def test_killed_and_continued_is_bit_identical(runs, moment):
    folder, done = runs
    index = list(KILLS).index(moment)
    killed, continued = done[index]
    assert killed.code == -9, killed.err
    assert continued.code == 0, continued.err
    path, whole = folder / str(index), folder / "whole"
    assert (path / BEST).read_bytes() == (whole / BEST).read_bytes()
    for name in ("curve", "best_update", "before", "after", "guesses"):
        assert report_of(path)[name] == report_of(whole)[name]
    heads = [load_file(run / "encoder" / "heads.safetensors") for run in (path, whole)]
    assert all(np.array_equal(heads[0][name], heads[1][name]) for name in heads[1])


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_clear_line(runs, mistake):
    _, done = runs
    answer, wanted = done["new"][3 + list(MISTAKES).index(mistake)], MISTAKES[mistake][1]
    assert answer.code == 2, answer.err
    last = answer.err.splitlines()[-1]
    assert last.startswith("pretrain: ") and wanted in last
    assert "Traceback" not in answer.err and answer.out == ""


def test_adapting_keeps_the_better_encoder_and_says_so(runs):
    folder, done = runs
    assert done["adapt"][0].code == 0, done["adapt"][0].err
    report = report_of(folder / "adapt")
    found = report["adaptation"]
    loss, scores = found["masked_word_loss"], found["validation"]
    pretrained = report_of(folder / "adapt" / "pretraining")
    assert (loss["before"], loss["after"]) == tuple(pretrained[w]["masked_word_loss"] for w in ("before", "after"))
    for name in ("original", "adapted"):
        part = report_of(folder / "adapt" / name)
        assert part["history"][part["best_epoch"] - 1]["validation"][scores["metric"]] == scores[name]
    kept = "adapted" if scores["adapted"] > scores["original"] else "original"
    assert found["kept"] == kept
    assert report["history"] == report_of(folder / "adapt" / kept)["history"]
    page = (folder / "adapt" / "report.html").read_text(encoding="utf-8")
    assert f"{scores['adapted']:.4f} with it and {scores['original']:.4f} without" in page
    assert found["sentence"] in done["adapt"][0].err
