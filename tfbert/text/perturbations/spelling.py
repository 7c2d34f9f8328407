"""Typing errors: swapped, omitted, doubled and neighbouring letters, and Chinese characters that are often confused."""

import random
from collections.abc import Callable, Iterator

from tfbert.text.edits import Edit
from tfbert.text.perturbations.perturbation import Perturbation
from tfbert.text.perturbations.words import Word, words_of

# Part of the key under which tokenized texts with typing errors are cached. Raise it when they change.
TYPOS_VERSION = 1
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
# Characters with the same or nearly the same pronunciation, which users of a phonetic keyboard often confuse.
_CONFUSED = ("的地得", "在再", "做作", "账帐", "像象", "需须", "他她", "吗嘛", "决绝", "以已", "坐座", "帮邦", "份分")


def _neighbours() -> dict[str, str]:
    """Return the letters next to each letter on a keyboard, also those of the rows above and below."""
    # Each row is shifted to the right of the row above.
    at = {(row, column): key for row, keys in enumerate(_ROWS) for column, key in enumerate(keys)}
    offsets = ((0, -1), (0, 1), (-1, 0), (-1, 1), (1, -1), (1, 0))
    return {
        key: "".join(at[row + down, column + right] for down, right in offsets if (row + down, column + right) in at)
        for (row, column), key in at.items()
    }


NEIGHBOURS = _neighbours()
_CONFUSIONS = {character: group.replace(character, "") for group in _CONFUSED for character in group}


def typos(rate: float) -> Perturbation:
    """Return the perturbation that misspells each word with a probability.

    Args:
        rate: the probability, from 0 to 1.
    """

    def find(text: str, rng: random.Random) -> Iterator[Edit]:
        for word in words_of(text):
            if rng.random() < rate and (edit := misspelling(word, rng)):
                yield edit

    percent = f"{100 * rate:g}"
    return Perturbation(
        f"typos_{percent.replace('.', '_')}",
        f"a typing error in {percent} % of the words: a letter that is swapped, missing, doubled or replaced by its "
        "neighbour on the keyboard; in Chinese, also characters of similar sound",
        ("English", "Chinese"),
        find,
    )


def misspelling(word: Word, rng: random.Random) -> Edit | None:
    """Return a random misspelling of a word; `None` if there is none. The first letter stays."""
    kinds = list(_CHINESE if word.is_chinese else _LATIN)
    rng.shuffle(kinds)
    return next((edit for kind in kinds if (edit := kind(word, rng))), None)


def misspellings(word: Word, rng: random.Random) -> list[Edit]:
    """Return one misspelling of each kind, without repetitions."""
    edits = [kind(word, rng) for kind in (_CHINESE if word.is_chinese else _LATIN)]
    return list(dict.fromkeys(edit for edit in edits if edit))


def _swapped(word: Word, rng: random.Random) -> Edit | None:
    first = 0 if word.is_chinese else 1
    letters = word.text
    positions = [i for i in range(first, len(letters) - 1) if letters[i] != letters[i + 1]]
    if not positions:
        return None
    position = rng.choice(positions)
    start = word.start + position
    return Edit(start, start + 2, letters[position + 1] + letters[position])


def _omitted(word: Word, rng: random.Random) -> Edit | None:
    start = word.start + rng.randrange(1, len(word.text))
    return Edit(start, start + 1, "")


def _doubled(word: Word, rng: random.Random) -> Edit | None:
    position = rng.randrange(0 if word.is_chinese else 1, len(word.text))
    start = word.start + position + 1
    return Edit(start, start, word.text[position])


def _neighbouring(word: Word, rng: random.Random) -> Edit | None:
    positions = [i for i in range(1, len(word.text)) if word.text[i].lower() in NEIGHBOURS]
    if not positions:
        return None
    position = rng.choice(positions)
    letter = word.text[position]
    neighbour = rng.choice(NEIGHBOURS[letter.lower()])
    start = word.start + position
    return Edit(start, start + 1, neighbour.upper() if letter.isupper() else neighbour)


def _confused(word: Word, rng: random.Random) -> Edit | None:
    positions = [i for i, character in enumerate(word.text) if character in _CONFUSIONS]
    if not positions:
        return None
    position = rng.choice(positions)
    start = word.start + position
    return Edit(start, start + 1, rng.choice(_CONFUSIONS[word.text[position]]))


_Kind = Callable[[Word, random.Random], Edit | None]
_LATIN: tuple[_Kind, ...] = (_swapped, _omitted, _doubled, _neighbouring)
_CHINESE: tuple[_Kind, ...] = (_confused, _swapped, _omitted, _doubled)
