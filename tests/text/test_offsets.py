"""Character offsets of word pieces, for handwritten and generated texts.

`test_tokenizer.py` compares them with the `tokenizers` library.
"""

import functools
import random
import unicodedata

import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tfbert.encoder.presets import tiny_vocabulary
from tfbert.serving.ops import list_ops
from tfbert.text.tokenizer import Tokenizer, Tokens

RULES = {
    f"{'lower' if lowercase else 'cased'}, {'stripped' if strip else 'accents'}{', CJK' if split else ''}": {
        "lowercase": lowercase,
        "strip_accents": strip,
        "split_on_cjk": split,
    }
    for lowercase in (True, False)
    for strip in (True, False)
    for split in (True, False)
}
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
HANDWRITTEN = (
    "un ##aff ##able ##s good ##good bad ##bad hello cafe Cafe café x ##x ! , . ' "
    "😀 ##😀 👍 ##🏽 👩 ##👩 👧👦 ❤ ##❤ 🇩 ##🇪 ##🇫 ##🇷 1 ##\u20e3 ａ ##１ ！ ﬁ ##nance 我 爱 中 か "
    "straße i ##\u0307 ##stanbul οδος οδοσ ᄒ\u1161\u11ab ##ᄀ\u116e\u11a8 ᄀ ##\u1161 ##\u11a8 "
    "مرح ##با ، שלום हिन ##दी म ท ##น \u4e3d \u0301 ##\u0301 ##\u0302 ##\U0001d165 ##\u302e"
)
PIECES = HANDWRITTEN.split()

# Text, and the characters of each of its pieces separated by bars. An unknown word is one piece.
UNCASED = [
    ("", ""),
    (" \t\n\r ", ""),
    ("\u200b\ufeff\x00", ""),
    ("\u0301", ""),
    ("Unaffables, HELLO!", "Un|aff|able|s|,|HELLO|!"),
    ("good😀bad😀 😀👍🏽 👍🏽x", "good|😀|bad|😀|😀👍🏽|👍|🏽|x"),
    ("👩\u200d👩\u200d hello 👧\u200d👦x", "👩|👩|hello|👧\u200d👦|x"),
    ("a👩\u200d👩\u200d👧b hello", "a👩\u200d👩\u200d👧b|hello"),
    ("❤\ufe0f good❤\ufe0f. ❤\ufe0e", "❤\ufe0f|good|❤\ufe0f|.|❤\ufe0e"),
    ("🇩🇪🇫🇷 bad", "🇩|🇪|🇫|🇷|bad"),
    ("1\ufe0f\u20e3 good", "1\ufe0f|\u20e3|good"),
    ("Cafe\u0301s CAFÉS cafe\u0301 CafÉ\u0301\u0302", "Cafe\u0301|s|CAFÉ|S|cafe\u0301|CafÉ\u0301\u0302"),
    ("x\u0301\u0302\u0303 !\u0301 \u0301 \u0301x", "x\u0301\u0302\u0303|!\u0301|x"),
    ("x\u200b\u0301 good\u0301\u200bs", "x|good\u0301|s"),
    ("Ａ１！ｈ ﬁnance ㎏ ½", "Ａ|１|！|ｈ|ﬁ|nance|㎏|½"),
    ("我hello爱 中\u0301x", "我|hello|爱|中\u0301|x"),
    ("日本のテスト、か\u3099 が か", "日|本|のテスト|、|か\u3099|が|か"),
    ("\U00020000x\U0002f800\u4e00", "\U00020000|x|\U0002f800|\u4e00"),
    ("good\u200bbad\u200b \u200dhello\u2060 go\u200cod", "good|bad|hello|go\u200cod"),
    ("\tgood\nbad\r\nhello\u3000cafe\u2028x\u00a0", "good|bad|hello|cafe|x"),
    ("go\x07od b\0ad\x1f \x85x\x7f", "go\x07od|b\0ad|x"),
    ("\ufeffgood \ufeffbad\ufeff", "good|bad"),
    ("un\xadaff\xadable go\xadod\xad", "un|aff|able|go\xadod"),
    ("STRAẞE straße GROẞ good", "STRAẞE|straße|GROẞ|good"),
    ("İstanbul'da İİ ı hello", "İ|stanbul|'|da|İİ|ı|hello"),
    ("ΟΔΟΣ ΟΔΌΣ. ὁδοσ", "ΟΔΟΣ|ΟΔΌΣ|.|ὁδοσ"),
    ("한국 각x ᄀ\u1161\u11a8", "한|국|각|각|각|x|ᄀ|\u1161|\u11a8"),
    ("مَرْحَبًا، سلام", "مَرْحَ|بًا|،|سلام"),
    ("שָׁלוֹם hello", "שָׁלוֹם|hello"),
    ("हिन्दी में.", "हिन्|दी|में|."),
    ("ที่นี่ x", "ที่|นี่|x"),
    ("good☃bad ☃ hello", "good☃bad|☃|hello"),
    ("y" * 100 + " " + "z" * 101 + " good", "y" * 100 + "|" + "z" * 101 + "|good"),
    ("e\u0301" * 101 + "!bad", "e\u0301" * 101 + "|!|bad"),
    ("\ufffdgood\ufffdbad \ue000x\ue000", "good|bad|x"),
    ("good\u037ebad≮x", "good|\u037e|bad|≮|x"),
    ("🏴\U000e0067\U000e0062\U000e007f good", "🏴|good"),
]
CASED = [
    ("Cafe\u0301s café CAFE", "Cafe|\u0301|s|café|CAFE"),
    ("!\u0301x 中\u0301 x\u0301\u0302", "!|\u0301|x|中|\u0301|x|\u0301|\u0302"),
    ("İstanbul x\ufe0f 각 good", "İstanbul|x\ufe0f|각|good"),
    ("\ufeffgood\u200bbad ❤\ufe0f HELLO", "good|bad|❤\ufe0f|HELLO"),
]
LOWER_WITH_ACCENTS = [
    ("İSTANBUL CAFÉ Cafe\u0301", "İ|İ|STANBUL|CAFÉ|Cafe|\u0301"),
    ("ΟΔΟΣ! 각", "ΟΔΟΣ|!|각"),
]
NO_SPLIT_OF_CJK = [
    ("我hello爱 我x 我\u0301", "我hello爱|我|x|我\u0301"),
    ("\U0002f800x 日本", "\U0002f800|x|日本"),
]
TABLES = {
    "lower, stripped, CJK": UNCASED,
    "cased, accents, CJK": CASED,
    "lower, accents, CJK": LOWER_WITH_ACCENTS,
    "lower, stripped": NO_SPLIT_OF_CJK,
}


