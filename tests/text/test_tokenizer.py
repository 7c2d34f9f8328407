"""The tokenizer returns the ids and offsets of the reference, the `tokenizers` library, for any text.

Three differences are intended, each with a test: special tokens written in a text, the capital sigma at the end of a
Greek word, and characters newer than the library's Unicode version. A fourth concerns offsets: the library excludes
dropped accents at the end of a piece.
"""

import os
import subprocess
import sys
import unicodedata

import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from support.awkward_texts import LETTERS, RULES, SETTLED, TEXTS, made_vocabulary
from tokenizers import BertWordPieceTokenizer

from tfbert.encoder.presets import tiny_vocabulary
from tfbert.text.tokenizer import SpecialTokens, Tokenizer


def reference(vocabulary, *, lowercase, strip_accents, split_on_cjk=True):
    return BertWordPieceTokenizer(
        vocab={token: index for index, token in enumerate(vocabulary)},
        handle_chinese_chars=split_on_cjk,
        strip_accents=strip_accents,
        lowercase=lowercase,
    )


def reference_words(tokenizer, text):
    normalized = tokenizer.normalizer.normalize_str(text)
    return [word for word, _ in tokenizer._tokenizer.pre_tokenizer.pre_tokenize_str(normalized)]


def encode(tokenizer, texts):
    return tokenizer(tf.constant([text.encode() for text in texts], tf.string)).to_list()


def words_of(tokenizer, texts):
    ragged = tokenizer.words(tf.constant([text.encode() for text in texts], tf.string))
    return [[word.decode() for word in words] for words in ragged.to_list()]


@pytest.fixture(scope="module", params=RULES)
def rules(request):
    return RULES[request.param]


@pytest.fixture(scope="module")
def pair(rules):
    """Return our tokenizer and the reference with the same generated vocabulary."""
    vocabulary = made_vocabulary()
    return Tokenizer(vocabulary, **rules), reference(vocabulary, **rules)


def assert_same_ids(ours, theirs, texts):
    for text, ids in zip(texts, encode(ours, texts), strict=True):
        assert ids == theirs.encode(text, add_special_tokens=False).ids, ascii(text)


def with_dropped_marks(ours, text, end):
    while ours.strip_accents and end < len(text) and unicodedata.category(text[end]) == "Mn":
        end += 1
    return end


def assert_same_offsets(ours, theirs, texts):
    tokens = ours.with_offsets(tf.constant([text.encode() for text in texts], tf.string))
    for text, starts, ends in zip(texts, tokens.starts.to_list(), tokens.ends.to_list(), strict=True):
        offsets = theirs.encode(text, add_special_tokens=False).offsets
        expected = [(start, with_dropped_marks(ours, text, end)) for start, end in offsets]
        assert list(zip(starts, ends, strict=True)) == expected, ascii(text)


def test_ids_equal_those_of_the_reference_with_a_generated_vocabulary(pair):
    assert_same_ids(*pair, TEXTS)
    ids = encode(pair[0], TEXTS)
    unknown = sum(row.count(pair[0].special.unknown) for row in ids)
    known = sum(len(row) for row in ids) - unknown
    assert known > 600 and unknown > 50  # otherwise the comparison would prove little


def test_ids_equal_those_of_the_reference_with_the_vocabulary_of_minilm(rules, minilm_dir):
    vocabulary = (minilm_dir / "vocab.txt").read_text(encoding="utf-8").split("\n")[:-1]
    assert len(vocabulary) == 30522
    assert_same_ids(Tokenizer(vocabulary, **rules), reference(vocabulary, **rules), TEXTS)


def test_offsets_equal_those_of_the_reference(pair):
    assert_same_offsets(*pair, TEXTS)
    # Every character is a separate piece, so that no [UNK] hides one.
    ours, _ = pair
    rules = ours.rules._asdict()
    text = "".join(TEXTS) + unicodedata.normalize("NFD", "".join(TEXTS))
    characters = sorted({*text, *text.lower()} - {*"\0\t\n\r \x0b\x0c"})
    vocabulary = made_vocabulary()[:5] + characters + [f"##{character}" for character in characters]
    assert_same_offsets(Tokenizer(vocabulary, **rules), reference(vocabulary, **rules), TEXTS)


