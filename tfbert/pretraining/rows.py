"""Reading of prepared shards into flat arrays of packed rows, and readable views of rows."""

import hashlib
import logging
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tfbert.files import move_into_place, read_json, write_json
from tfbert.pretraining import shards
from tfbert.pretraining.packing import NEXT, NO_PAIR
from tfbert.pretraining.wordpieces import WordPieces

logger = logging.getLogger(__name__)

INDEX = "index.json"
FORMAT = 1
SplitName = Literal["train", "held_out"]
# Row boundaries, second starts and labels have names of their own in a directory of flat arrays.
_DTYPES = {"continues": np.bool_, "starts": np.int64, "second_starts": np.int32, "pair_labels": np.int8}


@dataclass(frozen=True)
class Rows:
    """Packed rows, one after the other.

    Args:
        token_ids: `(tokens,)`, uint16, or int32 for vocabularies above 65,536; with [CLS] and [SEP], without padding or
            masks.
        continues: bool `(tokens,)`; whether a token goes on with the word of the one before. Never of special tokens
            and the first token of a segment.
        starts: int64 `(rows + 1,)`; row i is `token_ids[starts[i]:starts[i + 1]]`.
        second_starts: int32 `(rows,)`; position in the row of the first token of the second segment, the row's length
            where there is none.
        pair_labels: int8 `(rows,)`; 0 where the second segment follows the first, 1 where it does not, -1 where there
            is no pair.
        lost: names of the shards that were damaged and left out.
    """

    token_ids: np.ndarray
    continues: np.ndarray
    starts: np.ndarray
    second_starts: np.ndarray
    pair_labels: np.ndarray
    lost: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.second_starts)


def read_index(directory: Path) -> dict[str, Any]:
    """Return the index of prepared rows in a directory.

    Raises:
        ValueError: it holds none, or of another format.
    """
    path = Path(directory) / INDEX
    if not path.is_file():
        raise ValueError(f"{directory}: no {INDEX}; wanted a directory that `pretrain.py prepare` has finished")
    index = read_json(path)
    if index.get("format") != FORMAT:
        raise ValueError(f"{path}: format is {index.get('format')!r}; wanted {FORMAT}: prepare the corpus anew")
    return index


def check_vocabulary(index: dict[str, Any], word_pieces: WordPieces, directory: Path) -> None:
    """Refuse rows that were prepared for another encoder.

    Raises:
        ValueError: the vocabulary is another one, or texts were normalised by other rules.
    """
    said = index["vocabulary"]
    if said["sha256"] != word_pieces.sha256:
        raise ValueError(
            f"{directory}: prepared with a vocabulary of {said['size']:,} tokens ({said['sha256'][:8]}); the encoder's "
            f"has {len(word_pieces.vocabulary):,} ({word_pieces.sha256[:8]}): prepare the corpus anew for this encoder"
        )
    for name, value in word_pieces.rules.items():
        if said[name] != value:
            raise ValueError(f"{directory}: prepared with {name}={said[name]}; the encoder wants {value}")


def load_rows(directory: Path, split: SplitName = "train", *, map_to: Path | None = None) -> Rows:
    """Return all rows of a split, shard after shard; a damaged shard is logged and left out.

    In memory, a token takes 3 bytes (5 for vocabularies above 65,536) and a row 13: 100 million tokens in rows of 128
    take 310 MB, and the 4.4 billion of English Wikipedia and BookCorpus 14 GB.

    Args:
        directory: with prepared shards.
        split: `train` or `held_out`.
        map_to: a directory to unpack the rows into, if they are not there yet, and to map into memory from: then they
            take disk for memory.

    Raises:
        ValueError: no prepared shards, or all of a split's are damaged.
    """
    directory, index = Path(directory), read_index(directory)
    if map_to is None:
        return _filled(directory, index, split, lambda name, size, dtype: np.empty(size, dtype))
    fingerprint = hashlib.sha256((directory / INDEX).read_bytes()).hexdigest()
    place = Path(map_to) / f"{split}-{fingerprint[:16]}"
    if not (place / "lost.json").is_file():
        _unpack(directory, index, split, place)
    dtype = np.dtype(index["vocabulary"]["dtype"])
    arrays = {name: np.load(place / f"{name}.npy", mmap_mode="r") for name in ("token_ids", *_DTYPES)}
    assert arrays["token_ids"].dtype == dtype
    return _cut(arrays, tuple(read_json(place / "lost.json")["lost"]))