def tokens_of(tokenizer, texts):
    """Return the pieces of every text as (id, start, end)."""
    tokens = tokenizer.with_offsets(tf.constant([text.encode() for text in texts], tf.string))
    return [list(zip(*row, strict=True)) for row in zip(*(values.to_list() for values in tokens), strict=True)]


def surfaces(tokenizer, texts):
    rows = zip(texts, tokens_of(tokenizer, texts), strict=True)
    return [[text[start:end] for _, start, end in row] for text, row in rows]


def encode(tokenizer, texts):
    return tokenizer(tf.constant([text.encode() for text in texts], tf.string)).to_list()


def joined_words(tokenizer, texts):
    words = tokenizer.words(tf.constant([text.encode() for text in texts], tf.string))
    return [b"".join(row).decode() for row in words.to_list()]


def words_in(tokenizer, row):
    """Group the pieces of one text by word."""
    words = []
    for piece in row:
        if not tokenizer.vocabulary[piece[0]].startswith("##"):
            words.append([])
        words[-1].append(piece)
    return words


def differs_by_sigma(tokenizer, surface):
    return tokenizer.lowercase and "Σ" in surface


def assert_separate_words_have_the_same_ids(tokenizer, texts, rows):
    """Assert that a separate word has the same ids and text between words has none, so no range is short or long."""
    excerpts = []
    for text, row in zip(texts, rows, strict=True):
        previous_end = 0
        for word in words_in(tokenizer, row):
            start, end = word[0][1], word[-1][2]
            assert previous_end <= start, (ascii(text), word)
            excerpts.append((text[previous_end:start], []))
            if not differs_by_sigma(tokenizer, text[start:end]):
                excerpts.append((text[start:end], [piece[0] for piece in word]))
            previous_end = end
        excerpts.append((text[previous_end:], []))
    encoded = encode(tokenizer, [surface for surface, _ in excerpts])
    for (surface, ids), own_ids in zip(excerpts, encoded, strict=True):
        assert own_ids == ids, ascii(surface)