def test_every_settled_character_is_treated_as_in_the_reference(pair):
    ours, theirs = pair
    assert len(SETTLED) > 95_000
    texts = [f"a{character}B" for character in SETTLED]
    differing = [
        ascii(text)
        for text, words in zip(texts, words_of(ours, texts), strict=True)
        if words != reference_words(theirs, text)
    ]
    assert differing == []


@settings(deadline=None, derandomize=True, max_examples=40)
@given(texts=st.lists(st.lists(LETTERS, max_size=30).map("".join), min_size=1, max_size=6))
def test_any_text_has_the_words_ids_and_offsets_of_the_reference(pair, texts):
    ours, theirs = pair
    assert words_of(ours, texts) == [reference_words(theirs, text) for text in texts]
    assert_same_ids(ours, theirs, texts)
    assert_same_offsets(ours, theirs, texts)


def test_special_tokens_written_in_a_text_are_plain_characters():
    # Known difference: the reference treats them as special tokens, so a text could end its own segment.
    vocabulary = [*tiny_vocabulary(), "sep", "cls"]
    ours, theirs = Tokenizer(vocabulary, **RULES["uncased"]), reference(vocabulary, **RULES["uncased"])
    text = "good [SEP] [CLS]bad"
    plain_ids = [vocabulary.index(token) for token in ("good", "[", "sep", "]", "[", "cls", "]", "bad")]
    assert encode(ours, [text]) == [plain_ids]
    assert theirs.encode(text, add_special_tokens=False).ids == [
        vocabulary.index(token) for token in ("good", "[SEP]", "[CLS]", "bad")
    ]
    every = " ".join(vocabulary[:5]) + "".join(vocabulary[:5])
    assert not {*encode(ours, [every])[0]} & {ours.special.padding, ours.special.start, ours.special.end}


def test_a_capital_sigma_at_the_end_of_a_word_is_final():
    # Known difference: the library lower-cases character by character; the original Python code agrees with ours.
    vocabulary = [*tiny_vocabulary(), "οδος", "οδοσ", "σ"]
    ours, theirs = Tokenizer(vocabulary, **RULES["uncased"]), reference(vocabulary, **RULES["uncased"])
    assert words_of(ours, ["ΟΔΟΣ ΣΟΦΟΣ Σ"]) == [["οδος", "σοφος", "σ"]] == ["ΟΔΟΣ ΣΟΦΟΣ Σ".lower().split()]
    assert reference_words(theirs, "ΟΔΟΣ ΣΟΦΟΣ Σ") == ["οδοσ", "σοφοσ", "σ"]
    assert encode(ours, ["ΟΔΟΣ Σ"]) == [[vocabulary.index("οδος"), vocabulary.index("σ")]]


def test_characters_newer_than_the_unicode_version_of_the_reference():
    # Known difference: TensorFlow's tables have punctuation, marks and case pairs added after Unicode 7; the library's
    # do not. Both keep unassigned code points.
    ours, theirs = (make(tiny_vocabulary(), **RULES["uncased"]) for make in (Tokenizer, reference))
    assert words_of(ours, ["a\u2e43b", "a\U0001e8d0b"]) == [["a", "\u2e43", "b"], ["ab"]]
    assert reference_words(theirs, "a\u2e43b") == ["a\u2e43b"]
    assert words_of(ours, ["a\u0378b"]) == [reference_words(theirs, "a\u0378b")] == [["a\u0378b"]]


def test_words_of_handwritten_texts():
    tokenizer = Tokenizer(tiny_vocabulary(), **RULES["uncased"])
    assert words_of(tokenizer, ["Don't\u00a0STOP,中文é!", "", "\u200b"]) == [
        ["don", "'", "t", "stop", ",", "中", "文", "e", "!"],
        [],
        [],
    ]


def test_an_empty_batch(tiny_tokenizer):
    assert encode(tiny_tokenizer, []) == []
    assert encode(tiny_tokenizer, ["", "", "good"])[:2] == [[], []]


