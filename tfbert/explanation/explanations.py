"""One explanation: a label, what each word contributes to it, and similar training examples; texts without words."""

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
class SimilarExample:
    """A training example that resembles the explained text.

    Args:
        text: its text.
        label: its label, in words.
        similarity: the cosine similarity of its vector to that of the explained text, from -1 to 1.
        text_pair: its second text; `None` unless the model reads pairs.
    """

    text: str
    label: str
    similarity: float
    text_pair: str | None = None


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """The explanation of one prediction.

    Args:
        label: the explained label.
        log_odds: the log-odds of its served probability, to which the words contribute; for regression the value.
        method: `occlusion`, `gradients` or `shapley`.
        words: the words of all inputs, in order.
        explained_word: the position in `words` of the word whose type is explained; -1 for whole texts.
        gap: for gradients, by how much the sum of the contributions differs from the change along the path, as a
            fraction of it; otherwise -1.
        evidence: the most similar training examples, most similar first; empty if the model keeps none.
    """

    label: str
    log_odds: float
    method: str
    words: tuple[WordContribution, ...]
    explained_word: int = -1
    gap: float = -1.0
    evidence: tuple[SimilarExample, ...] = ()

    @classmethod
    def from_outputs(cls, outputs: Mapping[str, Any]) -> "Explanation":
        """Return the explanation in the outputs of the signature `explain`, as JSON values without padding."""
        columns = [outputs[name] for name in ("word", "input", "start", "end", "contribution")]
        words = tuple(WordContribution(*values) for values in zip(*columns, strict=True))
        texts = outputs.get("evidence", ())
        pairs = outputs.get("evidence_pair", [None] * len(texts))
        others = (outputs.get(f"evidence_{name}", ()) for name in ("label", "similarity"))
        return cls(
            label=outputs["explained_label"],
            log_odds=outputs["log_odds"],
            method=outputs["method"],
            words=words,
            explained_word=outputs["explained_word"],
            gap=outputs["gap"],
            evidence=tuple(SimilarExample(*values) for values in zip(texts, *others, pairs, strict=True)),
        )


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
