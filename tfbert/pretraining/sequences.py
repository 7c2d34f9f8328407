"""Loading of prepared shards into flat arrays of packed sequences, and readable views of sequences."""

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict

import numpy as np

from tfbert.files import read_json
from tfbert.pretraining import shards
from tfbert.pretraining.packing import NEXT, NO_PAIR
from tfbert.pretraining.wordpieces import WordPieces

logger = logging.getLogger(__name__)

INDEX = "index.json"
FORMAT = 1
SplitName = Literal["train", "held_out"]


class ShardEntry(TypedDict):
    """What the index stores about a shard."""

    name: str
    sha256: str
    num_bytes: int
    num_documents: int
    num_rows: int
    num_tokens: int


class SplitEntry(TypedDict):
    """What the index stores about a split: totals of its shards."""

    num_documents: int
    num_rows: int
    num_tokens: int
    shards: list[ShardEntry]


class VocabularyEntry(TypedDict):
    """What the index stores about the encoder that the sequences were prepared for."""

    sha256: str
    size: int
    dtype: str
    lowercase: bool
    strip_accents: bool
    split_on_cjk: bool


class Index(TypedDict):
    """The content of the `index.json` of prepared sequences.

    `config` has the sections `corpus` and `examples`, and `corpus` the hash and the counts of the corpus.
    """

    format: int
    config: dict[str, dict[str, Any]]
    vocabulary: VocabularyEntry
    corpus: dict[str, Any]
    splits: dict[SplitName, SplitEntry]


@dataclass(frozen=True)
class PackedSequences:
    """Packed sequences, stored one after the other.

    Args:
        token_ids: `(tokens,)`, uint16, or int32 for vocabularies above 65,536 tokens; with [CLS] and [SEP], without
            padding or masks.
        continues: bool `(tokens,)`; whether a token continues the word of the previous token. False for special tokens
            and the first token of a segment.
        starts: int64 `(sequences + 1,)`; sequence i is `token_ids[starts[i]:starts[i + 1]]`.
        second_starts: int32 `(sequences,)`; position of the first token of the second segment, or the length of a
            sequence of one segment.
        pair_labels: int8 `(sequences,)`; 0 if the second segment follows the first, 1 if it does not, -1 for sequences
            of one segment.
        lost: names of the damaged shards that were left out.
    """

    token_ids: np.ndarray
    continues: np.ndarray
    starts: np.ndarray
    second_starts: np.ndarray
    pair_labels: np.ndarray
    lost: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.second_starts)


def read_index(directory: Path) -> Index:
    """Return the content of `index.json` in a directory of prepared sequences.

    Raises:
        ValueError: the file does not exist, or has another format.
    """
    path = Path(directory) / INDEX
    if not path.is_file():
        raise ValueError(f"{directory}: no {INDEX}; expected a directory that `tfbert pretrain prepare` has finished")
    index = read_json(path)
    if index.get("format") != FORMAT:
        raise ValueError(f"{path}: format is {index.get('format')!r}; expected {FORMAT}: prepare the corpus again")
    return index


def check_vocabulary(index: Index, word_pieces: WordPieces, directory: Path) -> None:
    """Refuse sequences that were prepared for another encoder.

    Raises:
        ValueError: vocabulary or normalization of the encoder are different.
    """
    stored = index["vocabulary"]
    if stored["sha256"] != word_pieces.sha256:
        raise ValueError(
            f"{directory}: prepared with a vocabulary of {stored['size']:,} tokens ({stored['sha256'][:8]}); the "
            f"encoder's has {len(word_pieces.vocabulary):,} ({word_pieces.sha256[:8]}): prepare the corpus again for "
            "this encoder"
        )
    for name, value in word_pieces.rules._asdict().items():
        if stored[name] != value:
            raise ValueError(f"{directory}: prepared with {name}={stored[name]}; the encoder needs {value}")


