"""What surrounds every call of a server: the token, limits, the log line, and errors without tracebacks.

A call without a valid token is refused before its message is read. A call that makes no progress is ended, so that slow
or silent peers do not keep the places of others; uploads have their own, smaller number of places, so that they never
keep readers out. An error that is not Hangar's own reaches the peer as a reference into the log of the server.
"""

from __future__ import annotations

import base64
import dataclasses
import hmac
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, NoReturn
from urllib.parse import unquote

import grpc
from google.protobuf.message import DecodeError

from hangar.errors import AccessError, HangarError, InvalidInputError, ResourceLimitError
from hangar.remote.status import BUSY, ERROR_KEY, MAX_TEXT, code_of
from hangar.remote.tokens import Caller, TokenFile
from hangar.threads import start_thread
from hangar.wording import visible_name

__all__ = ["Call", "Guard"]

log = logging.getLogger("hangar.server")

UPLOAD_IDLE_SECONDS: Final = 30.0
"""An upload from which nothing has come for so long is ended."""
DOWNLOAD_IDLE_SECONDS: Final = 300.0
"""A download of which the client has taken nothing for so long is ended."""
REQUEST_SECONDS: Final = 10.0
"""A single request that has not arrived after so long is ended."""
PRESSED_SECONDS: Final = 1.0
"""The same, while others wait for a place."""
WAIT_SECONDS: Final = 4.0
"""How long a call waits for a place."""
TURN_SECONDS: Final = 5.0
"""An upload that has run for so long ends if others wait: its client goes on with it when it is its turn again."""
MAX_EMPTY_MESSAGES: Final = 16
TOKEN_KEY: Final = "authorization"
_OPEN_METHODS: Final = ("/grpc.health.v1.Health/",)


@dataclasses.dataclass(slots=True, eq=False)
class Call:
    """One call in progress.

    Attributes
    ----------
    context
        The context that gRPC gives.
    method
        Name of the method.
    caller
        Who calls.
    received, sent
        Message bytes so far.
    moved
        Time of the last progress; None while the server itself works.
    note
        For the log line: what the call did.
    """

    context: grpc.ServicerContext
    method: str
    caller: Caller
    received: int = 0
    sent: int = 0
    moved: float | None = None
    started: float = dataclasses.field(default_factory=time.monotonic)
    upload: bool = False
    note: str = ""

    def require_write(self) -> None:
        """Raise an ``AccessError`` unless the caller may write."""
        if not self.caller.may_write:
            raise AccessError(
                "you may read here and not push: give a token that may write, or the user name and password of pushes"
            )

    def receive(
        self, messages: Iterator[bytes], parse: Callable[[bytes], Any], room: _Room, each: Callable[[Call], None]
    ) -> Iterator[Any]:
        """The messages of the peer, at most ``room`` of all calls at a time; counts bytes, and refuses empty streams.

        Parameters
        ----------
        each
            Called at each message, before it is decoded.
        """
        empty = 0
        while True:
            with room:
                self.moved = time.monotonic()
                message = next(messages, None)
                self.moved = None
            if message is None:
                return
            empty = 0 if message else empty + 1
            if empty > MAX_EMPTY_MESSAGES:
                raise InvalidInputError("the stream consists of empty messages")
            self.received += len(message)
            each(self)
            # Decoded here, because gRPC logs a traceback for a message that cannot be.
            try:
                decoded = parse(message)
            except (DecodeError, UnicodeDecodeError, RecursionError):
                raise InvalidInputError("a message cannot be decoded") from None
            del message
            yield decoded


class _Room:
    """A bounded number of places; a context manager that holds one. A call that finds none for some seconds is refused.

    Attributes
    ----------
    wanted
        Number of calls that wait for a place.
    """

    def __init__(self, places: int, what: str) -> None:
        self.wanted = 0
        self._what = what
        self._places = threading.BoundedSemaphore(places)
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        if self._places.acquire(blocking=False):
            return
        with self._lock:
            self.wanted += 1
        try:
            if not self._places.acquire(timeout=WAIT_SECONDS):
                raise ResourceLimitError(f"{BUSY} with {self._what}: try again in a minute")
        finally:
            with self._lock:
                self.wanted -= 1

    def __exit__(self, *_: object) -> None:
        self._places.release()


