"""The demonstration: what ``hangar demo`` shows. ``story`` tells it, ``training`` trains a network on two commits."""

from __future__ import annotations

from hangar.demo.story import DemoReport, Narrator, run_demo

__all__ = ["DemoReport", "Narrator", "run_demo"]
