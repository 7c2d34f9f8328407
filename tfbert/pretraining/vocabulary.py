"""Reproducible training of a WordPiece vocabulary on a corpus with the `tokenizers` library."""

import logging
import string
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.pre_tokenizers import BertPreTokenizer, WhitespaceSplit
from tokenizers.trainers import WordPieceTrainer
from tqdm import tqdm

from tfbert.encoder.presets import check_vocabulary
from tfbert.files import write_text
from tfbert.pretraining.config import CorpusConfig
from tfbert.pretraining.corpus import Corpus, Document, Survey, describe
from tfbert.pretraining.wordpieces import MAX_CHARACTERS_PER_WORD, make_normalizer, split_chunks
from tfbert.progress_bars import hidden

logger = logging.getLogger(__name__)

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
# Words and characters that occur once are often typing errors.
_MIN_COUNT = 2
_ALPHABET_FRACTION = 0.8
_MAX_COUNTED = 5_000_000
_WORDS_PER_LINE = 1000


def train_vocabulary(
    corpus: CorpusConfig, size: int, path: Path, *, lowercase: bool = True, strip_accents: bool | None = None
) -> list[str]:
    """Train a vocabulary on a corpus without its held-out documents, and write it with one token per line.

    Args:
        corpus: files of text.
        size: number of tokens.
        path: the file to write; an existing one is replaced.
        lowercase: whether the tokenizer lower-cases texts.
        strip_accents: whether the tokenizer removes accents; `None` means the same as `lowercase`.

    Returns:
        The tokens in the order of their ids; fewer than `size`, with a warning, if the corpus has too few pieces.

    Raises:
        ValueError: the corpus cannot be read or is too small, or `size` is below 100.
    """
    if size < 100:
        raise ValueError(f"a vocabulary of {size} tokens: expected 100 or more")
    rules = {"lowercase": lowercase, "strip_accents": lowercase if strip_accents is None else strip_accents}
    reader, survey = Corpus(corpus), Survey()
    for document in reader:
        survey.add(document)
    logger.info("corpus: %s", describe(reader.counts))
    limit = survey.limit(corpus.held_out_fraction)
    with tqdm(reader, desc="counting words", unit=" documents", leave=False, disable=hidden()) as documents:
        counts = _count_words((document for document in documents if document.number >= limit), **rules)
    vocabulary = train_word_pieces(counts, size, lowercase=lowercase)
    if len(vocabulary) < size:
        logger.warning("the vocabulary has only %s of %s tokens", f"{len(vocabulary):,}", f"{size:,}")
    check_vocabulary(vocabulary, str(path))
    write_text(path, "\n".join(vocabulary) + "\n")
    return vocabulary


def train_word_pieces(counts: Counter[str], size: int, *, lowercase: bool) -> list[str]:
    """Return a vocabulary for counted words: special tokens, characters by code point, and pieces as they were merged.

    Args:
        counts: counts of normalized words.
        size: maximum number of tokens.
        lowercase: whether the words are lower-cased.

    Source: the `tokenizers` library's `WordPieceTrainer`, which merges the most frequent pair of pieces repeatedly.
    Ours differs in that it passes the characters in sorted order: the library numbers them as it meets them, in a
    different order in every process, and breaks ties by these numbers.
    """
    alphabet = _alphabet(counts, int((size - len(SPECIAL_TOKENS)) * _ALPHABET_FRACTION), lowercase)
    known = set(alphabet)
    words = {word: count for word, count in sorted(counts.items()) if known.issuperset(_characters(word))}
    tokenizer = Tokenizer(WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    trainer = WordPieceTrainer(
        vocab_size=size,
        min_frequency=_MIN_COUNT,
        special_tokens=[*SPECIAL_TOKENS, *alphabet],
        continuing_subword_prefix="##",
        show_progress=False,
    )
    tokenizer.train_from_iterator(_lines(words), trainer)
    ids = tokenizer.get_vocab()
    return sorted(ids, key=ids.__getitem__)


def _count_words(documents: Iterable[Document], *, lowercase: bool, strip_accents: bool) -> Counter[str]:
    """Count the words of documents, split as in `text.tokenizer`."""
    chunks: Counter[str] = Counter()
    min_count = 1
    for document in documents:
        chunks.update(split_chunks(document.text, lowercase=lowercase))
        while len(chunks) > _MAX_COUNTED:
            # This many distinct chunks are mostly garbage. Rare ones are dropped to limit memory.
            min_count += 1
            chunks = Counter({chunk: count for chunk, count in chunks.items() if count >= min_count})
    normalize = make_normalizer(lowercase=lowercase, strip_accents=strip_accents)
    split = BertPreTokenizer()
    words: Counter[str] = Counter()
    for chunk, count in chunks.items():
        for word, _ in split.pre_tokenize_str(normalize.normalize_str(chunk)):
            if len(word) <= MAX_CHARACTERS_PER_WORD:
                words[word] += count
    return words


def _alphabet(counts: Counter[str], size: int, lowercase: bool) -> list[str]:
    """Return the most frequent characters by code point, with `##` before those inside of words.

    If there is room, all ASCII letters, digits and punctuation are included, because other texts may contain them.
    """
    characters: Counter[str] = Counter()
    for word, count in counts.items():
        for character in _characters(word):
            characters[character] += count
    alphabet = [character for character, count in characters.items() if count >= _MIN_COUNT]
    alphabet.sort(key=lambda c: (-characters[c], c))
    ascii_letters = string.ascii_lowercase if lowercase else string.ascii_letters
    inside = string.digits + ascii_letters
    alphabet += [c for c in [*inside, *string.punctuation, *(f"##{c}" for c in inside)] if c not in set(alphabet)]
    return sorted(alphabet[:size], key=lambda c: (len(c), c))


def _characters(word: str) -> list[str]:
    return [word[0], *(f"##{character}" for character in word[1:])]


def _lines(words: dict[str, int]) -> Iterator[str]:
    """Yield lines that contain every word as often as it was counted."""
    line: list[str] = []
    for word, count in words.items():
        while count:
            added = min(count, _WORDS_PER_LINE - len(line))
            line += [word] * added
            count -= added
            if len(line) == _WORDS_PER_LINE:
                yield " ".join(line)
                line = []
    yield " ".join(line)
