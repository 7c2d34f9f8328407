"""The rules by which a BERT tokenizer normalizes a text before it is split into word pieces."""

from typing import Any

# As `text.tokenizer.Tokenizer` documents them; tokenizers and encoders have an attribute for each.
RULES = ("lowercase", "strip_accents", "split_on_cjk")


def rules_of(source: Any) -> dict[str, bool]:
    """Return the rules of a tokenizer or an encoder, by name and in the order of `RULES`."""
    return {name: getattr(source, name) for name in RULES}
