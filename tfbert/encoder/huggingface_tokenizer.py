"""Reading and writing the tokenizer of BERT in Hugging Face's layout, without the transformers package."""

from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from tfbert.files import read_json, write_json
from tfbert.text.tokenizer_rules import TokenizerRules

FILES = {"vocab.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"}

_TOKENIZERS = ("BertTokenizer", "BertTokenizerFast", "DistilBertTokenizer", "DistilBertTokenizerFast")
_SPECIAL_TOKENS = {f"{name.lower()}_token": f"[{name}]" for name in ("PAD", "UNK", "CLS", "SEP", "MASK")}
# Longer words become one [UNK].
_MAX_CHARACTERS_PER_WORD = 100


def read_tokenizer(directory: Path) -> tuple[list[str], TokenizerRules]:
    """Return the vocabulary of a directory and the rules of its tokenizer.

    Newer versions of transformers do not write vocab.txt; tokenizer.json then contains both.

    Raises:
        ValueError: the tokenizer is not BERT's, or no file says whether the model is cased.
    """
    config_path, fast_path = directory / "tokenizer_config.json", directory / "tokenizer.json"
    config = read_json(config_path) if config_path.is_file() else {}
    fast = read_json(fast_path) if fast_path.is_file() else {}
    name = config.get("tokenizer_class", _TOKENIZERS[0])
    if name not in _TOKENIZERS and not (fast and name == "PreTrainedTokenizerFast"):
        raise ValueError(f"{config_path}: tokenizer_class is {name!r}; expected one of {', '.join(_TOKENIZERS)}")
    if config.get("do_basic_tokenize") is False:
        raise ValueError(
            f"{config_path}: do_basic_tokenize is false; expected true: text is always split at spaces and punctuation"
        )
    normalizer, keys = config, ("do_lower_case", "strip_accents", "tokenize_chinese_chars")
    if config.get("do_lower_case") is None:
        normalizer, keys = fast.get("normalizer") or {}, ("lowercase", "strip_accents", "handle_chinese_chars")
        if normalizer.get("type") != "BertNormalizer":
            raise ValueError(
                f"{directory}: cannot tell whether the model is cased; expected a tokenizer_config.json with "
                '{"do_lower_case": true} for an uncased model, false for a cased one'
            )
    lowercase, strip_accents, split_on_cjk = (normalizer.get(key) for key in keys)
    strip_accents = lowercase if strip_accents is None else strip_accents
    rules = TokenizerRules(bool(lowercase), bool(strip_accents), split_on_cjk is not False)
    if (directory / "vocab.txt").is_file():
        text = (directory / "vocab.txt").read_text(encoding="utf-8")
        return text.replace("\r\n", "\n").removesuffix("\n").split("\n"), rules
    model = fast.get("model", {})
    ids = model.get("vocab")
    if model.get("type") != "WordPiece" or not isinstance(ids, dict) or sorted(ids.values()) != list(range(len(ids))):
        raise ValueError(
            f"{directory}: expected a vocab.txt, or a tokenizer.json with a WordPiece vocabulary without gaps"
        )
    return sorted(ids, key=ids.get), rules


def write_tokenizer(directory: Path, vocabulary: list[str], rules: TokenizerRules, max_tokens: int) -> None:
    """Write the four files of `FILES`, which old and new versions of transformers' `AutoTokenizer` read.

    Args:
        directory: an existing directory.
        vocabulary: the tokens in order of their ids.
        rules: the rules of the tokenizer.
        max_tokens: the length to which `truncation=True` cuts.
    """
    (directory / "vocab.txt").write_text("".join(f"{token}\n" for token in vocabulary), encoding="utf-8")
    config = {"do_lower_case": rules.lowercase, "strip_accents": rules.strip_accents}
    config |= {"tokenize_chinese_chars": rules.split_on_cjk}
    config |= {"tokenizer_class": "BertTokenizer", "model_max_length": max_tokens, **_SPECIAL_TOKENS}
    write_json(directory / "tokenizer_config.json", config)
    write_json(directory / "special_tokens_map.json", _SPECIAL_TOKENS)
    ids = {token: token_id for token_id, token in enumerate(vocabulary)}
    word_pieces = models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=_MAX_CHARACTERS_PER_WORD)
    tokenizer = Tokenizer(word_pieces)
    tokenizer.add_special_tokens(list(_SPECIAL_TOKENS.values()))
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=rules.split_on_cjk,
        strip_accents=rules.strip_accents,
        lowercase=rules.lowercase,
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", ids["[SEP]"]), ("[CLS]", ids["[CLS]"]))
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.save(str(directory / "tokenizer.json"))
