"""Packing: documents become full sequences of consecutive sentences with correct pair labels."""

from dataclasses import replace

import pytest
from support import corpora

from tfbert.pretraining import segmenters
from tfbert.pretraining.config import ExamplesConfig
from tfbert.pretraining.packing import CONTINUES, NEXT, NO_PAIR, NOT_NEXT, Packer
from tfbert.pretraining.sentences import split_sentences

PIECES = corpora.word_pieces()
CLS, SEP = PIECES.start, PIECES.end
LENGTH = 48


def packed(documents, passes=1, **values):
    examples = ExamplesConfig(**{"sequence_length": LENGTH, "short_fraction": 0.0} | values)
    return Packer(examples, PIECES).pack(documents, passes)


def segments(sequence):
    """Return the token ids of both segments, without special tokens."""
    ids = [code % CONTINUES for code in sequence.codes]
    assert ids[0] == CLS and ids[-1] == SEP
    first, second = ids[1 : sequence.second_start - 1], ids[sequence.second_start : -1]
    assert ids[sequence.second_start - 1] == SEP
    assert (sequence.pair_label == NO_PAIR) == (not second)
    return first, second


def contains(ids, subsequence):
    return any(ids[start : start + len(subsequence)] == subsequence for start in range(len(ids) - len(subsequence) + 1))


@pytest.fixture(scope="module")
def documents():
    return corpora.documents(30)


@pytest.fixture(scope="module")
def streams(documents):
    """Return the token ids of every document."""
    return [[i for sentence in split_sentences(d.text) for i in PIECES(sentence)] for d in documents]


def test_next_sentences(documents, streams):
    sequences = packed(documents)
    assert all(len(sequence.codes) <= LENGTH for sequence in sequences)
    counts = {NEXT: 0, NOT_NEXT: 0}
    for sequence in sequences:
        first, second = segments(sequence)
        with_first = [n for n, stream in enumerate(streams) if contains(stream, first)]
        with_second = [n for n, stream in enumerate(streams) if contains(stream, second)]
        assert with_first and with_second
        counts[sequence.pair_label] += 1
        if sequence.pair_label == NEXT:
            # The second follows the first, except for tokens trimmed between them.
            assert set(with_first) & set(with_second)
        else:
            assert len(with_first) > 1 or with_first != with_second
    assert 0.3 < counts[NOT_NEXT] / len(sequences) < 0.75
    full = [sequence for sequence in sequences if len(sequence.codes) == LENGTH]
    assert len(full) > 0.5 * len(sequences)


def test_the_second_segment_continues_the_first(documents, streams):
    num_pairs = 0
    for sequence in packed(documents, sequence_length=96):
        first, second = segments(sequence)
        if sequence.pair_label == NEXT and len(sequence.codes) < 96:
            assert any(contains(stream, first + second) for stream in streams)
            num_pairs += 1
    assert num_pairs > 3


def test_sentence_order(documents, streams):
    counts = {NEXT: 0, NOT_NEXT: 0, NO_PAIR: 0}
    for sequence in packed(documents, pairs="sentence_order", sequence_length=96):
        first, second = segments(sequence)
        counts[sequence.pair_label] += 1
        if len(sequence.codes) < 96:
            joined = second + first if sequence.pair_label == NOT_NEXT else first + second
            assert any(contains(stream, joined) for stream in streams)
    assert counts[NEXT] > 10 and counts[NOT_NEXT] > 10


def test_without_pairs_every_token_is_in_a_full_sequence_once(documents, streams):
    sequences = packed(documents, pairs="none")
    assert {sequence.pair_label for sequence in sequences} == {NO_PAIR}
    token_ids = [i for sequence in sequences for i in segments(sequence)[0] if i != SEP]
    assert sorted(token_ids) == sorted(i for stream in streams for i in stream)
    lengths = sorted(len(sequence.codes) for sequence in sequences)
    assert lengths[-1] == LENGTH and lengths[1] > LENGTH - 12  # all but the last of the shard
    # A sequence that starts inside a document starts with a whole word.
    assert not any(PIECES.is_continuation[sequence.codes[1]] for sequence in sequences)


