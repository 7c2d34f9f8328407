"""A small vocabulary, a fitted task, and tokenized records, for tests of the task entities."""

from support.tokenized import tokenized
from tfbert.tasks.entities import EntitiesOptions, FittedEntities
from tfbert.text.preprocessor import Preprocessor
from tfbert.text.tokenizer import Tokenizer

PIECES = (
    "[PAD] [UNK] [CLS] [SEP] [MASK] ada ##s love ##lace met mary in new york old ##er . , # 2016 ##2016 cafe 京 都 the"
)


def tokenizer():
    return Tokenizer(PIECES.split(), lowercase=True, strip_accents=True)


def fitted(borders="words", types=("person", "place"), **options):
    return FittedEntities(options=EntitiesOptions(**options), types=types, borders=borders)


def tokenize_record(tokenizer, record, sequence_length=64, task=None, overlap=0.25):
    """Return a `TokenizedSplit` with the sequences and targets of a record."""
    return tokenized(task or fitted(), [record], Preprocessor(tokenizer, sequence_length, overlap))
