"""Text that the encoder cannot read: the share of tokens that are [UNK], and which encoder suits the text better."""

import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

import tensorflow as tf

from tfbert.text.columns import shown
from tfbert.text.datasets import TokenizedSplit
from tfbert.text.records import Record
from tfbert.text.tokenizer import Tokenizer

WARNED_FRACTION = 0.05
# Names of tfbert.encoder.presets.
_CHINESE, _MULTILINGUAL = "bert_base_zh", "bert_base_multi"
_SAMPLE_CHARACTERS = 200_000
_SHOWN_WORDS = 5
# First word of the Unicode name of letters that Japanese or Korean text mixes with Chinese ones.
_NOT_CHINESE = ("HIRAGANA", "KATAKANA", "HANGUL")


@dataclass(frozen=True)
class UnknownTokens:
    """How much of the text the encoder's vocabulary does not have.

    Args:
        encoder: its name.
        fractions: by split, share of [UNK] among the tokens of the texts, special tokens excluded.
        words: the most frequent unknown words of the split that has the largest share; empty if no warning is due.
        advice: what to do about them; empty if no warning is due.
    """

    encoder: str
    fractions: dict[str, float]
    words: tuple[str, ...] = ()
    advice: str = ""

    def line(self) -> str:
        """Return the share of every split."""
        return f"unknown tokens ([UNK]): {_listed(self.fractions, '{name} {share}')}"

    @property
    def warnings(self) -> tuple[str, ...]:
        """One sentence if a split has more than 5 % unknown tokens, else nothing."""
        return (f"{self._finding(WARNED_FRACTION)}. {self.advice}",) if self.exceeds(WARNED_FRACTION) else ()

    def exceeds(self, fraction: float) -> bool:
        """Return whether a split has a larger share of unknown tokens than this."""
        return max(self.fractions.values()) > fraction

    def require_at_most(self, fraction: float) -> None:
        """Refuse text of which the encoder cannot read a large part.

        Raises:
            ValueError: the share of unknown tokens of a split is larger than `fraction`.
        """
        if self.exceeds(fraction):
            raise ValueError(
                f"{self._finding(fraction)}; wanted at most {_percent(fraction)}. {self.advice} "
                "To train nevertheless: --set data.max_unknown_fraction=1"
            )

    def _finding(self, limit: float) -> str:
        too_large = {name: fraction for name, fraction in self.fractions.items() if fraction > limit}
        words = f", most often for {', '.join(map(shown, self.words))}" if self.words else ""
        shares = _listed(too_large, "{share} of the tokens of {name}")
        return f"the encoder {self.encoder} cannot read parts of the text: [UNK] is {shares}{words}"


def measure_unknown(
    splits: Mapping[str, Iterable[Record]],
    tokenized: Mapping[str, TokenizedSplit],
    tokenizer: Tokenizer,
    encoder: str,
) -> UnknownTokens:
    """Return the share of unknown tokens of every split, with examples and advice where a warning is due.

    Args:
        splits: records by split name.
        tokenized: the same splits, tokenized.
        tokenizer: of the encoder.
        encoder: its name, as the config has it.
    """
    fractions = {
        name: int(split.num_unknown_tokens) / max(int(split.num_text_tokens), 1) for name, split in tokenized.items()
    }
    found = UnknownTokens(encoder, fractions)
    if not found.exceeds(WARNED_FRACTION):
        return found
    texts = _sample(splits[max(fractions, key=fractions.get)])
    words = Counter(unknown_words(texts, tokenizer))
    common = tuple(word for word, _ in words.most_common(_SHOWN_WORDS))
    return UnknownTokens(encoder, fractions, common, advise(texts, words, {encoder}))


def unknown_words(texts: Iterable[str], tokenizer: Tokenizer) -> Iterator[str]:
    """Yield what became [UNK], as it stands in the texts."""
    texts = list(texts)
    tokens = tokenizer.with_offsets(tf.constant([text.encode("utf-8", "replace") for text in texts]))
    is_unknown = (tokens.ids.flat_values == tokenizer.special.unknown).numpy()
    parts = (tokens.ids.value_rowids(), tokens.starts.flat_values, tokens.ends.flat_values)
    for row, start, end in zip(*(part.numpy()[is_unknown] for part in parts), strict=True):
        yield texts[row][start:end]


def advise(texts: Iterable[str], words: Mapping[str, int], used: Collection[str]) -> str:
    """Say which encoder suits a text better, by the script it is written in.

    Args:
        texts: some of the data.
        words: the unknown words among them, with their counts.
        used: names of encoders not to suggest.
    """
    num_letters = sum(count for word, count in words.items() if any(map(str.isalpha, word)))
    if 2 * num_letters < sum(words.values()):
        return "Most of these are symbols, such as emoji, which the encoder cannot tell apart."
    if _CHINESE not in used and _is_chinese(texts):
        return f"Use --encoder {_CHINESE} for Chinese text."
    if _MULTILINGUAL not in used:
        return f"Use an encoder for this language, such as --encoder {_MULTILINGUAL} (104 languages)."
    return (
        "Use an encoder pretrained on such text (--encoder hf://owner/name or a directory), or pretrain one with a "
        "vocabulary of its own: tools/pretrain.py --from-scratch."
    )


def _sample(records: Iterable[Record]) -> list[str]:
    """Return the first texts, the last of them cut."""
    texts, room = [], _SAMPLE_CHARACTERS
    for record in records:
        for text in record.texts:
            texts.append(text[:room])
            room -= len(texts[-1])
        if not room:
            break
    return texts


def _is_chinese(texts: Iterable[str]) -> bool:
    """Return whether most letters beyond ASCII are Chinese, and next to none Japanese or Korean."""
    letters = Counter(character for text in texts for character in text if character.isalpha() and character > "\x7f")
    scripts: Counter = Counter()
    for character, count in letters.items():
        scripts[unicodedata.name(character, "?").split()[0]] += count
    total = sum(scripts.values())
    return 2 * scripts["CJK"] > total and 20 * sum(scripts[script] for script in _NOT_CHINESE) < total


def _listed(fractions: Mapping[str, float], form: str) -> str:
    return ", ".join(form.format(name=name, share=_percent(fraction)) for name, fraction in fractions.items())


def _percent(fraction: float) -> str:
    return "less than 0.01%" if 0 < fraction < 1e-4 else f"{100 * fraction:.3g}%"
