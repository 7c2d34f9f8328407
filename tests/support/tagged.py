"""What the tests of entities share: a small vocabulary, facts of a train split, and the rows of a record."""

import tensorflow as tf

from tfbert.config import Config
from tfbert.tasks.entities import TASK
from tfbert.text.datasets import Tokens
from tfbert.text.packing import Packer
from tfbert.text.spans import tags_of_types
from tfbert.text.tokenizer import Tokenizer

PIECES = (
    "[PAD] [UNK] [CLS] [SEP] [MASK] ada ##s love ##lace met mary in new york old ##er . , # 2016 ##2016 cafe 京 都 the"
)
FACTS = {
    "types": ["person", "place"],
    "counts": [1, 1],
    "tags": tags_of_types(["person", "place"]),
    "borders": "words",
}


def tokenizer():
    return Tokenizer(PIECES.split(), lowercase=True, strip_accents=True)


def tokens_of(tokenizer, text):
    found = tokenizer.with_offsets(tf.constant([text]))
    return Tokens(*(part.flat_values.numpy() for part in found))


def made(tokenizer, record, sequence_length=64, facts=FACTS, overlap=0.25):
    """Return the rows that are learned of a record, and the remarks."""
    packer, remarks = Packer(tokenizer.special, sequence_length, overlap), []
    rows = TASK.examples(record, [tokens_of(tokenizer, record.text)], packer, facts, Config(), remarks.append)
    return rows, remarks
