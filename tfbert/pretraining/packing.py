"""Packing of the documents of a shard into token sequences, filled from consecutive sentences.

The result depends on the documents, the config and the vocabulary, but not on the order of the documents.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from tfbert.pretraining.config import ExamplesConfig
from tfbert.pretraining.corpus import Document
from tfbert.pretraining.segmenters import load_segmenter
from tfbert.pretraining.sentences import split_sentences
from tfbert.pretraining.wordpieces import WordPieces

# Flag added to the id of a token that continues a word of the segmenter. Tokens with ## do not need it.
CONTINUES = 1 << 24
NEXT, NOT_NEXT, NO_PAIR = 0, 1, -1
# A sequence with less room than this is not filled with the start of another document.
_MIN_TOKENS = 8

Codes = list[int]


class PackedSequence(NamedTuple):
    """One packed sequence.

    Args:
        codes: token ids with [CLS] and [SEP]; those that continue a word of the segmenter are increased by `CONTINUES`.
        second_start: position of the first token of the second segment; the length of the sequence if there is none.
        pair_label: 0 if the second segment follows the first, 1 if it does not, -1 if there is no pair.
    """

    codes: Codes
    second_start: int
    pair_label: int


class Packer:
    """Packs the documents of one shard into sequences.

    Args:
        examples: lengths, pairs, passes, segmenter and seed.
        word_pieces: tokenizer of the encoder to pretrain.

    Raises:
        ValueError: the segmenter cannot be imported, or is code that was not allowed to run.

    Source: Devlin et al. 2019, appendix A.2, and google-research/bert `create_pretraining_data.py`; Lan et al. 2020
    for the order of sentences. Ours differs: the short length is drawn for every sequence instead of every document; a
    sentence longer than half a sequence is split instead of truncated; random text comes from other documents of the
    same shard, which is a random sample of the corpus; the only document of a shard gives sequences of one segment.
    Without pairs nothing is trimmed: documents continue from sequence to sequence, cut between words, and the next
    document follows after [SEP] (Liu et al. 2019, FULL-SENTENCES).
    """

    def __init__(self, examples: ExamplesConfig, word_pieces: WordPieces):
        self.examples, self.word_pieces = examples, word_pieces
        self._segmenter = load_segmenter(examples.segmenter) if examples.segmenter else None
        self._is_continuation = word_pieces.is_continuation.tolist()
        self._pairs = _PairPacker(examples, word_pieces) if examples.pairs != "none" else None

    def pack(self, documents: Iterable[Document], passes: int) -> list[PackedSequence]:
        """Return the sequences of documents in a random but reproducible order.

        Args:
            documents: distinct documents in any order.
            passes: number of passes over the documents, each with different sequences.

        Raises:
            ValueError: the segmenter returns words that are not in the text.
        """
        documents = sorted(documents, key=lambda document: document.digest)
        texts = [self._sentences(document) for document in documents]
        keyed = []
        for number in range(passes):
            rngs = [random.Random(f"{self.examples.seed} {number} {d.digest.hex()}") for d in documents]
            if self._pairs is None:
                keyed += [(rngs[index].random(), index, packed) for index, packed in self._fill(texts, rngs)]
                continue
            for index, rng in enumerate(rngs):
                keyed += [(rng.random(), index, packed) for packed in self._pairs.pack(texts, index, rng)]
        # Ties are very unlikely; the sequences themselves then decide, so that the order is reproducible.
        return [packed for _, _, packed in sorted(keyed)]

    def _sentences(self, document: Document) -> list[Codes]:
        """Return the tokens of each sentence; sentences longer than half a sequence are split."""
        max_length = (self.examples.sequence_length - 3) // 2
        sentences = []
        for sentence in split_sentences(document.text):
            codes = self._encode(sentence, document.where)
            start = 0
            while start < len(codes):
                end = self._word_end(codes, start, start + max_length)
                sentences.append(codes[start:end])
                start = end
        return sentences

    def _encode(self, sentence: str, where: str) -> Codes:
        if self._segmenter is None:
            return self.word_pieces(sentence)
        source = f"{where}: segmenter {self.examples.segmenter}"
        ids, continues = self.word_pieces.encode_words(sentence, self._segmenter(sentence), source)
        return [token_id + CONTINUES * continues_word for token_id, continues_word in zip(ids, continues, strict=True)]

    def _word_end(self, codes: Codes, start: int, limit: int) -> int:
        """Return the last word boundary after `start` and up to `limit`; `limit` itself if there is none."""
        if limit >= len(codes):
            return len(codes)
        end = limit
        while end > start and (codes[end] >= CONTINUES or self._is_continuation[codes[end]]):
            end -= 1
        return end if end > start else limit

    def _fill(self, texts: list[list[Codes]], rngs: list[random.Random]) -> Iterator[tuple[int, PackedSequence]]:
        """Yield sequences of one segment, filled from documents in random order, and the index of their first one."""
        limit, filled, first = 0, [], 0
        for index in sorted(range(len(texts)), key=lambda index: (rngs[index].random(), index)):
            codes, start = _join(texts[index]), 0
            while start < len(codes):
                if not filled:
                    limit, first = _draw_length(self.examples, 2, rngs[index]), index
                room = limit - len(filled) - bool(filled)
                if filled and room < _MIN_TOKENS:
                    yield first, self._one_segment(filled)
                    filled = []
                    continue
                end = self._word_end(codes, start, start + room)
                filled += ([self.word_pieces.end] if filled else []) + codes[start:end]
                start = end
                if start < len(codes):
                    yield first, self._one_segment(filled)
                    filled = []
        if filled:
            yield first, self._one_segment(filled)

    def _one_segment(self, codes: Codes) -> PackedSequence:
        return _with_special_tokens(self.word_pieces, codes, [], NO_PAIR)


class _PairPacker:
    """Packs documents one after the other into sequences of two segments."""

    def __init__(self, examples: ExamplesConfig, word_pieces: WordPieces):
        self._examples, self._word_pieces = examples, word_pieces
        self._is_next_sentence = examples.pairs == "next_sentence"

    def pack(self, texts: list[list[Codes]], index: int, rng: random.Random) -> Iterator[PackedSequence]:
        """Yield the sequences of one document.

        Args:
            texts: the sentences of every document of the shard.
            index: index of the document.
            rng: random state of the document.
        """
        sentences, position, chunk, size = texts[index], 0, [], 0
        length = _draw_length(self._examples, 3, rng)
        while position < len(sentences):
            chunk.append(sentences[position])
            size += len(sentences[position])
            position += 1
            if size < length and position < len(sentences):
                continue
            cut = 1 + _draw_below(len(chunk) - 1, rng) if len(chunk) > 1 else 1
            first, second, label = _join(chunk[:cut]), _join(chunk[cut:]), NEXT
            if self._is_next_sentence and (not second or rng.random() < 0.5):
                other = _random_text(texts, index, length - len(first), rng)
                if other:
                    # The sentences that the random text replaces start the next sequence.
                    position -= len(chunk) - cut
                    second, label = other, NOT_NEXT
            elif not self._is_next_sentence and second and rng.random() < 0.5:
                first, second, label = second, first, NOT_NEXT
            label = label if second else NO_PAIR
            first, second = _trim(first, second, self._examples.sequence_length - 3, rng)
            yield _with_special_tokens(self._word_pieces, first, second, label)
            chunk, size, length = [], 0, _draw_length(self._examples, 3, rng)


def _with_special_tokens(word_pieces: WordPieces, first: Codes, second: Codes, label: int) -> PackedSequence:
    codes = [word_pieces.start, *first, word_pieces.end]
    second_start = len(codes)
    if second:
        codes += [*second, word_pieces.end]
    return PackedSequence(codes, second_start, label)


def _draw_length(examples: ExamplesConfig, num_special: int, rng: random.Random) -> int:
    """Return the number of tokens to fill a sequence with: the maximum, or in `short_fraction` of cases 2 or more."""
    limit = examples.sequence_length - num_special
    return 2 + _draw_below(limit - 1, rng) if rng.random() < examples.short_fraction else limit


def _random_text(texts: list[list[Codes]], index: int, length: int, rng: random.Random) -> Codes:
    """Return sentences of at least `length` tokens from another document than the one at `index`, if it has them."""
    if len(texts) < 2:
        return []
    other = _draw_below(len(texts) - 1, rng)
    sentences = texts[other + (other >= index)]
    start = _draw_below(len(sentences), rng)
    text: Codes = []
    for sentence in sentences[start:]:
        text += sentence
        if len(text) >= length:
            break
    return text


def _trim(first: Codes, second: Codes, limit: int, rng: random.Random) -> tuple[Codes, Codes]:
    """Remove tokens from the longer of two segments, at a random end, until both fit."""
    bounds = [[0, len(first)], [0, len(second)]]
    for _ in range(len(first) + len(second) - limit):
        sizes = [end - start for start, end in bounds]
        longer = bounds[0] if sizes[0] > sizes[1] else bounds[1]
        if rng.random() < 0.5:
            longer[0] += 1
        else:
            longer[1] -= 1
    return first[slice(*bounds[0])], second[slice(*bounds[1])]


def _draw_below(count: int, rng: random.Random) -> int:
    # Not `randrange`, whose use of random bits may change with Python; `random` may not.
    return int(rng.random() * count)


def _join(sentences: Sequence[Codes]) -> Codes:
    return [code for sentence in sentences for code in sentence]
