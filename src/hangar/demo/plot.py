"""Curves as an SVG picture, which every browser shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

__all__ = ["Curve", "draw"]

_WIDTH: Final = 860
_HEIGHT: Final = 480
_LEFT: Final = 70
_RIGHT: Final = 190
_TOP: Final = 84
_BOTTOM: Final = 62
_STYLE: Final = "font-family: system-ui, 'Segoe UI', Helvetica, Arial, sans-serif"
_INK, _FAINT, _PAPER = "#24292f", "#d8dee4", "#ffffff"


@dataclass(frozen=True, slots=True)
class Curve:
    """One curve: its name, a second line below it, its colour, and a value for each epoch from 1 on."""

    name: str
    note: str
    colour: str
    values: Sequence[float]


def draw(title: str, subtitle: str, curves: Sequence[Curve]) -> str:
    """An SVG document with curves of values between 0 and 1, over epochs."""
    values = [value for curve in curves for value in curve.values]
    low = max(0.0, int(min(values) * 20 - 0.5) / 20)
    high = min(1.0, (int(max(values) * 20) + 1) / 20)
    epochs = max(len(curve.values) for curve in curves)

    def x(epoch: float) -> float:
        return _LEFT + (epoch - 1) / max(1, epochs - 1) * (_WIDTH - _LEFT - _RIGHT)

    def y(value: float) -> float:
        return _TOP + (high - value) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" role="img" aria-label="{title}">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="{_PAPER}"/>',
        f'<g style="{_STYLE}" fill="{_INK}">',
        _text(_LEFT, 34, title, size=20, weight=600),
        _text(_LEFT, 58, subtitle, size=13, colour="#57606a"),
    ]
    steps = round((high - low) * 20)
    for step in range(steps + 1):
        value = low + step / 20
        parts.append(_line(x(1), y(value), x(epochs), y(value), _FAINT))
        parts.append(_text(_LEFT - 12, y(value) + 4, f"{value:.0%}", anchor="end", size=12))
    every = next(step for step in (1, 2, 5, 10, 20, 50, 10**6) if epochs <= 9 * step)
    for epoch in sorted({1, *range(every, epochs + 1, every)}):
        parts.append(_line(x(epoch), y(low), x(epoch), y(low) + 5, _INK))
        parts.append(_text(x(epoch), y(low) + 22, str(epoch), anchor="middle", size=12))
    parts.append(_line(x(1), y(low), x(epochs), y(low), _INK))
    parts.append(_text((x(1) + x(epochs)) / 2, _HEIGHT - 16, "epoch", anchor="middle", size=13))
    labels = _spread([y(curve.values[-1]) for curve in curves], 44)
    for curve, at in zip(curves, labels, strict=True):
        points = " ".join(f"{x(i + 1):.1f},{y(value):.1f}" for i, value in enumerate(curve.values))
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{curve.colour}" stroke-width="2.5" stroke-linejoin="round" stroke-linecap="round"/>'
        )
        end = y(curve.values[-1])
        parts.append(
            f'<circle cx="{x(epochs):.1f}" cy="{end:.1f}" r="4.5" fill="{curve.colour}" stroke="{_PAPER}" stroke-width="1.5"/>'
        )
        name = f"{curve.name}  {curve.values[-1]:.1%}"
        parts.append(_text(x(epochs) + 14, at, name, size=15, weight=600, colour=curve.colour))
        parts.append(_text(x(epochs) + 14, at + 17, curve.note, size=12, colour="#57606a"))
    return "\n".join([*parts, "</g>", "</svg>", ""])


def _spread(places: list[float], least: float) -> list[float]:
    """Y coordinates of labels: near ``places``, and at least ``least`` pixels apart."""
    order = sorted(range(len(places)), key=places.__getitem__)
    found = list(places)
    for before, after in pairwise(order):
        found[after] = max(found[after], found[before] + least)
    return found


def _text(
    x: float,
    y: float,
    text: str,
    *,
    size: int,
    anchor: str = "start",
    weight: int = 400,
    colour: str = _INK,
) -> str:
    plain = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" text-anchor="{anchor}" fill="{colour}" xml:space="preserve">{plain}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'
