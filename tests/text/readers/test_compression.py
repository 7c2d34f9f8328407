"""Compressed files: each kind is read as the file inside, and damaged ones are errors that name the file."""

import bz2
import gzip
import io
import lzma
import zipfile

import pytest

from tfbert.config import DataConfig
from tfbert.text.readers.compression import SUFFIXES, uncompressed_name
from tfbert.text.records import read_records

CONTENT = "\ufefftext,label\r\né,x\r\n".encode()


def zipped(*members):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for member in members:
            archive.writestr(member, CONTENT)
    return stream.getvalue()


def compress(suffix):
    if suffix == ".zst":
        return pytest.importorskip("pyarrow").compress(CONTENT, "zstd", asbytes=True)
    kinds = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
    return kinds[suffix](CONTENT) if suffix in kinds else zipped("folder/", "folder/a.csv", "__MACOSX/._a.csv")


def message(path):
    with pytest.raises(ValueError) as caught:
        list(read_records(path, DataConfig()))
    return str(caught.value)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_compressed_file_is_read_as_the_file_inside(tmp_path, suffix):
    path = tmp_path / f"A.CSV{suffix.upper()}"
    path.write_bytes(compress(suffix))
    assert [(record.text, record.target, record.where) for record in read_records(path, DataConfig())] == [
        ("é", "x", f"{path.name}:2")
    ]
    path.write_bytes(b"text,label\na,x\n")
    assert message(path).startswith(f"{path.name}: cannot be read: ")


def test_an_archive_has_one_file(tmp_path):
    path = tmp_path / "a.csv.zip"
    path.write_bytes(zipped("a.csv", "b.csv"))
    assert message(path) == "a.csv.zip: cannot be read: the archive contains 2 files; expected one"


@pytest.mark.parametrize(
    ("name", "expected"),
    [("train.CSV.GZ", "train.CSV"), ("a.b.zip", "a.b"), ("a.csv", "a.csv"), ("gz", "gz"), ("a.tar", "a.tar")],
)
def test_the_name_without_the_suffix_of_the_compression(name, expected):
    assert uncompressed_name(name) == expected
