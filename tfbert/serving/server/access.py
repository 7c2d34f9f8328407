"""The access log: a JSON line per request, without the users' texts unless `--log_requests` is set."""

import json
import logging
import re
import time
import traceback

logger = logging.getLogger(__name__)

# The message of an internal error, whose details may quote a user's text.
FAILURE = "the server failed; its log says where"
_LONGEST_BODY = 2000

# The longest first: part of a card number looks like a phone number.
_MASKS = (
    (re.compile(r"[\w.+%-]+@[\w-]+(?:\.[\w-]+)+"), "[e-mail]"),
    # Chinese identity numbers: 17 digits and a check digit.
    (re.compile(r"(?<!\d)\d{17}[\dXx](?!\d)"), "[identity]"),
    # IBANs, and similar numbers.
    (re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?\b"), "[account]"),
    (re.compile(r"(?<!\d)(?:\d[ -]?){12,18}\d(?!\d)"), "[card]"),
    (re.compile(r"(?<!\d)\d{3}-\d{2}-\d{4}(?!\d)"), "[identity]"),
    (re.compile(r"(?<![\w.])\+?(?:\(\d{1,4}\)[ -]?)?\d(?:[ ()./-]{0,2}\d){6,14}(?!\w)"), "[phone]"),
)


def masked(text: str) -> str:
    """Return a text with e-mail addresses, phone, card, account and identity numbers covered.

    By their looks alone: what has the form of such a number is covered, and names are not.
    """
    for pattern, cover in _MASKS:
        text = pattern.sub(cover, text)
    return text


class Access:
    """Writes the access log.

    Args:
        with_bodies: whether the bodies of requests are written too, masked and cut.
    """

    def __init__(self, with_bodies: bool = False):
        self.with_bodies = with_bodies

    def log(self, method: str, path: str, status: int, seconds: float, num_bytes: int, body: bytes = b"") -> None:
        """Write the line of a request.

        Args:
            method: of HTTP.
            path: without its query.
            status: of HTTP.
            seconds: that it took.
            num_bytes: of its body.
            body: of the request.
        """
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "method": method,
            "path": path[:200],
            "status": status,
            "milliseconds": round(1000 * seconds, 2),
            "bytes": num_bytes,
        }
        if self.with_bodies:
            line["body"] = masked(body[:_LONGEST_BODY].decode("utf-8", "replace"))
        logger.info("%s", json.dumps(line, ensure_ascii=False))


def log_failure(error: BaseException) -> None:
    """Log where the server failed, without the error's message, which may quote a text."""
    last = traceback.extract_tb(error.__traceback__)[-1:]
    place = f"{last[0].filename}:{last[0].lineno}" if last else "nowhere known"
    logger.error("%s at %s", type(error).__name__, place)
