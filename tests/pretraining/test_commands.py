"""Commands of `tfbert pretrain`: the lines that they return, and missing paths and packages."""

import sys

import pytest
from support import corpora

from tfbert.config import override
from tfbert.pretraining import commands
from tfbert.pretraining.config import PretrainConfig


@pytest.fixture
def config(tmp_path):
    values = {"corpus.paths": (str(corpora.write_corpus(tmp_path / "corpus", 40)),), "encoder.name": "tiny"}
    return override(PretrainConfig(), values | {"examples.sequence_length": 32})


def test_vocabulary_writes_a_file_and_returns_its_size(config, tmp_path):
    path = tmp_path / "new" / "vocabulary.txt"
    assert commands.vocabulary(override(config, {"encoder.vocabulary_size": 150}), path) == f"{path}  (150 tokens)"
    assert len(path.read_text(encoding="utf-8").splitlines()) == 150


def test_prepare_returns_the_counts_of_both_splits_and_the_first_sequences(config, tmp_path):
    lines = commands.prepare(config, tmp_path / "out", None, num_shown=2).splitlines()
    assert lines[0] == str(tmp_path / "out")
    words = [line.split() for line in lines[1:3]]
    assert [(line[0], line[2::2]) for line in words] == [
        (split, ["documents", "rows", "tokens"]) for split in ("train", "held_out")
    ]
    assert sum(int(line[1]) for line in words) == 40
    shown = lines[3:]
    assert [line.partition(",")[0] for line in shown] == ["row 1", "row 2"]
    assert "[MASK]{" in "".join(shown)
    assert commands.prepare(config, tmp_path / "out", None, num_shown=0).splitlines() == lines[:3]


def test_show_returns_one_line_per_sequence(config, tmp_path):
    lines = commands.show(config, tmp_path, 3).splitlines()
    assert len(lines) == 3
    assert all(line.count("[CLS]") == 1 and "[MASK]{" in line for line in lines)


REPORT = {
    "before": {"masked_word_loss": 6.5, "masked_word_accuracy": 0.05, "perplexity": 665.14, "pair_accuracy": 0.5},
    "after": {"masked_word_loss": 4.25, "masked_word_accuracy": 0.3, "perplexity": 70.1, "pair_accuracy": 0.75},
    "history": [{"num_tokens": 0}, {"num_tokens": 12345}],
    "tokens_per_second": 1234.4,
}


def test_the_result_has_the_scores_and_the_paths_of_report_and_encoder(tmp_path):
    assert commands.describe_result(REPORT, tmp_path).splitlines() == [
        "held-out masked words: loss 6.500 -> 4.250, accuracy 0.050 -> 0.300, perplexity 665.1 -> 70.1",
        "held-out pairs: accuracy 0.500 -> 0.750",
        "trained on 12,345 tokens, 1,234 per second",
        f"report   {tmp_path}/report.html",
        f"encoder  {tmp_path}/encoder",
    ]


def test_the_result_without_pairs_or_time_leaves_these_lines_out(tmp_path):
    scores = {name: {n: v for n, v in REPORT[name].items() if "pair" not in n} for name in ("before", "after")}
    report = REPORT | scores | {"tokens_per_second": None}
    lines = commands.describe_result(report, tmp_path).splitlines()
    assert [line.split()[0] for line in lines] == ["held-out", "report", "encoder"]


def test_a_missing_output_path_is_an_error(config):
    with pytest.raises(ValueError, match=r"--out is missing; expected the file to write, such as vocabulary.txt"):
        commands.vocabulary(config, None)
    with pytest.raises(ValueError, match=r"--out is missing; expected the directory to write sequences to"):
        commands.prepare(config, None, None, 0)


def test_beam_must_be_installed(config, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    monkeypatch.delitem(sys.modules, "tfbert.pretraining.beam", raising=False)
    with pytest.raises(
        ValueError,
        match=r"the package apache_beam, needed for --beam, is not .*: pip install -e '\.\[beam\]' in the check",
    ):
        commands.prepare(config, tmp_path / "out", "--runner=DirectRunner", 0)
