"""Packing: the documents of a shard become rows of token ids, filled from consecutive sentences.

What comes out depends on the documents, the config and the vocabulary alone, in whatever order the documents come.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from tfbert.pretraining.config import ExamplesConfig
from tfbert.pretraining.corpus import Document
from tfbert.pretraining.segmenters import load_segmenter
from tfbert.pretraining.sentences import sentences_of
from tfbert.pretraining.wordpieces import WordPieces

# Added to the id of a token that goes on with a word of the segmenter. Tokens with ## need no such mark.
CONTINUES = 1 << 24
NEXT, NOT_NEXT, NO_PAIR = 0, 1, -1
# Into what is left of a row no further document is begun if it is less than this.
_LEAST_TOKENS = 8

Codes = list[int]


class Row(NamedTuple):
    """One packed row.

    Args:
        codes: token ids with [CLS] and [SEP], those that go on with a segmenter's word increased by `CONTINUES`.
        second_start: position of the first token of the second segment; the length of the row where there is none.
        pair_label: 0 if the second segment follows the first, 1 if it does not, -1 if there is no pair.
    """

    codes: Codes
    second_start: int
    pair_label: int


class Packer:
    """Packs the documents of one shard into rows.

    Args:
        examples: lengths, pairs, passes, segmenter and seed.
        word_pieces: of the encoder.

    Raises:
        ValueError: the segmenter cannot be imported, or is code that was not allowed to run.

    Source: Devlin et al. 2019, appendix A.2, and google-research/bert `create_pretraining_data.py`; Lan et al. 2020
    for the order of sentences. Ours differs in that the short length is drawn for every row instead of every document;
    a sentence longer than half a row is cut into parts instead of losing what does not fit; random text is from other
    documents of the same shard, which is a random sample of the corpus; a document without another gives rows of one
    segment. Without pairs, nothing is trimmed: documents run on from row to row, cut between words, and one that ends
    in a row is followed by [SEP] and the next (Liu et al. 2019, FULL-SENTENCES).
    """

    def __init__(self, examples: ExamplesConfig, word_pieces: WordPieces):
        self.examples, self.word_pieces = examples, word_pieces
        self._segmenter = load_segmenter(examples.segmenter) if examples.segmenter else None
        self._goes_on = word_pieces.is_continuation.tolist()
        self._pairs = _Pairs(examples, word_pieces) if examples.pairs != "none" else None

    def rows(self, documents: Iterable[Document], passes: int) -> list[Row]:
        """Return the rows of documents in an order that is drawn at random, the same at every call.

        Args:
            documents: all different, in any order.
            passes: over the documents, each with other rows.

        Raises:
            ValueError: what the segmenter gives are not the words of the text.
        """
        documents = sorted(documents, key=lambda document: document.digest)
        texts = [self._sentences(document) for document in documents]
        found = []
        for number in range(passes):
            draws = [random.Random(f"{self.examples.seed} {number} {d.digest.hex()}") for d in documents]
            if self._pairs is None:
                made = self._run_on(texts, draws)
                found += [(draws[index].random(), index, row) for index, row in made]
                continue
            for index, draw in enumerate(draws):
                found += [(draw.random(), index, row) for row in self._pairs.rows(texts, index, draw)]
        # Equal numbers are next to impossible; what is sorted then decides, so that it is the same everywhere.
        return [row for _, _, row in sorted(found)]

    def _sentences(self, document: Document) -> list[Codes]:
        longest = (self.examples.sequence_length - 3) // 2
        found = []
        for sentence in sentences_of(document.text):
            codes = self._codes(sentence, document.where)
            found += self._parts(codes, longest) if len(codes) > longest else [codes] if codes else []
        return found

    def _codes(self, sentence: str, where: str) -> Codes:
        if self._segmenter is None:
            return self.word_pieces(sentence)
        place = f"{where}: segmenter {self.examples.segmenter}"
        ids, continues = self.word_pieces.with_words(sentence, self._segmenter(sentence), place)
        return [token_id + CONTINUES * goes_on for token_id, goes_on in zip(ids, continues, strict=True)]

    def _parts(self, codes: Codes, longest: int) -> Iterator[Codes]:
        start = 0
        while start < len(codes):
            end = self._word_end(codes, start, start + longest)
            yield codes[start:end]
            start = end

    def _word_end(self, codes: Codes, start: int, end: int) -> int:
        """Return the last end of a word after `start` and not after `end`; `end` itself if the word is all there is."""
        if end >= len(codes):
            return len(codes)
        before = end
        while before > start and (codes[before] >= CONTINUES or self._goes_on[codes[before]]):
            before -= 1
        return before if before > start else end

    def _run_on(self, texts: list[list[Codes]], draws: list[random.Random]) -> Iterator[tuple[int, Row]]:
        """Yield the rows of one segment that documents in a drawn order fill, each with the document of its start."""
        most, row, first = 0, [], 0
        for index in sorted(range(len(texts)), key=lambda index: (draws[index].random(), index)):
            codes, start = [code for sentence in texts[index] for code in sentence], 0
            while start < len(codes):
                if not row:
                    most, first = _drawn_length(self.examples, 2, draws[index]), index
                room = most - len(row) - bool(row)
                if row and room < _LEAST_TOKENS:
                    yield first, self._one_segment(row)
                    row = []
                    continue
                end = self._word_end(codes, start, start + room)
                row += ([self.word_pieces.end] if row else []) + codes[start:end]
                start = end
                if start < len(codes):
                    yield first, self._one_segment(row)
                    row = []
        if row:
            yield first, self._one_segment(row)

    def _one_segment(self, codes: Codes) -> Row:
        return _row(self.word_pieces, codes, [], NO_PAIR)


class _Pairs:
    """Makes rows of two segments of one document after the other."""

    def __init__(self, examples: ExamplesConfig, word_pieces: WordPieces):
        self._examples, self._word_pieces = examples, word_pieces
        self._is_next = examples.pairs == "next_sentence"

    def rows(self, texts: list[list[Codes]], index: int, draw: random.Random) -> Iterator[Row]:
        """Yield the rows of the document at `index` of the sentences of all."""
        sentences, at, chunk, size = texts[index], 0, [], 0
        wanted = _drawn_length(self._examples, 3, draw)
        while at < len(sentences):
            chunk.append(sentences[at])
            size += len(sentences[at])
            at += 1
            if size < wanted and at < len(sentences):
                continue
            cut = 1 + _below(len(chunk) - 1, draw) if len(chunk) > 1 else 1
            first, second, label = _joined(chunk[:cut]), _joined(chunk[cut:]), NEXT
            if self._is_next and (not second or draw.random() < 0.5):
                other = _random_text(texts, index, wanted - len(first), draw)
                if other:
                    # What the random text took the place of begins the next row.
                    at -= len(chunk) - cut
                    second, label = other, NOT_NEXT
            elif not self._is_next and second and draw.random() < 0.5:
                first, second, label = second, first, NOT_NEXT
            label = label if second else NO_PAIR
            first, second = _trimmed(first, second, self._examples.sequence_length - 3, draw)
            yield _row(self._word_pieces, first, second, label)
            chunk, size, wanted = [], 0, _drawn_length(self._examples, 3, draw)


def _row(word_pieces: WordPieces, first: Codes, second: Codes, label: int) -> Row:
    codes = [word_pieces.start, *first, word_pieces.end]
    start = len(codes)
    if second:
        codes += [*second, word_pieces.end]
    return Row(codes, start, label)


def _drawn_length(examples: ExamplesConfig, num_special: int, draw: random.Random) -> int:
    """Return how many tokens to fill a row with: all there is room for, or with `short_fraction` fewer, but 2."""
    most = examples.sequence_length - num_special
    return 2 + _below(most - 1, draw) if draw.random() < examples.short_fraction else most


def _random_text(texts: list[list[Codes]], index: int, wanted: int, draw: random.Random) -> Codes:
    """Return text from somewhere in a document that is not the one at `index`; none if no other has any."""
    if len(texts) < 2:
        return []
    other = _below(len(texts) - 1, draw)
    sentences = texts[other + (other >= index)]
    start = _below(len(sentences), draw)
    text: Codes = []
    for sentence in sentences[start:]:
        text += sentence
        if len(text) >= wanted:
            break
    return text


def _trimmed(first: Codes, second: Codes, most: int, draw: random.Random) -> tuple[Codes, Codes]:
    """Take tokens from the longer of two segments, at either end by chance, until both fit."""
    bounds = [[0, len(first)], [0, len(second)]]
    for _ in range(len(first) + len(second) - most):
        sizes = [end - start for start, end in bounds]
        longer = bounds[0] if sizes[0] > sizes[1] else bounds[1]
        if draw.random() < 0.5:
            longer[0] += 1
        else:
            longer[1] -= 1
    return first[slice(*bounds[0])], second[slice(*bounds[1])]


def _below(count: int, draw: random.Random) -> int:
    # Not `randrange`, whose use of random bits may change with Python; `random` may not.
    return int(draw.random() * count)


def _joined(sentences: Sequence[Codes]) -> Codes:
    return [code for sentence in sentences for code in sentence]
