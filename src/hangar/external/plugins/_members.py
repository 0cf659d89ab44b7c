"""Checks of the members of archives. Nothing is extracted, but a hostile name is a sign of a hostile archive."""

from __future__ import annotations

from hangar.errors import InvalidInputError

__all__ = ["check_member_name"]


def check_member_name(name: str, where: str) -> None:
    """Refuse a member whose name is absolute or leads out of the archive.

    Raises
    ------
    InvalidInputError
        The name is refused.
    """
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or ".." in parts or "\0" in name or (len(name) > 1 and name[1] == ":"):
        raise InvalidInputError(
            f"{where} holds a member with the name {name!r}, which leads out of the archive: refused"
        )
