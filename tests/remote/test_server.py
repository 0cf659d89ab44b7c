"""The server as an operator runs it: first start, TLS, tokens, passwords, signals, health, and what it serves."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from hangar import Repository
from hangar.errors import AccessError, InvalidInputError, UnreachableError
from hangar.remote.address import parse_address
from hangar.remote.credentials import find_token
from hangar.remote.dial import connect_server
from hangar.remote.options import Timeouts
from hangar.remote.peer import Hello, PushStart, RefUpdate
from hangar.remote.server import HangarServer, make_server, serve
from hangar.remote.settings import ServerSettings, read_settings
from hangar.remote.tokens import parse_tokens
from tests.remote.proxy import Proxy

TLS = Path(__file__).parent / "tls"
ID = b"i" * 16
TOKEN = "a-token-of-the-test-4321"


@contextmanager
def serving(path: Path, **options: Any) -> Iterator[str]:
    """The address of a running server."""
    given: dict[str, Any] = {"port": 0, "ip": "127.0.0.1"} | options
    hangar = HangarServer(path, ServerSettings(**given))
    try:
        server, address = make_server(hangar.settings, hangar.guard, hangar.handlers())
        server.start()
        try:
            yield address
        finally:
            server.stop(0).wait()
    finally:
        hangar.close()


def filled(path: Path) -> Repository:
    path.mkdir()
    repository = Repository(path, exists=False)
    repository.init("Ada", "ada@example.org")
    writer = repository.checkout(write=True)
    column = writer.add_ndarray_column("images", shape=(40, 40), dtype="uint8")
    column.write(range(50), np.arange(80_000, dtype="uint8").reshape(50, 40, 40))
    writer.commit("First")
    writer.close()
    return repository


# ---------------------------------------------------------------------------------------------------- serve()


def test_serve_creates_serves_and_closes(tmp_path: Path) -> None:
    server, hangar, address = serve(tmp_path / "new", channel_address="localhost:0")
    assert re.fullmatch(r"localhost:\d{3,5}", address)
    server.start()
    with connect_server(address) as peer:
        assert peer.hello(Hello()).read_only is False
        pages = list(peer.refs())
        assert [(ref.name, ref.digest) for page in pages for ref in page.refs] == [("heads/master", None)]
    with pytest.raises(OSError, match="another program listens there: stop it, or choose another port"):
        serve(tmp_path / "other", channel_address=address)
    server.stop(0).wait()
    hangar.close()
    with connect_server(address) as peer, pytest.raises(ConnectionError):
        peer.hello(Hello())


def test_overwrite_makes_a_new_repository(tmp_path: Path) -> None:
    filled(tmp_path / "r").close()
    for overwrite, commits in ((False, 1), (True, 0)):
        server, hangar, address = serve(tmp_path / "r", overwrite, channel_address="127.0.0.1:0")
        server.start()
        with connect_server(address) as peer:
            refs = [ref for page in peer.refs() for ref in page.refs]
            assert len([ref for ref in refs if ref.digest is not None]) == commits
        server.stop(0).wait()
        hangar.close()


def test_a_push_may_need_a_user_name_and_a_password(tmp_path: Path) -> None:
    server, hangar, address = serve(
        tmp_path / "r", channel_address="127.0.0.1:0", restrict_push=True, username="ada", password="pass:word"
    )
    server.start()
    with closing(hangar):
        with connect_server(address, username="ada", password="pass:word") as peer:
            peer.abort_push(ID)
        for username, password in (("", ""), ("ada", "wrong"), ("bob", "pass:word")):
            with connect_server(address, username=username, password=password) as peer:
                assert peer.hello(Hello()).read_only  # everybody may read
                with pytest.raises(PermissionError, match="user name and password"):
                    peer.abort_push(ID)
        server.stop(0).wait()


def test_clone_fetch_and_push_over_a_server(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A repository that people work in is served as it is; the data that comes is the data that was written."""
    repository = filled(tmp_path / "r")
    (tmp_path / "clone").mkdir()
    with serving(tmp_path / "r") as address, Repository(tmp_path / "clone", exists=False) as clone:
        clone.clone("Bob", "bob@example.org", f"grpc://{address}")
        assert clone.list_branches() == ["master", "origin/master"]
        clone.remote.fetch_data("origin", branch="origin/master")
        with closing(clone.checkout(write=True)) as writer:
            images = writer["images"]
            assert (images[7] == np.arange(80_000, dtype="uint8").reshape(50, 40, 40)[7]).all()
            images[100] = np.full((40, 40), 9, "uint8")
            head = writer.commit("Second")
        with closing(repository.checkout(write=True)), pytest.raises(PermissionError, match="master"):
            clone.remote.push("origin", "master")  # a writer is on that branch
        with caplog.at_level(logging.INFO, "hangar.server"):
            clone.remote.push("origin", "master")
        assert re.search(rf"FinishPush .*status=OK .* heads/master [0-9a-f]{{12}}\.\.{head[:12]}", caplog.text)
        with closing(repository.checkout(branch="master")) as reader:
            assert reader.commit_hash == head
            assert (reader["images"][100] == 9).all()
    repository.verify_repo_integrity()
    repository.close()


