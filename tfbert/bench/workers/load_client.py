"""Ask a server all the time until the input ends, every client as soon as it is answered: `load_client.py JOB`.

The job has `protocol` (`rest` or `grpc`), `port`, on 127.0.0.1, `path` of the POST or of the gRPC method,
`num_clients`, and `bodies`, one request each: texts of JSON, or messages in base64. They are sent as they are, and of
an answer only its status and length are looked at, so that the clients take little of the processor that they share
with the server.

Every second a line says the `num_answered` and `num_failed` so far. The last line has both, `latencies_ms` of what was
answered, `seconds` from the first request to the last answer, `busy_seconds` that the processor worked for the clients,
and `failures`, a few of them.
"""

import asyncio
import base64
import itertools
import sys
import time

import asking

_TIMEOUT_SECONDS = 60
_MOST_FAILURES = 10


class RestConnection:
    """A connection that is kept.

    Args:
        port: on 127.0.0.1.
        path: of the POST.
        bodies: encoded JSON.
    """

    def __init__(self, port, path, bodies):
        self._port, self._stream = port, None
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        self._requests = [f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body for body in bodies]

    async def ask(self, index):
        """Send a request and wait for the whole answer.

        Raises:
            OSError: no answer, or one with another status than 200.
        """
        try:
            if self._stream is None:
                self._stream = await asyncio.open_connection("127.0.0.1", self._port)
            reader, writer = self._stream
            writer.write(self._requests[index])
            lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
            length = next((line[15:] for line in lines if line.startswith("content-length:")), None)
            if length is None:
                raise OSError(f"{lines[0]} without a length")
            answer = await reader.readexactly(int(length))
        except (OSError, EOFError, asyncio.CancelledError):
            # What comes later on this connection would be taken for the answer to something else.
            await self.close()
            raise
        if lines[0].split()[1] != "200":
            raise OSError(f"{lines[0]} {answer[:200]!r}")

    async def close(self):
        """Hang up."""
        if self._stream is not None:
            self._stream[1].close()
            self._stream = None


class GrpcConnection:
    """A channel of its own, over which bytes go as they are.

    Args:
        port: on 127.0.0.1.
        path: of the method.
        bodies: serialized messages.
    """

    def __init__(self, port, path, bodies):
        import grpc

        self._error, self._bodies = grpc.RpcError, bodies
        options = [("grpc.use_local_subchannel_pool", 1)]
        self._channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}", options)
        self._method = self._channel.unary_unary(path)

    async def ask(self, index):
        """Send a request and wait for the answer.

        Raises:
            OSError: no answer, or another status than OK.
        """
        try:
            await self._method(self._bodies[index], timeout=_TIMEOUT_SECONDS)
        except self._error as error:
            raise OSError(str(error)) from error

    async def close(self):
        """Hang up."""
        await self._channel.close()


class Counts:
    """What the clients saw."""

    def __init__(self):
        self.latencies_ms, self.failures, self.num_failed = [], [], 0

    async def ask(self, connection, index):
        """Send one request and count what becomes of it."""
        started = time.perf_counter()
        try:
            await asyncio.wait_for(connection.ask(index), _TIMEOUT_SECONDS)
        except (OSError, EOFError) as error:
            self.num_failed += 1
            if len(self.failures) < _MOST_FAILURES:
                self.failures.append(f"{type(error).__name__}: {error}")
        else:
            self.latencies_ms.append(round(1000 * (time.perf_counter() - started), 3))

    def so_far(self):
        """Return the numbers."""
        return {"num_answered": len(self.latencies_ms), "num_failed": self.num_failed}


async def client(connection, first, num_bodies, counts, ended):
    """Ask for one body after the other until `ended` is set."""
    for index in itertools.count(first):
        if ended.is_set():
            break
        await counts.ask(connection, index % num_bodies)
    await connection.close()


async def load(job, out):
    """Run all clients until the input ends, and return what they saw."""
    is_rest = job["protocol"] == "rest"
    bodies = [body.encode() if is_rest else base64.b64decode(body) for body in job["bodies"]]
    connections = [
        (RestConnection if is_rest else GrpcConnection)(job["port"], job["path"], bodies)
        for _ in range(job["num_clients"])
    ]
    counts, ended = Counts(), asyncio.Event()
    asking.say(out, {})
    started, busy = time.perf_counter(), time.process_time()
    # Each begins at a place of its own.
    places = range(0, len(bodies) * len(connections), len(bodies))
    firsts = [place // len(connections) for place in places]
    clients = [
        asyncio.create_task(client(connection, first, len(bodies), counts, ended))
        for connection, first in zip(connections, firsts, strict=True)
    ]
    end_of_input = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    while not end_of_input.done():
        await asyncio.wait([end_of_input], timeout=1)
        asking.say(out, counts.so_far())
    ended.set()
    await asyncio.gather(*clients)
    seconds = {"seconds": time.perf_counter() - started, "busy_seconds": time.process_time() - busy}
    return counts.so_far() | seconds | {"latencies_ms": counts.latencies_ms, "failures": counts.failures}


def main():
    """Ask, and say what was answered."""
    job, out = asking.read_job()
    asking.say(out, asyncio.run(load(job, out)))


if __name__ == "__main__":
    main()