def test_sequences_do_not_depend_on_the_order_of_documents(documents):
    for pairs in ("next_sentence", "sentence_order", "none"):
        sequences = packed(documents, pairs=pairs)
        assert packed(documents[::-1], pairs=pairs) == sequences
        assert packed(documents, pairs=pairs, seed=1) != sequences


def test_every_pass_has_different_sequences(documents):
    once, twice = packed(documents), packed(documents, passes=2)
    assert len(twice) > 1.8 * len(once)
    repeated = [sequence for sequence in twice if sequence in once]
    assert len(once) <= len(repeated) < 1.3 * len(once)


def test_some_sequences_are_short(documents):
    lengths = [len(sequence.codes) for sequence in packed(documents, short_fraction=0.5, pairs="none")]
    assert 0.2 < sum(length < LENGTH - 12 for length in lengths) / len(lengths) < 0.8
    assert min(lengths) < 16


def test_long_sentences_are_cut_between_words():
    document = replace(corpora.documents(1)[0], text="good people see great xyz " * 60)
    sequences = packed([document], pairs="sentence_order")
    assert len(sequences) > 5
    starts = [s.codes[1] for s in sequences] + [s.codes[s.second_start] for s in sequences]
    # Trimming cuts anywhere; the pieces of the sentence themselves start with whole words.
    assert sum(bool(PIECES.is_continuation[i]) for i in starts) < 0.5 * len(starts)
    word = "x" * 90
    single = packed([replace(document, text=word)], pairs="none")
    assert [i for sequence in single for i in segments(sequence)[0]] == PIECES(word)


def test_a_single_document_gives_its_own_sentences():
    sequences = packed(corpora.documents(1))
    assert sequences and all(sequence.pair_label == NEXT for sequence in sequences)
    (sequence,) = packed([replace(corpora.documents(1)[0], text="Good.")])
    assert (sequence.pair_label, sequence.second_start, len(sequence.codes)) == (NO_PAIR, 4, 4)


def test_text_without_tokens_gives_no_sequences():
    document = replace(corpora.documents(1)[0], text="\u200b\u200d")
    for pairs in ("next_sentence", "none"):
        assert packed([document], pairs=pairs) == []
        assert packed([], pairs=pairs) == []


def test_a_segmenter_decides_which_tokens_continue_a_word(monkeypatch):
    monkeypatch.setattr(segmenters, "allowed_code", {"support.corpora:two_characters"})
    document = replace(corpora.documents(1)[0], text="a, b")
    (sequence,) = packed([document], segmenter="support.corpora:two_characters")
    assert [code >= CONTINUES for code in sequence.codes] == [False, False, True, False, False]
    plain = [code % CONTINUES for code in sequence.codes]
    assert [plain] == [sequence.codes for sequence in packed([document])]


def test_a_segmenter_that_returns_other_words_is_refused(monkeypatch):
    monkeypatch.setattr(segmenters, "allowed_code", {"support.corpora:no_words_of_it"})
    with pytest.raises(ValueError) as caught:
        packed(corpora.documents(1), segmenter="support.corpora:no_words_of_it")
    assert str(caught.value).startswith(
        "made:0: segmenter support.corpora:no_words_of_it returned the word '☃', which is not in"
    )


@pytest.mark.parametrize(
    ("segmenter", "expected"),
    [("whitespace", ["see-saw,", "b", "a"]), ("punctuation", ["see", "-", "saw", ",", "b", "a"])],
)
def test_words_of_the_built_in_segmenters(segmenter, expected):
    document = replace(corpora.documents(1)[0], text="see-saw, b a")
    (sequence,) = packed([document], segmenter=segmenter)
    words = []
    for code in sequence.codes[1:-1]:
        token = PIECES.vocabulary[code % CONTINUES]
        continues_word = code >= CONTINUES or token.startswith("##")
        words = [*words[:-1], words[-1] + token.removeprefix("##")] if continues_word else [*words, token]
    assert words == expected
