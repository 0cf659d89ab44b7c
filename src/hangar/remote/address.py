"""Addresses of remotes: ``host:port``, ``grpc://host:port``, ``grpcs://host:port``.

``grpcs://`` uses TLS and ``grpc://`` does not. A bare ``host:port`` uses TLS unless the host is this machine, so that
nothing crosses a network in clear text unless the address says so.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from hangar.errors import InvalidInputError

__all__ = ["Address", "is_loopback", "parse_address"]

DEFAULT_PORT: Final = 50051
MAX_ADDRESS_CHARACTERS: Final = 1_000
_LOOPBACK: Final = frozenset(("localhost", "::1", "0:0:0:0:0:0:0:1"))
_FORM: Final = re.compile(
    r"(?:(?P<scheme>[a-z]+)://)?(?:\[(?P<six>[0-9A-Fa-f:.%]+)\]|(?P<host>[A-Za-z0-9_.-]+))(?::(?P<port>\d{1,5}))?/?"
)


class Address(NamedTuple):
    """Where a server listens.

    Attributes
    ----------
    host
        Name or IP address.
    port
        TCP port.
    tls
        Whether the connection is encrypted.
    """

    host: str
    port: int
    tls: bool

    @property
    def target(self) -> str:
        """Text for gRPC: ``host:port``, an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return f"{'grpcs' if self.tls else 'grpc'}://{self.target}"


def is_loopback(host: str) -> bool:
    """Whether a host name or IP address is this machine's own loopback interface."""
    plain = host.lower().strip("[]")
    return plain in _LOOPBACK or re.fullmatch(r"127(\.\d{1,3}){3}", plain) is not None


def parse_address(address: str) -> Address:
    """Parse the address of a server.

    Raises
    ------
    InvalidInputError
        It is not such an address.
    """
    found = _FORM.fullmatch(address) if len(address) <= MAX_ADDRESS_CHARACTERS else None
    if found is None or found["scheme"] not in (None, "grpc", "grpcs"):
        raise InvalidInputError(
            f"{address[:200]!r} is not the address of a remote: it is HOST:PORT, grpc://HOST:PORT, grpcs://HOST:PORT, "
            "or a path that begins with / or ./"
        )
    host, port = found["six"] or found["host"], int(found["port"] or DEFAULT_PORT)
    if not 0 < port < 2**16:
        raise InvalidInputError(f"{address!r}: a port is a number from 1 to 65535")
    tls = not is_loopback(host) if found["scheme"] is None else found["scheme"] == "grpcs"
    return Address(host, port, tls)
