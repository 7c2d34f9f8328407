"""Lines of a file in, what is asked of a model out; without TensorFlow, as a client of a server needs none."""

import json
import sys
from collections.abc import Iterator, Mapping


def item_of(line: str, where: str, input_ranks: Mapping[str, int]) -> dict[str, str | tuple[str, ...]]:
    """Return what a line asks about: the line itself where the model takes one text, else a JSON object.

    Args:
        line: without its end.
        where: it stands, for messages.
        input_ranks: of the model, by name: 1 for a text, 2 for several.

    Raises:
        ValueError: not an object, an input that is missing or unknown, or one that is not text.
    """
    if input_ranks == {"text": 1}:
        return {"text": line}
    wish = "wanted a JSON object with " + ", ".join(input_ranks)
    try:
        said = json.loads(line)
    except ValueError as error:
        raise ValueError(f"{where}: not JSON ({error}); {wish}") from None
    if not isinstance(said, dict) or said.keys() != input_ranks.keys():
        raise ValueError(f"{where}: {line[:80]}; {wish}")
    for name, rank in input_ranks.items():
        is_text = isinstance(said[name], str)
        is_list = isinstance(said[name], list) and said[name] and all(isinstance(v, str) for v in said[name])
        if not (is_text if rank == 1 else is_list):
            kind = "a string" if rank == 1 else "a list of strings"
            raise ValueError(f"{where}: {name} is {json.dumps(said[name])[:80]}; wanted {kind}")
    return {name: value if isinstance(value, str) else tuple(value) for name, value in said.items()}


def read_lines(path: str) -> Iterator[str]:
    """Yield the lines of a UTF-8 file, `-` for standard input; only LF and CRLF end a line.

    Raises:
        ValueError: a line is not UTF-8; file and line are named.
    """
    with open(sys.stdin.fileno() if path == "-" else path, "rb") as stream:
        for number, line in enumerate(stream, 1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                byte = error.object[error.start]  # not `line`, of which the decoder has dropped the byte order mark
                raise ValueError(f"{path}:{number}: byte {byte:#04x} is not UTF-8; wanted UTF-8") from None
            yield text.removesuffix("\n").removesuffix("\r")
