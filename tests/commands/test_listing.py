"""Output of `--list`: tasks, encoders and config fields with defaults and allowed values."""

import itertools

import pytest
from support import small


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    tools, folder = small.tools(), tmp_path_factory.mktemp("listing")
    arguments = [[], ["--task", "ner"], ["--set", "task=ner"]]
    return [result for (result,) in tools.run(*[[tools.step("train", "--list", *a, cwd=folder)] for a in arguments])]


def test_list(results):
    result = results[0]
    assert result.code == 0
    for name in ("classification", "minilm", "tiny", "train.learning_rate", "warmup_fraction"):
        assert name in result.out
    assert "labelled spans of a text, with their positions (also: ner, " in result.out
    lines = result.out.splitlines()
    for path, default, allowed in (
        ("data.path", "none", "(text or none)"),
        ("data.separator", r"'\t'", "(text)"),
        ("head.pooling", "mean", "(mean, max, cls or pooler)"),
        ("train.ema_momentum", "0.0", "(0 or more, below 1)"),
    ):
        (number,) = [number for number, line in enumerate(lines) if line.split()[:1] == [path]]
        assert lines[number].split()[1:] == [default]
        details = itertools.takewhile(lambda line: line.startswith(" " * 6), lines[number + 1 :])
        assert " ".join(map(str.strip, details)).endswith(allowed)


def test_list_of_a_task(results):
    assert [result.code for result in results[1:]] == [0, 0]
    assert "config fields (--set) of entities, with their defaults" in results[1].out
    assert "data.tag_scheme" in results[1].out and "head.pooling" not in results[1].out
    assert results[2].out == results[1].out
