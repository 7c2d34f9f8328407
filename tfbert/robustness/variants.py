"""Variants of records: the records that a perturbation changes, perturbed."""

from collections.abc import Sequence
from dataclasses import dataclass

from tfbert.tasks.base_editing import EditableTask
from tfbert.text.edits import Edit
from tfbert.text.perturbations.perturbation import Perturbation
from tfbert.text.records import Record


@dataclass(frozen=True, kw_only=True)
class Variants:
    """The records that a perturbation changes; all others are left out, as their predictions cannot change.

    Args:
        perturbation: the perturbation.
        indices: the position of each of these records among all records.
        records: the perturbed records.
        edits: the edits of the last text of each.
    """

    perturbation: Perturbation
    indices: Sequence[int]
    records: Sequence[Record]
    edits: Sequence[Sequence[Edit]]


def vary(task: EditableTask, records: Sequence[Record], perturbation: Perturbation, seed: int) -> Variants:
    """Return the records that a perturbation changes.

    Args:
        task: the task of the records.
        records: labelled records.
        perturbation: leaves out records with several texts unless it keeps the relation of two texts.
        seed: random seed. The variant of a record depends only on it and on the texts of the record.
    """
    indices, varied, last_edits = [], [], []
    for index, record in enumerate(records):
        if record.others and not perturbation.keeps_relations:
            continue
        key = "\n".join(record.texts)
        edits = [task.allowed_edits(record, perturbation.edits(text, seed, key)) for text in record.texts]
        if any(edits):
            indices.append(index)
            varied.append(task.edited(record, edits))
            last_edits.append(edits[-1])
    return Variants(perturbation=perturbation, indices=indices, records=varied, edits=last_edits)
