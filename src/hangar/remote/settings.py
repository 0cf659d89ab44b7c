"""Settings of a server: address, TLS, tokens, protected branches; from arguments and a configuration file.

The configuration file is an INI file with one section ``[server]`` whose keys are the long options of ``hangar server``
without the dashes, and ``protected``. A relative path in it is relative to the file. An option of the command line has
precedence over the file.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from hangar import _fs
from hangar.errors import InvalidInputError
from hangar.flags import parse_flag
from hangar.remote.address import is_loopback

__all__ = ["ServerSettings", "read_settings"]

_PATHS: Final = ("tls_cert", "tls_key", "token_file")
_FLAGS: Final = ("insecure", "read_only")
_NUMBERS: Final = ("port", "timeout", "connections", "unfinished_hours", "unfinished_gb")
_HOST: Final = re.compile(r"[A-Za-z0-9_.:%-]{1,255}")
_PATTERN: Final = re.compile(r"[A-Za-z0-9_./*?!\[\]-]{1,255}")


@dataclasses.dataclass(frozen=True, slots=True)
class ServerSettings:
    """How a server listens and what it permits.

    Attributes
    ----------
    ip
        Host name or IP address to listen on; ``0.0.0.0`` is every interface of IPv4, ``::`` every interface.
    port
        TCP port; 0 is a free one.
    timeout
        Seconds after which the server stops by itself; 0 is never.
    tls_cert, tls_key
        PEM files of the certificate chain and of its private key.
    token_file
        File of the access tokens; without it everybody who can connect may read and write.
    read_only
        Refuse every push.
    insecure
        Permit a server without TLS beyond this machine.
    protected
        Patterns of branches (``main``, ``release/*``) that can be neither deleted nor moved other than forward.
    connections
        Maximum number of calls at the same time.
    unfinished_hours
        What a push brought that was not finished is deleted if nothing came for so long.
    unfinished_gb
        Most gigabytes that unfinished pushes take on the disk, all together.
    restrict_push
        Whether a push needs ``username`` and ``password``.
    username, password
        Of a push, if it is restricted.
    """

    ip: str = "localhost"
    port: int = 50051
    timeout: float = 0.0
    tls_cert: Path | None = None
    tls_key: Path | None = None
    token_file: Path | None = None
    read_only: bool = False
    insecure: bool = False
    protected: tuple[str, ...] = ()
    connections: int = 64
    unfinished_hours: int = 72
    unfinished_gb: int = 1_000
    restrict_push: bool = False
    username: str = ""
    password: str = dataclasses.field(default="", repr=False)

    def __post_init__(self) -> None:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise InvalidInputError("TLS needs both the certificate (tls-cert) and its key (tls-key)")
        if _HOST.fullmatch(self.ip) is None:
            raise InvalidInputError(f"{self.ip[:100]!r} is not a host name or an IP address")
        for pattern in self.protected:
            if _PATTERN.fullmatch(pattern) is None:
                raise InvalidInputError(f"{pattern[:100]!r} is not a branch or a pattern such as release/*")
        if not 0 <= self.port < 2**16:
            raise InvalidInputError(f"port {self.port} is not a number from 0 to 65535")
        if not 8 <= self.connections <= 1_000:
            raise InvalidInputError(f"connections is a number from 8 to 1,000, not {self.connections}")
        if not 1 <= self.unfinished_hours <= 10_000:
            raise InvalidInputError(f"unfinished-hours is a number from 1 to 10,000, not {self.unfinished_hours}")
        if not 1 <= self.unfinished_gb <= 1_000_000:
            raise InvalidInputError(f"unfinished-gb is a number from 1 to 1,000,000, not {self.unfinished_gb}")
        if self.restrict_push and not (self.username and self.password):
            raise InvalidInputError("a restricted push needs a username and a password")
        if self.tls_cert is None and not self.insecure and not is_loopback(self.ip):
            raise InvalidInputError(
                f"a server on {self.ip} can be reached from other machines, and without TLS everybody between could read "
                "and change what it sends: give --tls-cert and --tls-key, or permit it with --insecure"
            )

    def is_protected(self, branch: str) -> bool:
        """Whether a branch is protected."""
        return any(fnmatch.fnmatchcase(branch, pattern) for pattern in self.protected)


def read_settings(path: Path | None, options: Mapping[str, Any]) -> ServerSettings:
    """Settings of a configuration file and of options; an option that is None was not given.

    Raises
    ------
    InvalidInputError
        The file cannot be parsed, has an unknown key, or the settings do not fit together.
    StorageError
        The file cannot be read.
    """
    found = {} if path is None else _from_file(path)
    return ServerSettings(**(found | {name: value for name, value in options.items() if value is not None}))


def _from_file(path: Path) -> dict[str, Any]:
    from configparser import Error, RawConfigParser

    parser = RawConfigParser(delimiters=("=",), comment_prefixes=("#", ";"), default_section="\n")
    try:
        parser.read_string(path.read_text("utf-8"))
    except OSError as error:
        _fs.raise_for(error, "read", path)
    except (Error, UnicodeDecodeError) as error:
        reason = str(error).replace("'<string>'", str(path)).replace("\n", " ")
        raise InvalidInputError(f"{path} cannot be parsed: {reason}") from None
    if parser.sections() != ["server"]:
        raise InvalidInputError(f"{path} needs one section, [server], and no other")
    allowed = {field.name for field in dataclasses.fields(ServerSettings)} - {"restrict_push", "username", "password"}
    found: dict[str, Any] = {}
    for key, value in parser.items("server"):
        name = "protected" if key == "protect" else key.replace("-", "_")
        if name not in allowed:
            known = ", ".join(sorted(one.replace("_", "-") for one in allowed))
            raise InvalidInputError(f"{path}: no setting {key!r}; the settings are {known}")
        found[name] = _value(name, value.strip(), path)
    return found


def _value(name: str, text: str, path: Path) -> Any:
    if name in _PATHS:
        return path.parent / Path(text).expanduser()
    if name == "protected":
        return tuple(text.replace(",", " ").split())
    if name in _FLAGS:
        flag = parse_flag(text)
        if flag is None:
            raise InvalidInputError(f"{path}: {name.replace('_', '-')} is yes or no, not {text!r}")
        return flag
    if name in _NUMBERS:
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise InvalidInputError(f"{path}: {name} is a whole number, not {text!r}")
        return int(text)
    return text
