"""Awkward inputs for the exported model of every task; the golden files store its outputs for them.

The stored outputs depend on these inputs. New cases can be added and recorded, but existing ones must not change.
"""

import itertools

_TOPIC = "My card was stolen in 京都 yesterday 😀 and the fee for a new one is 12,50 € (why?)"

TEXTS = {
    "empty": "",
    "blanks": " \t\r\u3000\u00a0",
    "one_word": "card",
    # 62 and 63 word pieces: exactly 64 tokens with [CLS] and [SEP], and one token too many.
    "just_fits": " ".join(["the"] * 62),
    "one_too_many": " ".join(["the"] * 63),
    "several_windows": " ".join(f"{word} {number}." for number, word in enumerate((_TOPIC.split() * 5)[:90])),
    "emoji": "😀 👩\u200d👩\u200d👧\u200d👦 👍🏽 🇩🇪 1\ufe0f\u20e3 ok😀no",
    "combining_marks": "cafe\u0301 n\u0303 x\u0301\u0302\u0303 \u0301 A\u030angstro\u0308m",
    "accents_and_case": "Café Crème İSTANBUL ı ß ẞ Straße ŒUVRE",
    "chinese_and_english": "我爱北京天安门 my card 丢了 in Shanghai，请帮 me 。",
    "other_scripts": "Москва שָׁלוֹם مَرْحَبًا हिन्दी ภาษาไทย 한국어 カタカナ",
    "control_characters": "nul\0l bell\x07 escape\x1b[0m delete\x7f c1\x80\x9f line\nbreak",
    "replacement_and_private": "\ufffdreplaced\ufffd private\ue000use \U0010fffd",
    "typed_special_tokens": "[CLS] a loan [SEP] [MASK] of [PAD] 5 [UNK] [mask]",
    "invisible_characters": "zero\u200bwidth \ufeffBOM soft\u00adhyphen left\u200e right\u202e",
    "long_words": "y" * 100 + " " + "y" * 101 + " " + "ก" * 101 + " end",
    "punctuation": "!!! ... ?? -- \u2014 $100k, (or ~€90k); isn't it?",
    "addresses": "https://www.example.com/a_b?c=d&e=f#g user.name+tag@example.co.uk C:\\temp\\x.txt",
    "looks_like_json": '{"text": "no", "n": [1, null]} NaN',
    "full_width": "Ａ１！ｘ　ﾊﾝｶｸ ㎏ ½ ﬁnance oﬃce",
    "topic": _TOPIC,
    "topic_many_times": "  ".join([_TOPIC] * 12),
}
# Not UTF-8, so only a client that sends bytes can send them.
BYTES = [
    b"caf\xe9 cr\xe8me of latin 1",
    b"half a surrogate pair \xed\xa0\x80 here",
    b"\xff\xfe cut off \xe4\xba",
    b"too long \xc0\xaf\xf4\x90\x80\x80 but the card is fine \xf0\x9f\x98\x80",
]
_NUM_ROWS, _LENGTH = 6, 48


def items(first, second=None):
    """Return the items of each case.

    Args:
        first: the name of the first input, a text.
        second: the name of the second input: another text, or `choices`, which has several texts; `None` for a task
            with a single input.

    Returns:
        For each case, the text or the list of texts by input name.
    """
    texts, long = list(TEXTS.values()), TEXTS["several_windows"]
    others = texts[7:] + texts[:7]
    if second is None:
        return {case: {first: text} for case, text in TEXTS.items()}
    if second == "choices":
        counts = itertools.cycle([4, 1, 2, 12, 3])
        others = [(texts[index:] + texts)[: next(counts)] for index in range(len(texts))]
        edge_cases = {
            "empty_choice": ("card", [""]),
            "empty_choices": ("card", ["", "card", "", "card"]),
            "long_choices": (long, [long, long, "fee"]),
        }
    else:
        edge_cases = {
            "both_empty": ("", ""),
            "second_empty": ("card", ""),
            "both_long": (long, long),
            "first_long": (long, "card"),
            "second_long": ("card", long),
        }
    pairs = dict(zip(TEXTS, zip(texts, others, strict=True), strict=True)) | edge_cases
    return {case: {first: text, second: other} for case, (text, other) in pairs.items()}


def byte_columns(ranks):
    """Return a batch of texts that are not UTF-8, as one column per input.

    Args:
        ranks: the number of dimensions, 1 or 2, of each input by name.
    """
    rotations = [BYTES[number:] + BYTES[:number] for number in range(len(BYTES))]
    return {
        name: [texts[column : column + 3] for texts in rotations]
        if rank == 2
        else [texts[column] for texts in rotations]
        for column, (name, rank) in enumerate(sorted(ranks.items()))
    }


def packed_rows(vocabulary):
    """Return packed sequences, full and short ones, with one and with two segments.

    Args:
        vocabulary: the tokens of the model by id.

    Returns:
        For each input, int lists `(sequences, tokens)`.
    """
    start, end = vocabulary.index("[CLS]"), vocabulary.index("[SEP]")
    rows = {"token_ids": [], "segment_ids": [], "padding_mask": []}
    for row in range(_NUM_ROWS):
        length, border = _LENGTH - 9 * row, 5 + 3 * row
        ids = [
            start,
            *(5 + (37 * row + 1009 * position) % (len(vocabulary) - 5) for position in range(length - 2)),
            end,
        ]
        segments = [0] * length
        if row % 2 and border < length - 1:
            ids[border] = end
            segments = [int(position > border) for position in range(length)]
        padding = [0] * (_LENGTH - length)
        rows["token_ids"].append(ids + padding)
        rows["segment_ids"].append(segments + padding)
        rows["padding_mask"].append([1] * length + padding)
    return rows
