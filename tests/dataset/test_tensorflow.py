"""TensorFlow data sets: the cases run in a process of their own, with TensorFlow for real; and what happens without it."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import hangar
from hangar.checkout import ReaderCheckout
from hangar.dataset import make_tensorflow_dataset, make_tf_dataset

CASES = Path(__file__).with_name("tensorflow_cases.py")
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}


def test_names() -> None:
    assert make_tf_dataset is make_tensorflow_dataset is hangar.make_tf_dataset
    assert "make_tf_dataset" in hangar.__all__


@pytest.mark.skipif(not find_spec("tensorflow"), reason="TensorFlow is not installed")
def test_with_tensorflow() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider", str(CASES)],
        cwd=CASES.parent.parent.parent,
        env=os.environ | QUIET,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert " passed" in done.stdout


def test_it_is_installed_where_it_must_be() -> None:
    """Where the tests of CI run on CPython 3.11 on Linux; see tox.ini."""
    if os.environ.get("HANGAR_TEST_WHEEL") and sys.platform == "linux" and sys.version_info[:2] == (3, 11):
        assert find_spec("tensorflow")


def test_without_tensorflow(reader: ReaderCheckout) -> None:
    program = (
        "import sys; sys.modules['tensorflow'] = None\n"
        "from hangar import Repository, MissingPackageError, make_tf_dataset\n"
        f"reader = Repository({str(reader.session.stores.directory.parent)!r}).checkout()\n"
        "try: make_tf_dataset(reader['label'])\n"
        "except MissingPackageError as error: print(isinstance(error, ImportError), error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("True data sets for TensorFlow need it (")
    assert "`pip install 'hangar[tensorflow]'`" in done.stdout