def test_protected_branches_and_read_only(tmp_path: Path) -> None:
    repository = filled(tmp_path / "r")
    with serving(tmp_path / "r", protected=("mast*",)) as address, connect_server(address) as peer:
        head = next(ref for page in peer.refs() for ref in page.refs).digest
        with pytest.raises(AccessError, match="protected"):
            peer.begin_push(PushStart(ID, (RefUpdate("heads/master", head, None, ID, force=True),)))
    with serving(tmp_path / "r", read_only=True) as address, connect_server(address) as peer:
        assert peer.hello(Hello()).read_only
        with pytest.raises(AccessError, match="reading only"):
            peer.begin_push(PushStart(ID, (RefUpdate("heads/new", None, head, ID),)))
    repository.close()


# ---------------------------------------------------------------------------------------------------- TLS


def test_tls_protects_and_is_checked(tmp_path: Path) -> None:
    files = {"tls_cert": TLS / "localhost.pem", "tls_key": TLS / "localhost.key"}
    trust = {"ca": str(TLS / "localhost.pem")}
    quick = Timeouts(connect=3)
    with serving(tmp_path / "r", **files) as address:
        with connect_server(f"grpcs://{address}", trust) as peer:
            assert peer.hello(Hello()).version == 1
        for scheme, remedy in (
            ("grpcs", "config --global remote.tls-ca FILE"),
            ("grpc", "address as grpcs://HOST:PORT"),
        ):
            with (
                connect_server(f"{scheme}://{address}", timeouts=quick) as peer,
                pytest.raises(UnreachableError, match=remedy),
            ):
                peer.hello(Hello())  # nobody vouches for this certificate; it speaks TLS alone
    with (
        serving(tmp_path / "r", ip="0.0.0.0", **files) as address,
        connect_server(f"grpcs://127.0.0.9:{address.rpartition(':')[2]}", trust, timeouts=quick) as peer,
        pytest.raises(UnreachableError, match="certificate is for another name"),
    ):
        peer.hello(Hello())
    with (
        serving(tmp_path / "r") as address,
        connect_server(f"grpcs://{address}", trust, timeouts=quick) as peer,
        pytest.raises(UnreachableError, match="address as grpc://HOST:PORT"),
    ):
        peer.hello(Hello())
    with (
        pytest.raises(InvalidInputError, match="no line -----BEGIN"),
        serving(tmp_path / "r", tls_cert=Path(os.__file__), tls_key=TLS / "localhost.key"),
    ):
        pass


