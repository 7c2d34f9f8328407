"""Corpora in, a table of how fast they are prepared out, by a second of one core, next to two peers.

Tokens are those in the rows that come out. Random text behind a segment makes them more than the text has, at little
cost, so that where documents are short the characters that went in say more.
"""

import json
import logging
import resource
import subprocess
from collections.abc import Iterable
from pathlib import Path

from tfbert.bench.peers import peers_python
from tfbert.encoder.backbone import load_encoder
from tfbert.encoder.presets import resolve
from tfbert.files import read_json, write_json
from tfbert.pretraining.config import CorpusConfig, ExamplesConfig
from tfbert.pretraining.corpus import Corpus, Document
from tfbert.pretraining.preparation import prepare
from tfbert.pretraining.sentences import sentences_of
from tfbert.pretraining.wordpieces import WordPieces

logger = logging.getLogger(__name__)

_SCRIPT = Path(__file__).with_name("preparation_peer.py")
# For the loop in Python, whose speed does not depend on how much there is.
_SAMPLE_CHARACTERS = 1_000_000
CORPORA = {"fomc_minutes": "English", "peoples_daily_1998": "Chinese"}
WAYS = {
    "tfbert": "tfbert: read, drop duplicates, pack pairs, compress, write",
    "map": "`datasets.map`, Rust tokenizer: tokenize lines, join to blocks, write",
    "loop": "loop of `create_pretraining_data`, Python tokenizer: pack pairs, mask",
}


def measure(data_dir: Path, out_dir: Path) -> list[dict]:
    """Prepare every corpus that is there for the default encoder, by us and by the peers.

    Args:
        data_dir: holds the corpora in folders of their own.
        out_dir: for what is prepared.

    Returns:
        A dict a row: `corpus`, `way` (a key of `WAYS`), `characters` of text that went in, `tokens` in the rows that
        came out, `seconds` that the processor was busy.

    Raises:
        ValueError: there is none of the corpora.
    """
    names = [name for name in CORPORA if (data_dir / name).exists()]
    if not names:
        raise ValueError(f"{data_dir}: holds none of {', '.join(CORPORA)}")
    encoder = load_encoder("minilm", load_weights=False)
    rules = {name: getattr(encoder, name) for name in ("lowercase", "strip_accents", "split_on_cjk")}
    rows = []
    for name in names:
        found = {"tfbert": _ours(data_dir / name, out_dir / name, WordPieces(encoder.vocabulary, **rules))}
        found |= _peers(data_dir / name, out_dir / name)
        rows += [{"corpus": name, "way": way} | found[way] for way in WAYS if way in found]
    return rows


def to_markdown(rows: list[dict]) -> str:
    """Return the table."""
    lines = ["| corpus | prepared by | seconds | characters a second | tokens a second |", "|---|---|---|---|---|"]
    for row in rows:
        speeds = [f"{row[name] / row['seconds']:,.0f}" for name in ("characters", "tokens")]
        cells = [row["corpus"], WAYS[row["way"]], f"{row['seconds']:.2f}", *speeds]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _ours(path: Path, out_dir: Path, word_pieces: WordPieces) -> dict:
    out_dir.mkdir(parents=True, exist_ok=True)
    target = out_dir / "rows"
    # Rows that are there already would cost no time.
    for stale in target.glob("*"):
        stale.unlink()
    corpus = CorpusConfig(paths=(str(path),))
    started = _busy_seconds()
    index = prepare(corpus, ExamplesConfig(), word_pieces, target, num_processes=1)
    seconds = _busy_seconds() - started
    tokens = sum(split["num_tokens"] for split in index["splits"].values())
    return {"characters": index["corpus"]["characters"], "tokens": tokens, "seconds": seconds}


def _peers(path: Path, out_dir: Path) -> dict[str, dict]:
    python = peers_python()
    if python is None:
        return {}
    documents = list(Corpus(CorpusConfig(paths=(str(path),))))
    lines, sample = out_dir / "lines.txt", out_dir / "sample.jsonl"
    lines.write_text("\n".join(" ".join(document.text.split()) for document in documents) + "\n", encoding="utf-8")
    some = list(_some(documents))
    with open(sample, "w", encoding="utf-8") as stream:
        stream.writelines(f"{json.dumps(list(sentences_of(document.text)))}\n" for document in some)
    job = {
        "encoder": str(resolve("minilm").directory),
        "sequence_length": ExamplesConfig().sequence_length,
        "lines": str(lines),
        "sample": str(sample),
        "out": str(out_dir / "peers.json"),
    }
    write_json(out_dir / "job.json", job)
    command = [str(python), "-P", str(_SCRIPT.resolve()), str(out_dir / "job.json")]
    logger.info("%s", " ".join(command))
    subprocess.run(command, check=True)
    characters = {"map": sum(len(d.text) for d in documents), "loop": sum(len(d.text) for d in some)}
    return {way: {"characters": characters[way]} | said for way, said in read_json(out_dir / "peers.json").items()}


def _some(documents: Iterable[Document]) -> Iterable[Document]:
    characters = 0
    for document in documents:
        if characters >= _SAMPLE_CHARACTERS:
            return
        characters += len(document.text)
        yield document


def _busy_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
