"""Normalization rules of a tokenizer, without a dependency on TensorFlow."""

from typing import NamedTuple


class TokenizerRules(NamedTuple):
    """Rules by which a tokenizer normalizes and splits text before it looks up word pieces.

    Args:
        lowercase: whether text is lowercased.
        strip_accents: whether accents are removed.
        split_on_cjk: whether every CJK ideograph is a separate word.
    """

    lowercase: bool
    strip_accents: bool
    split_on_cjk: bool
