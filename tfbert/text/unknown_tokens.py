"""Text that the encoder does not know: [UNK] tokens, words in many pieces, and a more suitable encoder."""

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import tensorflow as tf

from tfbert.text.datasets import TokenizedSplit
from tfbert.text.readers.columns import shown
from tfbert.text.records import Record
from tfbert.text.tokenizer import Tokenizer

WARNED_FRACTION = 0.05
# An English vocabulary splits few English words, but most words of German or Spanish.
_MAX_PIECES_PER_WORD = 1.5
_MIN_WORDS = 200
# Words in Latin, Greek or Cyrillic letters. Chinese and Japanese have no spaces between words.
_WORD = re.compile("[A-Za-z\u00c0-\u052f]{2,}")
# Presets in tfbert.encoder.presets.
_CHINESE, _MULTILINGUAL = "bert_base_zh", "bert_base_multi"
_UNTRAINED = "tiny"  # knows hardly any words
_SAMPLE_CHARACTERS = 200_000
_SHOWN_WORDS = 5
# First word of the Unicode names of letters that occur in Japanese or Korean but not in Chinese text.
_NOT_CHINESE = ("HIRAGANA", "KATAKANA", "HANGUL")


@dataclass(frozen=True)
class UnknownTokens:
    """Fractions of unknown tokens by split.

    Args:
        encoder: the name of the encoder, for messages.
        fractions: split name to the fraction of [UNK] among the tokens of its texts, excluding special tokens.
        words: the most frequent unknown words of the split with the largest fraction; empty without a warning.
        advice: what to do about them; empty without a warning.
        pieces_per_word: the mean number of word pieces per word in a sample of train; `None` for too few words.
    """

    encoder: str
    fractions: dict[str, float]
    words: tuple[str, ...] = ()
    advice: str = ""
    pieces_per_word: float | None = None

    def line(self) -> str:
        """Return a line with the fraction of every split."""
        return f"unknown tokens ([UNK]): {_listed(self.fractions, '{name} {percent}')}"

    @property
    def warnings(self) -> tuple[str, ...]:
        """A warning if more than 5 % of the tokens of a split are unknown."""
        return (f"{self._sentence(WARNED_FRACTION)}. {self.advice}",) if self.exceeds(WARNED_FRACTION) else ()

    @property
    def language_warnings(self) -> tuple[str, ...]:
        """A warning if words have so many pieces that the text is probably in another language than the encoder's."""
        is_other = self.pieces_per_word is not None and self.pieces_per_word > _MAX_PIECES_PER_WORD
        if not is_other or self.encoder in (_MULTILINGUAL, _UNTRAINED):
            return ()
        return (
            f"the encoder {self.encoder} splits the words of train into {self.pieces_per_word:.1f} pieces on average, "
            "so it may not know their language; an encoder of this language, or "
            f"--encoder {_MULTILINGUAL} (104 languages), may be better",
        )

    def exceeds(self, fraction: float) -> bool:
        """Return whether the fraction of unknown tokens of any split is larger than `fraction`."""
        return max(self.fractions.values()) > fraction

    def require_at_most(self, fraction: float) -> None:
        """Check that no split has a larger fraction of unknown tokens than `fraction`.

        Raises:
            ValueError: the fraction of a split is larger.
        """
        if self.exceeds(fraction):
            raise ValueError(
                f"{self._sentence(fraction)}; expected at most {_percent(fraction)}. {self.advice} "
                "To train anyway: --set data.max_unknown_fraction=1"
            )

    def _sentence(self, limit: float) -> str:
        too_large = {name: fraction for name, fraction in self.fractions.items() if fraction > limit}
        words = f", most often for {', '.join(map(shown, self.words))}" if self.words else ""
        percentages = _listed(too_large, "{percent} of the tokens of {name}")
        return f"the encoder {self.encoder} cannot read parts of the text: [UNK] is {percentages}{words}"


