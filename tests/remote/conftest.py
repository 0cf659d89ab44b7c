"""A gRPC server for a peer without a repository."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hangar.remote.guard import Guard
from hangar.remote.server import make_server
from hangar.remote.servicer import Servicer, health_handler
from hangar.remote.settings import ServerSettings
from hangar.remote.tokens import TokenFile


@pytest.fixture
def start() -> Iterator[Callable[..., int]]:
    """A function that starts a server for a peer, and returns its port."""
    running: list[tuple[Any, Guard]] = []

    def run(service: Any, upload_idle: float = 30.0, **options: Any) -> int:
        settings = ServerSettings(ip="127.0.0.1", port=0, **options)
        tokens = None if settings.token_file is None else TokenFile(settings.token_file)
        password = (settings.username, settings.password) if settings.restrict_push else None
        guard = Guard(tokens, password, "/srv/secret", 16, upload_idle)
        handlers = Servicer(service).handlers(), health_handler(lambda: True)
        server, address = make_server(settings, guard, handlers)
        server.start()
        running.append((server, guard))
        return int(address.rsplit(":", 1)[1])

    yield run
    for server, guard in running:
        server.stop(0)
        guard.close()
