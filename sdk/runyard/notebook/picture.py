"""A curve as a small picture: SVG in the address of an ``<img>``, which notebooks show even where they trust nothing."""

import base64
import math
from html import escape
from typing import List, Tuple

from runyard.notebook.run_view import Curve
from runyard.notebook.scale import share
from runyard.notebook.wording import number

WIDTH, HEIGHT = 270, 120
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 8, 8, 18
_LINE = "#1f6feb"
_QUIET = "#6e7781"


def address(curve: Curve) -> str:
    """The picture as a ``data:`` address."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg(curve).encode("utf-8")).decode("ascii")


def svg(curve: Curve) -> str:
    """The picture: the line, its least and greatest value, and its first and last place."""
    known = [
        (place, value)
        for place, value in zip(curve.places, curve.values)
        if math.isfinite(value) and math.isfinite(place)
    ]
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" width="{0}" height="{1}" viewBox="0 0 {0} {1}" '
        'font-family="sans-serif" font-size="10">'.format(WIDTH, HEIGHT)
    ]
    if known:
        least, greatest = min(value for _, value in known), max(value for _, value in known)
        parts.append(_text(_LEFT - 4, _TOP + 4, "end", number(greatest)))
        parts.append(_text(_LEFT - 4, HEIGHT - _BOTTOM, "end", number(least)))
        parts.append(_text(_LEFT, HEIGHT - 5, "start", number(known[0][0])))
        parts.append(_text(WIDTH - _RIGHT, HEIGHT - 5, "end", number(known[-1][0])))
        for line in _lines(curve, known):
            parts.append('<polyline fill="none" stroke="{}" stroke-width="1.5" points="{}"/>'.format(_LINE, line))
        x, y = _position(known[-1], known)
        parts.append('<circle cx="{:.1f}" cy="{:.1f}" r="2.5" fill="{}"/>'.format(x, y, _LINE))
    else:
        parts.append(_text(WIDTH / 2, HEIGHT / 2, "middle", "no finite number"))
    return "".join(parts) + "</svg>"


def _text(x: float, y: float, anchor: str, text: str) -> str:
    return '<text x="{:g}" y="{:g}" text-anchor="{}" fill="{}">{}</text>'.format(x, y, anchor, _QUIET, escape(text))


def _lines(curve: Curve, known: List[Tuple[float, float]]) -> List[str]:
    """Points as SVG has them; a value that is no finite number breaks the line."""
    lines: List[List[str]] = [[]]
    for place, value in zip(curve.places, curve.values):
        if math.isfinite(value) and math.isfinite(place):
            lines[-1].append("{:.1f},{:.1f}".format(*_position((place, value), known)))
        elif lines[-1]:
            lines.append([])
    return [" ".join(line) for line in lines if line]


def _position(point: Tuple[float, float], known: List[Tuple[float, float]]) -> Tuple[float, float]:
    places, values = [each[0] for each in known], [each[1] for each in known]
    across = share(point[0], min(places), max(places))
    up = share(point[1], min(values), max(values))
    return _LEFT + (WIDTH - _LEFT - _RIGHT) * across, _TOP + (HEIGHT - _TOP - _BOTTOM) * (1 - up)
