"""The tokenizer files written for transformers give the ids of tfbert's tokenizer, and are read back."""

import json

import pytest
import tokenizers
from support.awkward_texts import TEXTS

from tfbert.encoder.huggingface_tokenizer import FILES, read_tokenizer, write_tokenizer
from tfbert.encoder.presets import tiny_vocabulary
from tfbert.text.tokenizer import Tokenizer
from tfbert.text.tokenizer_rules import TokenizerRules

# Neither special tokens at the usual ids, nor only ASCII.
VOCABULARY = [
    "[PAD]",
    "é",
    "##é",
    "ß",
    "中",
    "文",
    "##中",
    "Ü",
    "[MASK]",
    *tiny_vocabulary()[5:],
    "[SEP]",
    "[CLS]",
    "[UNK]",
]


@pytest.mark.parametrize("rules", [(True, True, True), (True, False, False), (False, False, True)])
def test_tokenizer_json_gives_the_same_ids(rules, tmp_path):
    rules = TokenizerRules(*rules)
    write_tokenizer(tmp_path, VOCABULARY, rules, 77)
    assert {path.name for path in tmp_path.iterdir()} == FILES
    theirs, ours = (
        tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json")),
        Tokenizer(VOCABULARY, **rules._asdict()),
    )
    start, end = VOCABULARY.index("[CLS]"), VOCABULARY.index("[SEP]")
    for text, ids in zip(TEXTS, ours(TEXTS).to_list(), strict=True):
        assert theirs.encode(text).ids == [start, *ids, end]
    pair = theirs.encode("a", "b")
    assert pair.tokens == ["[CLS]", "a", "[SEP]", "b", "[SEP]"] and pair.type_ids == [0, 0, 0, 1, 1]


def test_both_forms_of_the_tokenizer_are_read(tmp_path):
    rules = TokenizerRules(lowercase=True, strip_accents=False, split_on_cjk=False)
    write_tokenizer(tmp_path, VOCABULARY, rules, 77)
    assert read_tokenizer(tmp_path) == (VOCABULARY, rules)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert config["model_max_length"] == 77 and config["cls_token"] == "[CLS]"
    (tmp_path / "vocab.txt").unlink()
    (tmp_path / "tokenizer_config.json").unlink()
    assert read_tokenizer(tmp_path) == (VOCABULARY, rules)
