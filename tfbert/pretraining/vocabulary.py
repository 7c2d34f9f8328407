"""Training of a WordPiece vocabulary on a corpus, reproducibly; the `tokenizers` library chooses the pieces."""

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
from tfbert.pretraining.wordpieces import MAX_CHARACTERS_PER_WORD, chunks_of, normaliser

logger = logging.getLogger(__name__)

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
# What occurs once is a typing error as often as not.
_LEAST_COUNT = 2
_ALPHABET_FRACTION = 0.8
_MAX_COUNTED = 5_000_000
_WORDS_PER_LINE = 1000


def train_vocabulary(
    corpus: CorpusConfig, size: int, path: Path, *, lowercase: bool = True, strip_accents: bool | None = None
) -> list[str]:
    """Write the vocabulary of a corpus without its held-out documents, one token per line.

    Args:
        corpus: which text.
        size: tokens wanted.
        path: of the file, which is replaced if it is there.
        lowercase: whether texts will be lower-cased.
        strip_accents: whether accents will be dropped; `None` means as `lowercase`.

    Returns:
        The tokens in the order of their ids; fewer than `size`, with a warning, if the corpus has no more.

    Raises:
        ValueError: the corpus cannot be read or is too small, or `size` is below 100.
    """
    if size < 100:
        raise ValueError(f"a vocabulary of {size} tokens: wanted 100 or more")
    rules = {"lowercase": lowercase, "strip_accents": lowercase if strip_accents is None else strip_accents}
    reader, survey = Corpus(corpus), Survey()
    for document in reader:
        survey.add(document)
    logger.info("corpus: %s", describe(reader.facts))
    limit = survey.limit(corpus.held_out_fraction)
    with tqdm(reader, desc="counting words", unit="doc", leave=False, disable=None) as documents:
        counts = _counted((document for document in documents if document.number >= limit), **rules)
    vocabulary = pieces_of(counts, size, lowercase=lowercase)
    if len(vocabulary) < size:
        logger.warning("the corpus gives %s tokens of the %s wanted", f"{len(vocabulary):,}", f"{size:,}")
    check_vocabulary(vocabulary, str(path))
    write_text(path, "\n".join(vocabulary) + "\n")
    return vocabulary


def pieces_of(counts: Counter[str], size: int, *, lowercase: bool) -> list[str]:
    """Return the WordPieces of counted words: special tokens, characters by their code, and pieces as they were found.

    Args:
        counts: of words as they are after normalisation.
        size: tokens wanted.
        lowercase: whether they are lower-cased.

    Source: the `tokenizers` library's `WordPieceTrainer`, which joins the most frequent pair of pieces until there are
    enough. Ours differs in that the characters are given to it in order: it numbers them as it meets them, in another
    order every time, and breaks ties by these numbers.
    """
    alphabet = _alphabet(counts, int((size - len(SPECIAL_TOKENS)) * _ALPHABET_FRACTION), lowercase)
    kept = set(alphabet)
    words = {word: count for word, count in sorted(counts.items()) if kept.issuperset(_characters(word))}
    tokenizer = Tokenizer(WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    trainer = WordPieceTrainer(
        vocab_size=size,
        min_frequency=_LEAST_COUNT,
        special_tokens=[*SPECIAL_TOKENS, *alphabet],
        continuing_subword_prefix="##",
        show_progress=False,
    )
    tokenizer.train_from_iterator(_lines(words), trainer)
    ids = tokenizer.get_vocab()
    return sorted(ids, key=ids.__getitem__)


def _counted(documents: Iterable[Document], *, lowercase: bool, strip_accents: bool) -> Counter[str]:
    """Count the words of documents, split as `text.tokenizer` does."""
    chunks: Counter[str] = Counter()
    least = 1
    for document in documents:
        chunks.update(chunks_of(document.text, lowercase=lowercase))
        while len(chunks) > _MAX_COUNTED:
            # So many different ones are mostly garbage; the rare ones go, and begin again at nothing if they come back.
            least += 1
            chunks = Counter({chunk: count for chunk, count in chunks.items() if count >= least})
    normalise = normaliser(lowercase=lowercase, strip_accents=strip_accents)
    split = BertPreTokenizer()
    words: Counter[str] = Counter()
    for chunk, count in chunks.items():
        for word, _ in split.pre_tokenize_str(normalise.normalize_str(chunk)):
            if len(word) <= MAX_CHARACTERS_PER_WORD:
                words[word] += count
    return words


def _alphabet(counts: Counter[str], most: int, lowercase: bool) -> list[str]:
    """Return the most frequent characters, `##` before those inside of words, in the order of their codes.

    If there is room, all of ASCII is among them: text of another kind will have letters and digits that this has not.
    """
    characters: Counter[str] = Counter()
    for word, count in counts.items():
        for character in _characters(word):
            characters[character] += count
    found = [character for character, count in characters.items() if count >= _LEAST_COUNT]
    found.sort(key=lambda c: (-characters[c], c))
    ascii_letters = string.ascii_lowercase if lowercase else string.ascii_letters
    inside = string.digits + ascii_letters
    found += [c for c in [*inside, *string.punctuation, *(f"##{c}" for c in inside)] if c not in set(found)]
    return sorted(found[:most], key=lambda c: (len(c), c))


def _characters(word: str) -> list[str]:
    return [word[0], *(f"##{character}" for character in word[1:])]


def _lines(words: dict[str, int]) -> Iterator[str]:
    """Yield every word as often as it was counted, many to a line."""
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
