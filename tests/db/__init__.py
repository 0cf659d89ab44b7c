"""Tests of ``hangar.db``."""
