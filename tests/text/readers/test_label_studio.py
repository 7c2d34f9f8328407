"""Label Studio's JSON export: choices, labelled spans, numbers, and tasks with several annotations or none."""

import json

import pytest

from tfbert.config import DataConfig
from tfbert.tasks import classification, entities, matching, multilabel, regression
from tfbert.text.records import read_records

ADVICE = " (--set data.bad_rows=skip skips such rows)"


def choices(*names, control="sentiment", **more):
    value = {"choices": list(names), **more}
    return {"id": "r1", "from_name": control, "to_name": "text", "type": "choices", "origin": "manual", "value": value}


def labels(start, end, label, **more):
    value = {"start": start, "end": end, "labels": [label], **more}
    return {"id": "r2", "from_name": "ner", "to_name": "text", "type": "labels", "origin": "manual", "value": value}


def annotation(*results, **more):
    return {"id": 7, "completed_by": 1, "was_cancelled": False, "ground_truth": False, "result": list(results)} | more


def entry(number, text, *annotations, key="annotations"):
    return {"id": number, "data": {"text": text, "source": f"mail {number}"}, key: list(annotations), "predictions": []}


def write(path, *entries):
    path.write_text(json.dumps(entries, indent=1), encoding="utf-8")
    return path


def read(path, task=classification, **settings):
    return [(r.where, r.text, r.target) for r in read_records(path, DataConfig(**settings), task.TASK.schema)]


def lines(path, task=classification):
    return read_records(path, DataConfig(), task.TASK.schema).layout.lines()


def message(path, task=classification, **settings):
    with pytest.raises(ValueError) as caught:
        read(path, task, **settings)
    return str(caught.value)


@pytest.mark.parametrize("key", ["annotations", "completions"])
def test_choices_are_labels(tmp_path, key):
    entries = [entry(1, "late", annotation(choices("bad")), key=key), entry(2, "ok", annotation(choices("good")))]
    path = write(tmp_path / "a.json", *entries)
    assert read(path) == [("a.json[0] (task 1)", "late", "bad"), ("a.json[1] (task 2)", "ok", "good")]
    assert lines(path) == [
        "Label Studio's JSON export, an array of objects, utf-8",
        "reads label from 'sentiment', text from 'text'; unused keys: 'source'",
    ]
    assert read(path, format="label_studio") == read(path)


def test_several_choices_are_a_set_of_labels(tmp_path):
    results = (choices("staff", "food"), choices())
    path = write(tmp_path / "a.json", *(entry(i, "a", annotation(result)) for i, result in enumerate(results)))
    assert [target for _, _, target in read(path, multilabel)] == [("food", "staff"), ()]
    assert message(path).startswith('a.json[0] (task 0): label is ["staff", "food"]; expected one label;')
    path = write(tmp_path / "b.json", entry(1, "a", annotation(choices("x"))), entry(2, "b", annotation()))
    assert message(path).startswith("b.json[1] (task 2): label is null; expected a string, a number, true or false")


def test_labelled_spans_are_entities(tmp_path):
    text = "😀 Ada\nLovelace in Ulm"
    relation = {"from_id": "r2", "to_id": "r3", "type": "relation", "direction": "right"}
    results = (labels(2, 14, "PER", text="Ada\\nLovelace"), labels(19, 22, "LOC", text="Ulm"), relation)
    path = write(tmp_path / "a.json", entry(1, text, annotation(*results)), entry(2, "Nobody", annotation()))
    rows = read(path, entities)
    # The second position counts UTF-16 units, in which the emoji has two.
    assert [[(text[span.start : span.end], span.label) for span in target] for _, text, target in rows] == [
        [("Ada\nLovelace", "PER"), ("Ulm", "LOC")],
        [],
    ]
    assert lines(path, entities)[0] == "Label Studio's JSON export, an array of objects, utf-8, 1 relation skipped"
    path = write(tmp_path / "b.json", entry(1, text, annotation(labels(0, 3, "PER", text="Eve"))))
    assert "entity [0:3] 'PER' is '😀 A' but the file states 'Eve'" in message(path, entities)


def test_ratings_are_values(tmp_path):
    rating = {"from_name": "stars", "to_name": "text", "type": "rating"}
    entries = (entry(i, "a", annotation({**rating, "value": {"rating": i}})) for i in (1, 4))
    assert [target for _, _, target in read(write(tmp_path / "a.json", *entries), regression)] == [1.0, 4.0]