def assert_pieces_match_their_characters(tokenizer, texts, rows):
    """Assert that the normalized characters of a known piece are the piece, or contain it if it shares a character."""
    known = []
    for text, row in zip(texts, rows, strict=True):
        for index, (token_id, start, end) in enumerate(row):
            if token_id != tokenizer.special.unknown and not differs_by_sigma(tokenizer, text[start:end]):
                before, after = row[index - 1 : index], row[index + 1 : index + 2]
                shared = any(other[2] > start for other in before) or any(other[1] < end for other in after)
                known.append((text[start:end], tokenizer.vocabulary[token_id].removeprefix("##"), shared))
    normalized = joined_words(tokenizer, [surface for surface, _, _ in known])
    for (surface, piece, shared), text in zip(known, normalized, strict=True):
        assert piece in text if shared else piece == text, (ascii(surface), ascii(piece))


def assert_offsets_are_consistent(tokenizer, texts):
    rows = tokens_of(tokenizer, texts)
    assert [[piece[0] for piece in row] for row in rows] == encode(tokenizer, texts)
    for text, row in zip(texts, rows, strict=True):
        starts, ends = [piece[1] for piece in row], [piece[2] for piece in row]
        assert all(0 <= start < end <= len(text) for start, end in zip(starts, ends, strict=True)), ascii(text)
        assert starts == sorted(starts) and ends == sorted(ends), ascii(text)
    assert_separate_words_have_the_same_ids(tokenizer, texts, rows)
    assert_pieces_match_their_characters(tokenizer, texts, rows)


# Characters with special behaviour. Most are in the vocabulary, otherwise nearly every word would be one [UNK].
POOL = [
    *"abzAZ09.,'-_ \t\né\u0301\u0302\u0327\u0308\u093c\u20e3\ufe0f\u200b\u200d\xad\ufeff\ufffd\0",
    *"ßẞİıÅñẪǆΣσςΆ各中\u3099が한각",
]
POOL += [
    *"ﬁＡ１！　ﾊ㎏½≮\u037e\u0344\u0385\u1fc1ᾷ\u0f77\u09cb\u0b94",
    *"שָׁלמَرْهिन्ी",
    *"😀👍🏽👩🇩🇪❤🏴\U000e0067\U0002f800\U00020000\U0001d15e",
]
CHARACTERS = st.one_of(
    st.sampled_from(POOL),
    st.sampled_from(POOL),
    st.sampled_from(POOL),
    st.characters(codec="utf-8"),
    st.characters(codec="utf-8", max_codepoint=0x2FFF, categories=["L", "M"]),
)
BATCHES = st.lists(st.lists(CHARACTERS, max_size=20).map("".join), min_size=1, max_size=12)
QUIET = {
    "deadline": None,
    "derandomize": True,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.large_base_example],
}


def generated_vocabulary():
    """Return the handwritten pieces and all forms of the characters of the pool, except every ninth."""
    text = "".join(POOL) + unicodedata.normalize("NFD", "".join(POOL))
    characters = sorted({*text, *text.lower()} - {*"\0\t\n "})
    kept = [character for index, character in enumerate(characters) if index % 9]
    return list(dict.fromkeys(SPECIAL + PIECES + kept + [f"##{one}" for one in kept]))


@functools.cache
def handwritten_tokenizer(name):
    return Tokenizer(SPECIAL + PIECES, **RULES[name])


# Generated texts are tested with a few rules, the handwritten tables with all of them.
FEW_RULES = pytest.mark.parametrize(
    "rules",
    [name if name in TABLES else pytest.param(name, marks=pytest.mark.slow) for name in RULES],
    indirect=True,
)


@pytest.fixture(scope="module", params=RULES)
def rules(request):
    return RULES[request.param]


@pytest.fixture(scope="module")
def tokenizer(rules):
    return Tokenizer(generated_vocabulary(), **rules)


@pytest.mark.parametrize("name", TABLES)
def test_characters_of_pieces_in_handwritten_texts(name):
    tokenizer = handwritten_tokenizer(name)
    texts = [text for text, _ in TABLES[name]]
    for text, pieces, expected in zip(texts, surfaces(tokenizer, texts), TABLES[name], strict=True):
        assert pieces == (expected[1].split("|") if expected[1] else []), ascii(text)
    assert_offsets_are_consistent(tokenizer, texts)


