"""brat's standoff format: pairs of files, annotations that are not spans, and errors with file and line."""

import pytest

from tfbert.config import DataConfig
from tfbert.tasks import classification, entities
from tfbert.text.records import read_records
from tfbert.text.splits import load_splits

TEXT = "Ada Lovelace\nlives in Ulm.\n"
ANNOTATIONS = """T1\tPER 0 12\tAda Lovelace
T2\tLOC 22 25\tUlm
T3\tPHRASE 4 18\tLovelace lives
R1\tLives Arg1:T1 Arg2:T2
#1\tAnnotatorNotes T1\ta mathematician
A1\tFamous T1
E1\tMove:T3 Who:T1
N1\tReference T1 Wikidata:Q7259\tAda
*\tEquiv T1 T2
"""
SPANS = [(0, 12, "PER"), (22, 25, "LOC"), (4, 18, "PHRASE")]


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


def pair(directory, stem, text=TEXT, annotations=ANNOTATIONS):
    write(directory / f"{stem}.txt", text)
    write(directory / f"{stem}.ann", annotations)


def read(path, **settings):
    reader = read_records(path, DataConfig(**settings), entities.TASK.schema)
    return [(record.where, record.text, [tuple(span) for span in record.target]) for record in reader]


def message(path, **settings):
    with pytest.raises(ValueError) as caught:
        read(path, **settings)
    return str(caught.value).replace(" (--set data.bad_rows=skip skips such rows)", "")


def test_a_document_has_its_text_and_entities(tmp_path):
    pair(tmp_path, "a")
    pair(tmp_path / "day1", "b.v2", "Nobody\n", "")
    write(tmp_path / "annotation.conf", "[entities]\n")
    reader = read_records(tmp_path, DataConfig(), entities.TASK.schema)
    assert read(tmp_path) == [("a.txt", TEXT, SPANS), ("day1/b.v2.txt", "Nobody\n", [])]
    assert reader.layout.lines() == [
        "brat's standoff format, utf-8, 1 relation skipped, 1 note skipped, 1 attribute skipped, 1 event skipped, 1 "
        "normalization skipped, 1 equivalence skipped",
        "reads text from '.txt files', entities from '.ann files'; unused columns: none",
    ]
    assert [path.name for path in reader.files] == ["a.ann", "a.txt", "b.v2.ann", "b.v2.txt"]
    assert reader.ignored == ("annotation.conf",)
    before = reader.sha256
    write(tmp_path / "a.ann", "")
    assert read_records(tmp_path, DataConfig(), entities.TASK.schema).sha256 != before


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        ("T1\tPER 0 3;4 12\tAda Lovelace", "b.ann:1: discontinuous entity 'T1\\tPER 0 3;4 12\\tAda Lovelace'; expected "
         "one start and one end"),
        ("\nT1 PER 0 3 Ada", "b.ann:2: 'T1 PER 0 3 Ada' is not an annotation of brat; expected such as 'T1<TAB>Person "
         "0 3<TAB>Ada'"),
        ("T1\tPER 0 3\tEve", "b.txt: entity [0:3] 'PER' is 'Ada' but the file states 'Eve'; expected the same text"),
        ("T1\tPER 0 99\tAda", "b.txt: entity [0:99] 'PER' is outside the text; expected positions from 0 to 27"),
        (None, "b.txt: no file b.ann; expected a .txt and an .ann file per document"),
    ],
)  # fmt: skip
def test_a_bad_document_is_an_error_with_its_file(tmp_path, annotations, expected):
    pair(tmp_path, "a")
    write(tmp_path / "b.txt", TEXT)
    if annotations is not None:
        write(tmp_path / "b.ann", annotations)
    assert message(tmp_path) == expected
    assert [where for where, _, _ in read(tmp_path, bad_rows="skip")] == ["a.txt"]


def test_annotations_without_a_text_are_an_error(tmp_path):
    pair(tmp_path, "a")
    write(tmp_path / "b.ann", ANNOTATIONS)
    assert message(tmp_path) == "b.ann: no file b.txt; expected a .txt and an .ann file per document"


def test_splits_are_directories(tmp_path):
    for name in ("train", "dev", "test"):
        pair(tmp_path / name, "a", f"{name} Ulm", "T1\tLOC 0 3\t" + name[:3])
    splits = load_splits(DataConfig(), tmp_path, entities.TASK.schema)
    where = {name: [record.where for record in split] for name, split in splits.items()}
    assert where == {"train": ["train/a.txt"], "validation": ["dev/a.txt"], "test": ["test/a.txt"]}


def test_a_directory_of_documents_is_cut_by_hash(tmp_path):
    for number in range(40):
        pair(tmp_path, f"{number}", f"Ulm {number}", "T1\tLOC 0 3\tUlm")
    splits = load_splits(DataConfig(validation_fraction=0.3, test_fraction=0.3), tmp_path, entities.TASK.schema)
    assert sum(len(list(split)) for split in splits.values()) == 40
    assert list(splits) == ["train", "validation", "test"]


def test_other_tasks_do_not_read_it(tmp_path):
    pair(tmp_path, "a")
    with pytest.raises(ValueError, match="the format brat has labelled spans, which --task entities reads$"):
        read_records(tmp_path, DataConfig(), classification.TASK.schema)
