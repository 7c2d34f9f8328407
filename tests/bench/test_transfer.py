"""What pretraining is worth to a task: trained from both encoders, on the same draws, compared on the same records."""

import json
from dataclasses import replace

import pytest

from tfbert.bench import transfer
from tfbert.bench.datasets import DataSet
from tfbert.encoder.backbone import load_encoder, save_encoder

TRAINED_FROM_NOTHING = transfer.Transfer(
    "letters",
    {},
    (
        DataSet(
            "notes",
            "notes.csv",
            {"encoder.sequence_length": "16", "train.epochs": "1", "data.test_fraction": "0.3"},
            peer=None,
        ),
    ),
    encoder=None,
)


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Give a data directory, and an out directory in which the pretraining is done."""
    data, out = tmp_path / "data", tmp_path / "out"
    (data / "letters").mkdir(parents=True)
    rows = [
        f"the {word} number {i} is here,{label}" for word, label in (("card", "a"), ("loan", "b")) for i in range(25)
    ]
    (data / "notes.csv").write_text("text,label\n" + "\n".join(rows), encoding="utf-8")
    run_dir = out / "letters" / "pretraining"
    run_dir.mkdir(parents=True)
    pretrained = load_encoder("tiny", seed=1)
    save_encoder(replace(pretrained, spec=replace(pretrained.spec, pretraining={"updates": 7})), run_dir / "encoder")
    sides = {side: {"masked_word_loss": loss, "masked_word_accuracy": 1 / loss} for side, loss in SIDES}
    (run_dir / "report.json").write_text(json.dumps(sides), encoding="utf-8")
    monkeypatch.setattr(transfer, "TRANSFERS", (TRAINED_FROM_NOTHING,))
    return data, out


SIDES = (("before", 8.0), ("after", 4.0))


def test_a_task_is_trained_from_the_pretrained_encoder_and_from_random_weights(places):
    data, out = places
    (row,) = transfer.measure(data, out, [], 1)
    assert (row["corpus"], row["data"], row["metric"]) == ("letters", "notes", "accuracy")
    assert row["masked_words"] == {"loss": [8.0, 4.0], "accuracy": [0.125, 0.25]}
    encoders = {}
    for side in ("before", "after"):
        run_dir = out / "letters" / f"notes-0-{side}"
        report = json.loads((run_dir / "report.json").read_text())
        encoders[side] = report["config"]["encoder"]["name"]
        assert row[side] == [report["test"]["metrics"]["accuracy"]["value"]]
        assert row["num_examples"] == report["test"]["num_examples"]
    assert encoders["after"] == str(out / "letters" / "pretraining" / "encoder") != encoders["before"]
    weights = [load_encoder(name).backbone.get_weights() for name in encoders.values()]
    assert [w.shape for w in weights[0]] == [w.shape for w in weights[1]]
    assert any((one != other).any() for one, other in zip(*weights, strict=True))
    assert row["difference"] == pytest.approx(row["after"][0] - row["before"][0])
    assert [load_encoder(name).spec.pretraining for name in encoders.values()] == [None, {"updates": 7}]
    # In the folder of its corpus, so that the next `--only` leaves it.
    assert json.loads((out / "letters" / "transfer.json").read_text())["rows"] == [row]


def test_what_cannot_be_measured_is_refused(places):
    data, out = places
    with pytest.raises(ValueError, match=r"^--only 'letter' is not one of letters$"):
        transfer.measure(data, out, ["letter"])
    (data / "notes.csv").unlink()
    with pytest.raises(ValueError, match=r"notes\.csv: is not there; wanted what 'letters' is measured on$"):
        transfer.measure(data, out, ["letters"])


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.01, 0.05, "gain"),
        (-0.05, -0.01, "loss"),
        (-0.01, 0.05, "no gain that is sure"),
        (0.0, 0.1, "no gain that is sure"),
    ],
)
def test_the_table_says_what_the_interval_says(low, high, words):
    row = {
        "corpus": "letters",
        "masked_words": {"loss": [8.0, 4.0], "accuracy": [0.125, 0.25]},
        "data": "notes",
        "num_examples": 1200,
        "metric": "macro_f1",
        "before": [0.5, 0.7],
        "after": [0.75],
        "difference": 0.02,
        "low": low,
        "high": high,
    }
    assert transfer.to_markdown([row]).splitlines()[-1] == (
        "| letters | 8.000 → 4.000 | 0.125 → 0.250 | notes | 1,200 | macro f1 | 0.600 ± 0.141 (2 trainings) | 0.750 "
        f"| +0.020 ({low:+.3f} to {high:+.3f}) | {words} |"
    )
