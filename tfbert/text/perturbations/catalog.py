"""The catalog of perturbations with which the robustness of a model is measured."""

from tfbert.text.perturbations import characters, name_lists, wording
from tfbert.text.perturbations.perturbation import Language, Perturbation
from tfbert.text.perturbations.spelling import typos

_ENGLISH: tuple[Language, ...] = ("English",)
_CHINESE_TOO: tuple[Language, ...] = ("English", "Chinese")

PERTURBATIONS = (
    typos(0.05),
    typos(0.1),
    Perturbation("upper_case", "all letters are capitals", _ENGLISH, characters.upper_case),
    Perturbation("lower_case", "no letter is a capital", _ENGLISH, characters.lower_case),
    Perturbation(
        "no_punctuation",
        "punctuation between and after clauses is missing",
        _CHINESE_TOO,
        characters.no_punctuation,
    ),
    Perturbation(
        "doubled_punctuation",
        "punctuation between and after clauses is doubled",
        _CHINESE_TOO,
        characters.doubled_punctuation,
    ),
    Perturbation("contracted", "do not becomes don't, I am becomes I'm", _ENGLISH, wording.contracted),
    Perturbation("expanded", "don't becomes do not, I'm becomes I am", _ENGLISH, wording.expanded),
    Perturbation(
        "look_alikes",
        "a letter in 10 % of the words is a Cyrillic one or a radical that looks the same",
        _CHINESE_TOO,
        characters.look_alikes,
    ),
    Perturbation("zero_width", "a zero-width space is inside 10 % of the words", _CHINESE_TOO, characters.zero_width),
    Perturbation(
        "full_width", "10 % of the ASCII words and numbers are full-width", _CHINESE_TOO, characters.full_width
    ),
    Perturbation(
        "whitespace", "10 % of the gaps are longer, and whitespace follows", _CHINESE_TOO, characters.whitespace
    ),
    Perturbation("greeting", "a greeting precedes the text", _CHINESE_TOO, wording.greeting, keeps_relations=False),
    Perturbation(
        "irrelevant_sentence",
        "a sentence about something else follows the text",
        _CHINESE_TOO,
        wording.irrelevant_sentence,
        keeps_relations=False,
    ),
    Perturbation("numbers", "1000 becomes 1,000, and 1,000 becomes 1000", _CHINESE_TOO, wording.numbers),
    Perturbation(
        "names",
        "each name in a list is another name of the same list",
        _CHINESE_TOO,
        wording.Exchange(name_lists.ENGLISH_NAMES, name_lists.CHINESE_NAMES),
    ),
    Perturbation(
        "places",
        "each city or country in a list is another one of the same list",
        _CHINESE_TOO,
        wording.Exchange(name_lists.ENGLISH_PLACES, name_lists.CHINESE_PLACES),
    ),
    Perturbation("no_accents", "letters have no accents", _ENGLISH, characters.without_accents),
    Perturbation("accents", "a vowel in 10 % of the words has an accent", _ENGLISH, characters.accents),
)
