"""Lists of identity terms: built-in lists, files, mentions, and terms replaced by their counterparts."""

import pytest

from tfbert.text.terms import BUILT_IN, listed_terms, load_terms

EXCHANGE = {0: 1, 1: 0}


@pytest.fixture(scope="module")
def gender():
    return load_terms("gender")


@pytest.fixture
def load(tmp_path):
    """Return a function that loads a list with the given content."""

    def load(content):
        path = tmp_path / "terms.txt"
        path.write_text(content, encoding="utf-8")
        return load_terms(str(path))

    return load


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("He gave her the book.", "She gave him the book."),
        ("Her mother told her that HIS dog is his, SHE said.", "His father told him that HER dog is hers, HE said."),
        ("I met her yesterday. It is hers; she hurt herself", "I met him yesterday. It is his; he hurt himself"),
        ("An actress and a waiter met Mrs. Smith", "An actor and a waitress met Mr. Smith"),
        ("she's the father's daughter", "he's the mother's son"),
        ("the shed of the Isle of Man is man-made", "the shed of the Isle of Man is man-made"),
        ("他和她们弹吉他，其他人听", "她和他们弹吉他，其他人听"),
        ("王先生首先生产", "王女士首先生产"),
    ],
)
def test_terms_are_exchanged_in_the_right_form(gender, text, expected):
    assert gender.replace(text, EXCHANGE) == expected


@pytest.mark.parametrize("name", BUILT_IN)
def test_terms_of_a_built_in_list_have_their_own_counterparts(name):
    """Exchanging the terms of two groups twice gives the text, unless two terms share a counterpart."""
    terms = load_terms(name)
    assert terms.description and len(terms.groups) > 1
    shared = {"mum", "Ms", "church", "churches", "Bible", "教堂", "圣经"}
    for row, forms in zip(terms.rows, terms.forms, strict=True):
        for group, term in enumerate(row):
            if term is None or term in shared:
                continue
            text = f"x {term} book" if forms[group] else f"x {term}"
            (mention,) = terms.mentions(text)
            assert (mention.group, mention.start) == (group, 2), term
            for target, counterpart in enumerate(row):
                if target != group and counterpart is not None:
                    swapped = terms.replace(text, {group: target})
                    assert swapped != text
                    assert terms.replace(swapped, {target: group}) == text


def test_articles_and_capitals_follow_the_new_word():
    terms = load_terms("countries")
    assert list(terms.copies(["an Egyptian in south  africa"])) == [
        ("a Pakistani in china",),
        ("a Portuguese in france",),
        ("a Peruvian in mexico",),
    ]
    assert terms.replace("a German, a European and New Mexico", {2: 1, 3: 0}) == "an Indian, a European and New Mexico"
    assert terms.replace("中国和印度洋", {1: 2}) == "法国和印度洋"


def test_groups_of_texts(gender):
    assert gender.groups_in(["she", "and the boy"]) == {0, 1}
    assert gender.group_of(["she", "her dog"]) == "female"
    assert gender.group_of(["she and he"]) is None and gender.group_of(["nobody"]) is None
    assert list(gender.copies(("no term", "none"))) == []
    assert list(gender.copies(("no term", "his"))) == [("no term", "hers")]


def test_a_file_with_missing_counterparts(load):
    terms = load(
        "# Teams\n# A comment\n\ngroups: red | blue | green\nkeep: red tape\nred|blue|-\nrouge | bleu | vert\n"
    )
    assert (terms.description, terms.groups, len(terms.rows)) == ("Teams", ("red", "blue", "green"), 2)
    assert list(terms.copies(["red tape, red and rouge"])) == [
        ("red tape, blue and bleu",),
        ("red tape, red and vert",),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("she | he\n", "terms.txt:1: is 'she | he'; expected groups: NAME | NAME, with two or more names, once and"),
        ("groups: a | b\ngroups: c | d\n", "terms.txt:2: is 'groups: c | d'; expected groups"),
        ("groups: a\n", "terms.txt:1: has the groups 'a'; expected groups: NAME"),
        ("groups: a | a\n", "terms.txt:1: has the groups 'a | a'"),
        ("groups: a | b\n\nx | y | z\n", "terms.txt:3: has 3 terms; expected 2, one for each of a, b"),
        ("groups: a | b\nx |\n", r"terms.txt:2: 'x \|' has an empty place; expected texts separated by"),
        ("groups: a | b\nx | -\n", "terms.txt:2: has no counterparts; expected terms of at least two groups"),
        ("groups: a | b\nx | !\n", "terms.txt:2: term '!' has no letter or digit"),
        ("groups: a | b\nx | y\nY | z\n", "terms.txt:3: 'Y' is a term of another group on line 2; expected one group"),
        ("groups: a | b\n", "terms.txt: has no terms; expected groups"),
    ],
)
def test_an_invalid_file_is_rejected(load, content, message):
    with pytest.raises(ValueError, match=message):
        load(content)


def test_unknown_names_are_rejected(tmp_path):
    with pytest.raises(ValueError, match=r"gendr: is neither a list of terms \(gender, names, .*did you mean 'gender'"):
        load_terms("gendr")
    (tmp_path / "a.txt").write_bytes(b"groups: a | \xff")
    with pytest.raises(ValueError, match="a.txt: is not UTF-8"):
        load_terms(str(tmp_path / "a.txt"))
    with pytest.raises(ValueError, match="train.counterfactuals=names,names: names a list twice"):
        listed_terms("names,names", "train.counterfactuals")
    with pytest.raises(ValueError, match="train.counterfactuals: nowhere: is neither"):
        listed_terms("names,nowhere", "train.counterfactuals")
    assert listed_terms(None, "x") == () and [t.name for t in listed_terms("names, gender", "x")] == ["names", "gender"]
