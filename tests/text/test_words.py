"""Words of texts: what a reader calls a word, with exact positions on awkward texts."""

import pytest
import tensorflow as tf
from support.awkward_texts import RULES, TEXTS, made_vocabulary

from tfbert.text.tokenizer import Tokenizer
from tfbert.text.words import substrings, words_of

UNCASED = Tokenizer(made_vocabulary(), **RULES["uncased"])


def words_in(texts, tokenizer=UNCASED):
    """Return the words of each text, after checking their positions and their order."""
    words = words_of(tf.constant([text.encode() for text in texts], tf.string, [len(texts)]), tokenizer)
    result = [[] for _ in texts]
    previous = (0, 0)
    columns = (words.texts, words.starts, words.ends, words.strings)
    for text, start, end, string in zip(*(column.numpy().tolist() for column in columns), strict=True):
        assert previous <= (text, start) < (text, end)
        assert texts[text][start:end] == string.decode()
        previous = (text, end)
        result[text].append(string.decode())
    return result


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't stop (now)!!!", ["Don't", "stop", "(", "now", ")", "!!!"]),
        ("It's 3.14, Wal-Mart's $100... ok?!", ["It's", "3.14", ",", "Wal-Mart's", "$100", "...", "ok", "?", "!"]),
        ("我爱北京，very good天。好😀", [*"我爱北京，", "very", "good", *"天。好😀"]),
        ("你好,world", ["你", "好", ",", "world"]),
        ("Ａ１！ｘ", ["Ａ１", "！", "ｘ"]),
        ("テスト、です。", ["テスト", "、", "です", "。"]),
        ("cafe\u0301 n\u0303o", ["cafe\u0301", "n\u0303o"]),
        ("na\u200bive \u200bx \u200b y\u200b", ["na\u200bive", "x", "y"]),
        ("👩\u200d👩\u200d👧 👍🏽 \u2764\ufe0f 🇩🇪", ["👩\u200d👩\u200d👧", "👍🏽", "\u2764\ufe0f", "🇩🇪"]),
        ("각 한국어", ["각", "한국어"]),
        ("", []),
        (" \u200b\t", []),
    ],
)
def test_words(text, expected):
    assert words_in([text]) == [expected]


@pytest.mark.parametrize("rules", RULES)
def test_positions_are_exact_and_texts_do_not_affect_each_other(rules):
    tokenizer = Tokenizer(made_vocabulary(), **RULES[rules])
    assert words_in(TEXTS, tokenizer) == words_in(TEXTS[::-1], tokenizer)[::-1]


def test_every_token_has_a_word():
    words = words_of(tf.constant(["hello, hello", "", "!!"]), UNCASED)
    assert words.of_tokens.numpy().tolist() == [0, 1, 2, 3, 3]
    assert words.texts.numpy().tolist() == [0, 0, 0, 2]


def test_substrings():
    codes = tf.strings.unicode_decode(["ab中", "é"], "UTF-8")
    parts = substrings(codes, tf.constant([0, 1, 0]), tf.constant([1, 0, 0]), tf.constant([3, 1, 0]))
    assert [part.decode() for part in parts.numpy()] == ["b中", "é", ""]


def test_invalid_utf8_counts_as_replacement_characters():
    words = words_of(tf.constant([b"a \xff b"]), UNCASED)
    assert words.starts.numpy().tolist() == [0, 4] and words.ends.numpy().tolist() == [1, 5]