def test_offsets_of_handwritten_texts():
    tokenizer = handwritten_tokenizer("lower, stripped, CJK")
    # The last text begins with an accent, which does not belong to the last letter of the previous text.
    tokens = tokenizer.with_offsets(tf.constant(["😀 Cafe\u0301s", "", "x İx 各x", "\u0301\u0302x"]))
    assert isinstance(tokens, Tokens)
    assert {values.dtype for values in tokens} == {tf.int32} and {values.row_splits.dtype for values in tokens} == {
        tf.int64
    }
    assert tokens.starts.to_list() == [[0, 2, 7], [], [0, 2, 3, 5, 6], [2]]
    assert tokens.ends.to_list() == [[1, 7, 8], [], [1, 3, 4, 6, 7], [3]]


@FEW_RULES
@settings(max_examples=30, **QUIET)
@given(texts=BATCHES)
def test_offsets_of_any_text_are_consistent(tokenizer, texts):
    assert_offsets_are_consistent(tokenizer, texts)


def test_offsets_of_handwritten_texts_are_consistent_under_all_rules(tokenizer):
    assert_offsets_are_consistent(tokenizer, [text for table in TABLES.values() for text, _ in table])


def disagreeing(tokenizer, texts):
    """Return the texts whose normalized length differs from the sum over their characters."""
    characters = sorted(set("".join(texts)))
    sizes = tf.strings.length(tokenizer._normalize(tf.constant([*(one.encode() for one in characters), b""]))).numpy()
    size_of = dict(zip(characters, sizes, strict=False))
    text_sizes = tf.strings.length(tokenizer._normalize(tf.constant([text.encode() for text in texts]))).numpy()
    return [ascii(text) for text, size in zip(texts, text_sizes, strict=True) if size != sum(map(size_of.get, text))]


@settings(max_examples=40, **QUIET)
@given(texts=BATCHES)
def test_the_normalized_length_of_a_text_is_the_sum_over_its_characters(tokenizer, texts):
    assert disagreeing(tokenizer, texts) == []


def test_the_normalized_length_of_a_character_does_not_depend_on_its_neighbours(tokenizer):
    blocks = (range(0xD800), range(0xF8FF, 0x20100), range(0x2F800, 0x2FA20), range(0xE0000, 0xE0200))
    characters = [chr(code) for block in blocks for code in block]
    random.Random(7).shuffle(characters)
    assert (
        disagreeing(tokenizer, ["".join(characters[start : start + 60]) for start in range(0, len(characters), 60)])
        == []
    )


class Contextual(Tokenizer):
    """Tokenizer whose normalization depends on neighbouring characters, as lower-casing does in some locales."""

    def _normalize(self, text):
        text = tf.strings.regex_replace(super()._normalize(text), "ab", "abracadabra")
        return tf.strings.regex_replace(text, "cd+", "c")


def test_if_lengths_disagree_the_range_of_every_piece_is_the_whole_text():
    tokenizer = Contextual(tiny_vocabulary(), lowercase=True, strip_accents=True)
    texts = ["e g", "X cddd!", "good bad", "x ab", "", "ab"]
    rows = tokens_of(tokenizer, texts)
    assert [[piece[0] for piece in row] for row in rows] == encode(tokenizer, texts)
    assert [[piece[1:] for piece in row] for row in rows] == [
        [(0, 1), (2, 3)],
        [(0, 7)] * 3,
        [(0, 4), (5, 8)],
        [(0, 4)] * 12,
        [],
        [(0, 2)] * 11,
    ]
    assert [len(text) for text in disagreeing(tokenizer, texts)] == [9, 6, 4]


def test_a_sigma_is_final_at_the_end_of_a_text_but_not_before_an_apostrophe():
    # Known exception: the word's ids depend on what follows the word. The offsets are correct nevertheless.
    tokenizer = handwritten_tokenizer("lower, stripped, CJK")
    ((sigma, *row),) = tokens_of(tokenizer, ["ΟΔΟΣ'Α x"])
    assert (tokenizer.vocabulary[sigma[0]], *sigma[1:]) == ("οδοσ", 0, 4)
    assert [piece[1:] for piece in row] == [(4, 5), (5, 6), (7, 8)]
    assert encode(tokenizer, ["ΟΔΟΣ", "ΟΔΟΣ'Α"]) == [[PIECES.index("οδος") + 5], [sigma[0], row[0][0], row[1][0]]]


