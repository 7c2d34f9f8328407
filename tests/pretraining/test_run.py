"""Pretraining runs: every command, an encoder that tasks and KerasNLP load, kills, and error messages."""

import json

import numpy as np
import pytest
from keras_hub.models import BertBackbone
from safetensors.numpy import load_file
from support import small

from tfbert.encoder.backbone import load_encoder
from tfbert.training.history import EpochHistory

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
    "before the second checkpoint is in place": (CHECKPOINT, 2, "before"),
    "between training and report": (BEST, 3, "after"),
}
NEW = {"encoder.num_layers": 1, "encoder.hidden_dim": 16, "encoder.num_heads": 2, "encoder.intermediate_dim": 24}
# Arguments of the tool and a part of the error message.
ERRORS = {
    "corpus": (["--corpus", "nowhere"], "nowhere: no such file or directory"),
    "empty corpus": (["--corpus", "empty.txt"], "empty"),
    "binary": (["--corpus", "binary.bin"], "binary.bin"),
    "encoder": (["--encoder", "tinny"], "tinny"),
    "length": (["--set", "examples.sequence_length=513"], "the encoder has positions for at most 512 tokens"),
    "path": (["--set", "objective.mask_fracton=0.1"], "did you mean 'objective.mask_fraction'?"),
    "other vocabulary": (["--prepared", "rows"], "prepare the corpus again for this encoder"),
    "two vocabularies": (["--vocabulary", "vocabulary.txt"], "tiny has its own vocabulary"),
    "empty vocabulary": (["--from-scratch", "--vocabulary", "empty.txt"], "empty.txt: token 0 is empty"),
    "not prepared": (["--prepared", "."], "no index.json"),
    "code in a file": (["--config", "code.json", "--allow-code"], "code to run, which is never taken from a file"),
    "code without the option": (
        ["--set", "examples.segmenter=os:system"],
        "examples.segmenter=os:system: names code to",
    ),
    "no path": (["prepare"], "--out is missing; expected the directory to write sequences to"),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Run every command in a process; return the directory and the results by the name of the chain."""
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
            # Prepared sequences have their own length, and 128 is more than the encoder has positions for.
            pretrain(
                *["--out", "further", "--encoder", "whole/encoder", "--prepared", "whole/rows"],
                *["--set", "examples.sequence_length=128"],
            ),
        ],
        "new": [
            pretrain("vocabulary", "--size", "400", "--out", "vocabulary.txt"),
            pretrain("prepare", *new, "--out", "rows", "--show", "2"),
            pretrain(*new, "--prepared", "rows", "--out", "new"),
            pretrain("--corpus", "nowhere", *TINY),
        ],
        "adapt": [train("--encoder", "tiny", "--adapt", "--out", "adapt")],
    }  # fmt: skip
    for index, kill in enumerate(KILLS.values()):
        out = ["--out", str(index), *TINY]
        chains[index] = [pretrain(*out, kill=kill), pretrain(*out)]
    return folder, dict(zip(chains, tools.run(*chains.values()), strict=True))


def report_of(path):
    return json.loads((path / "report.json").read_text(encoding="utf-8"))


def test_a_run_prints_scores_and_writes_report_and_encoder(runs):
    folder, results = runs
    result = results["whole"][0]
    assert result.code == 0, result.err
    assert "held-out masked words: loss" in result.out and "encoder  whole/encoder" in result.out
    report, names = report_of(folder / "whole"), {path.name for path in (folder / "whole").iterdir()}
    assert names >= {"config.json", "report.html", "encoder", "rows", "tensorboard", BEST} and CHECKPOINT not in names
    assert [entry["update"] for entry in report["history"]] == [0, 1, 2, 4]
    assert report["best_update"] == 4
    assert report["after"] == report["history"][-1]["held_out"]
    assert report["after"]["masked_word_loss"] < report["before"]["masked_word_loss"] - 0.05
    assert report["head_updates"] == 1 and report["before"] == report["history"][1]["held_out"]
    assert report["corpus"]["documents"] == 40
    assert report["rows"]["train"]["num_documents"] + report["rows"]["held_out"]["num_documents"] == 40
    example = report["guesses"][0]
    assert len(example["guesses"]) == 3 and example["truth"]
    probabilities = [guess["probability"] for guess in example["guesses"]]
    assert probabilities == sorted(probabilities, reverse=True)
    page = (folder / "whole" / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 5 and "Loss of pairs of segments by update" in page
    assert "tiny, pretrained further" in page and f"{report['after']['masked_word_loss']:.3f}" in page


def test_the_encoder_has_the_best_weights_and_its_origin(runs):
    folder, _ = runs
    directory, report = folder / "whole" / "encoder", report_of(folder / "whole")
    encoder = load_encoder(str(directory))
    pretraining = encoder.spec.pretraining
    assert (pretraining["from"], pretraining["updates"]) == ("tiny", report["best_update"])
    assert pretraining["tokens"] == report["history"][-1]["num_tokens"]
    assert pretraining["corpus_sha256"] == report["corpus"]["sha256"]
    best = load_file(folder / "whole" / BEST)
    plain = BertBackbone.from_preset(str(directory))
    assert len(plain.weights) == len(encoder.backbone.weights)
    for weight, other in zip(encoder.backbone.weights, plain.weights, strict=True):
        np.testing.assert_array_equal(np.asarray(weight), best[f"model/{weight.path}"])
        np.testing.assert_array_equal(np.asarray(other), best[f"model/{weight.path}"])
    start = load_encoder("tiny").backbone
    assert not np.array_equal(start.weights[0], encoder.backbone.weights[0])
    assert encoder.spec.has_pooler and encoder.spec.activation == "gelu"


def test_further_pretraining_starts_from_encoder_and_heads(runs):
    folder, results = runs
    assert results["whole"][1].code == 0, results["whole"][1].err
    assert "heads: 7 tensors from the encoder's directory" in results["whole"][1].err
    first, further = report_of(folder / "whole"), report_of(folder / "further")
    assert further["config"]["examples"] == first["config"]["examples"]
    assert further["config"]["corpus"] == first["config"]["corpus"]
    assert further["before"] == pytest.approx(first["after"], rel=1e-4)
    assert further["head_updates"] == 0
    assert further["encoder"]["pretraining"]["updates"] == first["best_update"]


def test_a_new_encoder_with_a_trained_vocabulary(runs):
    folder, results = runs
    vocabulary, prepared, trained = results["new"][:3]
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
    # The predictions of a new encoder are about uniform over all tokens.
    assert report["before"]["perplexity"] == pytest.approx(400, rel=0.05)
    assert report["head_updates"] == 0 and report["encoder"]["has_pooler"] is False
    assert encoder.spec.has_pooler


@pytest.mark.parametrize("moment", KILLS)
def test_killed_and_continued_is_bit_identical(runs, moment):
    folder, results = runs
    index = list(KILLS).index(moment)
    killed, continued = results[index]
    assert killed.code == -9, killed.err
    assert continued.code == 0, continued.err
    path, uninterrupted = folder / str(index), folder / "whole"
    assert (path / BEST).read_bytes() == (uninterrupted / BEST).read_bytes()
    for name in ("curve", "best_update", "before", "after", "guesses"):
        assert report_of(path)[name] == report_of(uninterrupted)[name]
    heads = [load_file(run / "encoder" / "heads.safetensors") for run in (path, uninterrupted)]
    assert all(np.array_equal(heads[0][name], heads[1][name]) for name in heads[1])


@pytest.mark.parametrize("error", ERRORS)
def test_an_error_has_a_clear_message(runs, error, monkeypatch):
    monkeypatch.chdir(runs[0])
    monkeypatch.setattr("sys.argv", ["tools/pretrain.py"])
    arguments, expected = ERRORS[error]
    tool = small.load_command("pretrain")
    start = [] if "--from-scratch" in arguments or "--encoder" in arguments else TINY
    options = tool.build_parser("pretrain").parse_args([*small.assignments(OPTIONS), *arguments, *start])
    with pytest.raises(ValueError) as caught:
        tool.main(options)
    assert expected in str(caught.value) and "\n" not in str(caught.value)


def test_the_tool_prints_an_error_as_one_line(runs):
    result = runs[1]["new"][3]
    assert result.code == 2, result.err
    error_line = result.err.splitlines()[-1]
    assert error_line.startswith("pretrain: ") and ERRORS["corpus"][1] in error_line
    assert "Traceback" not in result.err and result.out == ""


def test_adapting_keeps_the_better_encoder_and_reports_both(runs):
    folder, results = runs
    assert results["adapt"][0].code == 0, results["adapt"][0].err
    report = report_of(folder / "adapt")
    adaptation = report["adaptation"]
    loss, scores = adaptation["masked_word_loss"], adaptation["validation"]
    pretrained = report_of(folder / "adapt" / "pretraining")
    assert (loss["before"], loss["after"]) == tuple(pretrained[t]["masked_word_loss"] for t in ("before", "after"))
    for name in ("original", "adapted"):
        candidate = report_of(folder / "adapt" / name)
        assert EpochHistory.from_report(candidate).best_scores[scores["metric"]] == scores[name]
    # The task was trained from the encoder that pretraining made.
    encoder = load_encoder(str(folder / "adapt" / "pretraining" / "encoder"))
    assert candidate["encoder"]["pretraining"] == encoder.spec.pretraining
    better = "adapted" if scores["adapted"] > scores["original"] else "original"
    assert adaptation["kept"] == better
    assert report["history"] == report_of(folder / "adapt" / better)["history"]
    page = (folder / "adapt" / "report.html").read_text(encoding="utf-8")
    assert f"{scores['adapted']:.4f} with it and {scores['original']:.4f} without" in page
    assert adaptation["sentence"] in results["adapt"][0].err
