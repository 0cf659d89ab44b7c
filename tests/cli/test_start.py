"""The beginning and the end of the program: an interrupt there says nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.cli.shell import Shell


# The first is the first thing that the program itself imports, the last is imported by the command.
@pytest.mark.parametrize("module", ["hangar.cli", "click", "hangar.cli.groups", "hangar.repository", "numpy", "lmdb"])
def test_an_interrupt_at_start_up_is_quiet(empty: Shell, module: str) -> None:
    code = (
        "import os, runpy, signal, sys\n"
        "class Interrupting:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {module!r}:\n"
        "            sys.meta_path.remove(self)\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "sys.meta_path.insert(0, Interrupting())\n"
        "sys.argv = ['hangar', 'status']\n"
        "runpy.run_module('hangar', run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=empty.path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.strip()) == (130, "", "")


def test_an_interrupt_after_the_command_is_quiet(empty: Shell) -> None:
    code = (
        "import atexit, os, runpy, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT))\n"
        "sys.argv = ['hangar', 'show', 'nope']\n"
        "runpy.run_module('hangar', run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=empty.path, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert done.stderr.startswith("Error: no branch, tag or commit 'nope'")
    assert "Traceback" not in done.stderr


def test_interrupts_that_a_parent_ignores_stay_ignored(empty: Shell) -> None:
    code = (
        "import os, runpy, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "sys.argv = ['hangar', 'status']\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
        "try:\n    runpy.run_module('hangar', run_name='__main__')\n"
        "finally:\n    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=empty.path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
