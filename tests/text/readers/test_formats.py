"""Detection of formats: by suffix, by the first bytes, and by the content of text files."""

import gzip
import json

import pytest

from tfbert.config import DataConfig
from tfbert.tasks import classification, entities
from tfbert.text.readers.formats import FORMATS, KNOWN_FILES, format_of
from tfbert.text.records import read_records

CONLLU = "1\tAda\tada\tX\t_\t_\t0\troot\t_\tNER=B-PER\n"


def write(path, content):
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def detected(path, task=classification, **settings):
    return read_records(path, DataConfig(**settings), task.TASK.schema).format


def message(path, task=classification, **settings):
    with pytest.raises(ValueError) as caught:
        detected(path, task, **settings)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.csv", "csv"),
        ("A.TSV.XZ", "tsv"),
        ("a.b.ndjson.zip", "jsonl"),
        ("a.xlsx", "xlsx"),
        ("a.xlsx.gz", "xlsx"),
        ("a.gz", None),
        ("csv", None),
    ],
)
def test_the_format_of_a_name(tmp_path, name, expected):
    assert format_of(tmp_path / name) == expected


@pytest.mark.parametrize(
    ("name", "content", "task", "expected"),
    [
        ("a.csv", "text,label\na,x\n", classification, "csv"),
        ("a.data", "text,label\na,x\n", classification, "csv"),
        ("a", "id\ttext\tlabel\n1\ta\tx\n", classification, "tsv"),
        ("a.txt", "text,label\na,x\n", classification, "text"),
        ("a.dump", '\n{"text": "a", "label": "x"}\n', classification, "json"),
        ("a.dump", '[{"text": "a", "label": "x"}]', classification, "json"),
        ("a.annotated", "Ada\tB-PER\nlives\tO\nhere\tO\n", entities, "conll"),
        ("a.txt", "Ada\tB-PER\nlives\tO\nhere\tO\n", entities, "conll"),
        ("a.txt", "Ada\tB-PER\nlives\tO\nhere\tO\n", classification, "text"),
        ("a.conll", CONLLU, entities, "conllu"),
        ("a.ud", CONLLU, entities, "conllu"),
    ],
)
def test_the_content_decides_if_the_suffix_does_not(tmp_path, name, content, task, expected):
    assert detected(write(tmp_path / name, content), task) == expected
    assert detected(write(tmp_path / f"{name}.gz", gzip.compress(content.encode())), task) == expected


def test_binary_formats_are_known_by_their_first_bytes(tmp_path):
    openpyxl, pyarrow = pytest.importorskip("openpyxl"), pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    for name in ("a.xlsx", "a.csv", "a.bin"):
        openpyxl.Workbook().save(tmp_path / name)
        assert detected(tmp_path / name) == "xlsx"
    for name in ("b.parquet", "b.json", "b"):
        parquet.write_table(pyarrow.table({"text": ["a"], "label": ["x"]}), tmp_path / name)
        assert detected(tmp_path / name) == "parquet"
        assert [record.target for record in read_records(tmp_path / name, DataConfig())] == ["x"]


def test_a_format_can_be_forced(tmp_path):
    path = write(tmp_path / "a.txt", json.dumps({"text": "a", "label": "x"}))
    assert [record.target for record in read_records(path, DataConfig(format="jsonl"))] == ["x"]
    assert message(path, format="folder") == (
        f"{path}: is a file; expected a directory with one subdirectory per class because data.format=folder"
    )
    assert message(path, entities, format="brat") == (
        f"{path}: is a file; expected a directory with .txt and .ann files because data.format=brat"
    )
    assert message(tmp_path, format="json") == f"{tmp_path}: is a directory; expected a file because data.format=json"


@pytest.mark.parametrize("content", [b"", b"%PDF-1.7\n%\xe2\xe3", "no columns here\n", b"\x89PNG\r\n\x1a\n\0\0"])
def test_a_file_of_unknown_format_is_rejected(tmp_path, content):
    path = write(tmp_path / "a.bin", content)
    assert message(path) == f"{path}: unknown file format; expected {KNOWN_FILES}, or --set data.format=..."


def test_every_format_can_be_configured():
    choices = DataConfig.__annotations__["format"].__args__
    assert set(choices) == {"auto", *FORMATS}
