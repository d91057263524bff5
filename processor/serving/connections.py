"""Limits on connections, in number and time, so that silent clients shut nobody out.

A connection waits (for a request, for the rest of one, until an answer has been read) or its request is being
answered. Waiting has a time limit. At the limit of connections the one that has waited longest is closed for a new
one; when none waits, a few more are accepted, for probes only.
"""

from __future__ import annotations

import asyncio
import resource
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from typing import cast

from aiohttp import web

#: Seconds for the headers and for the body of a request to arrive; and for the next request, or for reading an answer.
REQUEST_SECONDS = 10.0
IDLE_SECONDS = 30.0

#: Most bytes of a request's headers.
_ASKING_MAX_BYTES = 96 * 1024
#: Connections that the kernel may queue for the server.
_BACKLOG = 128
#: Seconds until it is asked for the next one again, after it could not give one.
_ACCEPT_SECONDS = 0.1

_HEADERS_END = b"\r\n\r\n"

#: Most connections at a time, and at most this share of the process's open files: Kafka and the store need the others.
_CONNECTIONS_MAX = 500
_PART_OF_FILES = 4
#: Connections beyond that, for probes.
_RESERVE = 8


def connection_limit(most: int = _CONNECTIONS_MAX, part: int = _PART_OF_FILES) -> int:
    """Return how many connections this process can serve at a time.

    Args:
        most: of them.
        part: which part of the process's open files they may be: 4 is a fourth.
    """
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return most
    return max(_RESERVE, min(most, files // part))


class _State(Enum):
    """What a connection does."""

    #: Nothing; or its last answer is being read.
    IDLE = 0
    #: It sends the headers of a request.
    ASKING = 1
    #: It sends the body.
    SENDING = 2
    #: Its request is being answered.
    SERVED = 3


class Connections:
    """All connections of a server.

    Args:
        limit: how many there may be.
        idle_seconds: for which one may wait for its next request; None: as said above.
    """

    def __init__(self, limit: int, idle_seconds: float | None = None) -> None:
        self.limit = limit
        self._idle_seconds = idle_seconds
        self._all: dict[asyncio.BaseProtocol, Connection] = {}
        #: Those that wait, the one that has waited longest first.
        self._waiting: dict[Connection, None] = {}

    def factory(self, make: Callable[[], asyncio.Protocol]) -> Callable[[], asyncio.Protocol]:
        """Wrap the factory of the protocols that serve connections."""
        return lambda: Connection(self, make())

    def close_late(self) -> None:
        """Close all connections whose time is up; called about every second."""
        now = time.monotonic()
        for connection in [each for each in self._waiting if each.until < now]:
            self.leave(connection)
            connection.abort()

    @contextmanager
    def serving(self, protocol: asyncio.BaseProtocol) -> Iterator[Connection]:
        """Mark a connection that sends the body of a request, until it has been answered.

        Raises:
            ConnectionResetError: it has been closed.
        """
        connection = self._all.get(protocol)
        if connection is None:
            raise ConnectionResetError("the connection has been closed")
        connection.state, connection.arrived_bytes = _State.SENDING, 0
        try:
            yield connection
        finally:
            if connection.state is _State.SERVED:
                connection.state = _State.IDLE
            # Else it was answered before its body had arrived, and goes on sending that.
            if protocol in self._all:
                self.wait(connection, IDLE_SECONDS if self._idle_seconds is None else self._idle_seconds)

    def answer(self, connection: Connection) -> None:
        """Mark a connection whose request has arrived, and is being answered: it does not wait any more."""
        self._waiting.pop(connection, None)
        connection.state = _State.SERVED

    # Called by connections

    def enter(self, connection: Connection) -> bool:
        """Accept a connection; False: there is no room."""
        if len(self._all) >= self.limit:
            if self._waiting:
                longest = next(iter(self._waiting))
                self.leave(longest)
                longest.abort()
            elif len(self._all) >= self.limit + _RESERVE:
                return False
            else:
                connection.is_of_reserve = True
        self._all[connection.inner] = connection
        self.wait(connection, REQUEST_SECONDS)
        return True

    def arrive(self, connection: Connection, data: bytes) -> bool:
        """Start the time limit of a request that begins to arrive; False: its headers are too long."""
        if connection.inner not in self._all:
            return True
        if connection.state is _State.IDLE:
            connection.state = _State.ASKING
            self.wait(connection, REQUEST_SECONDS)
        if connection.state is _State.ASKING:
            arrived = connection.tail + data
            if _HEADERS_END in arrived:
                # What follows is the body.
                connection.state, connection.tail = _State.SENDING, b""
            else:
                connection.arrived_bytes += len(data)
                connection.tail = arrived[1 - len(_HEADERS_END) :]
        return connection.arrived_bytes <= _ASKING_MAX_BYTES

    def wait(self, connection: Connection, seconds: float) -> None:
        """Let a connection wait for some seconds from now, as the one that has waited least."""
        self._waiting.pop(connection, None)
        self._waiting[connection] = None
        connection.until = time.monotonic() + seconds

    def leave(self, connection: Connection) -> None:
        """Forget a connection."""
        self._all.pop(connection.inner, None)
        self._waiting.pop(connection, None)


class Site(web.BaseSite):
    """A listening socket whose connections are bounded.

    Args:
        runner: has been set up.
        host: to listen at.
        port: 0 is any free one.
        connections: all of them.
        ssl_context: with it, TLS is spoken.
    """

    def __init__(
        self,
        runner: web.BaseRunner,
        host: str,
        port: int,
        connections: Connections,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(runner, backlog=_BACKLOG)
        self._protocol = runner.server
        self._host, self._port, self._tls = host, port, ssl_context
        self._connections = connections

    @property
    def name(self) -> str:
        """The URL that it was to listen at."""
        return f"{'http' if self._tls is None else 'https'}://{self._host}:{self._port}"

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: the address cannot be bound.
        """
        await super().start()
        if self._protocol is None:
            raise RuntimeError("the runner has not been set up")
        make = self._connections.factory(self._protocol)
        if self._tls is None:
            self._server = await asyncio.get_running_loop().create_server(
                make, self._host, self._port, backlog=self._backlog
            )
            return
        # aiohttp asks a server for no more than a listener has.
        self._server = cast("asyncio.Server", _TlsListener(self._host, self._port, make, self._tls, self._connections))


class _TlsListener:
    """Accepts connections that speak TLS, and bounds those that have not shaken hands, too.

    A server of asyncio tells of connections when they have: until then they would have no limit, and take all open
    files.

    Raises:
        OSError: the address cannot be bound.
    """

    def __init__(
        self,
        host: str,
        port: int,
        make: Callable[[], asyncio.Protocol],
        tls: ssl.SSLContext,
        connections: Connections,
    ) -> None:
        self.sockets = tuple(_listening(host, port))
        self._make, self._tls = make, tls
        #: Those that shake hands, the one that has begun first first; and how many there may be.
        self._shaking: dict[asyncio.Task[None], None] = {}
        self._most = max(_RESERVE, connections.limit // _PART_OF_FILES)
        self._accepting = [asyncio.create_task(self._accept(listening)) for listening in self.sockets]

    def close(self) -> None:
        """Accept no more."""
        for task in (*self._accepting, *self._shaking):
            task.cancel()
        for listening in self.sockets:
            listening.close()

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, _ = await loop.sock_accept(listening)
            except OSError:
                # No more files, or it was gone already.
                await asyncio.sleep(_ACCEPT_SECONDS)
                continue
            if len(self._shaking) >= self._most:
                longest = next(iter(self._shaking))
                del self._shaking[longest]
                longest.cancel()
            task = asyncio.create_task(self._shake_hands(accepted))
            self._shaking[task] = None
            task.add_done_callback(lambda done: self._shaking.pop(done, None))
            # The next one may be there already: others have their turn.
            await asyncio.sleep(0)

    async def _shake_hands(self, accepted: socket.socket) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._make, accepted, ssl=self._tls, ssl_handshake_timeout=REQUEST_SECONDS
            )
        except (OSError, asyncio.TimeoutError):
            accepted.close()
        except asyncio.CancelledError:
            accepted.close()
            raise


def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """Yield a socket that listens, for each address of a host."""
    kind, passive = socket.SOCK_STREAM, socket.AI_PASSIVE
    for family, _, _, _, address in socket.getaddrinfo(host, port, type=kind, flags=passive):
        listening = socket.create_server(address[:2], family=family, backlog=_BACKLOG)
        listening.setblocking(False)
        yield listening


class Connection(asyncio.Protocol):
    """Wraps the protocol that serves a connection, and reports what happens to it."""

    def __init__(self, connections: Connections, inner: asyncio.Protocol) -> None:
        self.inner = inner
        self.until = 0.0
        self.state = _State.IDLE
        #: Of a request, before it can be looked at; and the last of them, which may begin the end of its headers.
        self.arrived_bytes = 0
        self.tail = b""
        self.is_of_reserve = False
        self._connections = connections
        self._transport: asyncio.Transport | None = None

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Hand it on, if there is room."""
        # That of uvloop is one in all but name.
        self._transport = cast("asyncio.Transport", transport)
        self.inner.connection_made(transport)
        if not self._connections.enter(self):
            self.abort()

    def data_received(self, data: bytes) -> None:
        """Hand it on, and note that a request arrives."""
        if self._connections.arrive(self, data):
            self.inner.data_received(data)
        else:
            self.abort()

    def eof_received(self) -> bool | None:
        """Hand it on."""
        return self.inner.eof_received()

    def connection_lost(self, error: Exception | None) -> None:
        """Hand it on."""
        self._connections.leave(self)
        self.inner.connection_lost(error)

    def pause_writing(self) -> None:
        """Hand it on."""
        self.inner.pause_writing()

    def resume_writing(self) -> None:
        """Hand it on."""
        self.inner.resume_writing()
