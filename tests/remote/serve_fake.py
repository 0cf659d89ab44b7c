"""A process that serves a peer without a repository; prints the port, and ends when its stdin is closed."""

from __future__ import annotations

import sys

from hangar.remote.guard import Guard
from hangar.remote.server import make_server, uploads_of
from hangar.remote.servicer import Servicer, health_handler
from hangar.remote.settings import ServerSettings
from tests.remote.fake import FakeService, make_blobs


def main() -> None:
    settings = ServerSettings(ip="127.0.0.1", port=0)
    guard = Guard(None, None, "/srv", uploads_of(settings), upload_idle=3.0)
    service = FakeService(make_blobs([2**20] * 8), keep=False)
    server, address = make_server(settings, guard, (Servicer(service).handlers(), health_handler(lambda: True)))
    server.start()
    print(address.rsplit(":", 1)[1], flush=True)
    sys.stdin.read()
    server.stop(0)


if __name__ == "__main__":
    main()
