"""The normalization rules of tokenizers and encoders."""

from tfbert.text.normalization import RULES, rules_of
from tfbert.text.tokenizer import Tokenizer


def test_rules_are_those_that_a_tokenizer_was_made_with(tiny_tokenizer):
    for changed in RULES:
        rules = dict.fromkeys(RULES, True) | {changed: False}
        assert rules_of(Tokenizer(tiny_tokenizer.vocabulary, **rules)) == rules
    assert list(rules_of(tiny_tokenizer)) == list(RULES)
