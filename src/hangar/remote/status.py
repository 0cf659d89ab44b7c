"""Errors on the wire: gRPC status codes and Hangar's error classes, in both directions.

A server ends a failed call with a status code, a text of at most 2,000 characters, and the name of the Hangar error class
in the trailing metadata ``hangar-error``. A client raises an error of that class which is also a ``grpc.RpcError``; a name
that it does not know, or an answer of something that is no Hangar server, becomes the class that belongs to the code. An
error that is no ``HangarError`` crosses the wire as a reference into the log of the server, never as a traceback.
"""

from __future__ import annotations

from typing import Any, Final

import grpc

from hangar import errors
from hangar.errors import HangarError
from hangar.wording import visible

__all__ = ["BUSY", "ERROR_KEY", "MAX_TEXT", "RemoteError", "code_of", "local_error", "remote_class"]

ERROR_KEY: Final = "hangar-error"
BUSY: Final = "the server is busy"
"""How the text of an error begins after which the same call may succeed later."""
MAX_TEXT: Final = 2_000
_Code = grpc.StatusCode

CODES: Final[dict[type[HangarError], grpc.StatusCode]] = {
    errors.InvalidInputError: _Code.INVALID_ARGUMENT,
    errors.InvalidTypeError: _Code.INVALID_ARGUMENT,
    errors.InvalidStateError: _Code.FAILED_PRECONDITION,
    errors.NothingToDoError: _Code.FAILED_PRECONDITION,
    errors.NotFoundError: _Code.NOT_FOUND,
    errors.NameTakenError: _Code.ALREADY_EXISTS,
    errors.ConflictError: _Code.ABORTED,
    errors.AccessError: _Code.PERMISSION_DENIED,
    errors.CorruptionError: _Code.DATA_LOSS,
    errors.NotLocalError: _Code.FAILED_PRECONDITION,
    errors.UnreachableError: _Code.UNAVAILABLE,
    errors.UnsupportedVersionError: _Code.UNIMPLEMENTED,
    errors.ResourceLimitError: _Code.RESOURCE_EXHAUSTED,
    errors.DiskFullError: _Code.RESOURCE_EXHAUSTED,
    HangarError: _Code.INTERNAL,
}
"""Status code by error class; a class that is not here has the code of its closest base class."""

BY_CODE: Final[dict[grpc.StatusCode, type[HangarError]]] = {
    _Code.INVALID_ARGUMENT: errors.InvalidInputError,
    _Code.OUT_OF_RANGE: errors.InvalidInputError,
    _Code.FAILED_PRECONDITION: errors.InvalidStateError,
    _Code.NOT_FOUND: errors.NotFoundError,
    _Code.ALREADY_EXISTS: errors.NameTakenError,
    _Code.ABORTED: errors.ConflictError,
    _Code.PERMISSION_DENIED: errors.AccessError,
    _Code.UNAUTHENTICATED: errors.AccessError,
    _Code.DATA_LOSS: errors.CorruptionError,
    _Code.UNAVAILABLE: errors.UnreachableError,
    _Code.DEADLINE_EXCEEDED: errors.UnreachableError,
    _Code.CANCELLED: errors.UnreachableError,
    _Code.UNIMPLEMENTED: errors.UnsupportedVersionError,
    _Code.RESOURCE_EXHAUSTED: errors.ResourceLimitError,
}
"""Error class by status code, for an answer that names no class."""


class RemoteError(grpc.RpcError):
    """What every error of a remote call is, besides its Hangar class.

    Attributes
    ----------
    status
        The gRPC status code of the call.
    """

    status: grpc.StatusCode = _Code.UNKNOWN

    def code(self) -> grpc.StatusCode:
        """The gRPC status code of the call."""
        return self.status

    def details(self) -> str:
        """The text of the error."""
        return str(self)


def _all_classes(cls: type[HangarError]) -> list[type[HangarError]]:
    return [cls, *(found for child in cls.__subclasses__() for found in _all_classes(child))]


_KNOWN: Final[dict[str, type[HangarError]]] = {
    cls.__name__: cls for cls in _all_classes(HangarError) if cls.__module__ == errors.__name__
}
_remote_classes: Final[dict[type[HangarError], type[HangarError]]] = {}


