"""Ask what was asked when this was rendered and compare the answers: after a deployment, is it the same model?

Standard library alone; exit code 1 where an answer differs.
"""

import argparse
import json
import ssl
import sys
import urllib.request
from pathlib import Path

HERE = Path(__file__).parent


def differences(found, wanted, where="") -> list[str]:
    """Return where two answers differ: in anything but numbers at all, in numbers by more than 1e-3."""
    if isinstance(wanted, dict) and isinstance(found, dict) and wanted.keys() == found.keys():
        return [line for key in wanted for line in differences(found[key], wanted[key], f"{where}/{key}")]
    if isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        pairs = enumerate(zip(found, wanted, strict=True))
        return [line for at, (one, other) in pairs for line in differences(one, other, f"{where}/{at}")]
    is_number = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in (found, wanted))
    if abs(found - wanted) <= 1e-3 if is_number else found == wanted:
        return []
    return [f"{where}: {json.dumps(found)[:200]}; wanted {json.dumps(wanted)[:200]}"]


def main() -> None:
    """Ask and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", default="https://localhost:8443")
    parser.add_argument("--key", default="", help="of a client, as in ../clients/routes.yaml")
    parser.add_argument("--ca", help="file with the certificate that the proxy's is signed by")
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
    print("\n".join(lines) or f"{len(found['predictions'])} answers, all as expected")
    sys.exit(1 if lines else 0)


if __name__ == "__main__":
    main()