def test_annotations_that_do_not_count_are_counted(tmp_path):
    bad, good = annotation(choices("bad")), annotation(choices("good"))
    entries = (
        entry(1, "two equal", bad, bad),
        entry(2, "one cancelled", annotation(choices("good"), was_cancelled=True), bad),
        entry(3, "all cancelled", annotation(was_cancelled=True)),
        entry(4, "none"),
        entry(5, "a truth", bad, good | {"ground_truth": True}),
        entry(6, "per region", annotation(choices("good"), choices("x", start=0, end=3))),
    )
    path = write(tmp_path / "a.json", *entries)
    assert [(text, target) for _, text, target in read(path)] == [
        ("two equal", "bad"),
        ("one cancelled", "bad"),
        ("a truth", "good"),
        ("per region", "good"),
    ]
    assert lines(path)[0] == (
        "Label Studio's JSON export, an array of objects, utf-8, 2 repeated annotations skipped, 1 cancelled "
        "annotation skipped, 2 unannotated tasks skipped, 1 per-region choice skipped"
    )


def test_annotations_that_differ_are_an_error(tmp_path):
    entries = (
        entry(1, "a", annotation(choices("bad")), annotation(choices("good"))),
        entry(2, "b", annotation(choices("x"))),
    )
    path = write(tmp_path / "a.json", *entries)
    expected = "2 annotations differ; expected one, equal ones, or one marked as ground truth in Label Studio"
    assert message(path) == f"a.json[0] (task 1): {expected}{ADVICE}"
    assert [target for _, _, target in read(path, bad_rows="skip")] == ["x"]


def test_the_control_tag_can_be_chosen(tmp_path):
    result = annotation(choices("bad"), choices("bill", control="topic"))
    path = write(tmp_path / "a.json", entry(1, "a", result))
    assert message(path) == (
        "a.json: more than one control tag could be the label: 'sentiment', 'topic'; expected one, such as --set "
        "data.columns=label=sentiment"
    )
    assert [target for _, _, target in read(path, columns="label=topic")] == ["bill"]


@pytest.mark.parametrize(
    ("task", "results", "expected"),
    [
        (classification, [labels(0, 1, "PER")], "a.json: no control tag of the type choices among 'ner (labels)'; use "
         "--task entities"),
        (entities, [choices("x")], "a.json: no control tag of the type labels among 'sentiment (choices)'; use --task "
         "classification or multilabel"),
        (classification, [], "a.json: no task has an annotation; expected at least one that is not cancelled"),
        (matching, [choices("x")], "a.json: is Label Studio's JSON export; it is read for classification or "
         "multilabel, entities, regression"),
    ],
)  # fmt: skip
def test_an_export_without_the_annotations_of_the_task_is_rejected(tmp_path, task, results, expected):
    assert message(write(tmp_path / "a.json", entry(1, "abc", annotation(*results))), task) == expected


def test_a_damaged_annotation_is_an_error(tmp_path):
    damaged = [annotation() | {"result": "x"}, 3]
    entries = [entry(i, "a", bad) for i, bad in enumerate(damaged)]
    path = write(tmp_path / "a.json", *entries, entry(3, "b", annotation(choices("x"))))
    reader = read_records(path, DataConfig(bad_rows="skip"), classification.TASK.schema)
    assert [record.text for record in reader] == ["b"]
    assert reader.tally.skipped[1] == "a.json[1] (task 1): annotation 3; expected an object with a list of results"
    path = write(tmp_path / "b.json", entry(1, "a", annotation({**choices(), "value": {"choices": "bad"}})))
    assert [target for _, _, target in read(path)] == ["bad"]


def test_something_else_among_the_tasks_is_an_error(tmp_path):
    path = write(tmp_path / "a.json", entry(1, "a", annotation(choices("x"))), {"text": "b"})
    expected = "expected a task with data and annotations, as in Label Studio's JSON export"
    assert message(path) == f'a.json[1]: {{"text": "b"}}; {expected}{ADVICE}'
    path = write(tmp_path / "c.json", None, entry(1, "a", annotation(choices("x"))))
    assert message(path) == f"c.json[0]: null; {expected}{ADVICE}"
    path = write(tmp_path / "b.json", {"text": "b"})
    assert message(path, format="label_studio") == f'b.json[0]: {{"text": "b"}}; {expected}'
