"""Segmenters: the built-in ones, and code, which runs only if it was allowed."""

import logging
import os
import sys
import types

import pytest
from support import corpora

from tfbert.pretraining import preparation, segmenters
from tfbert.pretraining.config import CorpusConfig, ExamplesConfig

CHOICES = "none, whitespace, punctuation, jieba"


@pytest.fixture(autouse=True)
def nothing_allowed(monkeypatch):
    monkeypatch.setattr(segmenters, "allowed_code", set())


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("whitespace", "我 喜欢 北京。 don't", ["我", "喜欢", "北京。", "don't"]),
        ("punctuation", "我 喜欢 北京。 don't", ["我", "喜欢", "北京", "。", "don", "'", "t"]),
        # Vowel signs and symbols other than ASCII are part of a word; every punctuation mark is a word.
        ("punctuation", "हिन्दी 5€ a+b ...", ["हिन्दी", "5€", "a", "+", "b", ".", ".", "."]),
        ("whitespace", " \t ", []),
        ("punctuation", "", []),
    ],
)
def test_words_of_the_built_in_segmenters(name, text, words):
    assert list(segmenters.load_segmenter(name)(text)) == words


def test_jieba_keeps_its_dictionary_out_of_the_shared_temporary_directory(monkeypatch, tmp_path):
    levels = []
    jieba = types.SimpleNamespace(
        lcut=lambda text: [text[:2], text[2:]], dt=types.SimpleNamespace(tmp_dir=None), setLogLevel=levels.append
    )
    monkeypatch.setitem(sys.modules, "jieba", jieba)
    monkeypatch.setenv("TFBERT_CACHE", str(tmp_path / "cache"))
    assert segmenters.load_segmenter("jieba")("中国人民") == ["中国", "人民"]
    assert jieba.dt.tmp_dir == str(tmp_path / "cache" / "jieba")
    assert os.stat(jieba.dt.tmp_dir).st_mode & 0o777 == 0o700
    assert levels == [logging.WARNING]


def test_jieba_must_be_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "jieba", None)
    with pytest.raises(ValueError) as caught:
        segmenters.load_segmenter("jieba")
    assert str(caught.value) == (
        "the package jieba, needed for examples.segmenter=jieba, is not installed; install it with: pip install jieba"
    )


@pytest.mark.parametrize("name", ["os.system", "spaces", ":f", "m:", ".m:f", "m..n:f", "m:f:g", ""])
def test_a_name_that_is_neither_built_in_nor_a_function_is_refused(name):
    with pytest.raises(ValueError) as caught:
        ExamplesConfig(segmenter=name)
    # The verb is that of `config.require`.
    assert str(caught.value).startswith(f"examples.segmenter={name}: ")
    assert str(caught.value).endswith(f" one of {CHOICES}, or module:function")


def test_reading_a_config_imports_no_code(tmp_path, monkeypatch):
    """Neither making a config nor preparing with it imports the module that it names."""
    (tmp_path / "planted.py").write_text("raise SystemExit('was imported')")
    monkeypatch.syspath_prepend(tmp_path)
    config = CorpusConfig(paths=(str(corpora.write_corpus(tmp_path / "corpus", 40)),))
    examples = ExamplesConfig(segmenter="planted:cut")
    with pytest.raises(ValueError, match="segmenter=planted:cut: names code that was not allowed to run; expected one"):
        preparation.prepare(config, examples, corpora.word_pieces(), tmp_path / "rows", num_processes=1)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nomodule:cut", "No module named 'nomodule'; expected a function that can be"),
        ("support.corpora:cut", "module 'support.corpora' has no attribute 'cut'; expected a function"),
        ("support.corpora:VERBS", "not a function; expected one that takes a text"),
    ],
)
def test_allowed_code_that_cannot_be_used_is_refused(name, expected):
    segmenters.allow(name)
    with pytest.raises(ValueError) as caught:
        segmenters.load_segmenter(name)
    assert str(caught.value).startswith(f"examples.segmenter={name}: {expected}")
