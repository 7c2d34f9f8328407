"""One explanation: a label and what each word contributes to it; and texts in which words are left out."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class WordContribution:
    """A word and what it contributes.

    Args:
        word: the characters of the word.
        input: the name of the input that contains it.
        start: the first Unicode character in the input.
        end: the exclusive end.
        contribution: the contribution to the log-odds of the label, or to the value.
    """

    word: str
    input: str
    start: int
    end: int
    contribution: float


@dataclass(frozen=True)
class Explanation:
    """The explanation of one prediction.

    Args:
        label: the explained label.
        words: the words of all inputs, in order.
        explained_word: the position in `words` of the word whose type is explained; -1 for whole texts.
    """

    label: str
    words: tuple[WordContribution, ...]
    explained_word: int = -1

    @classmethod
    def from_outputs(cls, outputs: Mapping[str, Any]) -> "Explanation":
        """Return the explanation in the outputs of the signature `explain`, as JSON values without padding."""
        columns = [outputs[name] for name in ("word", "input", "start", "end", "contribution")]
        words = tuple(WordContribution(*values) for values in zip(*columns, strict=True))
        return cls(outputs["explained_label"], words, outputs["explained_word"])


def without_words(item: Mapping[str, Any], words: Iterable[WordContribution]) -> dict[str, Any]:
    """Return an item whose texts lack some of their words.

    Args:
        item: the inputs by name.
        words: words of the item, in any order.
    """
    shortened = dict(item)
    for word in sorted(words, key=lambda word: -word.start):
        text = shortened[word.input]
        shortened[word.input] = text[: word.start] + text[word.end :]
    return shortened
