"""Send requests over REST until standard input ends; every client sends the next one when it has its answer.

The job has `port` on 127.0.0.1, `path` of the POST, `num_clients`, and `texts`, one for each request. Answers are read
but not parsed, so that clients take little of the processor that they share with the server.

The answer has `latencies_ms` of the requests that succeeded; `num_failed` and some `failures`; `seconds` from the first
request to the last answer; and `busy_seconds`, the processor time of the clients.
"""

import http.client
import json
import sys
import threading
import time

from benchmarks.workers import protocol

_TIMEOUT_SECONDS = 60
_MAX_FAILURES = 10
_ERRORS = (OSError, http.client.HTTPException)


def send(connection, path, body):
    """Send a request over a persistent connection and wait for the whole answer.

    Raises:
        OSError: its status is not 200, or there is no answer.
        http.client.HTTPException: the server closed the connection.
    """
    try:
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        content = response.read()
    except _ERRORS:
        # A late answer on this connection would be taken for the answer to the next request.
        connection.close()
        raise
    if response.status != 200:
        raise OSError(f"status {response.status} {content[:200]!r}")


def client(job, bodies, place, result, ended):
    """Send one body after the other until `ended` is set, and record the answers in `result`."""
    connection = http.client.HTTPConnection("127.0.0.1", job["port"], timeout=_TIMEOUT_SECONDS)
    while not ended.is_set():
        started = time.perf_counter()
        try:
            send(connection, job["path"], bodies[place % len(bodies)])
        except _ERRORS as error:
            result["failures"].append(f"{type(error).__name__}: {error}")
        else:
            result["latencies_ms"].append(round(1000 * (time.perf_counter() - started), 3))
        place += 1
    connection.close()


def main():
    """Run all clients until standard input ends, and write the result."""
    job, out = protocol.read_job()
    bodies, number = [json.dumps({"instances": [text]}).encode() for text in job["texts"]], job["num_clients"]
    ended, result = threading.Event(), {"latencies_ms": [], "failures": []}
    # Clients start at different places.
    places = [index * len(bodies) // number for index in range(number)]
    threads = [threading.Thread(target=client, args=(job, bodies, place, result, ended)) for place in places]
    protocol.write_line(out, {})
    started, busy = time.perf_counter(), time.process_time()
    for thread in threads:
        thread.start()
    sys.stdin.read()
    ended.set()
    for thread in threads:
        thread.join()
    failures = result["failures"]
    result |= {"seconds": time.perf_counter() - started, "busy_seconds": time.process_time() - busy}
    protocol.write_line(out, result | {"num_failed": len(failures), "failures": failures[:_MAX_FAILURES]})


if __name__ == "__main__":
    main()