def measure_unknown(
    splits: Mapping[str, Iterable[Record]],
    tokenized: Mapping[str, TokenizedSplit],
    tokenizer: Tokenizer,
    encoder: str,
) -> UnknownTokens:
    """Measure the unknown tokens of every split, and find examples and advice if a warning is due.

    Args:
        splits: split name to records.
        tokenized: split name to the tokenized records.
        tokenizer: the tokenizer of the encoder.
        encoder: the name of the encoder in the config.
    """
    fractions = {
        name: int(split.num_unknown_tokens) / max(int(split.num_text_tokens), 1) for name, split in tokenized.items()
    }
    unknown = UnknownTokens(encoder, fractions, pieces_per_word=_pieces_per_word(_sample(splits["train"]), tokenizer))
    if not unknown.exceeds(WARNED_FRACTION):
        return unknown
    texts = _sample(splits[max(fractions, key=fractions.get)])
    words = Counter(unknown_words(texts, tokenizer))
    common = tuple(word for word, _ in words.most_common(_SHOWN_WORDS))
    return replace(unknown, words=common, advice=advise(texts, words, {encoder}))


def _pieces_per_word(texts: Iterable[str], tokenizer: Tokenizer) -> float | None:
    words = Counter(word for text in texts for word in _WORD.findall(text))
    if words.total() < _MIN_WORDS:
        return None
    num_pieces = tokenizer(tf.constant([word.encode() for word in words])).row_lengths().numpy()
    return float(num_pieces @ list(words.values())) / words.total()


def unknown_words(texts: Iterable[str], tokenizer: Tokenizer) -> Iterator[str]:
    """Yield the words that became [UNK], as written in the texts."""
    texts = list(texts)
    tokens = tokenizer.with_offsets(tf.constant([text.encode("utf-8", "replace") for text in texts]))
    is_unknown = (tokens.ids.flat_values == tokenizer.special.unknown).numpy()
    positions = (tokens.ids.value_rowids(), tokens.starts.flat_values, tokens.ends.flat_values)
    for index, start, end in zip(*(tensor.numpy()[is_unknown] for tensor in positions), strict=True):
        yield texts[index][start:end]


def advise(texts: Iterable[str], words: Mapping[str, int], used: Collection[str]) -> str:
    """Return advice on an encoder that suits the texts better, based on their script.

    Args:
        texts: a sample of the data.
        words: unknown word of the sample to its count.
        used: the names of encoders not to suggest.
    """
    num_letters = sum(count for word, count in words.items() if any(map(str.isalpha, word)))
    if 2 * num_letters < sum(words.values()):
        return "Most of these are symbols, such as emoji, which the encoder cannot distinguish."
    if _CHINESE not in used and _is_chinese(texts):
        return f"Use --encoder {_CHINESE} for Chinese text."
    if _MULTILINGUAL not in used:
        return f"Use an encoder for this language, such as --encoder {_MULTILINGUAL} (104 languages)."
    return (
        "Use an encoder pretrained on such text (--encoder hf://owner/name or a directory), or pretrain one with its "
        "own vocabulary: tfbert pretrain --from-scratch."
    )


def _sample(records: Iterable[Record]) -> list[str]:
    """Return the first texts up to a total length; the last one is truncated."""
    texts, num_left = [], _SAMPLE_CHARACTERS
    for record in records:
        for text in record.texts:
            texts.append(text[:num_left])
            num_left -= len(texts[-1])
        if not num_left:
            break
    return texts


def _is_chinese(texts: Iterable[str]) -> bool:
    """Return whether most non-ASCII letters are Chinese, and hardly any are Japanese or Korean."""
    letters = Counter(character for text in texts for character in text if character.isalpha() and character > "\x7f")
    scripts: Counter = Counter()
    for character, count in letters.items():
        scripts[unicodedata.name(character, "?").split()[0]] += count
    total = sum(scripts.values())
    return 2 * scripts["CJK"] > total and 20 * sum(scripts[script] for script in _NOT_CHINESE) < total


def _listed(fractions: Mapping[str, float], template: str) -> str:
    return ", ".join(template.format(name=name, percent=_percent(fraction)) for name, fraction in fractions.items())


def _percent(fraction: float) -> str:
    return "less than 0.01%" if 0 < fraction < 1e-4 else f"{100 * fraction:.3g}%"
