"""The demonstration that ``hangar demo`` runs. ``steps`` has its steps, ``training`` trains a network on two commits."""

from __future__ import annotations

from hangar.demo.steps import DemoReport, Presenter, run_demo

__all__ = ["DemoReport", "Presenter", "run_demo"]
