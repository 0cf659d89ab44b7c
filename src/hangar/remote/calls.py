"""Calls of a gRPC client: deadlines on all of them, streams watched for silence, and errors of Hangar's classes.

A blocking call returns within a second of Ctrl-C. Frames to send are taken from their iterator in the thread of the
caller, because it may read a database, and errors of the iterator are raised as they are.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from operator import methodcaller
from typing import Any, Final, NamedTuple

import grpc
from google.protobuf.message import DecodeError

from hangar.errors import HangarError, InvalidInputError, UnreachableError
from hangar.remote.ahead import Ahead
from hangar.remote.options import METHODS, SERVICE, Timeouts, client_options
from hangar.remote.status import BUSY, ERROR_KEY, local_error, make_error

__all__ = ["Connection", "Target", "is_busy", "is_cut"]

_RESET: Final = ("RST_STREAM", "Stream removed", "Connection reset", "Socket closed")
"""Parts of the texts by which gRPC reports a lost connection under other codes than UNAVAILABLE."""
_POLL_SECONDS: Final = 0.1
_SHORT_BYTES: Final = 2**20
"""A stream of so few bytes is taken as it comes: a thread that reads it ahead costs a tenth of a read of 256 small samples."""
READ_AHEAD: Final = 3
"""Messages of a stream that wait while one before them is verified and stored."""


class Target(NamedTuple):
    """What a connection is made of.

    Attributes
    ----------
    name
        The address, for messages.
    target
        ``host:port``.
    credentials
        TLS credentials; None for a connection in clear text.
    metadata
        Sent with every call: the token.
    near
        Whether the server is on this machine.
    """

    name: str
    target: str
    credentials: grpc.ChannelCredentials | None
    metadata: Sequence[tuple[str, str]]
    near: bool = False


def is_busy(error: grpc.RpcError) -> bool:
    """Whether the server has too much to do, so that the same call may succeed later."""
    call: Any = error
    text = str(call.details())
    return call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED and ("limit exceeded" in text or text.startswith(BUSY))


def is_cut(error: grpc.RpcError) -> bool:
    """Whether the connection failed, or the server was busy, so that the same call may succeed when it is made again."""
    if isinstance(error, HangarError):
        return False
    if is_busy(error):
        return True
    call: Any = error
    code = call.code()
    named = any(key == ERROR_KEY for key, _ in call.trailing_metadata() or ())
    lost = code is grpc.StatusCode.UNAVAILABLE or (
        code in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN)
        and any(one in str(call.details()) for one in _RESET)
    )
    return lost and not named


class Connection:
    """A connection to a server, made at the first call, and made again in a forked child.

    Parameters
    ----------
    target
        The server.
    timeouts
        Deadlines of its calls.
    """

    def __init__(self, target: Target, timeouts: Timeouts) -> None:
        self.target = target
        self.timeouts = timeouts
        self._lock = threading.Lock()
        self._owner = 0
        self._channel: grpc.Channel | None = None
        self._stubs: dict[str, Callable[..., Any]] = {}

    def close(self) -> None:
        """Close the connection; a later call opens it again."""
        with self._lock:
            channel, self._channel, self._stubs = self._channel, None, {}
        if channel is not None and self._owner == os.getpid():
            channel.close()

    def _stub(self, name: str) -> Callable[..., Any]:
        if self._owner != os.getpid():
            # The channel of the parent, its threads and a lock that one of them may hold do not work in a child.
            self._lock, self._channel, self._stubs, self._owner = threading.Lock(), None, {}, os.getpid()
        with self._lock:
            if self._channel is None:
                self._channel = self._open()
            found = self._stubs.get(name)
            if found is None:
                found = self._stubs[name] = _make_stub(self._channel, name)
            return found

    def _open(self) -> grpc.Channel:
        options = client_options(self.target.near)
        if self.target.credentials is None:
            return grpc.insecure_channel(self.target.target, options)
        return grpc.secure_channel(self.target.target, self.target.credentials, options)

    def error(self, error: grpc.RpcError, seconds: float = 0.0) -> HangarError:
        """The Hangar error of a failed call."""
        return local_error(error, self.target.name, seconds)

    # ------------------------------------------------------------------ one answer

    def unary(self, name: str, request: Any, seconds: float | None = None) -> Any:
        """Make a call with one answer. Raises what gRPC raises."""
        timeout = self.timeouts.call if seconds is None else seconds
        return self._decode(
            METHODS[name].reply.FromString, self._stub(name)(request, timeout=timeout, metadata=self.target.metadata)
        )

    def _decode(self, parse: Callable[[bytes], Any], answer: bytes) -> Any:
        # Decoded here, because gRPC writes a traceback to the log of the program for an answer that cannot be.
        try:
            return parse(answer)
        except (DecodeError, UnicodeDecodeError, RecursionError):
            raise InvalidInputError(f"{self.target.name} sent an answer that cannot be decoded") from None

    # ------------------------------------------------------------------ a stream of answers

    def stream(
        self, name: str, request: Any, parse: Callable[[bytes], Any] | None = None, *, nbytes: int = -1
    ) -> Iterator[Any]:
        """Make a call with a stream of answers. Raises what gRPC raises, and ``UnreachableError`` if nothing comes.

        Parameters
        ----------
        parse
            Decodes a message.
        nbytes
            About the bytes of all answers, if that is known: those of a short stream are not read ahead.
        """
        parse = parse or METHODS[name].reply.FromString
        if 0 <= nbytes <= _SHORT_BYTES:
            yield from self._short_stream(name, request, parse)
            return
        call = self._stub(name)(request, timeout=self.timeouts.stream, metadata=self.target.metadata)
        with Ahead[bytes](lambda: iter(call), READ_AHEAD) as messages:
            try:
                while True:
                    try:
                        message = messages.take(self.timeouts.idle)
                    except StopIteration:
                        return
                    except TimeoutError:
                        raise self._silent() from None
                    yield self._decode(parse, message)
            finally:
                call.cancel()

    def _short_stream(self, name: str, request: Any, parse: Callable[[bytes], Any]) -> Iterator[Any]:
        """A stream without a thread of its own: it takes no longer than the silence that a long one may have."""
        call = self._stub(name)(request, timeout=self.timeouts.idle, metadata=self.target.metadata)
        try:
            for message in call:
                yield self._decode(parse, message)
        except grpc.RpcError as error:
            if call.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                raise self._silent() from None
            raise error
        finally:
            call.cancel()

    def _silent(self) -> HangarError:
        text = f"{self.target.name} sent nothing for {self.timeouts.idle:g} seconds: check the network, then try again"
        return make_error(UnreachableError, text, grpc.StatusCode.DEADLINE_EXCEEDED)

    # ------------------------------------------------------------------ a stream of requests

    def send(self, name: str, messages: Iterator[Any]) -> Any:
        """Send a stream of messages, and return the answer. Raises as :meth:`stream` does."""
        parse = METHODS[name].reply.FromString
        waiting: queue.Queue[Any] = queue.Queue(1)
        call = self._stub(name).future(  # type: ignore[attr-defined]
            iter(waiting.get, None), timeout=self.timeouts.stream, metadata=self.target.metadata
        )
        try:
            for message in messages:
                if not self._put(waiting, message, call):
                    return self._decode(parse, call.result())  # raises why it ended
            if not self._put(waiting, None, call):
                return self._decode(parse, call.result())
            return self._decode(parse, self._answer(call))
        finally:
            call.cancel()
            self._release(waiting)

    def _put(self, waiting: queue.Queue[Any], message: Any, call: Any) -> bool:
        """Hand a message to gRPC; False if the call is over."""
        began = time.monotonic()
        while not call.done():
            try:
                waiting.put(message, timeout=_POLL_SECONDS)
            except queue.Full:
                if time.monotonic() - began > self.timeouts.idle:
                    raise self._silent() from None
            else:
                return True
        return False

    def _answer(self, call: Any) -> Any:
        """The answer of a call whose messages are all sent: the server may need its time to verify them."""
        end = time.monotonic() + self.timeouts.call
        while True:
            try:
                return call.result(timeout=1.0)
            except grpc.FutureTimeoutError:
                if time.monotonic() > end:
                    raise self._silent() from None

    @staticmethod
    def _release(waiting: queue.Queue[Any]) -> None:
        """End the thread of gRPC that waits for the next message."""
        with contextlib.suppress(queue.Empty):
            waiting.get_nowait()
        waiting.put_nowait(None)


def _make_stub(channel: grpc.Channel, name: str) -> Callable[..., Any]:
    method = METHODS[name]
    make: Any = {
        (False, False): channel.unary_unary,
        (False, True): channel.unary_stream,
        (True, False): channel.stream_unary,
    }[method.request_streaming, method.response_streaming]
    stub: Callable[..., Any] = make(
        f"/{SERVICE}/{name}",
        request_serializer=methodcaller("SerializeToString"),
    )
    return stub
