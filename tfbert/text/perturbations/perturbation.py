"""Perturbation: a named, documented and seeded change of a text that does not change its label."""

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from tfbert.text.edits import Edit, apply_edits

Language = Literal["English", "Chinese"]
# From a text and a source of random numbers to edits that do not overlap, in ascending order.
Find = Callable[[str, random.Random], Iterable[Edit]]


@dataclass(frozen=True)
class Perturbation:
    """A pure function on a text: the same text and seed always give the same result.

    Args:
        name: lower case with underscores.
        description: what changes, in a few words.
        languages: the languages whose texts it applies to.
        find: returns the edits of a text; none if the perturbation does not apply to it.
        keeps_relations: whether it also keeps the relation of two texts, such as entailment.
    """

    name: str
    description: str
    languages: tuple[Language, ...]
    find: Find
    keeps_relations: bool = True

    def edits(self, text: str, seed: int = 0, key: str | None = None) -> list[Edit]:
        """Return the edits of a text; empty if the perturbation does not apply or would leave only whitespace.

        Args:
            text: the text.
            seed: random seed.
            key: determines the random numbers together with the seed; `None` means the text. Texts that belong
                together have the same key, so that a name is replaced by the same one in both.
        """
        rng = random.Random(f"{self.name}\n{seed}\n{text if key is None else key}")
        edits = [edit for edit in self.find(text, rng) if text[edit.start : edit.end] != edit.replacement]
        return edits if apply_edits(text, edits).strip() else []

    def __call__(self, text: str, seed: int = 0) -> str:
        """Return the perturbed text, or the same text if the perturbation does not apply."""
        return apply_edits(text, self.edits(text, seed))
