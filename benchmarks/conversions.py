"""Turn public data sets as published into directories that `tools/train.py --data` reads.

A conversion takes the published directory or file, an existing target directory, and a random seed, which only those
that draw something use.
"""

import csv
import gzip
import hashlib
import io
import itertools
import json
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

Conversion = Callable[[Path, Path, int], None]

_EXAMPLES_PER_LABEL = 10
_VALIDATION_FRACTION, _TEST_FRACTION = 0.1, 0.3


def draw_ten_per_label(source: Path, target: Path, seed: int) -> None:
    """Write a train split of ten random examples of every label, and the test split unchanged.

    Args:
        source: directory with `train.csv` and `test.csv`, columns `text` and `category`.
        target: existing directory.
        seed: of the draw.
    """
    with open(source / "train.csv", newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    rng = random.Random(seed)
    with open(target / "train.csv", "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, ["text", "category"])
        writer.writeheader()
        for label in sorted({row["category"] for row in rows}):
            writer.writerows(rng.sample([row for row in rows if row["category"] == label], _EXAMPLES_PER_LABEL))
    (target / "test.csv").write_bytes((source / "test.csv").read_bytes())


def rename(**names: str) -> Conversion:
    """Return a conversion that copies files to the names of their splits.

    Args:
        **names: split to `FILE` or, if its suffix does not tell the format, `FILE as .SUFFIX`.
    """

    def convert(source: Path, target: Path, seed: int) -> None:
        for split, name in names.items():
            path = source / name.partition(" as ")[0]
            suffix = name.partition(" as ")[2] or "".join(path.suffixes[-2 if path.suffix == ".gz" else -1 :])
            (target / f"{split}{suffix}").write_bytes(path.read_bytes())

    return convert


def table(*, text: str, label: str, names: str | None = None, **files: str) -> Conversion:
    """Return a conversion that writes the text and the label of each row, except rows without text.

    Args:
        text: name of the column with the text.
        label: name of the column with the label.
        names: names of all columns, separated by commas, if the file has no header.
        **files: split to a `.csv` or `.tsv` file, which may be compressed with gzip.
    """

    def convert(source: Path, target: Path, seed: int) -> None:
        for split, name in files.items():
            rows = _table_rows(source / name, names)
            pairs = ({"text": row[text], "label": row[label]} for row in rows if row[text].strip())
            _write_lines(target / f"{split}.jsonl", pairs)

    return convert


def limited(convert: Conversion, num_examples: int) -> Conversion:
    """Return a conversion that draws examples from the train split of another one, whose other splits stay whole.

    Args:
        convert: writes `train.jsonl`, `train.tsv` with a header, `train.conll`, or `train.json.gz` in SQuAD's layout,
            of which paragraphs are drawn; other formats stay whole.
        num_examples: number of examples to draw; the draw depends on the seed.
    """

    def convert_and_draw(source: Path, target: Path, seed: int) -> None:
        convert(source, target, seed)

        def draw(examples: Sequence) -> list:
            return random.Random(seed).sample(examples, min(num_examples, len(examples)))

        for path in target.glob("train.*"):
            if path.name == "train.json.gz":
                _draw_paragraphs(path, draw)
            elif path.suffix in (".jsonl", ".tsv", ".conll"):
                _draw_lines(path, draw)

    return convert_and_draw


def _draw_paragraphs(path: Path, draw: Callable[[Sequence], list]) -> None:
    """Keep the drawn paragraphs of a file in SQuAD's layout, in one article."""
    document = json.loads(gzip.decompress(path.read_bytes()))
    paragraphs = [paragraph for article in document["data"] for paragraph in article["paragraphs"]]
    path.write_bytes(gzip.compress(json.dumps({"data": [{"paragraphs": draw(paragraphs)}]}).encode()))


def _draw_lines(path: Path, draw: Callable[[Sequence], list]) -> None:
    """Keep the drawn lines of a file, or the drawn sentences of a CoNLL file."""
    lines = path.read_text(encoding="utf-8").split("\n")
    header, separator, examples = [], "\n", [line for line in lines if line]
    if path.suffix == ".tsv":
        header, examples = examples[:1], examples[1:]
    elif path.suffix == ".conll":
        # Sentences are separated by lines without a word.
        groups = itertools.groupby(lines, key=lambda line: bool(line.strip()))
        separator, examples = "\n\n", ["\n".join(group) for is_sentence, group in groups if is_sentence]
    path.write_text(separator.join([*header, *draw(examples)]) + "\n", encoding="utf-8")


def write_phrasebank(source: Path, target: Path, seed: int) -> None:
    """Write the sentences of Financial PhraseBank, whose lines end with `@` and the label; 30 % are the test split."""
    lines = (line.rpartition("@") for line in source.read_text(encoding="utf-8-sig").splitlines())
    rows = [{"text": text, "label": label} for text, _, label in lines]
    for split in ("train", "validation", "test"):
        _write_lines(target / f"{split}.jsonl", (row for row in rows if _split_of(row["text"]) == split))


def write_goemotions(source: Path, target: Path, seed: int) -> None:
    """Write GoEmotions with the names of the labels."""
    labels = (source / "labels.txt").read_text(encoding="utf-8").split()
    for split, name in {"train": "train", "validation": "dev", "test": "test"}.items():
        rows = _table_rows(source / f"{name}.tsv.gz", "text,labels,id")
        named = ((row["text"], [labels[int(index)] for index in row["labels"].split(",")]) for row in rows)
        _write_lines(target / f"{split}.jsonl", ({"text": text, "labels": names} for text, names in named))


def write_clinc(source: Path, target: Path, seed: int) -> None:
    """Write the in-scope splits of CLINC150; texts that are in two splits with different labels stay, as published."""
    for name, rows in _read_json(source / "data_full.json").items():
        if name in ("train", "val", "test"):
            _write_lines(target / f"{name}.jsonl", ({"text": text, "label": label} for text, label in rows))


def clinc_out_of_scope(source: Path) -> list[str]:
    """Return the out-of-scope test texts of CLINC150, which belong to none of its intents."""
    return [text for text, _ in _read_json(source / "data_full.json")["oos_test"]]


def write_squad(source: Path, target: Path, seed: int) -> None:
    """Write the derived training file of SQuAD 1.1, and the answerable questions of the dev file of 2.0 as test."""
    (target / "train.json.gz").write_bytes((source / "derived_train_v1.1_format_3838.json.gz").read_bytes())
    document = _read_json(source / "dev-v2.0_16articles.json")
    for article in document["data"]:
        for paragraph in article["paragraphs"]:
            paragraph["qas"] = [item for item in paragraph["qas"] if not item["is_impossible"]]
    (target / "test.json").write_text(json.dumps(document), encoding="utf-8")


def write_faq_threads(source: Path, target: Path, seed: int) -> None:
    """Write an FAQ of threads, each with a question, answers, and the question in other words.

    As in a real FAQ, train has every question with its answers. The other wordings of a thread are all in one split,
    by a hash of its question, so that test asks whether new wordings find an entry that was learned without any. Empty
    wordings, and the file's mark between two sources of wordings, are left out.
    """
    splits: dict[str, list[tuple[str, str]]] = {"train": [], "validation": [], "test": []}
    for thread in _read_json(source / "stackExchange-FAQ.json")["root"]["qapair"]:
        answers = [thread["answer"]] if isinstance(thread["answer"], str) else thread["answer"]
        wordings = [text for text in thread["rephr"] if text and text.strip() and text != "*"]
        splits["train"] += [(thread["question"], answer) for answer in answers]
        splits[_split_of(thread["question"])] += [(text, answer) for text in wordings for answer in answers]
    for name, pairs in splits.items():
        _write_lines(target / f"{name}.jsonl", ({"question": text, "answer": answer} for text, answer in pairs))


def _read_json(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def _table_rows(path: Path, names: str | None) -> Iterator[dict[str, str]]:
    """Yield the rows of a table; only those of `.csv` interpret double quotes."""
    with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
        is_tsv = ".tsv" in path.suffixes
        quoting = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if is_tsv else {}
        yield from csv.DictReader(text, names.split(",") if names else None, **quoting)


def _write_lines(path: Path, rows: Iterable[Mapping]) -> None:
    with open(path, "w", encoding="utf-8") as stream:
        stream.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _split_of(text: str) -> str:
    fraction = int.from_bytes(hashlib.sha256(text.encode("utf-8")).digest()[:4], "big") / 2**32
    if fraction < _TEST_FRACTION:
        return "test"
    return "validation" if fraction < _TEST_FRACTION + _VALIDATION_FRACTION else "train"
