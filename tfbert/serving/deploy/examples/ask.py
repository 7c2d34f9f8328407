"""Smoke test after a deployment: send the example requests and compare the predictions with the expected ones.

Needs only the standard library; the exit code is 1 if a prediction differs.
"""

import argparse
import json
import ssl
import sys
import urllib.request
from pathlib import Path

HERE = Path(__file__).parent


def differences(found, expected, where="") -> list[str]:
    """Return where two responses differ: numbers by more than 1e-3, other values at all."""
    if isinstance(expected, dict) and isinstance(found, dict) and expected.keys() == found.keys():
        return [line for key in expected for line in differences(found[key], expected[key], f"{where}/{key}")]
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        pairs = enumerate(zip(found, expected, strict=True))
        return [line for at, (one, other) in pairs for line in differences(one, other, f"{where}/{at}")]
    is_number = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in (found, expected))
    if abs(found - expected) <= 1e-3 if is_number else found == expected:
        return []
    return [f"{where}: {json.dumps(found)[:200]}; expected {json.dumps(expected)[:200]}"]


def main() -> None:
    """Send the requests and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", default="https://localhost:8443")
    parser.add_argument("--key", default="", help="client key, as in ../clients/routes.yaml")
    parser.add_argument("--ca", help="CA certificate of the proxy")
    options = parser.parse_args()
    request = urllib.request.Request(
        f"{options.address}/v1/models/<< name >>:predict",
        (HERE / "request.json").read_bytes(),
        {"Content-Type": "application/json", "x-api-key": options.key},
    )
    context = ssl.create_default_context(cafile=options.ca) if options.address.startswith("https") else None
    with urllib.request.urlopen(request, timeout=60, context=context) as response:
        found = json.load(response)
    lines = differences(found, json.loads((HERE / "expected.json").read_text(encoding="utf-8")))
    print("\n".join(lines) or f"{len(found['predictions'])} predictions, all as expected")
    sys.exit(1 if lines else 0)


if __name__ == "__main__":
    main()
