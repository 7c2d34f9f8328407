"""Word segmenters for languages written without spaces, chosen by name.

A name is one of `BUILT_IN`, or `module:function` for a user's own function. The latter is arbitrary code that runs on
every text of the corpus, so it has to be allowed in this process first. `tfbert pretrain` allows only the name on its
own command line, given with --allow-code: a config file, the index of prepared sequences and a saved run may name such
a function, but cannot make it run.
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
from tfbert.extras import import_library
from tfbert.nearest import did_you_mean

FIELD = "examples.segmenter"
BUILT_IN = ("whitespace", "punctuation", "jieba")
CHOICES = f"none, {', '.join(BUILT_IN)}"
_CODE = re.compile(r"\w+(?:\.\w+)*:\w+")
# The functions, by `module:function`, that may be imported in this process.
allowed_code: set[str] = set()

Segmenter = Callable[[str], Iterable[str]]


def is_known(name: str) -> bool:
    """Return whether a name is built in or has the form `module:function`; nothing is imported."""
    return name in BUILT_IN or _CODE.fullmatch(name) is not None


def allow(*names: str) -> None:
    """Allow functions, by `module:function`, to be imported and called as segmenters in this process."""
    allowed_code.update(names)


def allowed() -> tuple[str, ...]:
    """Return the allowed names, to be allowed in worker processes too."""
    return tuple(sorted(allowed_code))


def check_origin(stored: str | None, file: Path | None, assigned: Mapping[str, Any], allow_code: bool) -> None:
    """Allow the code that the command line names with --allow-code, and refuse code that is named in another way.

    Args:
        stored: value of `examples.segmenter` in the config file or by default.
        file: path of the config file for messages.
        assigned: paths and values of `--set`, which replace those of the file.
        allow_code: whether --allow-code was given.

    Raises:
        ValueError: the segmenter in use is code and is named by the config file, or by the command line without
            --allow-code.
    """
    name = assigned.get(FIELD, stored)
    if name is None or name in BUILT_IN:
        return
    if ":" not in name:
        known = ", ".join(BUILT_IN)
        raise ValueError(f"{FIELD}={name}: expected one of {known}, or MODULE:FUNCTION{did_you_mean(name, BUILT_IN)}")
    if FIELD not in assigned:
        raise ValueError(
            f"{file}: {FIELD}={name}: names code to run, which is never taken from a file; {_alternatives(name)}"
        )
    if not allow_code:
        raise ValueError(f"{FIELD}={name}: names code to run; {_alternatives(name)}")
    allow(name)


def load_segmenter(name: str) -> Segmenter:
    """Return a built-in segmenter, or the function of an allowed `module:function`.

    Raises:
        ValueError: the name is not allowed, module or function do not exist, or jieba is not installed.
    """
    if name == "jieba":
        return _jieba()
    if name in BUILT_IN:
        return {"whitespace": str.split, "punctuation": _punctuation}[name]
    if name not in allowed_code:
        raise ValueError(f"{FIELD}={name}: names code that was not allowed to run; {_alternatives(name)}")
    module, _, function = name.partition(":")
    try:
        segmenter = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{FIELD}={name}: {error}; expected a function that can be imported") from error
    if not callable(segmenter):
        raise ValueError(f"{FIELD}={name}: not a function; expected one that takes a text")
    return segmenter


def _alternatives(name: str) -> str:
    return f"expected one of {CHOICES}, or on the command line: --allow-code --set {FIELD}={name}"


def _punctuation(text: str) -> Iterator[str]:
    for word in text.split():
        for is_mark, characters in itertools.groupby(word, _is_mark):
            together = "".join(characters)
            yield from together if is_mark else [together]


def _is_mark(character: str) -> bool:
    # As in BERT's tokenizer: ASCII symbols count as punctuation, other symbols do not.
    return character in string.punctuation or unicodedata.category(character).startswith("P")


def _jieba() -> Segmenter:
    jieba = import_library("jieba", f"{FIELD}=jieba")
    jieba.setLogLevel(logging.WARNING)
    # By default it unmarshals its dictionary from a file in the system's temporary directory, which any user of the
    # machine could have written.
    private_dir = cache_dir() / "jieba"
    private_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    jieba.dt.tmp_dir = str(private_dir)
    return jieba.lcut
