"""Texts that tokenizers often disagree about, for tests that compare two tokenizers."""

import unicodedata

from hypothesis import strategies as st

RULES = {
    "uncased": {"lowercase": True, "strip_accents": True},
    "cased": {"lowercase": False, "strip_accents": False},
    "lowercase with accents": {"lowercase": True, "strip_accents": False},
    "no split of CJK": {"lowercase": True, "strip_accents": True, "split_on_cjk": False},
}
EMOJI = ["\N{GRINNING FACE}", "\N{BLACK HEART SUIT}\ufe0f", "👩\u200d👩\u200d👧\u200d👦", "👍🏽", "🇩🇪", "1\ufe0f\u20e3"]
TEXTS = [
    "",
    " ",
    "\t\n\r ",
    "Hello, World! It's 3.14% of the $100k (or ~€90k); isn't it?",
    "unaffable embeddings misunderstandings antidisestablishmentarianism",
    "Café Crème ÀÉÎÕÜ naïve Ångström İstanbul ı ß ẞ Straße œuvre ŒUVRE Ǆ ǅ",
    "cafe\u0301 n\u0303 a\u0328\u0301 \u0301 x\u0301\u0302\u0303",
    "ﬁnance ﬂow oﬃce Ａ１！ｘ　ﾊﾝｶｸ ㎏ ½ ²",
    "我爱北京天安门 abc中文def 日本語のテキスト、です。カタカナ 한국어 텍스트입니다",
    "\u3400\u4dbf\u4e00\u9fa5\uf900\u2f00\u3007\U00020000\U0002a6d6\U0002f800 x\u4e00y",
    "a\U0002a700b\U0002b734c\U0002b740d\U0002b81de\U0002b820f\U0002b91fg\U0002b920h\U0002cea1i\U0002ceb0j\U0002fa1dk",
    " ".join(EMOJI) + "".join(EMOJI) + "good" + EMOJI[0] + "bad",
    "zero\u200bwidth\u200cnon\u200djoiner \ufeffBOM\ufeff soft\u00adhyphen",
    "word\u2060joiner \u200eleft\u202eright\u2066isolate\u180evowel",
    "a\u00a0b\u2003c\u2009d\u202fe\u205ff\u3000g\u1680h\u2028i\u2029j\x0bk\x0cl\x85m\x1cn",
    "nul\0l bell\x07 escape\x1b[0m delete\x7f c1\x80\x9f tab\tnew\nreturn\r",
    "\ufffdreplaced\ufffd private\ue000use\U000f0000 \U0010fffd",
    "Θάλασσα ἀρχή Москва Ёлка їжак שָׁלוֹם مَرْحَبًا हिन्दी में लिखा ภาษาไทย မြန်မာ አማርኛ ქართული",
    "\u060cعرب\u061b\u061f \u05be\u05c3 \u0964\u0965 \u3001\u3002「」『』 ¡¿«»‹›“”„‘’–—…·•§¶ †‡ ‰ ※ ⁅⁆ \u166e ༺༻",
    "^_^ `code` a|b {x} [y] <z> #tag @user $x +1 =2 ~3 \\n ° © ® ™ ± × ÷ ¬ ¨ ´ ¸",
    "http://www.example.com/a_b?c=d&e=f#g user.name+tag@example.co.uk C:\\temp\\x.txt",
    "y" * 100 + " " + "y" * 101 + " " + "Y" * 100,
    "ñ" * 100 + " " + "ñ" * 101 + " n" + "\u0303" * 99 + " n" + "\u0303" * 100,
    "ก" * 40 + " " + "कि" * 30 + " " + "ก" * 99 + " " + "ก" * 100 + " " + "ก" * 101,
    "😀" * 100 + " " + "😀" * 101 + " 中" * 3 + "中" * 101,
    "y" * 60 + "\u200b" * 60 + "y" * 40 + " z",
    "##ing ing## [ UNK ] [MASK [mask]",
]
# Which code points are assigned, and the category of some, depends on the version of Unicode. Characters whose category
# is the same as in Unicode 3.2 are the same everywhere. The edges of the private use planes are enough.
OLD = unicodedata.ucd_3_2_0
SETTLED = [
    character
    for character in map(chr, range(0xF0010))
    if unicodedata.category(character) == OLD.category(character) not in ("Cn", "Cs")
]

# The capital sigma has a separate test.
LETTERS = st.one_of(
    st.sampled_from([character for character in SETTLED if character != "Σ"]),
    st.sampled_from([*EMOJI, *"aB é中.,-' \t\u0301\u200b\u200d\u00a0ßİ각\ufe0f"]),
    st.characters(min_codepoint=0x20, max_codepoint=0x24F),
)


def made_vocabulary():
    """Return the special tokens, some words, and four of five characters of `TEXTS` in all their forms."""
    text = "".join(TEXTS) + unicodedata.normalize("NFD", "".join(TEXTS))
    characters = sorted({*text, *text.lower()} - {*"\0\t\n\r \x0b\x0c"})
    known = [character for index, character in enumerate(characters) if index % 5]
    longer = ["hello", "ing", "##ing", "ก" * 40, "##กก", "कि", "##कि", "cafe", "café", "##x", "天安"]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    return list(dict.fromkeys(special + known + [f"##{character}" for character in known] + longer))
