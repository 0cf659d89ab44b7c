"""A TCP proxy on loopback that cuts connections, swallows bytes, and counts what passes."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Sequence
from types import TracebackType

_RESET = struct.pack("ii", 1, 0)


class Proxy:
    """Forwards to ``port``; a context manager.

    ``cuts``: totals of bytes from the server at which the connection is reset, ``cuts_up`` of bytes to it. ``swallow``: while true, nothing passes any
    more in either direction. ``drop_reply``: asked with each piece from the server; true resets the connection instead.
    """

    def __init__(self, port: int, cuts: Sequence[int] = (), cuts_up: Sequence[int] = ()) -> None:
        self._server_port = port
        self.cuts, self.cuts_up = sorted(cuts), sorted(cuts_up)
        self.swallow = False
        self.drop_reply: Callable[[bytes], bool] = lambda data: False
        self.down = self.up = self.connections = 0
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._listener.close()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            pass  # wakes the accepting thread
        for one in list(self._sockets):
            self._reset(one)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._server_port))
            except OSError:
                client.close()
                continue
            self.connections += 1
            self._sockets += [client, server]
            for source, target, down in ((server, client, True), (client, server, False)):
                threading.Thread(target=self._pump, args=(source, target, down), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, down: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(2**16):
                if self.swallow:
                    continue
                # What a connection that its client has closed still sends is no reply.
                newest = down and target is self._sockets[-2]
                if self._cut_here(len(data), down) or (newest and self.drop_reply(data)):
                    self._reset(target)
                    break
                target.sendall(data)
        self._reset(source)
        self._reset(target)

    def _cut_here(self, count: int, down: bool) -> bool:
        with self._lock:
            if down:
                self.down += count
            else:
                self.up += count
            total, cuts = (self.down, self.cuts) if down else (self.up, self.cuts_up)
            due = bool(cuts) and total >= cuts[0]
            while cuts and total >= cuts[0]:
                cuts.pop(0)
            return due

    @staticmethod
    def _reset(one: socket.socket) -> None:
        with contextlib.suppress(OSError):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            one.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            one.close()
