"""Tasks whose texts can be edited without a change of their labels, as measuring robustness requires."""

from collections.abc import Sequence
from dataclasses import replace

from tfbert.tasks.base import Task
from tfbert.text.edits import Edit, apply_edits
from tfbert.text.records import Record


class EditableTask(Task):
    """Base class of tasks whose labels survive edits of the texts, such as typing errors."""

    def allowed_edits(self, record: Record, edits: Sequence[Edit]) -> Sequence[Edit]:
        """Return those edits of the last text of a record that its target survives; by default all."""
        return edits

    def edited(self, record: Record, edits: Sequence[Sequence[Edit]]) -> Record:
        """Return a record with edited texts; a task with spans moves them.

        Args:
            record: a labelled record.
            edits: the allowed edits of each of its texts.
        """
        text, *others = map(apply_edits, record.texts, edits)
        return replace(record, text=text, others=tuple(others))