def test_a_certificate_is_checked_and_renewed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A certificate that clients will refuse is told when the server starts, and a new one is used without a restart."""
    cert, key = tmp_path / "c.pem", tmp_path / "k.pem"
    quick = Timeouts(connect=3)

    def use(name: str, key_of: str = "") -> None:
        shutil.copy(TLS / f"{name}.pem", cert)
        shutil.copy(TLS / f"{key_of or name}.key", key)
        key.chmod(0o600)

    use("localhost", "other")
    with (
        pytest.raises(InvalidInputError, match=r"k\.pem does not belong to the certificate .*c\.pem"),
        serving(tmp_path / "r", tls_cert=cert, tls_key=key),
    ):
        pass
    assert not (tmp_path / "r").exists()
    use("expired")
    with caplog.at_level(logging.INFO, "hangar.server"), serving(tmp_path / "r", tls_cert=cert, tls_key=key) as address:
        assert "clients will refuse the certificate" in caplog.text
        assert "certificate has expired" in caplog.text

        def hello(name: str) -> None:
            with connect_server(f"grpcs://{address}", {"ca": str(TLS / f"{name}.pem")}, timeouts=quick) as peer:
                peer.hello(Hello())

        with pytest.raises(UnreachableError, match="renew the certificate"):
            hello("expired")
        use("other")
        with pytest.raises(UnreachableError, match="certificate is for another name"):
            hello("other")
        use("localhost")
        key.chmod(0o644)
        hello("localhost")
        use("localhost", "other")
        hello("localhost")  # the former one stays
        assert "the certificate was not read again, the former one stays" in caplog.text


@pytest.mark.parametrize("ip", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_tls_is_needed_beyond_this_machine(ip: str) -> None:
    with pytest.raises(InvalidInputError, match="--insecure"):
        ServerSettings(ip=ip)
    ServerSettings(ip=ip, insecure=True)
    ServerSettings(ip=ip, tls_cert=Path("c"), tls_key=Path("k"))


def test_addresses() -> None:
    assert parse_address("localhost:1234") == ("localhost", 1234, False)
    assert parse_address("127.8.0.1:1234").tls is False
    assert parse_address("example.org:1234") == ("example.org", 1234, True)
    assert parse_address("grpc://example.org:1234").tls is False
    assert parse_address("grpcs://localhost") == ("localhost", 50051, True)
    assert parse_address("[::1]:80") == ("::1", 80, False)
    assert parse_address("[2001:db8::1]:80").target == "[2001:db8::1]:80"
    assert str(parse_address("grpcs://a:1/")) == "grpcs://a:1"
    for bad in ("", ":1", "a:0", "a:65536", "a:x", "http://a:1", "a b:1", "a:1:2", "grpc://", "-\ud800:1", "x" * 2_000):
        with pytest.raises(InvalidInputError):
            parse_address(bad)


# ---------------------------------------------------------------------------------------------------- settings and tokens


def test_a_configuration_file_gives_the_settings(tmp_path: Path) -> None:
    path = tmp_path / "server.ini"
    path.write_text(
        "[server]\nip = 0.0.0.0\nport = 6000\ntls-cert = c.pem\ntls-key = /k.pem\nread-only = yes\nprotected = main, release/*\n"
    )
    settings = read_settings(path, {"port": 7000, "token_file": None})
    assert (settings.ip, settings.port, settings.read_only) == ("0.0.0.0", 7000, True)
    assert (settings.tls_cert, settings.tls_key) == (tmp_path / "c.pem", Path("/k.pem"))
    assert [settings.is_protected(name) for name in ("main", "release/1", "dev")] == [True, True, False]
    path.write_text("[server]\nprotect = main\n")  # as the option of the command is called
    assert read_settings(path, {}).protected == ("main",)
    for text, reason in (
        ("port = 1", r"cannot be parsed"),
        ("[server]\nnew = 1", "no setting 'new'"),
        ("[server]\npassword = x", "no setting"),
        ("[other]\nport = 1", r"\[server\]"),
        ("[server]\nport = many", "whole number"),
        ("[server]\nread-only = maybe", "yes or no"),
        ("[server]\ntls-cert = x", "both"),
        ("[server]\nprotected = a b;c", "pattern"),
    ):
        path.write_text(text)
        with pytest.raises(InvalidInputError, match=reason):
            read_settings(path, {})


def test_token_files(tmp_path: Path) -> None:
    hashed = hashlib.sha256(TOKEN.encode()).hexdigest()
    entries = parse_tokens(f"# team\nada sha256:{hashed}\nbob another-token-123456 read # until June\n", "tokens")
    assert [one.caller for one in entries] == [("ada", True), ("bob", False)]
    assert entries[0].digest.hex() == hashed
    secret = "s3cret-that-is-not-shown"
    for text in ("", "# none", "ada", f"ada {secret} admin", f"ada {secret} read more", "ada short", "ada sha256:12"):
        with pytest.raises(InvalidInputError) as caught:
            parse_tokens(text, "tokens")
        assert secret not in str(caught.value)
        assert "short" not in str(caught.value)
    path = tmp_path / "tokens"
    path.write_text(f"ada {TOKEN}\n")
    path.chmod(0o604)
    with pytest.raises(InvalidInputError, match="chmod o-rwx"):
        HangarServer(tmp_path / "r", ServerSettings(token_file=path))


def test_where_a_client_finds_its_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = parse_address("example.org:1234")
    path = tmp_path / "credentials"
    monkeypatch.setenv("HANGAR_CREDENTIALS", str(path))
    monkeypatch.delenv("HANGAR_TOKEN", raising=False)
    assert find_token(address, {}) is None
    path.write_text("# mine\nexample.org one\ngrpcs://example.org:1234 two\nother.org:1 three\n")
    path.chmod(0o644)
    with pytest.raises(AccessError, match="chmod 600"):
        find_token(address, {})
    path.chmod(0o600)
    assert find_token(address, {}) == "two"
    assert find_token(address._replace(port=5), {}) == "one"
    monkeypatch.setenv("HANGAR_TOKEN", "four")
    assert find_token(address, {}) == "four"
    monkeypatch.setenv("MINE", "five")
    assert find_token(address, {"token-env": "MINE"}) == "five"
    (tmp_path / "t").write_text("six\n")
    (tmp_path / "t").chmod(0o600)
    assert find_token(address, {"token-file": str(tmp_path / "t")}) == "six"
    with pytest.raises(FileNotFoundError):
        find_token(address, {"token-file": str(tmp_path / "none")})
    monkeypatch.setenv("HANGAR_TOKEN", "with\nline")
    with pytest.raises(InvalidInputError) as caught:
        find_token(address, {})
    assert "with" not in str(caught.value).replace("without", "")


# ---------------------------------------------------------------------------------------------------- the command


@contextmanager
def command(path: Path, *words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running ``hangar server``, and its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "hangar", "server", "--port", "0", *words],
        cwd=path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        found = re.search(r"grpcs?://\S+:\d+", line)
        assert found is not None, (line, process.communicate(timeout=20) if process.poll() is not None else "")
        yield process, found[0]
    finally:
        process.kill()
        process.communicate()


def test_the_command_serves_logs_and_stops(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(f"ada {TOKEN}\n")
    tokens.chmod(0o600)
    with command(tmp_path, "--token-file", str(tokens)) as (process, address):
        with connect_server(address, token=TOKEN) as peer:
            peer.hello(Hello())
        with connect_server(address, token="wrong" + TOKEN) as peer, pytest.raises(AccessError):
            peer.hello(Hello())
        with grpc.insecure_channel(address.removeprefix("grpc://")) as channel:
            check: Any = channel.unary_unary("/grpc.health.v1.Health/Check")
            assert check(b"", timeout=5) == b"\x08\x01"  # without a token
            service = b"hangar.remote.v1.Remote"
            assert check(b"\x0a" + bytes([len(service)]) + service, timeout=5) == b"\x08\x01"
            with pytest.raises(grpc.RpcError) as caught:
                check(b"\x0a\x05other", timeout=5)
            assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        if sys.platform == "linux":
            for name in ("cmdline", "environ"):
                assert TOKEN.encode() not in Path(f"/proc/{process.pid}/{name}").read_bytes()
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=15)
    assert process.returncode == 0, err
    assert out.endswith("Stopped\n")
    assert re.search(r"^\d{4}-\d\d-\d\dT[\d:.]+Z INFO Hello peer=\S+ user=ada status=OK seconds=", err, re.MULTILINE)
    assert re.search(r"WARNING Hello peer=\S+ refused", err)
    assert TOKEN not in out + err
    assert (tmp_path / ".hangar").is_dir()


def test_a_call_in_progress_ends_before_the_command(tmp_path: Path) -> None:
    with command(tmp_path) as (process, address), connect_server(address) as peer:
        peer.hello(Hello())
        process.send_signal(signal.SIGINT)
        assert process.wait(15) == 0
    with command(tmp_path, "--timeout", "0.2") as (process, _):
        assert process.wait(15) == 0


def test_errors_of_the_command(tmp_path: Path) -> None:
    def run(*words: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "hangar", "server", *words],
            check=False,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.returncode, done.stderr

    code, text = run("--ip", "0.0.0.0")
    assert (code, "--insecure" in text) == (1, True)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, text = run("--ip", "127.0.0.1", "--port", str(taken.getsockname()[1]))
    assert (code, "cannot listen" in text) == (1, True)
    assert run("--token-file", "none")[0] == 3


# ---------------------------------------------------------------------------------------------------- interrupts

INTERRUPTED = """
import sys, time
from hangar.remote.dial import connect_server
from hangar.remote.peer import BlobNames, Hello, Objects
peer = connect_server(sys.argv[1])
peer.hello(Hello())
print("ready", flush=True)
sys.stdin.readline()
def frames():
    yield Objects("node", (b"x",))
    time.sleep(60)
try:
    {"unary": lambda: peer.missing(b"i" * 16), "down": lambda: list(peer.refs()), "up": lambda: peer.send_objects(b"i" * 16, frames())}[sys.argv[2]]()
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.usefixtures("default_interrupts")
@pytest.mark.parametrize("kind", ["unary", "down", "up"])
def test_an_interrupt_ends_a_call_within_a_second(tmp_path: Path, kind: str) -> None:
    """Row 31: Ctrl-C while nothing passes."""
    with serving(tmp_path / "r") as address, Proxy(int(address.rsplit(":", 1)[1])) as proxy:
        process = subprocess.Popen(
            [sys.executable, "-c", INTERRUPTED, f"127.0.0.1:{proxy.port}", kind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "ready\n"
        proxy.swallow = True
        process.stdin.write("\n")
        process.stdin.flush()
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        line = process.stdout.readline()
        seconds = time.monotonic() - began
        process.kill()
        _, err = process.communicate()
    assert seconds < 1.0
    # A request that was sent is interrupted; where gRPC tells of the lost connection first, the process has ended by itself.
    assert line == "interrupted\n", err