def load_sequences(directory: Path, split: SplitName = "train") -> PackedSequences:
    """Return all sequences of a split, shard by shard; damaged shards are logged and left out.

    In memory, a token takes 3 bytes (5 for vocabularies above 65,536 tokens) and a sequence 13: 100 million tokens in
    sequences of 128 take 310 MB, and the 4.4 billion of English Wikipedia and BookCorpus 14 GB.

    Raises:
        ValueError: there are no prepared shards, or all shards of the split are damaged.
    """
    directory, index = Path(directory), read_index(directory)
    entries = index["splits"][split]["shards"]
    dtype = np.dtype(index["vocabulary"]["dtype"])
    num_sequences, num_tokens = (sum(entry[name] for entry in entries) for name in ("num_rows", "num_tokens"))
    # Filled in place, because the concatenation of all shards would take twice the memory.
    arrays = {
        "token_ids": np.empty(num_tokens, dtype),
        "continues": np.empty(num_tokens, bool),
        "starts": np.zeros(num_sequences + 1, np.int64),
        "second_starts": np.empty(num_sequences, np.int32),
        "pair_labels": np.empty(num_sequences, np.int8),
    }
    sequence = token = 0
    lost = []
    for entry in entries:
        try:
            columns = _read_shard(directory / entry["name"], entry, dtype)
        except (OSError, ValueError) as error:
            logger.warning("%s: %s; its %d sequences are left out", entry["name"], error, entry["num_rows"])
            lost.append(entry["name"])
            continue
        next_sequence, next_token = sequence + entry["num_rows"], token + entry["num_tokens"]
        arrays["token_ids"][token:next_token] = columns.token_ids
        arrays["continues"][token:next_token] = columns.continues
        arrays["starts"][sequence + 1 : next_sequence + 1] = token + np.cumsum(columns.lengths)
        arrays["second_starts"][sequence:next_sequence] = columns.second_starts
        arrays["pair_labels"][sequence:next_sequence] = columns.pair_labels
        sequence, token = next_sequence, next_token
    if lost and len(lost) == len(entries):
        raise ValueError(f"{directory}: all {len(entries)} shards of {split} are damaged; prepare the corpus again")
    sizes = dict.fromkeys(arrays, sequence) | {"token_ids": token, "continues": token, "starts": sequence + 1}
    return PackedSequences(**{name: array[: sizes[name]] for name, array in arrays.items()}, lost=tuple(lost))


def _read_shard(path: Path, entry: ShardEntry, dtype: np.dtype) -> shards.Columns:
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != entry["sha256"]:
        size = f"{len(content):,} bytes of {entry['num_bytes']:,}" if len(content) != entry["num_bytes"] else "changed"
        raise ValueError(f"damaged ({size})")
    return shards.decode(content, dtype, entry["num_rows"], entry["num_tokens"])


def describe_sequences(
    sequences: PackedSequences, vocabulary: Sequence[str], count: int, masked_token_ids: Callable[[int], np.ndarray]
) -> list[str]:
    """Return the first sequences in readable form, one line per sequence.

    Args:
        sequences: sequences of a split.
        vocabulary: token of each id.
        count: number of sequences; there are fewer lines if there are fewer sequences.
        masked_token_ids: returns the token ids of the sequence at an index as the encoder sees them. Where they differ,
            both are shown, as in `[MASK]{growth}` or, for a random token, `{growth>fish}`.
    """
    lines = []
    for index in range(min(count, len(sequences))):
        bounds = slice(sequences.starts[index], sequences.starts[index + 1])
        ids, continues = sequences.token_ids[bounds], sequences.continues[bounds]
        masked_ids = masked_token_ids(index)
        words: list[str] = []
        for token_id, masked_id, continues_word in zip(
            ids.tolist(), masked_ids.tolist(), continues.tolist(), strict=True
        ):
            word = _describe_token(vocabulary[token_id], vocabulary[masked_id])
            if continues_word and words:
                words[-1] += word
            else:
                words.append(word)
        label = int(sequences.pair_labels[index])
        pair = "one segment" if label == NO_PAIR else "in order" if label == NEXT else "not in order"
        lines.append(f"row {index + 1}, {len(ids)} tokens, {pair}: {' '.join(words)}")
    return lines


def _describe_token(token: str, masked: str) -> str:
    plain = token.removeprefix("##")
    if token == masked:
        return plain
    return f"[MASK]{{{plain}}}" if masked == "[MASK]" else f"{{{plain}>{masked.removeprefix('##')}}}"