def remote_class(cls: type[HangarError]) -> type[HangarError]:
    """The subclass of an error class that is also a ``grpc.RpcError``."""
    found = _remote_classes.get(cls)
    if found is None:
        body: dict[str, Any] = {"__doc__": f"{cls.__name__}, raised by a remote call.", "__module__": __name__}
        body["__reduce__"] = _reduce
        made: Any = type(f"Remote{cls.__name__}", (cls, RemoteError), body)
        found = _remote_classes.setdefault(cls, made)
    return found


def __getattr__(name: str) -> type[HangarError]:
    """Pickle support of the classes, which workers of torch send to their parent: they are found by name, and made there."""
    known = _KNOWN.get(name.removeprefix("Remote")) if name.startswith("Remote") else None
    if known is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return remote_class(known)


def _reduce(error: Any) -> tuple[Any, ...]:
    """Pickle support: the class is made again where the error is loaded."""
    return _rebuild, (type(error).__mro__[1].__name__, str(error), error.status.name)


def _rebuild(name: str, text: str, status: str) -> HangarError:
    return make_error(_KNOWN[name], text, grpc.StatusCode[status])


def make_error(cls: type[HangarError], text: str, status: grpc.StatusCode) -> HangarError:
    """An error of the class ``cls`` that is also a ``grpc.RpcError`` with this status code."""
    error = remote_class(cls)(text)
    error.status = status  # type: ignore[attr-defined]
    return error


def code_of(error: BaseException) -> grpc.StatusCode:
    """The status code of an error."""
    for cls in type(error).__mro__:
        if cls in CODES:
            return CODES[cls]
    return _Code.INTERNAL


def local_error(error: grpc.RpcError, address: str, seconds: float = 0.0) -> HangarError:
    """The Hangar error for a failed call.

    Parameters
    ----------
    error
        What gRPC raised; it is also a ``grpc.Call``.
    address
        The server, for the message.
    seconds
        Deadline of the call, for the message.
    """
    if isinstance(error, HangarError):
        return error
    call: Any = error
    code = call.code() if hasattr(call, "code") else None
    status = code if isinstance(code, grpc.StatusCode) else _Code.UNKNOWN
    text = visible(str(call.details() or "") if hasattr(call, "details") else str(error))[:MAX_TEXT]
    metadata = call.trailing_metadata() if hasattr(call, "trailing_metadata") else None
    named = {str(key): value for key, value in metadata or ()}.get(ERROR_KEY)
    if named in _KNOWN:
        return make_error(_KNOWN[str(named)], text, status)
    return make_error(BY_CODE.get(status, HangarError), _explained(status, text, address, seconds), status)


def _explained(status: grpc.StatusCode, text: str, address: str, seconds: float) -> str:
    """Message for an error that did not come from Hangar's own code on the other side."""
    if status is _Code.DEADLINE_EXCEEDED:
        return f"{address} did not answer within {seconds:g} seconds: check the address and the network, then try again"
    if status is _Code.UNAVAILABLE:
        return f"cannot reach {address}: {text or 'no answer'}. {_remedy(text, address)}"
    if status is _Code.RESOURCE_EXHAUSTED and "limit exceeded" in text:
        return f"{address} is busy: it answers as many calls at the same time as it may. Try again in a minute"
    if status is _Code.CANCELLED:
        return f"the call to {address} was cancelled"
    if status is _Code.UNIMPLEMENTED:
        return f"{address} is no Hangar server, or of another version: {text}"
    return f"{address} answered {status.name}: {text}"


def _remedy(text: str, address: str) -> str:
    """What to do if there was no connection, by what gRPC says about it."""
    if "certificate has expired" in text or "not yet valid" in text:
        return "Its operator has to renew the certificate, unless the clock of this machine is wrong"
    if "Hostname Verification" in text:
        return "Its certificate is for another name: use an address that is in the certificate, or ask its operator for one with this name"
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return (
            "Its certificate is not trusted here: if it is the right server, get its certificate from its operator, and run "
            "`hangar config --global remote.tls-ca FILE`"
        )
    if "Hostname Verification" in text:
        return "Its certificate is for another name: give an address with a host that the certificate names"
    if "WRONG_VERSION_NUMBER" in text:
        return "It does not use TLS: if the network is safe, give the address as grpc://HOST:PORT"
    if "Socket closed" in text and address.startswith("grpc://"):
        return "If the server uses TLS, give the address as grpcs://HOST:PORT"
    return "Is the server running, and is the address right?"