def test_the_ranges_of_reordered_marks_are_swapped():
    # Known exception: marks that are kept and that decomposition reorders. The range of the word is correct.
    tokenizer = handwritten_tokenizer("lower, stripped, CJK")
    text = "x\u302e\U0001d165 good"
    (row,) = tokens_of(tokenizer, [text])
    assert [tokenizer.vocabulary[piece[0]] for piece in row] == ["x", "##\U0001d165", "##\u302e", "good"]
    assert [text[start:end] for _, start, end in row] == ["x", "\u302e\U0001d165", "\U0001d165", "good"]
    assert_separate_words_have_the_same_ids(tokenizer, [text], [row])


INVALID = [
    (b"good\xff bad", "good|bad"),
    (b"\xc3hello", "hello"),
    (b"go\xffod\xff\xfe x", "go\ufffdod|x"),
    (b"\xed\xa0\x80x good", "x|good"),
    (b"\xf4\x90\x80\x80 x \xf0\x9f\x98", "x"),
    (b"\xf0\x9f\x98x\xe4\xb8 cafe\xcc\x81\xcc!", "x|cafe\u0301|!"),
    (b"\x80", ""),
]


def test_invalid_utf_8_counts_as_the_decoded_characters():
    tokenizer = handwritten_tokenizer("lower, stripped, CJK")
    encoded = tf.constant([text for text, _ in INVALID])
    starts, ends = (values.to_list() for values in tokenizer.with_offsets(encoded)[1:])
    for (encoded_text, expected), row in zip(INVALID, zip(starts, ends, strict=True), strict=True):
        text = encoded_text.decode("utf-8", "replace")
        assert "|".join(text[start:end] for start, end in zip(*row, strict=True)) == expected, encoded_text


@settings(max_examples=40, **QUIET)
@given(data=st.lists(st.binary(max_size=24), min_size=1, max_size=10))
def test_offsets_of_any_bytes_are_those_of_the_decoded_text(tiny_tokenizer, data):
    decoded = [text.decode("utf-8", "replace") for text in data]
    tokens = tiny_tokenizer.with_offsets(tf.constant(data))
    rows = [list(zip(*row, strict=True)) for row in zip(*(values.to_list() for values in tokens), strict=True)]
    assert rows == tokens_of(tiny_tokenizer, decoded)
    assert_offsets_are_consistent(tiny_tokenizer, decoded)


def test_texts_without_pieces(tiny_tokenizer):
    for texts in ([], [""], ["", " ", "\u0301", "\u200b"]):
        assert tokens_of(tiny_tokenizer, texts) == [[] for _ in texts]


@FEW_RULES
def test_offsets_are_the_same_inside_a_function_and_a_pipeline(tokenizer):
    texts = tf.constant([text.encode() for text, _ in UNCASED])
    expected = [values.to_list() for values in tokenizer.with_offsets(texts)]
    function = tf.function(tokenizer.with_offsets, input_signature=[tf.TensorSpec([None], tf.string)])
    assert [values.to_list() for values in function(texts)] == expected
    dataset = tf.data.Dataset.from_tensor_slices(texts).batch(7).map(tokenizer.with_offsets)
    batches = list(dataset)
    assert [[row for batch in batches for row in batch[index].to_list()] for index in range(3)] == expected


def test_an_exported_tokenizer_returns_the_same_and_uses_supported_ops(tmp_path):
    tokenizer = handwritten_tokenizer("lower, stripped, CJK")
    texts = [text.encode() for text, _ in UNCASED]
    module = tf.Module()
    module.resources = tokenizer.trackables()
    module.locate = tf.function(
        lambda text: {name: values.to_tensor(-1) for name, values in tokenizer.with_offsets(text)._asdict().items()},
        input_signature=[tf.TensorSpec([None], tf.string, name="text")],
    )
    tf.saved_model.save(module, str(tmp_path), signatures={"serving_default": module.locate})
    outputs = tf.saved_model.load(str(tmp_path)).signatures["serving_default"](text=tf.constant(texts))
    expected = tokenizer.with_offsets(tf.constant(texts))
    assert sorted(outputs) == ["ends", "ids", "starts"] and expected.starts.flat_values.shape[0] > 100
    for name, values in expected._asdict().items():
        assert outputs[name].numpy().tolist() == values.to_tensor(-1).numpy().tolist(), name
    ops = list_ops(tmp_path)
    assert ops.unknown == () and ops.jit_compiled == ()
    assert sorted(ops.custom) == ["FastWordpieceTokenizeWithOffsets", "NormalizeUTF8", "RegexSplitWithOffsets"]
