"""HTTP connections with time limits, so that slow clients cannot hold them indefinitely."""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

# Documented. The first is the time from the connection, or the first byte of a further request, to the end of the
# request's headers; the second is how long a client may take nothing of an answer that does not fit into buffers.
HEADER_SECONDS = 10.0
STALLED_SECONDS = 60.0


class TimedConnection(H11Protocol):
    """An HTTP connection of uvicorn, which by default waits indefinitely for headers and for clients that read.

    The time of a request's body is limited where it is read, in `rest_api`. Between two requests uvicorn closes the
    connection after five seconds.
    """

    _headers: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Wait for the headers of the first request."""
        super().connection_made(transport)
        self._watch_headers()

    def data_received(self, data: bytes) -> None:
        """Receive bytes, and check whether the headers are complete."""
        super().data_received(data)
        self._watch_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timers."""
        self._headers = _stopped(self._headers)
        self._stalled = _stopped(self._stalled)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Wait for the client to read the response."""
        super().pause_writing()
        self._stalled = self._stalled or self.loop.call_later(STALLED_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """The client has read some of the response."""
        self._stalled = _stopped(self._stalled)
        super().resume_writing()

    def _watch_headers(self) -> None:
        is_answering = self.cycle is not None and not self.cycle.response_complete
        if is_answering or self.transport.is_closing():
            self._headers = _stopped(self._headers)
        elif self._headers is None and self.timeout_keep_alive_task is None:
            # Not set again by further bytes: a byte now and then would hold the connection.
            self._headers = self.loop.call_later(HEADER_SECONDS, self.transport.close)


def _stopped(clock: asyncio.TimerHandle | None) -> None:
    if clock is not None:
        clock.cancel()