INVALID = [b"good\xff bad", b"\xc3", b"good \xe4\xb8", b"\xed\xa0\x80x", b"\xf4\x90\x80\x80 x", b"\xc0\xafx", b"x\x80"]


def test_bytes_that_are_not_utf_8_are_dropped(tiny_tokenizer):
    expected = encode(tiny_tokenizer, [text.decode("utf-8", "replace").replace("\ufffd", "") for text in INVALID])
    assert tiny_tokenizer(tf.constant(INVALID)).to_list() == expected
    assert expected[0] == encode(tiny_tokenizer, ["good bad"])[0]


@settings(deadline=None, derandomize=True, max_examples=60)
@given(text=st.binary(max_size=24))
def test_any_bytes_are_accepted(tiny_tokenizer, text):
    plain = text.decode("utf-8", "replace").replace("\ufffd", "")
    assert tiny_tokenizer(tf.constant([text])).to_list() == encode(tiny_tokenizer, [plain])


def test_ids_are_the_same_inside_a_function_and_a_pipeline(pair):
    tokenizer = pair[0]
    texts = tf.constant([text.encode() for text in TEXTS])
    expected = encode(tokenizer, TEXTS)
    ragged = tokenizer(texts)
    assert ragged.dtype == tf.int32 and ragged.row_splits.dtype == tf.int64
    function = tf.function(lambda text: tokenizer(text), input_signature=[tf.TensorSpec([None], tf.string)])
    assert function(texts).to_list() == expected
    dataset = tf.data.Dataset.from_tensor_slices(texts).batch(4).map(tokenizer, num_parallel_calls=2)
    assert [row for batch in dataset for row in batch.to_list()] == expected


def test_ids_of_special_tokens_come_from_the_vocabulary():
    vocabulary = ["a", "[MASK]", "[SEP]", "##b", "[CLS]", "[UNK]", "[PAD]"]
    tokenizer = Tokenizer(tuple(vocabulary), lowercase=True, strip_accents=True)
    assert tokenizer.special == SpecialTokens(padding=6, unknown=5, start=4, end=2, mask=1)
    assert encode(tokenizer, ["abb c", "A" + "b" * 99, "A" + "b" * 100]) == [[0, 3, 3, 5], [0] + [3] * 99, [5]]


def test_the_vocabulary_is_copied():
    vocabulary = tiny_vocabulary()
    tokenizer = Tokenizer(vocabulary, lowercase=True, strip_accents=True)
    vocabulary.clear()
    assert tokenizer.vocabulary == tiny_vocabulary()


@pytest.mark.parametrize(
    ("vocabulary", "expected"),
    [
        ([], "vocabulary of 0 entries lacks [PAD] [UNK] [CLS] [SEP] [MASK]"),
        (["[PAD]", "[UNK]", "[CLS]", "a", "[MASK]"], "vocabulary of 5 entries lacks [SEP]"),
        (["[pad]", "[UNK]", "[CLS]", "[SEP]", "[mask]", "b"], "vocabulary of 6 entries lacks [PAD] [MASK]"),
        ([*tiny_vocabulary(), "good"], "vocabulary contains 'good' twice; ids would be ambiguous"),
        ([*tiny_vocabulary(), "[SEP]", "the"], "vocabulary contains '[SEP]' twice; ids would be ambiguous"),
    ],
)
def test_an_invalid_vocabulary_is_rejected(vocabulary, expected):
    with pytest.raises(ValueError) as caught:
        Tokenizer(vocabulary, lowercase=True, strip_accents=True)
    assert str(caught.value) == expected


def test_the_locale_of_the_process_does_not_matter():
    # In a Turkish locale the lower case of I is a dotless letter, which no English vocabulary has.
    program = "import tensorflow as tf; from tfbert.text.tokenizer import Tokenizer as T\n"
    program += "t = T(['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', 'title'], lowercase=True, strip_accents=False)\n"
    program += "print(t(tf.constant(['TITLE'])).to_list())"
    environment = os.environ | {"LC_ALL": "tr_TR.UTF-8", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.split() == ["[[5]]"]
