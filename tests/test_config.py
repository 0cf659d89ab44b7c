from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangar.config import KEYS, Config, ConfigFile, ConfigValue, Person, check_value, parse_bytes, user_config_path
from hangar.errors import InvalidInputError, InvalidStateError, StorageError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def file(tmp_path: Path) -> ConfigFile:
    return ConfigFile(tmp_path / "config")


def test_missing_file_is_empty(file: ConfigFile) -> None:
    assert file.items() == {}
    assert file.get("user.name") is None
    assert file.unset("user.name") is False
    assert not file.path.exists()


def test_set_get_unset(file: ConfigFile) -> None:
    file.set("user.name", "Ann Example")
    file.set("user.email", "ann@example.com")
    assert file.items() == {"user.name": "Ann Example", "user.email": "ann@example.com"}
    file.set("user.name", "Bo")
    assert file.get("user.name") == "Bo"
    assert file.unset("user.name") is True
    assert file.items() == {"user.email": "ann@example.com"}
    assert file.unset("user.email") is True
    assert file.items() == {}
    file.set("user.name", "again")
    assert file.items() == {"user.name": "again"}


@pytest.mark.parametrize(
    "value",
    ["100 %", "%(name)s", "%%", "a = b", "a: b", "# no comment", "; neither", "[user]", "Zoë Ωmega 名前 👩‍🔬", '"quoted"', "a ; b # c", "\\n"],
)  # fmt: skip
def test_odd_values_read_back(value: str, file: ConfigFile) -> None:
    file.set("user.name", value)
    file.set("user.email", value)
    assert file.items() == {"user.name": value, "user.email": value}
    file.set("user.email", "plain")
    assert file.get("user.name") == value


def test_nobody_has_no_name(file: ConfigFile) -> None:
    file.set("user.name", "Ada")
    for blank in ("", " ", "\t"):
        with pytest.raises(InvalidInputError, match=r"user\.name is empty"):
            file.set("user.name", blank)
    assert file.get("user.name") == "Ada"
    file.set("user.email", "")
    assert file.get("user.email") == ""


@pytest.mark.parametrize(
    "value",
    ["a\nb", "a\rb", "a\tb", "\x1b[31m", "a\x00", "a\u2028b", "a\x85b", " a", "a ", "\ud800", "x" * 1_001, "名" * 334],
)
def test_values_that_would_not_read_back_are_refused(value: str, file: ConfigFile) -> None:
    file.set("user.name", "before")
    with pytest.raises(InvalidInputError, match=r"user\.name"):
        file.set("user.name", value)
    assert file.get("user.name") == "before"


def test_value_of_another_type(file: ConfigFile) -> None:
    with pytest.raises(InvalidInputError, match="not int"):
        file.set("user.name", 3)  # type: ignore[arg-type]


@given(st.text(max_size=50))
def test_every_accepted_value_reads_back(value: str) -> None:
    try:
        check_value("user.name", value)
    except InvalidInputError:
        return
    file = ConfigFile(Path(os.environ["HOME"], "config"))
    file.set("user.name", value)
    file.set("user.email", value)
    assert file.items() == {"user.name": value, "user.email": value}


@pytest.mark.parametrize("key", ["name", "user", "user.nme", "user.name.x", "", "[user].name", "User.Name"])
def test_bad_keys(key: str, file: ConfigFile) -> None:
    for action in (
        lambda: file.set(key, "x"),
        lambda: file.get(key),
        lambda: file.unset(key),
        lambda: Config().get(key),
    ):
        with pytest.raises(InvalidInputError, match="configuration key"):
            action()
    assert not file.path.exists()


def test_bad_key_suggests(file: ConfigFile) -> None:
    with pytest.raises(InvalidInputError, match=r"did you mean 'user\.name'"):
        file.get("user.nme")
    assert sorted(KEYS) == list(KEYS)


HAND_WRITTEN = """\
# who I am
[Other]
key = kept

[user]
# the name on my passport
Name = Ann
    Example
; that was it

[last]
x = 1"""


def test_edit_keeps_comments_order_and_unknown_keys(file: ConfigFile) -> None:
    file.path.write_text(HAND_WRITTEN)
    assert file.get("user.name") == "Ann\nExample"
    file.set("user.name", "Bo")
    file.set("user.email", "bo@example.com")
    assert (
        file.path.read_text()
        == HAND_WRITTEN.replace("Name = Ann\n    Example", "name = Bo").replace(
            "[user]\n", "[user]\nemail = bo@example.com\n"
        )
        + "\n"
    )
    file.unset("user.email")
    file.unset("user.name")
    assert file.items() == {"Other.key": "kept", "last.x": "1"}
    assert "# the name on my passport" in file.path.read_text()


