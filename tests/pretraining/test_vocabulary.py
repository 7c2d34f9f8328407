"""Vocabulary training: special tokens, characters and frequent pieces of a corpus, reproducibly."""

from collections import Counter

import pytest
from support import corpora

from tfbert.pretraining.config import CorpusConfig
from tfbert.pretraining.vocabulary import SPECIAL_TOKENS, train_vocabulary, train_word_pieces
from tfbert.pretraining.wordpieces import WordPieces


def write(directory, *lines):
    path = directory / "corpus.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return CorpusConfig(paths=(str(path),))


def test_a_vocabulary_spells_its_corpus(tmp_path):
    corpus = CorpusConfig(paths=(str(corpora.write_corpus(tmp_path / "c", 60)),))
    vocabulary = train_vocabulary(corpus, 200, tmp_path / "vocab.txt")
    assert (tmp_path / "vocab.txt").read_text().split("\n") == [*vocabulary, ""]
    assert len(vocabulary) == len(set(vocabulary)) == 200
    assert tuple(vocabulary[:5]) == SPECIAL_TOKENS
    assert {"people", "could", "number", "!", "7", "##7", "q", "##q"} <= set(vocabulary)
    pieces = WordPieces(vocabulary, lowercase=True, strip_accents=True)
    ids = pieces(" ".join(corpora.text_of(number) for number in range(60)))
    assert vocabulary.index("[UNK]") not in ids
    assert [path.name for path in tmp_path.glob("vocab*")] == ["vocab.txt"]


def test_the_same_corpus_gives_the_same_vocabulary(tmp_path):
    """Equal counts of single letters make ties everywhere."""
    words = Counter({f"{a}{b}{c}": 5 for a in "abcdef" for b in "ghijkl" for c in "mnopqr"})
    vocabulary = train_word_pieces(words, 200, lowercase=True)
    for _ in range(4):
        shuffled = Counter(dict(sorted(words.items(), key=lambda item: hash((item, len(vocabulary))))))
        assert train_word_pieces(shuffled, 200, lowercase=True) == vocabulary
    assert len(vocabulary) == 200


def test_every_ideograph_is_a_word(tmp_path, caplog):
    corpus = write(tmp_path, *[f"中国人民{number}" * 3 for number in range(30)])
    vocabulary = train_vocabulary(corpus, 500, tmp_path / "vocab.txt")
    assert {"中", "国", "人", "民"} <= set(vocabulary)
    assert not any(len(token) > 1 and "中" in token for token in vocabulary)
    assert len(vocabulary) < 500
    assert caplog.messages[-1] == f"the vocabulary has only {len(vocabulary)} of 500 tokens"


def test_case_and_accents(tmp_path):
    corpus = write(tmp_path, *[f"Café CAFÉ café {number}" for number in range(20)])

    def words(**rules):
        return {"cafe", "café", "Café", "CAFÉ"} & set(train_vocabulary(corpus, 300, tmp_path / "v.txt", **rules))

    assert words() == {"cafe"}
    assert words(strip_accents=False) == {"café"}
    assert words(lowercase=False) == {"café", "Café", "CAFÉ"}
    assert "Q" in train_vocabulary(corpus, 300, tmp_path / "v.txt", lowercase=False)


def test_held_out_text_is_not_used(tmp_path):
    """Every document has its own ideograph."""
    paths = write(tmp_path, *[f"text {chr(0x4E00 + number) * 2}" for number in range(200)]).paths
    for fraction, min_count, max_count in [(0.01, 195, 198), (0.5, 75, 125)]:
        vocabulary = train_vocabulary(CorpusConfig(paths=paths, held_out_fraction=fraction), 900, tmp_path / "v.txt")
        assert min_count <= sum("\u4e00" <= token < "\u4f00" for token in vocabulary) <= max_count


def test_rare_characters_leave_room_for_pieces():
    words = Counter({chr(0x4E00 + number): 1000 - number for number in range(900)}) + Counter({"ab": 5000, "abc": 4000})
    vocabulary = train_word_pieces(words, 105, lowercase=True)
    ideographs = [chr(0x4E00 + number) for number in range(77)]
    assert vocabulary[5:] == ["a", *ideographs, "##b", "##c", "b", "c", "ab", "abc"]


def test_a_word_counted_once_is_left_out():
    vocabulary = train_word_pieces(Counter({"often": 9, "sometimes": 1}), 200, lowercase=True)
    assert "often" in vocabulary and "sometimes" not in vocabulary


def test_rare_words_are_dropped_if_there_are_too_many(tmp_path, monkeypatch):
    monkeypatch.setattr("tfbert.pretraining.vocabulary._MAX_COUNTED", 50)
    corpus = write(tmp_path, *[f"frequent words w{number} x{number} y{number}" for number in range(100)])
    vocabulary = train_vocabulary(corpus, 300, tmp_path / "v.txt")
    assert {"frequent", "words"} <= set(vocabulary)


def test_a_small_size_and_a_small_corpus_are_refused(tmp_path):
    with pytest.raises(ValueError, match="a vocabulary of 99 tokens: expected 100 or more"):
        train_vocabulary(write(tmp_path, "a"), 99, tmp_path / "v.txt")
    with pytest.raises(ValueError, match="the corpus has 1 document of 2 characters; expected 4 or more"):
        train_vocabulary(write(tmp_path, "a"), 100, tmp_path / "v.txt")
    assert not (tmp_path / "v.txt").exists()
