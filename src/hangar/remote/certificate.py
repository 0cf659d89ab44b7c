"""The certificate of a server: checked before the server starts, and read again when its files change."""

from __future__ import annotations

import logging
import os
import ssl
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import grpc

from hangar import _fs
from hangar.errors import HangarError, InvalidInputError

__all__ = ["check_certificate", "server_credentials"]

log = logging.getLogger("hangar.server")

_ROUNDS: Final = 8
_STRANGERS: Final = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")
"""What OpenSSL says of a key that belongs to another certificate, also one of another algorithm."""
_OTHERS: Final = 0o007


def check_certificate(cert: Path, key: Path) -> str:
    """Why clients will refuse a certificate by its dates; empty if they will not.

    Raises
    ------
    InvalidInputError
        The files are not a certificate and its key.
    StorageError
        A file cannot be read.
    """
    for path in (cert, key):
        if b"-----BEGIN" not in _read(path):
            raise InvalidInputError(f"{path} is not a PEM file: it has no line -----BEGIN ...-----")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        server.load_cert_chain(cert, key, password=lambda: "")
    except (ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", None) or str(error)
        if str(reason) in _STRANGERS:
            raise InvalidInputError(f"the key {key} does not belong to the certificate {cert}") from None
        raise InvalidInputError(
            f"{cert} and {key} cannot be used as certificate and key ({reason}): they are PEM files, the key without a password"
        ) from None
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    client.load_verify_locations(cert)
    return _verified(server, client)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        _fs.raise_for(error, "read", path)


def _verified(server: ssl.SSLContext, client: ssl.SSLContext) -> str:
    """What a client that trusts the certificate says of it in a handshake in memory."""
    down, up = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = client.wrap_bio(down, up), server.wrap_bio(up, down, server_side=True)
    for _ in range(_ROUNDS):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError as error:
                return error.verify_message
            except ssl.SSLError:
                return ""
    return ""


class _Renewed:
    """The files of a certificate, as they were when they were read last."""

    def __init__(self, cert: Path, key: Path) -> None:
        self._paths = cert, key
        self._lock = threading.Lock()
        self._stamp = self._stamps()

    def _stamps(self) -> tuple[tuple[int, int, int], ...]:
        found = [path.stat() for path in self._paths]
        return tuple((one.st_ino, one.st_mtime_ns, one.st_size) for one in found)

    def configuration(self) -> grpc.ServerCertificateConfiguration:
        """What the files say."""
        cert, key = self._paths
        return grpc.ssl_server_certificate_configuration([(_read(key), _read(cert))])

    def renewed(self) -> grpc.ServerCertificateConfiguration | None:
        """The same if they have changed since and are good; else None. Called for each connection."""
        with self._lock:
            with suppress(OSError):
                stamp = self._stamps()
                if stamp != self._stamp:
                    self._stamp = stamp
                    return self._new()
            return None

    def _new(self) -> grpc.ServerCertificateConfiguration | None:
        try:
            warning = check_certificate(*self._paths)
            found = self.configuration()
        except HangarError as error:
            log.error("the certificate was not read again, the former one stays: %s", error)
            return None
        log.info("the certificate was read again%s", f": {warning}" if warning else "")
        return found


def server_credentials(cert: Path, key: Path) -> grpc.ServerCredentials:
    """Credentials of a server with the certificate of two files, which are read again when they change.

    Raises
    ------
    InvalidInputError
        The files are not a certificate and its key.
    StorageError
        A file cannot be read.
    """
    warning = check_certificate(cert, key)
    if warning:
        log.warning("clients will refuse the certificate %s: %s", cert, warning)
    if os.name == "posix" and key.stat().st_mode & _OTHERS:
        log.warning("every user may read the private key %s: run `chmod o-rwx %s`", key, key)
    files = _Renewed(cert, key)
    # None says that nothing has changed, which the types of gRPC do not know.
    fetch: Any = files.renewed
    return grpc.dynamic_ssl_server_credentials(files.configuration(), fetch)
