"""Ask the same questions from several clients at once and print how many answers a second come, and how fast.

Standard library alone. Each client waits for its answer before it asks again. Use the number of clients at which
the slowest answers are still fast enough to choose the number of servers.
"""

import argparse
import http.client
import itertools
import json
import ssl
import threading
import time
import urllib.parse
from pathlib import Path

HERE = Path(__file__).parent


def client(address: urllib.parse.SplitResult, key: str, context, bodies: list[bytes], until: float, seen: list) -> None:
    """Ask until the time is over and note of each answer its code and its milliseconds."""
    connect = http.client.HTTPSConnection if context else http.client.HTTPConnection
    options = {"context": context} if context else {}
    headers = {"Content-Type": "application/json", "x-api-key": key}
    connection = None
    for body in itertools.cycle(bodies):
        started = time.perf_counter()
        if started >= until:
            return
        try:
            connection = connection or connect(address.hostname, address.port, timeout=60, **options)
            connection.request("POST", "/v1/models/<< name >>:predict", body, headers)
            response = connection.getresponse()
            response.read()
            code = str(response.status)
        except OSError as error:
            code, connection = type(error).__name__, None
        seen.append((code, (time.perf_counter() - started) * 1000))


def main() -> None:
    """Run the clients and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", default="https://localhost:8443")
    parser.add_argument("--key", default="", help="of a client, as in ../clients/routes.yaml")
    parser.add_argument("--ca", help="file with the certificate that the proxy's is signed by")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=60)
    options = parser.parse_args()
    address = urllib.parse.urlsplit(options.address)
    context = ssl.create_default_context(cafile=options.ca) if address.scheme == "https" else None
    instances = json.loads((HERE / "request.json").read_text(encoding="utf-8"))["instances"]
    bodies = [json.dumps({"instances": [instance]}).encode() for instance in instances]
    seen: list[tuple[str, float]] = []
    until = time.perf_counter() + options.seconds
    arguments = (address, options.key, context, bodies, until, seen)
    threads = [threading.Thread(target=client, args=arguments) for _ in range(options.clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    good = sorted(milliseconds for code, milliseconds in seen if code == "200")
    failed = {code: sum(1 for other, _ in seen if other == code) for code, _ in seen if code != "200"}
    print(f"{options.clients} clients: {len(good) / options.seconds:.1f} answers a second; failed: {failed or 'none'}")
    if good:
        at = {share: good[min(int(share * len(good)), len(good) - 1)] for share in (0.5, 0.95, 0.99)}
        print("milliseconds: " + ", ".join(f"p{share * 100:.0f} {value:.0f}" for share, value in at.items()))


if __name__ == "__main__":
    main()
