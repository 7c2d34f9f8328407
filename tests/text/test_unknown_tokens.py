"""Unknown tokens: their fraction excludes special tokens, and the advice depends on the script of the text."""

from types import SimpleNamespace

import pytest
from support.tokenized import plain_recipe

from tfbert.text.datasets import tokenize
from tfbert.text.records import Record
from tfbert.text.unknown_tokens import UnknownTokens, advise, measure_unknown, unknown_words


def measured(tokenizer, cache_dir, **texts):
    splits = {
        name: [Record(text, "label0", f"{name}:{n}") for n, text in enumerate(split_texts)]
        for name, split_texts in texts.items()
    }
    tokenized = {
        name: tokenize(split, plain_recipe(tokenizer, [name], sequence_length=3), cache_dir)
        for name, split in splits.items()
    }
    return measure_unknown(splits, tokenized, tokenizer, "tiny")


def test_fractions_exclude_special_tokens(tiny_tokenizer, tmp_path):
    # `тест` is one unknown word, `an` a word, `xq` two pieces.
    unknown = measured(tiny_tokenizer, tmp_path, train=["тест an", "an an xq"], test=["тест"], validation=["an"])
    assert unknown.fractions == {"train": 1 / 6, "test": 1.0, "validation": 0.0}
    assert unknown.words == ("тест",)
    assert unknown.line() == "unknown tokens ([UNK]): train 16.7%, test 100%, validation 0%"
    assert unknown.warnings == (
        "the encoder tiny cannot read parts of the text: [UNK] is 16.7% of the tokens of train, 100% of the tokens of "
        "test, most often for 'тест'. Use an encoder for this language, such as --encoder bert_base_multi (104 "
        "languages).",
    )


def test_few_unknown_tokens_are_counted_without_a_warning(tiny_tokenizer, tmp_path):
    unknown = measured(tiny_tokenizer, tmp_path, train=["an " * 19 + "тест"])
    assert unknown == UnknownTokens("tiny", {"train": 0.05})
    assert unknown.warnings == ()
    unknown.require_at_most(0.05)


def test_a_tiny_fraction_is_not_shown_as_zero():
    line = UnknownTokens("tiny", {"train": 7.7e-5, "validation": 1e-4, "test": 0.0}).line()
    assert line == "unknown tokens ([UNK]): train less than 0.01%, validation 0.01%, test 0%"


def test_texts_without_tokens_have_no_unknown_tokens(tiny_tokenizer, tmp_path):
    assert measured(tiny_tokenizer, tmp_path, train=["\u200b"]).fractions == {"train": 0.0}


def test_only_a_fraction_above_the_limit_is_rejected():
    unknown = UnknownTokens("minilm", {"train": 0.25, "test": 0.31}, ("很",), "Do something.")
    unknown.require_at_most(0.31)
    with pytest.raises(ValueError) as caught:
        unknown.require_at_most(0.3)
    assert str(caught.value) == (
        "the encoder minilm cannot read parts of the text: [UNK] is 31% of the tokens of test, most often for '很'; "
        "expected at most 30%. Do something. To train anyway: --set data.max_unknown_fraction=1"
    )


def test_unknown_words_are_shown_as_written_in_the_text(tiny_tokenizer):
    texts = ["an Тест, x", "", "送餐 😀"]
    assert list(unknown_words(texts, tiny_tokenizer)) == ["Тест", "送", "餐", "😀"]


MULTILINGUAL = "Use an encoder for this language, such as --encoder bert_base_multi (104 languages)."
OTHER = (
    "Use an encoder pretrained on such text (--encoder hf://owner/name or a directory), or pretrain one with its "
    "own vocabulary: tfbert pretrain --from-scratch."
)


@pytest.mark.parametrize(
    ("texts", "used", "advice"),
    [
        (["味道很好 ok"], "minilm", "Use --encoder bert_base_zh for Chinese text."),
        (["味道很好"], "bert_base_zh", MULTILINGUAL),
        (["味道很好"], "bert_base_multi", "Use --encoder bert_base_zh for Chinese text."),
        (["日本語のテキスト、漢字漢字漢字"], "minilm", MULTILINGUAL),
        (["漢字 한국어"], "minilm", MULTILINGUAL),
        (["очень вкусно"], "minilm", MULTILINGUAL),
        (["очень вкусно"], "bert_base_multi", OTHER),
        (["great 😀"], "minilm", "Most of these are symbols, such as emoji, which the encoder cannot distinguish."),
    ],
)
def test_the_advice_depends_on_the_script(tiny_tokenizer, texts, used, advice):
    words = dict.fromkeys(unknown_words(texts, tiny_tokenizer), 1)
    assert advise(texts, words, {used}) == advice


@pytest.mark.parametrize(
    ("word", "encoder", "warns"),
    [
        ("an", "minilm", False),
        ("Überweisungsgebühren", "minilm", True),
        ("Überweisungsgebühren", "tiny", False),
        ("Überweisungsgebühren", "bert_base_multi", False),
        ("我的银行卡", "minilm", False),
    ],
)
def test_words_in_many_pieces_are_a_sign_of_another_language(tiny_tokenizer, tmp_path, word, encoder, warns):
    records = [Record(" ".join([word] * 50), "x", f"a:{number}") for number in range(5)]
    tokenized = {"train": SimpleNamespace(num_unknown_tokens=0, num_text_tokens=1)}
    unknown = measure_unknown({"train": records}, tokenized, tiny_tokenizer, encoder)
    assert bool(unknown.language_warnings) == warns
    if warns:
        assert "splits the words of train into " in unknown.language_warnings[0]
    # A few words say nothing about the language.
    assert measure_unknown({"train": records[:1]}, tokenized, tiny_tokenizer, encoder).language_warnings == ()
