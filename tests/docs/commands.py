"""The program ``hangar`` for pages with many commands: each is a process of its own, forked where the package is imported already.

The start of an interpreter, and the imports, cost much more than most commands do. A small program named ``hangar``, first on ``PATH``,
hands its arguments, its folder, its environment and its three streams to a process that forks for it, and ends with the exit code.
"""

from __future__ import annotations

import ast
import atexit
import importlib
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hangar
import hangar.cli
from tests.docs.blocks import ROOT

__all__ = ["commands_on_path", "serve"]

_CLIENT = """\
#!{python} -IS
import _socket, os, sys
talk = _socket.socket(_socket.AF_UNIX)
talk.connect({address!r})
said = repr((sys.argv[1:], os.getcwd(), dict(os.environ))).encode()
streams = b"".join(number.to_bytes(4, sys.byteorder) for number in (0, 1, 2))
talk.sendmsg([len(said).to_bytes(4, "big")], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, streams)])
talk.sendall(said)
code = talk.recv(1)
os._exit(code[0] if code else 70)
"""


def _run(words: list[str], folder: str, environment: dict[str, str], streams: list[int]) -> int:
    """Run one command as the program does; its exit code."""
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["hangar", *words]
    sys.stdin, sys.stdout, sys.stderr = (
        open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115
        for number, mode in ((0, "r"), (1, "w"), (2, "w"))
    )
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from hangar.__main__ import run

    code: Any = 0
    try:
        run()
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001 - as the interpreter ends of it
        traceback.print_exc()
        code = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return code if isinstance(code, int) else int(code is not None)


def _answer(talk: socket.socket) -> None:
    """Fork for one command, and say its exit code when it ended."""
    with talk:
        said, streams, _, _ = socket.recv_fds(talk, 4, 3)
        length, text = int.from_bytes(said, "big"), b""
        while len(text) < length:
            text += talk.recv(length - len(text))
        pid = os.fork()
        if pid == 0:
            code = 70
            try:
                words, folder, environment = ast.literal_eval(text.decode())
                code = _run(words, folder, environment, streams)
            finally:
                os._exit(code)
        for descriptor in streams:
            os.close(descriptor)
        _, status = os.waitpid(pid, 0)
        talk.sendall(bytes([os.waitstatus_to_exitcode(status) % 256]))


def serve(address: str) -> None:
    """Answer one command after the other, each in a process of its own, until standard input ends."""
    for room in (hangar, hangar.cli):
        for module in pkgutil.iter_modules(room.__path__, f"{room.__name__}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    running = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(16)
        print("ready", flush=True)
        while True:
            ready, _, _ = select.select([listener, sys.stdin], [], [])
            if sys.stdin in ready:
                break
            talk, _ = listener.accept()
            # A pipe of two commands runs both at the same time.
            pid = os.fork()
            if pid == 0:
                listener.close()
                _answer(talk)
                os._exit(0)
            running.append(pid)
            running = [one for one in running if os.waitpid(one, os.WNOHANG)[0] == 0]
            talk.close()
    for pid in running:
        os.waitpid(pid, 0)


@contextmanager
def commands_on_path() -> Iterator[str]:
    """A value for ``PATH`` with which ``hangar`` is the program of this module."""
    words = [sys.executable, "-c", "import sys; from tests.docs.commands import serve; serve(sys.argv[1])"]
    with tempfile.TemporaryDirectory() as folder:  # a short path: that of a socket has 107 bytes at most
        address, program = f"{folder}/socket", Path(folder, "hangar")
        program.write_text(_CLIENT.format(python=sys.executable, address=address))
        program.chmod(0o755)
        with subprocess.Popen([*words, address], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
            assert server.stdin is not None
            assert server.stdout is not None
            assert server.stdout.readline() == b"ready\n"
            yield os.pathsep.join([folder, str(Path(sys.executable).parent), os.environ["PATH"]])
            server.stdin.close()
