"""Small corpora for the tests of pretraining: documents of made-up sentences whose words say where they are from."""

import hashlib
import random

from tfbert.encoder.presets import tiny_vocabulary
from tfbert.pretraining.corpus import Document
from tfbert.pretraining.wordpieces import WordPieces

SUBJECTS = ["the way", "people", "some more of them", "many of these", "one", "a number", "they all", "that word"]
VERBS = ["go", "see", "use", "make", "look", "write", "said", "could have been"]
OBJECTS = ["good", "bad", "great times", "their own way", "xyz", "each other", "no more than 12", "how they were"]


def text_of(number, num_sentences=8):
    """Return a text of its own for every number."""
    draw = random.Random(number)
    found = [f"Number {number}."]
    for _ in range(num_sentences):
        found.append(f"{draw.choice(SUBJECTS).capitalize()} {draw.choice(VERBS)} {draw.choice(OBJECTS)}.")
    return " ".join(found)


def documents(count, num_sentences=8):
    """Return documents as a corpus gives them."""
    texts = [text_of(number, num_sentences) for number in range(count)]
    return [Document(text, f"made:{n}", hashlib.sha256(text.encode()).digest()) for n, text in enumerate(texts)]


def write_corpus(folder, count, num_sentences=8):
    """Write a file of a document a line, with an empty file and a duplicate beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [text_of(number, num_sentences) for number in range(count)]
    (folder / "a.txt").write_text("\n".join(lines[: count // 2]) + "\n")
    (folder / "b.txt").write_text("\n".join([*lines[count // 2 :], lines[0]]) + "\n")
    (folder / "c.txt").write_text("")
    return folder


def word_pieces():
    """Return the tokenizer of the encoder `tiny`."""
    return WordPieces(tiny_vocabulary(), lowercase=True, strip_accents=True)


def two_characters(text):
    """Cut a text into words of two characters, as a segmenter of tests."""
    return [text[start : start + 2] for start in range(0, len(text), 2)]


def no_words_of_it(text):
    """Give a word that no text has."""
    return ["\N{SNOWMAN}"]
