"""The access log: its content, and the texts that it leaves out."""

import json

import pytest

from tfbert.serving.server.access import Access, log_failure, masked

TEXT = "Write to ada.byron+bank@mail.example.co.uk or call +44 20 7946 0958"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (TEXT, "Write to [e-mail] or call [phone]"),
        ("card 4111 1111 1111 1111 expired", "card [card] expired"),
        ("card 4111111111111111, pin", "card [card], pin"),
        ("my number is 11010519491231002X.", "my number is [identity]."),
        ("SSN 078-05-1120!", "SSN [identity]!"),
        ("to DE89 3704 0044 0532 0130 00 please", "to [account] please"),
        ("call (555) 123-4567", "call [phone]"),
        ("打电话13800138000给我", "打电话13800138000给我"),
        ("电话 13800138000 。", "电话 [phone] 。"),
        ("I paid 12.50 on 3 May 2024 for 2 cards", "I paid 12.50 on 3 May 2024 for 2 cards"),
        ("version 10.4.2, order 12345", "version 10.4.2, order 12345"),
    ],
)
def test_masks(text, expected):
    assert masked(text) == expected


def lines(caplog):
    return [json.loads(record.getMessage()) for record in caplog.records]


def test_no_text_unless_it_is_asked_for(caplog):
    caplog.set_level("INFO")
    body = json.dumps({"instances": [TEXT]}).encode()
    for access in (Access(), Access(with_bodies=True)):
        access.log("POST", "/v1/models/bank:predict", 200, 0.0123, len(body), body)
    without, with_body = lines(caplog)
    assert without.pop("time").endswith("Z")
    assert without == {
        "method": "POST",
        "path": "/v1/models/bank:predict",
        "status": 200,
        "milliseconds": 12.3,
        "bytes": len(body),
    }
    assert "[e-mail]" in with_body["body"] and "ada" not in with_body["body"]


def test_a_failure_tells_its_place_and_not_its_message(caplog):
    try:
        raise KeyError("ada.byron@mail.example")
    except KeyError as error:
        log_failure(error)
    (record,) = caplog.records
    assert record.getMessage().startswith("KeyError at ") and "test_access.py" in record.getMessage()
    assert "ada" not in record.getMessage()
