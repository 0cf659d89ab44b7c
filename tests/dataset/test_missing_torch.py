"""Without torch: everything else works, and the error names what to install."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
sys.modules["torch"] = None
import hangar, hangar.dataset
from hangar.dataset import Sampler
assert len(list(Sampler(10, 3))) == 4
assert "make_torch_dataset" in dir(hangar) and {"Loader", "collate"} <= set(dir(hangar.dataset))
for use in (lambda: hangar.make_torch_dataset([]), lambda: hangar.dataset.collate, lambda: hangar.dataset.Loader):
    try:
        use()
    except ImportError as error:
        assert isinstance(error, hangar.MissingPackageError) and "pip install hangar[torch]" in str(error), error
    else:
        raise AssertionError("no error")
try:
    hangar.dataset.nothing
except AttributeError:
    print("as it should be")
"""


def test_without_torch() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.stdout == "as it should be\n", done.stderr


def test_a_data_set_module_without_torch_imported() -> None:
    program = "import sys, hangar; hangar.dataset.Sampler; hangar.make_torch_dataset; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
