"""Which plugin is chosen, and what is said when there is none."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from hangar import external
from hangar.external import BasePlugin, PluginManager
from hangar.external.manager import ENTRY_POINT_GROUP, manager


class Scanner(BasePlugin):
    """Reads ``.scan`` and ``.nii.gz`` files, and claims PNG."""

    def __init__(self) -> None:
        super().__init__(["load", "board_show", "show"], [".SCAN", "nii.gz", "png"])

    def load(self, fpath: str, factor: int = 1) -> tuple[Any, str]:
        return np.full(3, factor), self.sample_name(fpath)

    def show(self, arr: Any, **options: Any) -> Any:
        return arr, options


class Broken:
    def __init__(self) -> None:
        raise OSError("no scanner")


class FakeEntryPoint:
    def __init__(self, name: str, made: Any) -> None:
        self.name = name
        self.value = f"somewhere:{name}"
        self._made = made

    def load(self) -> Any:
        return self._made


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    entries: list[Any] = [FakeEntryPoint("scanner", Scanner)]

    def entry_points(*, group: str) -> list[Any]:
        return entries if group == ENTRY_POINT_GROUP else []

    with monkeypatch.context() as patch:
        patch.setattr(importlib.metadata, "entry_points", entry_points)
        manager.reset_plugins()
        yield entries
    manager.reset_plugins()


@pytest.mark.usefixtures("installed")
def test_a_plugin_by_name_and_by_extension() -> None:
    value, name = external.load("/nowhere/x.scan", factor=7)
    assert (value.tolist(), name) == ([7, 7, 7], "x")
    assert external.load("x.png", plugin="scanner")[1] == "x"
    assert external.load("x.other", extension=".ScAn")[1] == "x"
    assert external.show(5, plugin="scanner", loud=True) == (5, {"loud": True})
    assert type(manager.get_plugin("load", "scanner").__self__) is Scanner  # type: ignore[attr-defined]


@pytest.mark.usefixtures("installed")
def test_built_in_plugins_come_first() -> None:
    assert type(manager.find("load", extension="png")).__name__ == "ImagePlugin"
    assert type(manager.find("board_show", extension="png")) is Scanner


@pytest.mark.usefixtures("installed")
def test_the_longest_suffix_wins() -> None:
    assert type(manager.for_file("load", "a.b/brain.nii.gz", "ndarray")).__name__ == "NiftiPlugin"
    assert manager.for_file("load", "brain.gz", "ndarray") is None
    assert manager.for_file("load", "nii.gz", "ndarray") is None
    assert type(manager.for_file("load", "brain.nii.gz", "bytes")).__name__ == "RawPlugin"


def test_a_plugin_must_suit_the_column() -> None:
    assert manager.for_file("load", "x.txt", "ndarray") is None
    assert type(manager.for_file("load", "x.TXT", "str")).__name__ == "TextPlugin"
    assert manager.for_file("load", "no_suffix", "str") is None
    assert type(manager.for_file("load", "no_suffix", "bytes")).__name__ == "RawPlugin"


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: external.load("x"), "give a plugin or a file extension"),
        (lambda: external.show(1), "give a plugin or a file extension to find out what could do show"),
        (lambda: external.load("x.png", plugin="nope"), "Plugin nope not found"),
        (lambda: external.load("x.xyz"), "No plugins found for the file extension xyz that could do load"),
        (
            lambda: external.save(1, ".", "str:x", "xyz"),
            "No plugins found for the file extension xyz that could do save",
        ),
        (lambda: external.board_show(1, extension="png"), "could do board_show"),
        (lambda: external.show(1, plugin="numpy"), "plugin numpy does not provide show"),
        (lambda: manager.get_plugin("eat", extension="png"), "'eat' is not a method"),
    ],
)
def test_no_plugin(call: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        call()


@pytest.mark.usefixtures("installed")
def test_declared_but_not_written() -> None:
    with pytest.raises(RuntimeError, match="declares the method board_show"):
        external.board_show(1, plugin="scanner")


def test_base_plugin_checks_what_it_is_given() -> None:
    for provides, accepts in (([], ["png"]), (["load"], []), (["eat"], ["png"])):
        with pytest.raises(ValueError, match="plugin BasePlugin"):
            BasePlugin(provides, accepts)
    plugin = BasePlugin(["load"], [".PNG", "png", "jpg"])
    assert plugin.provides == ("load",)
    assert plugin.accepts == ("png", "jpg")
    assert BasePlugin.sample_name("/a/b.c/d.e.png") == "d.e"
    for method, arguments in (("load", ("x",)), ("save", (1, ".", "s", "e")), ("show", (1,)), ("board_show", (1,))):
        with pytest.raises(RuntimeError):
            getattr(plugin, method)(*arguments)


def test_a_plugin_that_cannot_be_made_stops_no_other(installed: list[Any]) -> None:
    installed += [FakeEntryPoint("broken", Broken), FakeEntryPoint("stranger", dict)]
    with pytest.warns(UserWarning, match="plugin") as caught:
        manager.reset_plugins()
    texts = sorted(str(one.message) for one in caught)
    assert "plugin broken (somewhere:broken) cannot be loaded: OSError('no scanner')" in texts[0]
    assert "stranger" in texts[1]
    assert manager.names()[-1] == "scanner"
    del installed[1:]


def test_plugin_manager() -> None:
    own = PluginManager()
    assert own.valid_provides == ("load", "save", "show", "board_show")
    assert not own.plugins_loaded
    own.find("load", extension="npy")
    assert not own.plugins_loaded
    own.reset_plugins()
    assert own.plugins_loaded


def test_options_of_a_plugin() -> None:
    assert manager.find("load", "images").option_names("load") == ("mode", "frame", "upright", "bits")
    assert manager.find("save", "images").option_names("save") == ("quality",)
    assert Scanner().option_names("show") is None


def test_importing_loads_no_plugin() -> None:
    code = (
        "import sys, hangar.external as e\n"
        "from hangar.external.manager import manager\n"
        "manager.find('load', extension='npy')\n"
        "print([m for m in ('PIL', 'importlib.metadata', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
