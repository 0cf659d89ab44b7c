"""The first messages of two repositories: versions, capabilities and limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["PROTOCOL_VERSION", "Hello", "Limits", "Welcome"]

PROTOCOL_VERSION: Final = 1
"""Version of the meaning of the messages. A peer answers only a version that it knows."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a peer accepts in one message.

    Attributes
    ----------
    frame_bytes
        Bytes of content of one frame (:class:`Objects`, :class:`BlobFrame`). An object larger than that has a frame of
        its own; a larger blob is sent in parts.
    frame_items
        Objects or blobs of one frame.
    names
        Digests of one request.
    blob_bytes
        Bytes of one blob that a push may bring.
    """

    frame_bytes: int = 2**20
    frame_items: int = 2**16
    names: int = 2**16
    blob_bytes: int = 2**40


@dataclass(frozen=True, slots=True)
class Hello:
    """The first message of a client.

    Attributes
    ----------
    versions
        Versions of the protocol that the client knows.
    capabilities
        Names of optional features that it has; unknown ones are ignored.
    software
        Name and version of the program, for people.
    """

    versions: tuple[int, ...] = (PROTOCOL_VERSION,)
    capabilities: tuple[str, ...] = ()
    software: str = ""


@dataclass(frozen=True, slots=True)
class Welcome:
    """The answer to :class:`Hello`.

    Attributes
    ----------
    version
        The version of the protocol that both use from now on.
    capabilities
        Optional features of the server.
    repository
        Id of the repository, the same at every call; empty if it has none.
    limits
        What the server accepts in one message. It sends no more in one either.
    read_only
        Whether every push is refused.
    software
        Name and version of the program, for people.
    """

    version: int
    capabilities: tuple[str, ...]
    repository: bytes
    limits: Limits
    read_only: bool = False
    software: str = ""
