"""Records with edited texts."""

from tfbert.tasks.base import list_tasks, load_task
from tfbert.tasks.base_editing import EditableTask
from tfbert.text.edits import Edit
from tfbert.text.records import Record
from tfbert.text.spans import Span


def test_tasks_whose_labels_survive_edits():
    names = [name for name in list_tasks() if isinstance(load_task(name), EditableTask)]
    assert names == ["classification", "entities", "multilabel", "regression"]


def test_both_texts_of_a_pair_are_edited():
    record = Record("my card", "yes", "train.csv:2", ("the card",), group="a")
    edits = [[Edit(3, 4, "k")], [Edit(0, 3, "a"), Edit(8, 8, "!")]]
    task = load_task("classification")
    assert task.allowed_edits(record, edits[1]) == edits[1]
    assert task.edited(record, edits) == Record("my kard", "yes", "train.csv:2", ("a card!",), group="a")


def test_spans_of_entities_move():
    task = load_task("entities")
    record = Record("in New York now", (Span(3, 11, "city"), Span(3, 6, "new")), "train.jsonl:1")
    edits = task.allowed_edits(record, [Edit(0, 2, "inside"), Edit(5, 8, "*"), Edit(9, 9, "o")])
    assert edits == [Edit(0, 2, "inside"), Edit(9, 9, "o")]
    edited = task.edited(record, [edits])
    assert edited.text == "inside New Yoork now" and edited.target == (Span(7, 16, "city"), Span(7, 10, "new"))
