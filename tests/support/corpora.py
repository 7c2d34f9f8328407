"""Small corpora for tests of pretraining: documents of generated sentences, each with its own number."""

import hashlib
import random

from tfbert.encoder.presets import tiny_vocabulary
from tfbert.pretraining.corpus import Document
from tfbert.pretraining.wordpieces import WordPieces

SUBJECTS = ["the way", "people", "some more of them", "many of these", "one", "a number", "they all", "that word"]
VERBS = ["go", "see", "use", "make", "look", "write", "said", "could have been"]
OBJECTS = ["good", "bad", "great times", "their own way", "xyz", "each other", "no more than 12", "how they were"]


def text_of(number, num_sentences=8):
    """Return a different text for every number."""
    rng = random.Random(number)
    sentences = [f"Number {number}."]
    for _ in range(num_sentences):
        sentences.append(f"{rng.choice(SUBJECTS).capitalize()} {rng.choice(VERBS)} {rng.choice(OBJECTS)}.")
    return " ".join(sentences)


def documents(count, num_sentences=8):
    """Return documents like those that a corpus reader yields."""
    texts = [text_of(number, num_sentences) for number in range(count)]
    return [Document(text, f"made:{n}", hashlib.sha256(text.encode()).digest()) for n, text in enumerate(texts)]


def write_corpus(folder, count, num_sentences=8):
    """Write files with one document per line, one duplicate document and an empty file."""
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
    """Cut a text into words of two characters (a segmenter)."""
    return [text[start : start + 2] for start in range(0, len(text), 2)]


def no_words_of_it(text):
    """Return a word that occurs in no text (an invalid segmenter)."""
    return ["\N{SNOWMAN}"]