def _unpack(directory: Path, index: dict[str, Any], split: SplitName, place: Path) -> None:
    aside = place.with_name(f".{place.name}.part-{uuid.uuid4().hex}")
    aside.mkdir(parents=True)

    def mapped(name: str, size: int, dtype: np.dtype) -> np.ndarray:
        return np.lib.format.open_memmap(aside / f"{name}.npy", mode="w+", dtype=dtype, shape=(size,))

    rows = _filled(directory, index, split, mapped)
    write_json(aside / "lost.json", {"lost": rows.lost})
    move_into_place(aside, place)


def _filled(
    directory: Path,
    index: dict[str, Any],
    split: SplitName,
    make: Callable[[str, int, np.dtype], np.ndarray],
) -> Rows:
    """Read the shards of a split into arrays that `make` gives by name, size and dtype."""
    listed = index["splits"][split]["shards"]
    dtype = np.dtype(index["vocabulary"]["dtype"])
    num_rows, num_tokens = (sum(shard[name] for shard in listed) for name in ("num_rows", "num_tokens"))
    sizes = dict.fromkeys(_DTYPES, num_rows) | {"continues": num_tokens, "starts": num_rows + 1}
    arrays = {"token_ids": make("token_ids", num_tokens, dtype)}
    arrays |= {name: make(name, sizes[name], np.dtype(kind)) for name, kind in _DTYPES.items()}
    row = token = 0
    lost = []
    for shard in listed:
        try:
            columns = _read(directory / shard["name"], shard, dtype)
        except (OSError, ValueError) as error:
            logger.warning("%s: %s; its %d rows are left out", shard["name"], error, shard["num_rows"])
            lost.append(shard["name"])
            continue
        next_row, next_token = row + shard["num_rows"], token + shard["num_tokens"]
        arrays["token_ids"][token:next_token] = columns.token_ids
        arrays["continues"][token:next_token] = columns.continues
        arrays["starts"][row:next_row] = token + np.cumsum(columns.lengths) - columns.lengths
        arrays["second_starts"][row:next_row] = columns.second_starts
        arrays["pair_labels"][row:next_row] = columns.pair_labels
        row, token = next_row, next_token
    if lost and len(lost) == len(listed):
        raise ValueError(f"{directory}: all {len(listed)} shards of {split} are damaged; prepare the corpus anew")
    # Behind the rows that could be read, the boundary stands still: so their number can be told.
    arrays["starts"][row:] = token
    return _cut(arrays, tuple(lost))


def _cut(arrays: dict[str, np.ndarray], lost: tuple[str, ...]) -> Rows:
    """Return what was filled of arrays."""
    starts = arrays["starts"]
    num_tokens = int(starts[-1])
    num_rows = int(np.searchsorted(starts, num_tokens, side="left"))
    sizes = dict.fromkeys(arrays, num_rows) | {"token_ids": num_tokens, "continues": num_tokens, "starts": num_rows + 1}
    return Rows(**{name: array[: sizes[name]] for name, array in arrays.items()}, lost=lost)


def _read(path: Path, shard: dict[str, Any], dtype: np.dtype) -> shards.Columns:
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != shard["sha256"]:
        size = f"{len(content):,} bytes of {shard['num_bytes']:,}" if len(content) != shard["num_bytes"] else "changed"
        raise ValueError(f"damaged ({size})")
    return shards.decode(content, dtype, shard["num_rows"], shard["num_tokens"])


def show(
    rows: Rows,
    vocabulary: Sequence[str],
    count: int,
    mask: Callable[[Rows, int], np.ndarray] | None = None,
) -> list[str]:
    """Return the first rows in readable form, a line each.

    Args:
        rows: of any split.
        vocabulary: token of each id.
        count: of rows; fewer if there are not so many.
        mask: gives the ids of a row as the encoder will see them. Where they differ, both are shown, as in
            `[MASK]{growth}` or, for a random token, `{growth>fish}`.
    """
    lines = []
    for index in range(min(count, len(rows))):
        ids = rows.token_ids[rows.starts[index] : rows.starts[index + 1]]
        continues = rows.continues[rows.starts[index] : rows.starts[index + 1]]
        seen = ids if mask is None else mask(rows, index)
        words: list[str] = []
        for token_id, seen_id, goes_on in zip(ids.tolist(), seen.tolist(), continues.tolist(), strict=True):
            word = _word(vocabulary[token_id], vocabulary[seen_id])
            if goes_on and words:
                words[-1] += word
            else:
                words.append(word)
        label = int(rows.pair_labels[index])
        pair = "one segment" if label == NO_PAIR else "in order" if label == NEXT else "not in order"
        lines.append(f"row {index + 1}, {len(ids)} tokens, {pair}: {' '.join(words)}")
    return lines


def _word(token: str, seen: str) -> str:
    plain = token.removeprefix("##")
    if token == seen:
        return plain
    return f"[MASK]{{{plain}}}" if seen == "[MASK]" else f"{{{plain}>{seen.removeprefix('##')}}}"
