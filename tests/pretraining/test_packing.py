"""Documents become full rows of consecutive sentences, whose labels say the truth."""

from dataclasses import replace

import pytest
from support import corpora

from tfbert.pretraining import segmenters
from tfbert.pretraining.config import ExamplesConfig
from tfbert.pretraining.packing import CONTINUES, NEXT, NO_PAIR, NOT_NEXT, Packer
from tfbert.pretraining.sentences import sentences_of

PIECES = corpora.word_pieces()
CLS, SEP = PIECES.start, PIECES.end
LENGTH = 48


def packed(documents, passes=1, **values):
    examples = ExamplesConfig(**{"sequence_length": LENGTH, "short_fraction": 0.0} | values)
    return Packer(examples, PIECES).rows(documents, passes)


def segments(row):
    """Return the token ids of both segments, without special tokens."""
    ids = [code % CONTINUES for code in row.codes]
    assert ids[0] == CLS and ids[-1] == SEP
    first, second = ids[1 : row.second_start - 1], ids[row.second_start : -1]
    assert ids[row.second_start - 1] == SEP
    assert (row.pair_label == NO_PAIR) == (not second)
    return first, second


def contains(ids, part):
    return any(ids[start : start + len(part)] == part for start in range(len(ids) - len(part) + 1))


@pytest.fixture(scope="module")
def documents():
    return corpora.documents(30)


@pytest.fixture(scope="module")
def streams(documents):
    """Return the token ids of every document."""
    return [[i for sentence in sentences_of(d.text) for i in PIECES(sentence)] for d in documents]


def test_next_sentences(documents, streams):
    rows = packed(documents)
    assert all(len(row.codes) <= LENGTH for row in rows)
    found = {NEXT: 0, NOT_NEXT: 0}
    for row in rows:
        first, second = segments(row)
        own = [n for n, stream in enumerate(streams) if contains(stream, first)]
        others = [n for n, stream in enumerate(streams) if contains(stream, second)]
        assert own and others
        found[row.pair_label] += 1
        if row.pair_label == NEXT:
            # The second follows the first, but for what trimming took at the seam.
            assert set(own) & set(others)
        else:
            assert len(own) > 1 or own != others
    assert 0.3 < found[NOT_NEXT] / len(rows) < 0.75
    full = [row for row in rows if len(row.codes) == LENGTH]
    assert len(full) > 0.5 * len(rows)


def test_a_second_segment_goes_on_where_the_first_ends(documents, streams):
    seams = 0
    for row in packed(documents, sequence_length=96):
        first, second = segments(row)
        if row.pair_label == NEXT and len(row.codes) < 96:
            assert any(contains(stream, first + second) for stream in streams)
            seams += 1
    assert seams > 3


def test_orders_of_sentences(documents, streams):
    found = {NEXT: 0, NOT_NEXT: 0, NO_PAIR: 0}
    for row in packed(documents, pairs="sentence_order", sequence_length=96):
        first, second = segments(row)
        found[row.pair_label] += 1
        if len(row.codes) < 96:
            joined = second + first if row.pair_label == NOT_NEXT else first + second
            assert any(contains(stream, joined) for stream in streams)
    assert found[NEXT] > 10 and found[NOT_NEXT] > 10


def test_without_pairs_every_token_is_in_a_full_row_once(documents, streams):
    rows = packed(documents, pairs="none")
    assert {row.pair_label for row in rows} == {NO_PAIR}
    inside = [i for row in rows for i in segments(row)[0] if i != SEP]
    assert sorted(inside) == sorted(i for stream in streams for i in stream)
    lengths = sorted(len(row.codes) for row in rows)
    assert lengths[-1] == LENGTH and lengths[1] > LENGTH - 12  # all but the last of the shard
    # A row that begins inside a document begins with a word.
    assert not any(PIECES.is_continuation[row.codes[1]] for row in rows)


def test_rows_are_the_same_in_whatever_order_documents_come(documents):
    for pairs in ("next_sentence", "sentence_order", "none"):
        rows = packed(documents, pairs=pairs)
        assert packed(documents[::-1], pairs=pairs) == rows
        assert packed(documents, pairs=pairs, seed=1) != rows


def test_every_pass_has_other_rows(documents):
    once, twice = packed(documents), packed(documents, passes=2)
    assert len(twice) > 1.8 * len(once)
    kept = [row for row in twice if row in once]
    assert len(once) <= len(kept) < 1.3 * len(once)


def test_some_rows_are_short(documents):
    lengths = [len(row.codes) for row in packed(documents, short_fraction=0.5, pairs="none")]
    assert 0.2 < sum(length < LENGTH - 12 for length in lengths) / len(lengths) < 0.8
    assert min(lengths) < 16


def test_long_sentences_are_cut_between_words():
    document = replace(corpora.documents(1)[0], text="good people see great xyz " * 60)
    rows = packed([document], pairs="sentence_order")
    assert len(rows) > 5
    starts = [row.codes[1] for row in rows] + [row.codes[row.second_start] for row in rows]
    # Trimming cuts anywhere; the parts themselves begin with words.
    assert sum(bool(PIECES.is_continuation[i]) for i in starts) < 0.5 * len(starts)
    word = "x" * 90
    single = packed([replace(document, text=word)], pairs="none")
    assert [i for row in single for i in segments(row)[0]] == PIECES(word)


def test_a_document_alone_gives_its_own_sentences():
    rows = packed(corpora.documents(1))
    assert rows and all(row.pair_label == NEXT for row in rows)
    one = packed([replace(corpora.documents(1)[0], text="Good.")])
    assert [(row.pair_label, row.second_start, len(row.codes)) for row in one] == [(NO_PAIR, 4, 4)]


def test_text_without_tokens_gives_no_rows():
    blank = replace(corpora.documents(1)[0], text="\u200b\u200d")
    for pairs in ("next_sentence", "none"):
        assert packed([blank], pairs=pairs) == []
        assert packed([], pairs=pairs) == []


def test_a_segmenter_says_which_tokens_go_on(monkeypatch):
    monkeypatch.setattr(segmenters, "_allowed", {"support.corpora:two_characters"})
    document = replace(corpora.documents(1)[0], text="a, b")
    (row,) = packed([document], segmenter="support.corpora:two_characters")
    assert [code >= CONTINUES for code in row.codes] == [False, False, True, False, False]
    plain = [code % CONTINUES for code in row.codes]
    assert [plain] == [row.codes for row in packed([document])]


def test_a_segmenter_that_gives_other_words_is_refused(monkeypatch):
    monkeypatch.setattr(segmenters, "_allowed", {"support.corpora:no_words_of_it"})
    with pytest.raises(ValueError) as caught:
        packed(corpora.documents(1), segmenter="support.corpora:no_words_of_it")
    assert str(caught.value).startswith(
        "made:0: segmenter support.corpora:no_words_of_it gives the word '☃', which is not in"
    )


@pytest.mark.parametrize(
    ("segmenter", "expected"),
    [("whitespace", ["see-saw,", "b", "a"]), ("punctuation", ["see", "-", "saw", ",", "b", "a"])],
)
def test_words_of_the_built_in_segmenters_are_masked_together(segmenter, expected):
    document = replace(corpora.documents(1)[0], text="see-saw, b a")
    (row,) = packed([document], segmenter=segmenter)
    words = []
    for code in row.codes[1:-1]:
        token = PIECES.vocabulary[code % CONTINUES]
        goes_on = code >= CONTINUES or token.startswith("##")
        words = [*words[:-1], words[-1] + token.removeprefix("##")] if goes_on else [*words, token]
    assert words == expected
