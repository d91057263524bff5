"""Take the bodies of calls: each within its limit and its time, all of them within what the memory holds."""

from __future__ import annotations

from aiohttp import web

from processor.serving.connections import REQUEST_SECONDS, Connection, Connections

#: Octets that bodies may have together that have not arrived whole.
_MOST_ARRIVING = 256 * 2**20

#: Octets a second that are enough: a body of 64 MiB has more than a minute.
_LEAST_RATE = 2**20


class TooLargeError(Exception):
    """A body is larger than its limit."""


class TooManyError(Exception):
    """Too many bodies arrive at a time: this one is to come again."""


class Bodies:
    """The bodies that arrive at a server."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._arriving = 0

    async def take(self, request: web.BaseRequest, connection: Connection, limit: int) -> bytes:
        """Return the body of a request, as it came.

        Args:
            request: whose head has arrived.
            connection: that it comes by; it is closed if the body takes too long.
            limit: octets.

        Raises:
            TooLargeError: the body is larger.
            TooManyError: there is no room for it now.
        """
        content, size = request.content, request.content_length
        if size is not None and size > limit:
            raise TooLargeError
        if content.is_eof():
            body = content.read_nowait()
            if len(body) > limit:
                raise TooLargeError
            return body
        self._connections.wait(connection, REQUEST_SECONDS + (size or limit) / _LEAST_RATE)
        if request.headers.get("Expect", "").lower() == "100-continue":
            await _continue(request)
        return await self._arrived(request, limit)

    async def _arrived(self, request: web.BaseRequest, limit: int) -> bytes:
        body = bytearray()
        try:
            while not request.content.at_eof():
                piece = await request.content.readany()
                self._arriving += len(piece)
                body += piece
                if len(body) > limit:
                    raise TooLargeError
                if self._arriving > _MOST_ARRIVING:
                    raise TooManyError
        finally:
            self._arriving -= len(body)
        return bytes(body)


async def _continue(request: web.BaseRequest) -> None:
    """Tell a client that asks first to send the body: else it waits for a second."""
    # As aiohttp does for its own routes; what is counted is the answer's.
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0
