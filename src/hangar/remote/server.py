"""A gRPC server for one repository.

:func:`serve` makes a server that the caller starts and stops; ``hangar server`` runs one until it is told to stop. A
repository that people work in can be served as it is. The server answers many clients at once from one process; readers
are not kept waiting by a push.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import threading
from concurrent import futures
from pathlib import Path
from typing import Any, Final

import grpc

from hangar import _fs
from hangar.config import Config
from hangar.db.format import FILE_NAME, lost_format
from hangar.errors import HangarError, InvalidInputError, StorageError
from hangar.initialize import DIRECTORY, initialize
from hangar.remote.address import is_loopback, parse_address
from hangar.remote.certificate import check_certificate, server_credentials
from hangar.remote.guard import UPLOAD_IDLE_SECONDS, Guard
from hangar.remote.options import server_options
from hangar.remote.resident import Resident
from hangar.remote.service import Service
from hangar.remote.servicer import Servicer, health_handler
from hangar.remote.settings import ServerSettings
from hangar.remote.tokens import TokenFile
from hangar.remote.wire import GRPC_LIMITS
from hangar.stores import Stores

__all__ = ["HangarServer", "make_server", "serve"]

log = logging.getLogger("hangar.server")
log.addHandler(logging.NullHandler())  # a program that configures no logging gets no lines on its stderr

UPLOAD_SHARE: Final = 8
"""One of so many calls at the same time may be an upload."""
CHUNK_CACHE_BYTES: Final = 16 * 2**20
"""Size of the cache of decoded chunks, if the configuration does not say: clients seldom ask for the same chunks at the same time."""
SERVER_USER: Final = "hangar server"


class HangarServer:
    """The repository of a server. Made by :func:`serve`.

    Parameters
    ----------
    path
        Directory of the repository; it is created if there is none.
    settings
        What the server permits.
    overwrite
        Delete a repository that is there.
    upload_idle
        Seconds after which a silent upload is ended.

    Attributes
    ----------
    directory
        The ``.hangar`` directory.
    settings
        What the server permits.
    """

    def __init__(
        self,
        path: Path,
        settings: ServerSettings,
        *,
        overwrite: bool = False,
        upload_idle: float = UPLOAD_IDLE_SECONDS,
    ) -> None:
        self.settings = settings
        # Bad settings are found before a repository is made or deleted.
        tokens = None if settings.token_file is None else TokenFile(settings.token_file)
        if settings.tls_cert is not None and settings.tls_key is not None:
            check_certificate(settings.tls_cert, settings.tls_key)
        self.directory = _repository(path.resolve(), overwrite=overwrite)
        password = (settings.username, settings.password) if settings.restrict_push else None
        self._closed = threading.Event()
        self._stores = Stores(self.directory)
        self._stores.blobs.files.chunk_bytes = CHUNK_CACHE_BYTES
        self._resident = Resident(self._stores)
        self.guard = Guard(
            tokens,
            password,
            os.fspath(self.directory.parent),
            uploads_of(settings),
            upload_idle,
            self._resident.relieve,
        )
        self._service = Service(
            self._stores,
            read_only=settings.read_only,
            protected=settings.is_protected,
            limits=GRPC_LIMITS,
            push_hours=settings.unfinished_hours,
            push_bytes=settings.unfinished_gb * 10**9,
        )
        self._servicer = Servicer(self._service)

    @property
    def serving(self) -> bool:
        """Whether calls are answered."""
        return not self._closed.is_set()

    def handlers(self) -> tuple[Any, ...]:
        """The handlers of the server: of the service, and of the health check."""
        return self._servicer.handlers(), health_handler(lambda: self.serving)

    def close(self) -> None:
        """Close the repository; call it after the gRPC server was stopped, or before ``stop(grace)``."""
        self._closed.set()
        self.guard.close()
        self._resident.close()
        self._service.close()
        self._stores.close()


def uploads_of(settings: ServerSettings) -> int:
    """Number of uploads at the same time."""
    return max(2, settings.connections // UPLOAD_SHARE)


def _repository(path: Path, *, overwrite: bool) -> Path:
    """The ``.hangar`` directory of ``path`` or of the nearest directory above; it is created if there is none."""
    if not overwrite:
        for place in (path, *path.parents):
            if (place / DIRECTORY / FILE_NAME).exists() or lost_format(place / DIRECTORY):
                return place / DIRECTORY
    if not path.exists():
        _fs.make_directory(path)
    found = Config().items()
    name = found["user.name"].value if "user.name" in found else SERVER_USER
    email = found["user.email"].value if "user.email" in found else f"hangar@{socket.gethostname()}"
    initialize(path / DIRECTORY, name, email, remove_old=overwrite)
    log.info("created a repository in %s", path)
    return path / DIRECTORY


def make_server(settings: ServerSettings, guard: Guard, handlers: tuple[Any, ...]) -> tuple[grpc.Server, str]:
    """A gRPC server, and the address that it listens on.

    Raises
    ------
    StorageError
        (an ``OSError``) the port is taken, or the address is not one of this machine.
    """
    server = grpc.server(
        futures.ThreadPoolExecutor(settings.connections, "hangar-server"),
        interceptors=[guard],
        options=server_options(),
        maximum_concurrent_rpcs=settings.connections,
    )
    server.add_generic_rpc_handlers(handlers)
    host = f"[{settings.ip}]" if ":" in settings.ip else settings.ip
    target = f"{host}:{settings.port}"
    if settings.tls_cert is None or settings.tls_key is None:
        credentials = None
    else:
        credentials = server_credentials(settings.tls_cert, settings.tls_key)
    try:
        port = server.add_insecure_port(target) if credentials is None else server.add_secure_port(target, credentials)
    except RuntimeError:
        port = 0
    if not port:
        raise StorageError(f"cannot listen on {target}: {_why(settings)}")
    return server, f"{host}:{port}"


def _why(settings: ServerSettings) -> str:
    """Why nobody can listen at an address."""
    try:
        family = socket.AF_INET6 if ":" in settings.ip else socket.AF_INET
        with socket.create_server((settings.ip, settings.port), family=family):
            return "gRPC refused it"
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return "another program listens there: stop it, or choose another port"
        if error.errno == errno.EACCES:
            return "ports below 1024 need privileges: choose another port"
        return f"it is no address of this machine ({error.strerror or error})"


def serve(
    hangar_path: str | os.PathLike[str],
    overwrite: bool = False,
    *,
    channel_address: str | None = None,
    restrict_push: bool | None = None,
    username: str | None = None,
    password: str | None = None,
    settings: ServerSettings | None = None,
) -> tuple[grpc.Server, HangarServer, str]:
    """Make a server for a repository; the caller starts it with ``server.start()``.

    Stop it with ``server.stop(grace)`` and ``hangserver.close()``. It writes a line for each call to the logger
    ``hangar.server``.

    Parameters
    ----------
    hangar_path
        Directory of the repository. It is created, with a repository in it, if there is none.
    overwrite
        Delete a repository that is there, and create a new one.
    channel_address
        ``HOST:PORT`` to listen on, by default ``localhost:50051``; port 0 picks a free one.
    restrict_push
        Whether a push needs ``username`` and ``password``.
    username, password
        Of a push.
    settings
        TLS, tokens and all the rest, instead of the arguments before.

    Returns
    -------
    tuple
        The gRPC server, the :class:`HangarServer`, and the address with the port in it.

    Raises
    ------
    StorageError
        (an ``OSError``) the port is taken.
    InvalidInputError
        (a ``ValueError``) bad settings; an address that other machines can reach needs TLS.
    """
    if settings is None:
        host, port = _listen_on(channel_address)
        settings = ServerSettings(
            ip=host,
            port=port,
            restrict_push=bool(restrict_push),
            username=username or "",
            password=password or "",
        )
    hangar = HangarServer(Path(hangar_path).expanduser().resolve(), settings, overwrite=overwrite)
    try:
        server, address = make_server(settings, hangar.guard, hangar.handlers())
    except HangarError:
        hangar.close()
        raise
    return server, hangar, address


def _listen_on(channel_address: str | None) -> tuple[str, int]:
    if channel_address is None:
        return "localhost", 50051
    if not isinstance(channel_address, str):
        raise InvalidInputError(f"channel_address is text such as 'localhost:50051', not {channel_address!r}")
    if channel_address.endswith(":0"):  # a free port, which is no port to connect to
        found = parse_address(f"{channel_address[:-1]}1")
        return found.host, 0
    found = parse_address(channel_address)
    return found.host, found.port


def warn_open(settings: ServerSettings) -> str:
    """What an operator should know about who can use a server; empty if there is nothing."""
    beyond = not is_loopback(settings.ip)
    if beyond and settings.tls_cert is None:
        return "no TLS: everybody on the network can read and change what is sent, tokens too"
    if settings.token_file is None and beyond:
        return "no token file: everybody who can connect may read and push"
    return ""
