"""Tasks whose texts can be edited without a change of their labels, as measuring robustness requires."""

import abc
from collections.abc import Callable, Sequence

from tfbert.tasks.base import Task
from tfbert.text.edits import Edit
from tfbert.text.records import Record

# A function from a text to edits of it that do not change its label.
EditsOf = Callable[[str], Sequence[Edit]]


class EditableTask(Task):
    """Base class of tasks whose labels survive edits of the texts, such as typing errors."""

    @abc.abstractmethod
    def edited(self, record: Record, edits_of: EditsOf) -> Record:
        """Return a record with edited texts and its target, whose spans, if it has any, are moved with the edits."""
