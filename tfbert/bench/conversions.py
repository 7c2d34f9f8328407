"""Public data sets as published in, directories that `tools/train.py --data` takes out: drawn, cut, renamed, joined.

Every function takes a source (a directory or file), an existing target directory and the number of the draw, which is
the seed of what is random.
"""

import csv
import gzip
import hashlib
import json
import random
from collections.abc import Callable, Iterable
from pathlib import Path

from tfbert.config import DataConfig
from tfbert.text.splits import load_splits

# Shares of what is split by hash.
_VALIDATION_FRACTION, _TEST_FRACTION = 0.1, 0.3
# Articles of SQuAD 2.0's dev file that are learned from in `write_squad2`.
_NUM_TRAIN_ARTICLES = 8


def draw_ten_a_label(source: Path, target: Path, draw: int) -> None:
    """Write a `train.csv` with ten random examples of every label, and the test split as it is.

    Args:
        source: directory with `train.csv` and `test.csv`, columns `text` and `category`.
        target: existing directory.
        draw: seed of the draw.
    """
    with open(source / "train.csv", newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    rng = random.Random(draw)
    with open(target / "train.csv", "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, ["text", "category"])
        writer.writeheader()
        for label in sorted({row["category"] for row in rows}):
            writer.writerows(rng.sample([row for row in rows if row["category"] == label], 10))
    (target / "test.csv").write_bytes((source / "test.csv").read_bytes())


def draw_from_train(number: int, separator: str = "\t", num_validation: int = 0) -> Callable[[Path, Path, int], None]:
    """Return what writes a `train.jsonl` with some random examples of every label, and the test split as it is.

    The splits are those that `tools/train.py` takes from the whole, so that draws of all sizes are tested on the same
    records.

    Args:
        number: of examples a label.
        separator: between a line's text and its label, where the source is such a file.
        num_validation: of other examples a label that a `validation.jsonl` has; 0 writes none.
    """

    def prepare(source: Path, target: Path, draw: int) -> None:
        splits = load_splits(DataConfig(separator=separator), source)
        by_label: dict[str, list[str]] = {}
        for record in splits["train"]:
            by_label.setdefault(record.target, []).append(record.text)
        rng = random.Random(draw)
        drawn: dict[str, list[tuple[str, str]]] = {"train": [], "validation": []}
        for label in sorted(by_label):
            texts = rng.sample(by_label[label], number + num_validation)
            drawn["train"] += [(text, label) for text in texts[:number]]
            drawn["validation"] += [(text, label) for text in texts[number:]]
        for name, rows in (drawn | {"test": [(r.text, r.target) for r in splits["test"]]}).items():
            if not rows:
                continue
            lines = [json.dumps({"text": text, "label": label}, ensure_ascii=False) + "\n" for text, label in rows]
            (target / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")

    return prepare


def write_clinc(source: Path, target: Path, draw: int) -> None:
    """Write CLINC150's in-scope splits as jsonl.

    A few validation and test texts are in train with another label; they are kept, as published.

    Args:
        source: directory with `data_full.json`.
        target: existing directory.
        draw: not used.
    """
    splits = json.loads((source / "data_full.json").read_text(encoding="utf-8"))
    for name in ("train", "val", "test"):
        lines = [json.dumps({"text": text, "label": label}, ensure_ascii=False) + "\n" for text, label in splits[name]]
        (target / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")


def copy_named(**names: str) -> Callable[[Path, Path, int], None]:
    """Return what copies files to the names of their splits.

    Args:
        **names: split to file name; the suffix says the format.
    """

    def prepare(source: Path, target: Path, draw: int) -> None:
        for split, name in names.items():
            path = source / name.partition(" as ")[0]
            suffix = name.partition(" as ")[2] or "".join(path.suffixes[-2 if path.suffix == ".gz" else -1 :])
            (target / f"{split}{suffix}").write_bytes(path.read_bytes())

    return prepare


def write_squad(source: Path, target: Path, draw: int) -> None:
    """Write SQuAD 1.1's part that is there: the derived training file, and the answerable questions of the dev file.

    Args:
        source: directory with both files.
        target: existing directory.
        draw: not used.
    """
    name = "derived_train_v1.1_format_3838.json.gz"
    (target / "train.json.gz").write_bytes((source / name).read_bytes())
    document = json.loads((source / "dev-v2.0_16articles.json").read_text(encoding="utf-8"))
    for article in document["data"]:
        for paragraph in article["paragraphs"]:
            paragraph["qas"] = [item for item in paragraph["qas"] if not item["is_impossible"]]
    (target / "test.json").write_text(json.dumps(document), encoding="utf-8")


def write_squad2(source: Path, target: Path, draw: int) -> None:
    """Write data with unanswerable questions: the dev file of SQuAD 2.0 has them, its train file is not at hand.

    Train is the derived file of 1.1 and every second article of the dev file, by title; test is the other articles.

    Args:
        source: directory with both files.
        target: existing directory.
        draw: not used.
    """
    with gzip.open(source / "derived_train_v1.1_format_3838.json.gz", "rt", encoding="utf-8") as stream:
        train = json.load(stream)
    document = json.loads((source / "dev-v2.0_16articles.json").read_text(encoding="utf-8"))
    articles = sorted(document["data"], key=lambda article: article["title"])
    for name, data in (("train", train["data"] + articles[::2]), ("test", articles[1::2])):
        (target / f"{name}.json").write_text(json.dumps({"version": "v2.0", "data": data}), encoding="utf-8")


def write_sentence_pairs(source: Path, target: Path, draw: int) -> None:
    """Write questions with the sentences that answer them; a test question with several is several pairs.

    Args:
        source: directory with `train.json.gz` and `test.json.gz`.
        target: existing directory.
        draw: not used.
    """
    train, test = (_read_gzip_json(source / f"{name}.json.gz") for name in ("train", "test"))
    _write_lines(target / "train.jsonl", zip(train["questions"], train["answers"], strict=True))
    pairs = (
        (question, test["candidates"][index])
        for question, right in zip(test["questions"], test["ground_truths"], strict=True)
        for index in right
    )
    _write_lines(target / "test.jsonl", pairs)


def write_faq_threads(source: Path, target: Path, draw: int) -> None:
    """Write an FAQ of threads, each with a question, answers, and ways in which others put the question.

    As in an FAQ at work, train has every question with its answers. The other ways of a thread are all in one split, by
    a hash of its question: what is tested is whether new wording finds the entry, in threads that were learned without
    any. What is empty, and the file's own mark between two sources of wording, is left out.

    Args:
        source: directory with `stackExchange-FAQ.json`.
        target: existing directory.
        draw: not used.
    """
    threads = json.loads((source / "stackExchange-FAQ.json").read_text(encoding="utf-8"))["root"]["qapair"]
    found: dict[str, list[tuple[str, str]]] = {"train": [], "validation": [], "test": []}
    for thread in threads:
        answers = [thread["answer"]] if isinstance(thread["answer"], str) else thread["answer"]
        wordings = [text for text in thread["rephr"] if text and text.strip() and text != "*"]
        found["train"] += [(thread["question"], answer) for answer in answers]
        found[_split_of(thread["question"])] += [(text, answer) for text in wordings for answer in answers]
    for name, pairs in found.items():
        _write_lines(target / f"{name}.jsonl", pairs)


def join_clinc(source: Path, target: Path, draw: int) -> None:
    """Write a multi-label set built from CLINC150: messages of one to three queries, whose domains are their labels.

    Args:
        source: directory with `data_full.json` and `domains.json`.
        target: existing directory.
        draw: seed of what is joined.
    """
    splits = json.loads((source / "data_full.json").read_text(encoding="utf-8"))
    domains = json.loads((source / "domains.json").read_text(encoding="utf-8"))
    domain_of = {intent: domain for domain, intents in domains.items() for intent in intents}
    rng = random.Random(draw)
    for name in ("train", "val", "test"):
        queries = list(splits[name])
        rng.shuffle(queries)
        with open(target / f"{name}.jsonl", "w", encoding="utf-8") as stream:
            while queries:
                joined = [queries.pop() for _ in range(min(len(queries), rng.randint(1, 3)))]
                labels = sorted({domain_of[intent] for _, intent in joined})
                row = {"text": ". ".join(text for text, _ in joined), "labels": labels}
                stream.write(json.dumps(row, ensure_ascii=False) + "\n")


def write_tweet_values(source: Path, target: Path, draw: int) -> None:
    """Write a regression set built from labelled tweets: minus to plus how sure the label is, 0 for neutral ones.

    Tweets without a confidence are left out. Splits are taken by the hash of the text.

    Args:
        source: csv in Mac Roman with `sentiment`, `confidence` and `text`.
        target: existing directory.
        draw: not used.
    """
    signs = {"negative": -1.0, "neutral": 0.0, "positive": 1.0}
    with (
        gzip.open(source, "rt", encoding="mac_roman", newline="") as stream,
        open(target / "train.csv", "w", newline="", encoding="utf-8") as out,
    ):
        writer = csv.writer(out)
        writer.writerow(["text", "value"])
        for row in csv.DictReader(stream):
            if row["confidence"] and row["text"].strip():
                writer.writerow([row["text"], signs[row["sentiment"]] * float(row["confidence"])])


def _read_gzip_json(path: Path) -> dict:
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        return json.load(stream)


def _write_lines(path: Path, pairs: Iterable[tuple[str, str]]) -> None:
    with open(path, "w", encoding="utf-8") as stream:
        for question, answer in pairs:
            stream.write(json.dumps({"question": question, "answer": answer}, ensure_ascii=False) + "\n")


def _split_of(text: str) -> str:
    share = int.from_bytes(hashlib.sha256(text.encode("utf-8")).digest()[:4], "big") / 2**32
    if share < _TEST_FRACTION:
        return "test"
    return "validation" if share < _TEST_FRACTION + _VALIDATION_FRACTION else "train"
