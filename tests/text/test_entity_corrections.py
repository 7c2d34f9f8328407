"""Corrections of entities: types changed, entities added and removed, with exact positions in awkward texts."""

import csv
import json

import pytest

from tfbert.config import DataConfig
from tfbert.tasks.base import load_task
from tfbert.text.corrections import Correction
from tfbert.text.entity_corrections import corrected_spans
from tfbert.text.records import Record
from tfbert.text.spans import Span
from tfbert.text.splits import load_splits

# An emoji of two code points outside the basic plane, a combining accent, and a character of UTF-16 length 2.
TEXT = "👩‍💻 Ada met Jose\u0301 in 𝒩ew York "
ADA, JOSE, YORK = (TEXT.index(name) for name in ("Ada", "Jose", "𝒩ew"))
SPANS = (Span(ADA, ADA + 3, "place"), Span(JOSE, JOSE + 5, "person"), Span(YORK, YORK + 9, "place"))


def corrected(*corrections, spans=SPANS, text=TEXT):
    rows = [
        Correction(f"d.csv:{line}", "t:1", (text,), label, span, entity)
        for line, (label, span, entity) in enumerate(corrections, 2)
    ]
    return corrected_spans(Record(text, spans, "t:1"), rows)


def test_types_are_changed_and_entities_added_and_removed():
    changed = corrected(("person", (ADA, ADA + 3), "Ada"), ("no entity", (JOSE, JOSE + 5), "Jose\u0301"))
    assert changed == (Span(ADA, ADA + 3, "person"), SPANS[2])
    met = TEXT.index("met")
    assert corrected(("verb", (met, met + 3), "met")) == (*SPANS, Span(met, met + 3, "verb"))
    # Confirmed, also as no entity: nothing changes.
    assert corrected(("place", (ADA, ADA + 3), ""), ("no entity", (met, met + 3), "met")) == SPANS


def test_whitespace_at_the_ends_of_an_entity_does_not_count():
    assert SPANS[2].end == len(TEXT)
    assert corrected(("no entity", (YORK, YORK + 8), "𝒩ew York")) == SPANS[:2]


def test_borders_are_corrected_by_two_rows():
    spans = (Span(0, 3, "person"),)
    longer = [("no entity", (0, 3), "Ada"), ("person", (0, 12), "Ada Lovelace")]
    assert corrected(*longer, spans=spans, text="Ada Lovelace") == (Span(0, 12, "person"),)
    with pytest.raises(ValueError, match=r"'person' for \[0:12\] 'Ada Lovelace' overlaps \[0:3\] person 'Ada'"):
        corrected(longer[1], spans=spans, text="Ada Lovelace")


@pytest.mark.parametrize(
    ("correction", "expected"),
    [
        (("person", None, ""), "'person' without start and end"),
        (("person", (0, 99), ""), rf"\[0:99\] is outside the text; expected positions from 0 to {len(TEXT)}"),
        (("person", (5, 5), ""), r"\[5:5\] is outside the text"),
        (("person", (ADA + 3, ADA + 4), ""), "expected at least one non-whitespace character"),
        # Positions in UTF-16 units, as JavaScript counts them.
        (("person", (ADA + 2, ADA + 5), "Ada"), "but the table states 'Ada'"),
    ],
)
def test_a_correction_that_does_not_fit_is_refused(correction, expected):
    with pytest.raises(ValueError, match=expected) as caught:
        corrected(correction)
    assert caught.value.where == "d.csv:2"


FILES = {
    "train.conll": "👩‍💻 O\nAda B-place\nmet O\nJose\u0301 B-person\n\nEve B-person\n\n",
    "train.jsonl": json.dumps({"text": "👩‍💻 Ada met Jose\u0301", "entities": [[4, 7, "place"], [12, 17, "person"]]})
    + "\n"
    + json.dumps({"words": ["Eve"], "tags": ["B-person"]})
    + "\n",
}


@pytest.mark.parametrize("name", FILES)
def test_a_table_corrects_the_files_of_all_formats(tmp_path, name):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / name).write_text(FILES[name], encoding="utf-8")

    def splits(table=None):
        data = DataConfig(corrections=table and str(table), validation_fraction=0, test_fraction=0)
        return load_splits(data, tmp_path / "data", load_task("entities").schema)["train"]

    before = list(splits())

    def table(*rows):
        with open(tmp_path / "doubtful.csv", "w", newline="", encoding="utf-8-sig") as stream:
            writer = csv.writer(stream)
            writer.writerow(["where", "text", "start", "end", "entity", "label", "corrected_label"])
            writer.writerows(rows)
        return tmp_path / "doubtful.csv"

    first, second = before
    ada = [first.where, first.text, 4, 7, "Ada", "place", "person"]
    met = [first.where, first.text, 8, 11, "met", "no entity", "no entity"]
    after = splits(table(ada, met, [second.where, "Eve", 0, 3, "Eve", "person", "drop"]))
    assert [(record.text, record.target) for record in after] == [
        (first.text, (Span(4, 7, "person"), Span(12, 17, "person")))
    ]
    assert after.note == "doubtful.csv: 1 label changed, 1 row dropped, 0 confirmed"
    assert after.sha256 != splits().sha256
    for row, expected in (
        ([*ada[:-1], "persn"], "doubtful.csv:3: corrected_label 'persn' is not one of the 2 labels of the data; did"),
        ([*ada[:2], 4, 6, *ada[4:]], "doubtful.csv:3: corrected_label: [4:6] is 'Ad', but the table states 'Ada'"),
        ([*ada[:2], "4.5", *ada[3:]], "doubtful.csv:3: start is '4.5'; expected a position in the text"),
    ):
        with pytest.raises(ValueError, match=".*") as caught:
            splits(table(met, row))
        assert expected in str(caught.value)