def test_windows_file(file: ConfigFile) -> None:
    file.path.write_bytes(b"\xef\xbb\xbf[user]\r\nname = Ann\r\n")
    assert file.get("user.name") == "Ann"
    file.set("user.email", "e")
    assert file.items() == {"user.name": "Ann", "user.email": "e"}


@pytest.mark.parametrize(
    "text", ["name = x\n", "[user]\nname\n", "[user]\n[user]\n", "[user]\nname = a\nname = b\n", "[user\n"]
)
def test_files_that_cannot_be_understood(text: str, file: ConfigFile) -> None:
    file.path.write_text(text)
    for action in (file.items, lambda: file.get("user.name"), lambda: file.set("user.name", "x")):
        with pytest.raises(InvalidInputError, match="correct it, or move it away") as caught:
            action()
        assert str(file.path) in str(caught.value)
        assert "<string>" not in str(caught.value)
    assert file.path.read_text() == text


def test_file_that_cannot_be_edited_is_left_alone(file: ConfigFile) -> None:
    text = "  [user]\n  name = Ann\n"
    file.path.write_text(text)
    assert file.get("user.name") == "Ann"
    with pytest.raises(InvalidInputError, match="by hand"):
        file.set("user.name", "Bo")
    assert file.path.read_text() == text


def test_file_that_is_not_text(file: ConfigFile) -> None:
    file.path.write_bytes(b"[user]\nname = \xff\xfe\n")
    with pytest.raises(InvalidInputError, match="UTF-8"):
        file.items()


def test_file_that_cannot_be_read(file: ConfigFile) -> None:
    file.path.mkdir()
    with pytest.raises(StorageError, match="cannot read"):
        file.items()


def test_set_makes_directories_and_keeps_a_link(home: Path) -> None:
    path = user_config_path()
    assert path == home / ".config" / "hangar" / "config"
    ConfigFile(path).set("user.name", "Ann")
    assert path.read_text() == "[user]\nname = Ann\n"
    moved = path.rename(home / "dotfile")
    path.symlink_to(moved)
    ConfigFile(path).set("user.name", "Bo")
    assert path.is_symlink()
    assert moved.read_text() == "[user]\nname = Bo\n"


def test_nothing_is_written_when_nothing_changes(file: ConfigFile) -> None:
    file.set("user.name", "Ann")
    before = file.path.stat().st_ino
    file.set("user.name", "Ann")
    assert file.path.stat().st_ino == before


def test_user_config_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, home: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    assert user_config_path() == tmp_path / "xdg" / "hangar" / "config"
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    assert user_config_path() == home / ".config" / "hangar" / "config"


def test_without_a_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    config = Config(tmp_path)
    assert config.items() == {}
    assert config.get("user.name") is None
    with pytest.raises(InvalidStateError, match="XDG_CONFIG_HOME"):
        config.file("user")


def test_repository_overrides_user(tmp_path: Path) -> None:
    config = Config(tmp_path)
    config.file("user").set("user.name", "Ann")
    config.file("user").set("user.email", "ann@example.com")
    config.file("repository").set("user.name", "Robot")
    assert config.get("user.name") == "Robot"
    assert config.items() == {
        "user.email": ConfigValue("ann@example.com", "user"),
        "user.name": ConfigValue("Robot", "repository"),
    }
    assert config.person() == Person("Robot", "ann@example.com")
    assert Config().person() == Person("Ann", "ann@example.com")


def test_person_names_the_command() -> None:
    with pytest.raises(InvalidStateError, match=r"hangar config user\.name VALUE"):
        Config().person()
    Config().file("user").set("user.name", "Ann")
    with pytest.raises(InvalidStateError, match=r"hangar config user\.email VALUE"):
        Config().person()
    with pytest.raises(InvalidStateError, match="no repository here"):
        Config().file("repository")


def test_import_is_light() -> None:
    code = "import sys, hangar.config; print('configparser' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0", 0),
        ("1000000", 10**6),
        ("64k", 2**16),
        ("64M", 2**26),
        ("2g", 2**31),
        ("10MB", 10 << 20),
        ("10 MB", 10 << 20),
        ("10MiB", 10 << 20),
        ("10 mib", 10 << 20),
        ("3kB", 3 << 10),
        ("1 GB", 2**30),
        ("7B", 7),
        ("7 b", 7),
        ("64 M", 2**26),
    ],
)
def test_numbers_of_bytes(tmp_path: Path, value: str, expected: int) -> None:
    file = ConfigFile(tmp_path / "config")
    file.set("cache.chunks", value)
    assert parse_bytes("cache.chunks", file.items()["cache.chunks"]) == expected


@pytest.mark.parametrize("value", ["", "M", "-1", "1.5M", "64  M", "64Mi", "5iB", "5BB", "M B", "1T", "many", "\u0661"])
def test_what_is_no_number_of_bytes_is_refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(InvalidInputError, match=r"cache\.chunks is a number of bytes"):
        ConfigFile(tmp_path / "config").set("cache.chunks", value)
