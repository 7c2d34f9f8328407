"""Word segmenters for languages written without spaces, chosen by name.

A name is one of `BUILT_IN`, or `module:function` for a function of the user's own. The latter runs whatever the name
says, on every text of the corpus, so it has to be allowed in this process first. `tools/pretrain.py` allows the
name that stands on its command line together with --allow-code, and no other: a config file, the index of prepared
rows and a saved run may name such a function, but cannot make it run.
"""

import importlib
import itertools
import logging
import re
import string
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tfbert.encoder.presets import cache_dir
from tfbert.nearest import did_you_mean

FIELD = "examples.segmenter"
BUILT_IN = ("whitespace", "punctuation", "jieba")
CHOICES = f"none, {', '.join(BUILT_IN)}"
_CODE = re.compile(r"\w+(?:\.\w+)*:\w+")
_allowed: set[str] = set()

Segmenter = Callable[[str], Iterable[str]]


def is_known(name: str) -> bool:
    """Return whether a name is built in or has the form `module:function`; nothing is imported."""
    return name in BUILT_IN or _CODE.fullmatch(name) is not None


def allow(*names: str) -> None:
    """Allow functions, by `module:function`, to be imported and called as segmenters in this process."""
    _allowed.update(names)


def allowed() -> tuple[str, ...]:
    """Return the names that were allowed, for worker processes."""
    return tuple(sorted(_allowed))


def check_origin(stored: str | None, file: Path | None, given: Mapping[str, Any], allow_code: bool) -> None:
    """Allow the segmenter that a command line names, if it is code and --allow-code was given, and refuse others.

    Args:
        stored: value of `examples.segmenter` in the config file; `None` where there is none.
        file: the config file, for messages.
        given: paths and values of `--set`, which replace those of the file.
        allow_code: whether --allow-code was given.

    Raises:
        ValueError: the config file names code and the command line no other segmenter, or the command line names code
            without --allow-code.
    """
    name = given.get(FIELD, stored)
    if name is None or name in BUILT_IN:
        return
    if ":" not in name:
        known = ", ".join(BUILT_IN)
        raise ValueError(f"{FIELD}={name}: expected one of {known}, or MODULE:FUNCTION{did_you_mean(name, BUILT_IN)}")
    if FIELD not in given:
        raise ValueError(
            f"{file}: {FIELD}={name}: names code to run, which is never taken from a file; {_wanted(name)}"
        )
    if not allow_code:
        raise ValueError(f"{FIELD}={name}: names code to run; {_wanted(name)}")
    allow(name)


def load_segmenter(name: str) -> Segmenter:
    """Return the function of a built-in name, or the one that an allowed `module:function` names.

    Raises:
        ValueError: the name is not allowed, there is no such module or function, or jieba is not installed.
    """
    if name == "jieba":
        return _jieba()
    if name in BUILT_IN:
        return {"whitespace": str.split, "punctuation": _punctuation}[name]
    if name not in _allowed:
        raise ValueError(f"{FIELD}={name}: names code that was not allowed to run; {_wanted(name)}")
    module, _, function = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{FIELD}={name}: {error}; wanted a function that can be imported") from error
    if not callable(found):
        raise ValueError(f"{FIELD}={name}: is not a function; wanted one that takes a text")
    return found


def _wanted(name: str) -> str:
    return f"wanted one of {CHOICES}, or on the command line: --allow-code --set {FIELD}={name}"


def _punctuation(text: str) -> Iterator[str]:
    for word in text.split():
        for is_mark, characters in itertools.groupby(word, _is_mark):
            together = "".join(characters)
            yield from together if is_mark else [together]


def _is_mark(character: str) -> bool:
    # As BERT's own tokenizer sees it: the symbols of ASCII count as punctuation, those beyond it do not.
    return character in string.punctuation or unicodedata.category(character).startswith("P")


def _jieba() -> Segmenter:
    try:
        import jieba
    except ImportError as error:
        raise ValueError(f"{FIELD}=jieba: the package is not installed; install it with: pip install jieba") from error
    jieba.setLogLevel(logging.WARNING)
    # By itself it reads its dictionary, in Python's marshal format, from a file in the directory for temporary files,
    # where any user of the machine could have put one.
    own = cache_dir() / "jieba"
    own.mkdir(mode=0o700, parents=True, exist_ok=True)
    jieba.dt.tmp_dir = str(own)
    return jieba.lcut
