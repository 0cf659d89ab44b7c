"""Draw a value: as a picture, in a terminal, or as text. Nothing is written or shown here; the caller does that."""

from __future__ import annotations

from hangar.viewer.blocks import draw_blocks
from hangar.viewer.picture import as_picture, waveform
from hangar.viewer.text import as_text

__all__ = ["as_picture", "as_text", "draw_blocks", "waveform"]
