"""Did-you-mean hints: similar names, and the differing code points of names that look alike."""

import unicodedata

import pytest

from tfbert.nearest import code_point_difference, did_you_mean, did_you_mean_path, look_alike_key

NFD = unicodedata.normalize("NFD", "réclamation")


@pytest.mark.parametrize(
    ("value", "known", "hint"),
    [
        ("refnd", ["card", "refund"], "; did you mean 'refund'?"),
        ("laon", ["card", "loan"], "; did you mean 'loan'?"),
        ("REFNDS", ["card", "Refunds"], "; did you mean 'Refunds'?"),
        # Not close enough: a suggestion would mislead.
        ("0", ["verify_identity", "10"], ""),
        ("ner", ["answers", "entities"], ""),
        ("cat", ["act", "dog"], ""),
        ("weather", [], ""),
        # A dot has no special meaning in a label.
        ("billing", ["billing.invoice"], ""),
        # Differences in case and spaces are visible.
        ("Refund", ["refund"], "; did you mean 'refund'? (case and spaces matter)"),
        ("lost  card", ["Lost card"], "; did you mean 'Lost card'? (case and spaces matter)"),
    ],
)
def test_a_similar_name_is_suggested(value, known, hint):
    assert did_you_mean(value, known) == hint


@pytest.mark.parametrize(
    ("value", "name", "difference"),
    [
        ("can’t pay", "can't pay", "U+2019 RIGHT SINGLE QUOTATION MARK against U+0027 APOSTROPHE"),
        ("top–up", "top-up", "U+2013 EN DASH against U+002D HYPHEN-MINUS"),
        ("billing\u200b", "billing", "U+200B ZERO WIDTH SPACE (only in the first)"),
        ("billing", "\ufeffbilling", "U+FEFF ZERO WIDTH NO-BREAK SPACE (only in the second)"),
        ("bill\u00ading", "billing", "U+00AD SOFT HYPHEN (only in the first)"),
        ("ok\ufe0f", "ok", "U+FE0F VARIATION SELECTOR-16 (only in the first)"),
        ("a\u00a0b", "a b", "U+00A0 NO-BREAK SPACE against U+0020 SPACE"),
        ("a\x01", "a", "U+0001 (only in the first)"),
        (
            NFD,
            "réclamation",
            "U+0065 LATIN SMALL LETTER E, U+0301 COMBINING ACUTE ACCENT against U+00E9 LATIN SMALL LETTER E WITH ACUTE",
        ),
        ("Ａ", "A", "U+FF21 FULLWIDTH LATIN CAPITAL LETTER A against U+0041 LATIN CAPITAL LETTER A"),
    ],
)
def test_names_that_look_alike_are_distinguished_by_code_points(value, name, difference):
    assert look_alike_key(value) == look_alike_key(name)
    assert code_point_difference(value, name) == difference
    assert did_you_mean(value, ["other", name]) == f"; {value!r} differs from {name!r} in {difference}"


def test_long_differences_are_truncated():
    fullwidth = "".join(chr(ord(letter) + 0xFEE0) for letter in "abcd")
    difference = code_point_difference(fullwidth, "abcd")
    assert difference.startswith("U+FF41 FULLWIDTH LATIN SMALL LETTER A, U+FF42 ")
    assert ", ... against U+0061 " in difference
    difference = code_point_difference("a’b’c’d’e", "a'b'c'd'e")
    assert difference.count("against") == 3 and difference.endswith(" and ...")


@pytest.mark.parametrize(
    ("first", "second"), [("a", "b"), ("1", "1.0"), ("can't", "cant"), ("re-fund", "refund"), ("a b", "ab"), ("é", "e")]
)
def test_names_that_look_different_have_different_keys(first, second):
    assert look_alike_key(first) != look_alike_key(second)


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("train.epoch", "; did you mean 'train.epochs'?"),
        ("epochs", "; did you mean 'train.epochs'?"),
        ("train", "; 'train' is a section, and 'train.epochs' is a field of it"),
        ("quux", ""),
    ],
)
def test_a_path_without_its_section_or_a_section_alone_gets_a_hint(path, hint):
    assert did_you_mean_path(path, ["task", "train.epochs"]) == hint
