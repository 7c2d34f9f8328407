"""Line reader: UTF-16 and UTF-32 are detected, and no other encodings are guessed."""

import codecs

import pytest

from tfbert.config import DataConfig
from tfbert.text.readers.lines import Tally, detect_encoding, read_lines

LINES = ["text,label\r\n", "où est ma carte,card\r\n", "退款在哪里,退款\r\n"]


def read(path, content, **settings):
    path.write_bytes(content)
    tally = Tally()
    return list(read_lines(path, path.name, DataConfig(**settings), tally)), tally.encoding


@pytest.mark.parametrize(
    ("mark", "encoding", "detected"),
    [
        (codecs.BOM_UTF16_LE, "utf-16-le", "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16-be", "utf-16"),
        (codecs.BOM_UTF32_LE, "utf-32-le", "utf-32"),
        (codecs.BOM_UTF32_BE, "utf-32-be", "utf-32"),
        (b"", "utf-16-le", "utf-16-le"),
        (b"", "utf-16-be", "utf-16-be"),
        (codecs.BOM_UTF8, "utf-8", "utf-8"),
        (b"", "utf-8", "utf-8"),
    ],
)
def test_utf_16_and_utf_32_are_detected(tmp_path, mark, encoding, detected):
    assert read(tmp_path / "a.csv", mark + "".join(LINES).encode(encoding)) == (LINES, detected)


def test_utf_16_is_detected_in_a_gzipped_file(tmp_path):
    import gzip

    content = gzip.compress("".join(LINES).encode("utf-16"))
    assert read(tmp_path / "a.csv.gz", content) == (LINES, "utf-16")


@pytest.mark.parametrize(
    ("sample", "encoding", "detected"),
    [
        (b"a\0b\0c", "utf-8", "utf-8"),  # two NUL characters in a text
        (b"\0\0\0\0\0\0", "utf-8", "utf-8"),
        (codecs.BOM_UTF8 + "abcdef".encode("utf-16-le"), "utf-8", "utf-8"),
        (codecs.BOM_UTF16_LE, "cp1252", "cp1252"),
        ("abcdef".encode("utf-16-le"), "UTF8", "utf-16-le"),
        (b"", "utf-8", "utf-8"),
    ],
)
def test_other_files_have_the_configured_encoding(sample, encoding, detected):
    assert detect_encoding(sample, encoding) == detected


def test_an_undecodable_byte_is_rejected_with_encodings_to_try(tmp_path):
    with pytest.raises(ValueError) as caught:
        read(tmp_path / "a.txt", "退款".encode("gb18030"))
    assert str(caught.value) == (
        "a.txt:1: byte 0xCD is not valid utf-8; set the file's encoding, such as gb18030 (Chinese) or cp1252 "
        "(Western European), with --set data.encoding=..., or use --set data.encoding_errors=replace"
    )
