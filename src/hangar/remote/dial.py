"""Connections to servers over gRPC: TLS, the certificates to trust, and the token."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import grpc

from hangar import _fs
from hangar.config import Config
from hangar.errors import InvalidInputError
from hangar.remote.address import is_loopback, parse_address
from hangar.remote.calls import Target
from hangar.remote.credentials import check_token, find_token
from hangar.remote.grpc_client import GrpcPeer
from hangar.remote.options import Timeouts

__all__ = ["connect_server"]

CA_VARIABLE: Final = "HANGAR_TLS_CA"


def connect_server(
    address: str,
    settings: Mapping[str, str] | None = None,
    *,
    token: str | None = None,
    username: str = "",
    password: str = "",
    timeouts: Timeouts = Timeouts(),  # noqa: B008 - immutable
) -> GrpcPeer:
    """The repository of a server. The connection is made at the first call.

    Parameters
    ----------
    address
        ``host:port``, ``grpc://host:port`` or ``grpcs://host:port``.
    settings
        Of the remote: ``ca`` (a PEM file of certificates to trust), ``token-file``, ``token-env``, ``insecure``.
    token
        Access token; by default the one that the settings name, or that of ``HANGAR_TOKEN`` or the credentials file.
    username, password
        For a server that restricts pushes by them; used if there is no token.
    timeouts
        Deadlines of the calls.

    Raises
    ------
    InvalidInputError
        A bad address or token.
    """
    settings = settings or {}
    found = parse_address(address)
    if "insecure" in settings and "://" not in address:
        found = found._replace(tls=False)
    secret = find_token(found, settings) if token is None else check_token(token, "the argument")
    metadata = []
    if secret is not None:
        metadata.append(("authorization", f"Bearer {secret}"))
    elif username or password:
        metadata.append(("authorization", f"Basic {base64.b64encode(f'{username}:{password}'.encode()).decode()}"))
    credentials = grpc.ssl_channel_credentials(_trusted(settings.get("ca"))) if found.tls else None
    near = is_loopback(found.host)
    target = Target(str(found), found.target, credentials, metadata, near)
    # On this machine a copy is faster than compression.
    return GrpcPeer(target, compress=not near, timeouts=timeouts)


def _trusted(named: str | None) -> bytes | None:
    """The certificates to trust; None stands for those that gRPC brings."""
    named = named or os.environ.get(CA_VARIABLE) or Config().get("remote.tls-ca")
    if not named:
        return None
    path = Path(named).expanduser()
    try:
        data = path.read_bytes()
    except OSError as error:
        _fs.raise_for(error, "read", path)
    if b"-----BEGIN CERTIFICATE" not in data:
        raise InvalidInputError(f"{path} is not a PEM file of certificates")
    return data
