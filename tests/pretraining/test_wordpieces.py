"""The WordPiece tokenizer of worker processes returns the same ids as the tokenizer in the graph."""

import pickle
import subprocess
import sys

import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from support.awkward_texts import LETTERS, RULES, TEXTS, made_vocabulary

from tfbert.encoder.presets import tiny_vocabulary
from tfbert.pretraining.wordpieces import WordPieces
from tfbert.text.tokenizer import Tokenizer

UNCASED = {"lowercase": True, "strip_accents": True}


@pytest.fixture(scope="module", params=RULES)
def pair(request):
    vocabulary = [*made_vocabulary(), "οδος", "οδοσ", "##ς"]
    rules = RULES[request.param]
    return Tokenizer(vocabulary, **rules), WordPieces(vocabulary, **rules)


def assert_same_ids(tokenizer, word_pieces, texts):
    expected = tokenizer(tf.constant([text.encode() for text in texts], tf.string)).to_list()
    for text, ids in zip(texts, expected, strict=True):
        assert word_pieces(text) == ids, ascii(text)


def test_ids_equal_those_of_the_graph(pair):
    joined = " ".join(TEXTS)
    assert_same_ids(*pair, [*TEXTS, joined, joined.upper(), "".join(TEXTS)])
    assert len(set(pair[1](joined))) > 130  # otherwise the comparison would cover little


@settings(deadline=None, derandomize=True, max_examples=60)
@given(texts=st.lists(st.lists(LETTERS, max_size=30).map("".join), min_size=1, max_size=6))
def test_any_text_has_the_ids_of_the_graph(pair, texts):
    assert_same_ids(*pair, texts)


SIGMAS = [
    "ΟΔΟΣ ΣΟΦΟΣ Σ ΑΣ",
    "ΟΔΟΣ's ΑΣ.Β ΑΣ",
    "Σ\u0301ΑΣ\u0301 ΑΣ\u00adΒ",
    "ΑΣ\x07Β ΑΣ\x07 Β",
    "İΣ İΣΣ ΑΣ中Σ",
    "ΑΣ\ue000Β ΑΣ\ufffd",
]


def test_final_sigmas_are_those_of_the_graph(pair):
    assert_same_ids(*pair, SIGMAS)


def test_special_tokens_in_a_text_are_plain_characters():
    vocabulary = [*tiny_vocabulary(), "sep"]
    expected = [vocabulary.index(token) for token in ("good", "[", "sep", "]")]
    assert WordPieces(vocabulary, **UNCASED)("good [SEP]") == expected


def test_ids_with_the_vocabulary_of_minilm(minilm_dir):
    vocabulary = (minilm_dir / "vocab.txt").read_text(encoding="utf-8").split("\n")[:-1]
    assert_same_ids(Tokenizer(vocabulary, **UNCASED), WordPieces(vocabulary, **UNCASED), TEXTS)


def test_the_cache_is_cleared_when_it_is_full(monkeypatch):
    monkeypatch.setattr("tfbert.pretraining.wordpieces._MAX_CACHED", 3)
    pieces = WordPieces(tiny_vocabulary(), **UNCASED)
    text = "good bad the of and good bad the of and"
    ids = [pieces.vocabulary.index(word) for word in text.split()]
    assert pieces(text) == ids
    assert len(pieces.cache) <= 3


CHINESE = [*tiny_vocabulary(), *"中国人民银行是好", "##ing"]


@pytest.mark.parametrize(
    ("text", "words", "expected"),
    [
        ("中国人民银行", ["中国", "人民", "银行"], "中 =国 人 =民 银 =行"),
        ("中国 人民", ["中国", " ", "人民"], "中 =国 人 =民"),
        ("中国人民", ["中国人民"], "中 =国 =人 =民"),
        ("中国人民", ["中", "国人", "民"], "中 国 =人 民"),
        ("good中国xy", ["good", "中国", "xy"], "good 中 =国 x =##y"),
        ("xy中", ["x", "y中"], "x =##y 中"),
        ("是\u200b好", ["是\u200b好"], "是 =好"),
        ("\u200b 好", ["\u200b", "好"], "好"),
        ("中国", [], "中 国"),
    ],
)
def test_words_of_a_segmenter_decide_which_tokens_continue_a_word(text, words, expected):
    pieces = WordPieces(CHINESE, **UNCASED)
    ids, continues = pieces.encode_words(text, words, "here")
    shown = [
        ("=" * continues_word) + CHINESE[token_id] for token_id, continues_word in zip(ids, continues, strict=True)
    ]
    assert " ".join(shown) == expected
    assert ids == pieces(text)


def test_words_that_are_not_in_the_text_are_refused():
    with pytest.raises(ValueError) as caught:
        WordPieces(CHINESE, **UNCASED).encode_words("中国人民", ["中国", "银行"], "a.txt:3: segmenter x:y")
    expected = "a.txt:3: segmenter x:y returned the word '银行', which is not in the rest of the text, '人民'"
    assert str(caught.value) == expected


def test_words_with_a_replaced_sigma_are_found():
    pieces = WordPieces([*tiny_vocabulary(), "α", "##ς"], **UNCASED)
    ids, continues = pieces.encode_words("ΑΣ ΑΣ", ["ΑΣ", "ΑΣ"], "here")
    assert len(ids) == 4 and continues == [False, True, False, True]


def test_a_copy_has_the_same_vocabulary_and_rules():
    pieces = WordPieces(CHINESE, lowercase=False, strip_accents=True, split_on_cjk=False)
    copy = pickle.loads(pickle.dumps(pieces))
    assert copy.rules == pieces.rules == (False, True, False)
    assert copy.sha256 == pieces.sha256 and copy("Good 中国") == pieces("Good 中国")
    assert WordPieces(CHINESE[:-1], **UNCASED).sha256 != pieces.sha256


def test_ids_are_as_small_as_the_vocabulary_allows():
    assert WordPieces(CHINESE, **UNCASED).dtype == "uint16"
    vocabulary = CHINESE + [f"##x{number}" for number in range(65536 - len(CHINESE))]
    assert WordPieces(vocabulary, **UNCASED).dtype == "uint16"
    assert WordPieces([*vocabulary, "##last"], **UNCASED).dtype == "int32"


def test_a_vocabulary_without_special_tokens_is_refused():
    with pytest.raises(ValueError, match=r"vocabulary: no \[PAD\]; is it a BERT vocabulary\?"):
        WordPieces(["a", "b"], **UNCASED)


def test_workers_need_no_tensorflow():
    modules = "preparation, vocabulary, sequences".replace(" ", " tfbert.pretraining.")
    program = f"import sys, tfbert.pretraining.{modules}\nprint('tensorflow' in sys.modules, 'keras' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["False", "False"]
