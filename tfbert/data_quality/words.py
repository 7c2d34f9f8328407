"""Vectors of single words by the frozen encoder, with their positions in the text, for labels of spans."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tfbert.data_quality.neighbours import unit_vectors
from tfbert.encoder.backbone import Encoder
from tfbert.encoder.precision import choose_precision
from tfbert.models.task_model import embedded_batches
from tfbert.text.datasets import TokenizedSplit
from tfbert.text.record_sequences import RecordSequences


@dataclass(frozen=True, eq=False)
class Words:
    """The words of some records, in order: the units of a text that are tagged as a whole.

    Args:
        vectors: unit vectors, float32 `(words, hidden_dim)`.
        first: int64 `(records + 1,)`, the first word of each record, and the number of words.
        starts: int64 `(words,)`, the position of the first character of each word.
        ends: int64 `(words,)`, the exclusive end.
    """

    vectors: np.ndarray
    first: np.ndarray
    starts: np.ndarray
    ends: np.ndarray


def word_vectors(
    encoder: Encoder,
    split: TokenizedSplit,
    sequence_length: int,
    records: np.ndarray,
    tokens: Iterable[RecordSequences],
    continues: str,
) -> Words:
    """Return the words of some records; the vector of a word is the mean over its word pieces in all windows.

    Args:
        encoder: the encoder, which is not changed.
        split: the split that contains the records.
        sequence_length: maximum length of a sequence in tokens.
        records: indices of one or more records.
        tokens: the tokens of each record, with their offsets.
        continues: the name of the token values that tell whether a token continues the word of the previous one.
    """
    places = _Places([], [], [], [0])
    sequences: list[np.ndarray] = []
    for record, of_record in zip(records, tokens, strict=True):
        sequences.append(np.arange(split.records[record], split.records[record + 1]))
        places.add(of_record, continues)
    num_words = places.first[-1]
    vectors = np.zeros((num_words, encoder.backbone.hidden_dim), np.float32)
    backbone = encoder.backbone

    def embed(inputs, training: bool):
        return backbone(inputs, training=training)["sequence_output"]

    chosen = np.concatenate(sequences)
    # Rankings do not need float32.
    with backbone.kernels_copied(choose_precision("auto").product_dtype):
        for positions, embeddings in embedded_batches(embed, split, sequence_length, chosen) if len(chosen) else ():
            for position, embedding in zip(positions, embeddings, strict=True):
                words = places.words[position]
                # The first token is [CLS].
                np.add.at(vectors, words, embedding[1 : len(words) + 1])
    starts, ends = (np.concatenate([np.zeros(0, np.int64), *values]) for values in (places.starts, places.ends))
    return Words(unit_vectors(vectors), np.asarray(places.first), starts, ends)


@dataclass(frozen=True)
class _Places:
    """The positions of the words of several records, while they are collected.

    Args:
        words: for each sequence the word of each of its tokens.
        starts: for each record the starts of its words.
        ends: for each record the ends of its words.
        first: the first word of each record, and the number of words so far.
    """

    words: list[np.ndarray]
    starts: list[np.ndarray]
    ends: list[np.ndarray]
    first: list[int]

    def add(self, tokens: RecordSequences, continues: str) -> None:
        (text,) = tokens.texts["text"]
        is_first = ~np.asarray(tokens.token_values[continues], bool)
        begins = np.flatnonzero(is_first)
        word = np.cumsum(is_first) - 1 + self.first[-1]
        for start, length in zip(tokens.window_starts, tokens.window_lengths, strict=True):
            self.words.append(word[start : start + length])
        lasts = np.append(begins[1:], len(is_first)) - 1 if len(begins) else begins
        self.starts.append(text.starts[begins].astype(np.int64))
        self.ends.append(text.ends[lasts].astype(np.int64))
        self.first.append(self.first[-1] + len(begins))


def mean_vectors(vectors: np.ndarray, ranges: Sequence[tuple[int, int]]) -> np.ndarray:
    """Return the unit vector in the direction of the mean of each range of words, float32 `(ranges, hidden_dim)`."""
    sums = [vectors[first:end].sum(axis=0) for first, end in ranges]
    return unit_vectors(np.asarray(sums, np.float32).reshape(len(ranges), vectors.shape[1]))
