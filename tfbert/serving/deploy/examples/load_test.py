"""Load test: send requests from several concurrent clients, and print throughput and latency.

Needs only the standard library. Each client waits for the response before it sends the next request. To choose the
number of servers, find the number of clients at which the latency is still acceptable.
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
    """Send requests until the time is up, and record status code and milliseconds of each response."""
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
    """Run the clients and print the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", default="https://localhost:8443")
    parser.add_argument("--key", default="", help="client key, as in ../clients/routes.yaml")
    parser.add_argument("--ca", help="CA certificate of the proxy")
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
    rate = len(good) / options.seconds
    print(f"{options.clients} clients: {rate:.1f} requests per second; failed: {failed or 'none'}")
    if good:
        quantiles = {q: good[min(int(q * len(good)), len(good) - 1)] for q in (0.5, 0.95, 0.99)}
        print("milliseconds: " + ", ".join(f"p{100 * q:.0f} {value:.0f}" for q, value in quantiles.items()))


if __name__ == "__main__":
    main()
