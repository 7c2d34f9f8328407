"""Directories with one subdirectory per class."""

from tfbert.config import DataConfig
from tfbert.text.readers.folders import class_files, visible
from tfbert.text.records import read_records


def test_files_are_sorted_and_others_are_left_out(tmp_path):
    for name in ("b/2.txt", "b/1.TXT.gz", "b/scan.pdf", "a/3.txt", ".hidden/4.txt", "a/.5.txt", "a/sub.txt/x.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    files = [(label, path.name) for label, path in class_files(tmp_path)]
    assert files == [("a", "3.txt"), ("b", "1.TXT.gz"), ("b", "2.txt")]
    assert [path.name for path in visible(tmp_path)] == ["a", "b"]


def test_the_layout_counts_the_files_of_each_class(tmp_path):
    for number in range(10):
        (tmp_path / f"c{number}").mkdir()
        for index in range(number % 2 + 1):
            (tmp_path / f"c{number}" / f"{index}.txt").write_text("a")
    layout = read_records(tmp_path, DataConfig()).layout
    assert layout.lines() == [
        "one directory per label: 'c0' 1, 'c1' 2, 'c2' 1, 'c3' 2, 'c4' 1, 'c5' 2, 'c6' 1, 'c7' 2, ..., utf-8",
        "reads label from 'directory names', text from '.txt files'; unused columns: none",
    ]
