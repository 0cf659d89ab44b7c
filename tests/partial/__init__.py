"""Partial clones, as their users hold them."""
