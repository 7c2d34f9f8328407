"""Counterfactual copies of the training records, in which the identity terms of a group are those of another one.

Source: Lu et al. 2020, "Gender bias in neural natural language processing", 4.1 (counterfactual data augmentation).
    Here, copies also exist for lists with more than two groups, and none of them equals a held-out text.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace

from tfbert.text.records import Record
from tfbert.text.splits import Split, near_duplicate_key
from tfbert.text.terms import TermList


@dataclass(frozen=True, kw_only=True)
class TrainingRecords:
    """The records of train, followed by their counterfactual copies.

    It has the attributes of a split that identify its tokens.

    Args:
        train: the train split.
        held_out: the other splits; a copy that equals one of their texts is left out.
        copied: lists of terms, for each of which texts are copied.
    """

    train: Split
    held_out: tuple[Split, ...] = ()
    copied: tuple[TermList, ...] = ()

    name = "train and its copies"

    @property
    def note(self) -> str:
        """The note of train."""
        return self.train.note

    @property
    def sha256(self) -> str:
        """Hex digest of everything that the records depend on."""
        files = [split.sha256 for split in (self.train, *self.held_out)]
        return hashlib.sha256(json.dumps([files, [terms.sha256 for terms in self.copied]]).encode()).hexdigest()

    def __iter__(self) -> Iterator[Record]:
        yield from self.train
        if not self.copied:
            return
        known = {_key(record) for split in self.held_out for record in split}
        for record in self.train:
            for terms in self.copied:
                for texts in terms.copies(record.texts):
                    copy = replace(record, text=texts[0], others=texts[1:])
                    if _key(copy) not in known:
                        yield copy


def _key(record: Record) -> tuple[str, ...]:
    return tuple(map(near_duplicate_key, record.texts))
