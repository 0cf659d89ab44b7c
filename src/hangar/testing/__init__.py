"""Test suites for authors of Hangar extensions. They need pytest."""
