"""The rules by which a tokenizer treats text before it looks up word pieces."""

from typing import NamedTuple


class TokenizerRules(NamedTuple):
    """How a tokenizer treats text before it looks up word pieces.

    Args:
        lowercase: whether text is lowercased.
        strip_accents: whether accents are removed.
        split_on_cjk: whether every CJK ideograph is a word.
    """

    lowercase: bool
    strip_accents: bool
    split_on_cjk: bool
