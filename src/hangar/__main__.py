"""``python -m hangar``: the same as ``hangar``."""

from __future__ import annotations

from hangar.cli import main

if __name__ == "__main__":
    main(prog_name="hangar")
