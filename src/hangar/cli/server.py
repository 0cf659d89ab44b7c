"""``hangar server``."""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any, Final

import click

from hangar.cli.groups import Command
from hangar.cli.init import confirm_overwrite
from hangar.cli.output import echo
from hangar.cli.state import State, pass_state

__all__ = ["command"]

GRACE_SECONDS: Final = 10.0
"""How long calls in progress may go on after the signal to stop."""
M_TRIM_THRESHOLD: Final = -1
M_MMAP_THRESHOLD: Final = -3
M_ARENA_MAX: Final = -8
"""The parameters of ``mallopt``, from ``malloc.h`` of glibc."""
KEPT_BYTES: Final = 16 * 2**20
"""So much freed memory is kept in each arena: to get the pages of every frame from the system anew takes a fifth of the time of sending it."""
_PATH: Final = click.Path(path_type=Path, dir_okay=False)


@click.command("server", cls=Command)
@click.option("--overwrite", is_flag=True, help="Delete the repository that is there, and serve a new one.")
@click.option("-y", "--yes", is_flag=True, help="With --overwrite: do not ask.")
@click.option("--ip", help="Name or address to listen on; 0.0.0.0 is every interface. Default: localhost.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port; 0 picks a free one. Default: 50051.")
@click.option("--timeout", type=click.FloatRange(min=0), help="Stop by itself after so many seconds. Default: never.")
@click.option("--tls-cert", type=_PATH, help="PEM file of the certificate and its chain.")
@click.option("--tls-key", type=_PATH, help="PEM file of the private key.")
@click.option("--token-file", type=_PATH, help="File of the tokens of those who may connect.")
@click.option("--read-only", is_flag=True, default=None, help="Refuse every push.")
@click.option("--protect", multiple=True, metavar="BRANCH", help="A branch (or pattern) that moves only forward.")
@click.option("--insecure", is_flag=True, default=None, help="Permit other machines to connect without TLS.")
@click.option("--unfinished-hours", type=int, help="Hours that an interrupted push is kept. Default: 72.")
@click.option("--unfinished-gb", type=int, help="Gigabytes that unfinished pushes may take. Default: 1000.")
@click.option("--config", "config_file", type=_PATH, help="File of settings; options here have precedence.")
@pass_state
def command(
    state: State, /, overwrite: bool, yes: bool, config_file: Path | None, protect: tuple[str, ...], **options: Any
) -> None:
    """Serve the repository to other machines, for clone, fetch and push.

    Serves the repository of the current directory (or -C PATH), which is created if there is none. It can be used here
    meanwhile. The server runs until Ctrl-C or SIGTERM, then finishes the calls in progress and stops. It writes a line
    for each call to standard error.

    Without TLS only this machine can connect. A token file has a line "NAME TOKEN [read|write]" for each person or
    program, and is read again when it changes; whoever uses the server puts the token into HANGAR_TOKEN or the
    credentials file.

    For example:
      hangar server
      hangar server --ip 0.0.0.0 --tls-cert server.pem --tls-key server.key --token-file tokens
      hangar server --config /etc/hangar/server.ini
    """
    # gRPC is imported for this command alone.
    from hangar.initialize import DIRECTORY
    from hangar.remote.server import HangarServer, make_server, warn_open
    from hangar.remote.settings import read_settings

    for option in ("tls_cert", "tls_key", "token_file"):
        if options[option] is not None:
            options[option] = state.resolve(options[option])
    config = None if config_file is None else state.resolve(config_file)
    settings = read_settings(config, {**options, "protected": protect or None})
    if overwrite and (state.directory / DIRECTORY).exists():
        confirm_overwrite(state.directory.absolute(), yes)
    _log_to_stderr()
    _bound_arenas()
    hangar = HangarServer(state.directory, settings, overwrite=overwrite)
    try:
        server, address = make_server(settings, hangar.guard, hangar.handlers())
        stop = threading.Event()
        _stop_on_signals(stop)
        server.start()
        warning = warn_open(settings)
        if warning:
            click.echo(f"Warning: {warning}", err=True)
        scheme = "grpc" if settings.tls_cert is None else "grpcs"
        echo(f"Serving {hangar.directory.parent} at {scheme}://{address}")
        stop.wait(settings.timeout or None)
        server.stop(GRACE_SECONDS).wait()
    finally:
        hangar.close()
    echo("Stopped")


def _stop_on_signals(stop: threading.Event) -> None:
    def handle(number: int, frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)


def _bound_arenas() -> None:
    """Let glibc keep memory that was freed, in two arenas instead of one per thread, which matters with many threads."""
    if sys.platform == "linux":
        import ctypes

        with contextlib.suppress(OSError, AttributeError):
            libc = ctypes.CDLL(None)
            libc.mallopt(M_ARENA_MAX, 2)
            libc.mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
            libc.mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)


def _log_to_stderr() -> None:
    handler = logging.StreamHandler()
    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    logger = logging.getLogger("hangar.server")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
