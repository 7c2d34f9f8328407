"""The command pretrain: code to run is named on the command line and allowed by an option."""

import json

import pytest
from support import corpora, small

from tfbert.pretraining import segmenters
from tfbert.pretraining.config import PretrainConfig


@pytest.fixture(autouse=True)
def nothing_allowed(monkeypatch):
    monkeypatch.setattr(segmenters, "allowed_code", set())


def read(*arguments):
    """Return the config that the command reads from its arguments."""
    tool = small.load_command("pretrain")
    return tool.read_config(tool.build_parser("pretrain").parse_args(arguments))


@pytest.fixture
def file(tmp_path):
    def write(segmenter):
        path = tmp_path / "config.json"
        path.write_text(json.dumps({"examples": {"segmenter": segmenter}}))
        return str(path)

    return write


REMEDY = (
    "expected one of none, whitespace, punctuation, jieba, or on the command line: --allow-code "
    "--set examples.segmenter=os:system"
)


@pytest.mark.parametrize("more", [[], ["--allow-code"], ["--allow-code", "--set", "examples.passes=2"]])
def test_code_is_never_taken_from_a_file(file, more):
    path = file("os:system")
    with pytest.raises(ValueError) as caught:
        read("--config", path, *more)
    assert str(caught.value) == (
        f"{path}: examples.segmenter=os:system: names code to run, which is never taken from a file; {REMEDY}"
    )
    assert segmenters.allowed() == ()


def test_code_on_the_command_line_needs_the_option():
    with pytest.raises(ValueError) as caught:
        read("--set", "examples.segmenter=os:system")
    assert str(caught.value) == f"examples.segmenter=os:system: names code to run; {REMEDY}"
    assert segmenters.allowed() == ()


def test_the_command_line_allows_only_the_named_code(file):
    value = "examples.segmenter=support.corpora:two_characters"
    arguments = ["--config", file("os:system"), "--allow-code", "--set", value]
    assert read(*arguments).examples.segmenter == "support.corpora:two_characters"
    assert segmenters.allowed() == ("support.corpora:two_characters",)
    assert segmenters.load_segmenter("support.corpora:two_characters") is corpora.two_characters
    with pytest.raises(ValueError, match="os:system: names code that was not allowed to run"):
        segmenters.load_segmenter("os:system")


@pytest.mark.parametrize(("name", "expected"), [("none", None), ("whitespace", "whitespace")])
def test_the_command_line_replaces_the_segmenter_of_the_file(file, name, expected):
    assert read("--config", file("os:system"), "--set", f"examples.segmenter={name}").examples.segmenter == expected
    assert segmenters.allowed() == ()


def test_a_file_may_name_a_built_in_segmenter(file):
    assert read("--config", file("punctuation")).examples.segmenter == "punctuation"
    assert PretrainConfig().examples.segmenter is None