def _matches(scheme: str, secret: str, password: tuple[str, str]) -> bool:
    """Whether a Basic authorization is this user name and password; the time does not depend on where they differ."""
    expected = base64.b64encode(":".join(password).encode())
    return hmac.compare_digest(secret.strip().encode(), expected) and scheme.lower() == "basic"


def _behaviour(handler: Any) -> Callable[..., Any]:
    names = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
    found: Callable[..., Any] = next(getattr(handler, name) for name in names if getattr(handler, name) is not None)
    return found


class Guard(grpc.ServerInterceptor):
    """The interceptor of a server.

    Parameters
    ----------
    tokens
        The tokens; None lets everybody in.
    password
        User name and password that a push needs on a server without tokens; None if it needs none.
    hidden
        Text that is never sent to a peer: the directory of the repository.
    uploads
        Maximum number of uploads at the same time.
    upload_idle
        Seconds after which a silent upload is ended.
    relieve
        Called at each message, to keep the memory of the process within bounds.
    """

    def __init__(
        self,
        tokens: TokenFile | None,
        password: tuple[str, str] | None,
        hidden: str,
        uploads: int,
        upload_idle: float = UPLOAD_IDLE_SECONDS,
        relieve: Callable[[], None] = lambda: None,
    ) -> None:
        self._relieve = relieve
        self._tokens = tokens
        self._password = password
        self._hidden = hidden
        self._uploads = _Room(uploads, "other uploads")
        # Messages that arrive at the same time: more than uploads, so that a single request finds a place beside them.
        self._receiving = _Room(uploads + 4, "other requests")
        self._upload_idle = upload_idle
        self._active: set[Call] = set()
        self._closed = threading.Event()
        self._watching = start_thread(self._watch, "hangar-server-watch", daemon=True)

    def close(self, seconds: float = 10.0) -> None:
        """End the watching thread, and wait for calls that still run: what they read is closed next."""
        self._closed.set()
        if self._watching is not None:
            self._watching.join(seconds)
        end = time.monotonic() + seconds
        while self._active and time.monotonic() < end:
            time.sleep(0.01)

    # ------------------------------------------------------------------ who may call

    def intercept_service(self, continuation: Any, details: grpc.HandlerCallDetails) -> Any:
        """Wrap the handler of a method; see gRPC."""
        handler = continuation(details)
        if handler is None or details.method.startswith(_OPEN_METHODS):
            return handler
        method = details.method.rsplit("/", 1)[-1]
        try:
            caller = self._caller(details)
        except HangarError as error:
            # A handler of streams, because one of single messages would read the message first.
            return grpc.stream_stream_rpc_method_handler(self._refuse(method, error))
        return self._wrapped(handler, method, caller)

    def _caller(self, details: grpc.HandlerCallDetails) -> Caller:
        given = [value for key, value in details.invocation_metadata or () if key == TOKEN_KEY]
        scheme, _, secret = str(given[0]).partition(" ") if given else ("", "", "")
        if self._tokens is None:
            return Caller("", may_write=self._password is None or _matches(scheme, secret, self._password))
        try:
            if self._tokens.refresh():
                log.info("tokens read again from %s", self._tokens.path)
        except HangarError as error:
            log.error("the token file was not read again, the former tokens stay: %s", error)
        if not given:
            raise AccessError(
                "this server needs a token: set HANGAR_TOKEN, or write it to ~/.config/hangar/credentials"
            )
        found = self._tokens.caller(secret.strip()) if scheme.lower() == "bearer" else None
        if found is None:
            raise AccessError("the server does not know this token: ask its operator for a valid one")
        return found

    def _refuse(self, method: str, error: HangarError) -> Callable[[Any, grpc.ServicerContext], Any]:
        def run(messages: Any, context: grpc.ServicerContext) -> NoReturn:
            log.warning("%s peer=%s refused: %s", method, unquote(context.peer()), error)
            context.set_trailing_metadata(((ERROR_KEY, type(error).__name__),))
            context.abort(grpc.StatusCode.UNAUTHENTICATED, str(error))

        return run

    # ------------------------------------------------------------------ around a call

    def _wrapped(self, handler: Any, method: str, caller: Caller) -> Any:
        """The handler with everything around it.

        It takes a stream of requests also where there is one: a single message would be read before any code of ours
        runs, for as long as the peer likes.
        """
        upload, behaviour, parse = handler.request_streaming, _behaviour(handler), handler.request_deserializer

        def run_one(requests: Any, context: grpc.ServicerContext) -> Any:
            call = Call(context, method, caller)
            try:
                self._enter(call, upload)
                response = behaviour(self._request(call, requests, parse, upload), call)
                call.sent += response.ByteSize()
                self._relieve()
            except Exception as error:  # noqa: BLE001 - nothing but a status reaches the peer
                self._fail(call, error)
            self._leave(call, "OK", call.note)
            return response

        def run_many(requests: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            call = Call(context, method, caller)
            try:
                self._enter(call, upload)
                for response in behaviour(self._request(call, requests, parse, upload), call):
                    call.sent += response.ByteSize()
                    self._relieve()
                    call.moved = time.monotonic()
                    yield response
                    del response  # before the next one is made
                    call.moved = None
            except GeneratorExit:
                self._leave(call, "CANCELLED")
                raise
            except Exception as error:  # noqa: BLE001 - nothing but a status reaches the peer
                self._fail(call, error)
            self._leave(call, "OK", call.note)

        many = handler.response_streaming
        make: Any = grpc.stream_stream_rpc_method_handler if many else grpc.stream_unary_rpc_method_handler
        return make(run_many if many else run_one, response_serializer=handler.response_serializer)

    def _request(self, call: Call, requests: Any, parse: Callable[[bytes], Any], upload: bool) -> Any:
        messages = call.receive(requests, parse, self._receiving, self._between)
        if upload:
            return messages
        message = next(messages, None)
        if message is None:
            raise InvalidInputError("the call has no request")
        return message

    def _between(self, call: Call) -> None:
        """What is done at each message of a peer."""
        self._relieve()
        if call.upload and self._uploads.wanted and time.monotonic() - call.started > TURN_SECONDS:
            raise ResourceLimitError(f"{BUSY} with other uploads: push again to go on with this one")

    def _enter(self, call: Call, upload: bool) -> None:
        self._active.add(call)
        if upload:
            self._uploads.__enter__()
            call.upload = True

    def _leave(self, call: Call, outcome: str, note: str = "") -> None:
        self._active.discard(call)
        if call.upload:
            call.upload = False
            self._uploads.__exit__()
        log.log(
            logging.INFO if outcome in ("OK", "CANCELLED") else logging.WARNING,
            "%s peer=%s user=%s status=%s seconds=%.3f received=%d sent=%d%s",
            call.method,
            unquote(call.context.peer()),
            visible_name(call.caller.name) or "-",
            outcome,
            time.monotonic() - call.started,
            call.received,
            call.sent,
            f" {visible_name(note)}" if note else "",
        )

    def _fail(self, call: Call, error: Exception) -> NoReturn:
        """End a call with the status of an error."""
        context = call.context
        if not context.is_active():  # the peer has gone, or this server ended the call
            self._leave(call, "CANCELLED")
            context.abort(grpc.StatusCode.CANCELLED, "the call was ended")
        code = code_of(error)
        name = next((c.__name__ for c in type(error).__mro__ if c.__module__ == "hangar.errors"), "")
        if isinstance(error, HangarError):
            text = str(error).replace(self._hidden, "the server's repository")[:MAX_TEXT]
            self._leave(call, code.name, text)
        else:
            reference = secrets.token_hex(4)
            text = f"the server failed; its log has the reason under {reference}"
            log.error("%s failed, reference %s", call.method, reference, exc_info=error)
            self._leave(call, code.name, reference)
        if name:
            context.set_trailing_metadata(((ERROR_KEY, name),))
        context.abort(code, text)

    # ------------------------------------------------------------------ calls without progress

    def _watch(self) -> None:
        while not self._closed.wait(min(0.25, self._upload_idle / 4)):
            now = time.monotonic()
            for call in list(self._active):
                limit = self._limit(call)
                moved = call.moved
                if moved is not None and now - moved > limit:
                    log.warning("%s peer=%s ended: no progress for %.1f s", call.method, call.context.peer(), limit)
                    self._active.discard(call)
                    call.context.cancel()

    def _limit(self, call: Call) -> float:
        """Seconds that a call may be silent: fewer while others wait for its place."""
        if call.upload:
            return min(self._upload_idle, PRESSED_SECONDS) if self._uploads.wanted else self._upload_idle
        if call.received:
            return DOWNLOAD_IDLE_SECONDS
        return PRESSED_SECONDS if self._receiving.wanted else min(self._upload_idle, REQUEST_SECONDS)
