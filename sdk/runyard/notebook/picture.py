"""Curves as a small picture: SVG in the address of an ``<img>``, which notebooks show even where they trust nothing.

There is no text in it: a picture cannot know whether the notebook around it is light or dark.
"""

import base64
import math
from typing import List, NamedTuple, Optional, Sequence, Tuple

from runyard.notebook.run_view import Curve
from runyard.notebook.scale import share

WIDTH, HEIGHT = 190, 90  # three stand side by side in a card
COLOURS = ("#2f81f7", "#cf222e", "#1a7f37", "#8250df", "#9a6700", "#6e7781")  # seen on white and on black
_MARGIN = 6

_Point = Tuple[float, float]


class Ends(NamedTuple):
    """The least and greatest value of some curves, and their first and last place."""

    least: float
    greatest: float
    first: float
    last: float


def ends(curves: Sequence[Curve]) -> Optional[Ends]:
    """Between what the picture is drawn; None where there is no finite number."""
    known = [point for curve in curves for point in _known(curve)]
    if not known:
        return None
    places, values = [place for place, _ in known], [value for _, value in known]
    return Ends(min(values), max(values), min(places), max(places))


def address(curves: Sequence[Curve]) -> str:
    """The picture as a ``data:`` address."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg(curves).encode("utf-8")).decode("ascii")


def colour(number: int) -> str:
    """The colour of a curve by its number in the picture."""
    return COLOURS[number % len(COLOURS)]


def svg(curves: Sequence[Curve]) -> str:
    """The picture: the lines, each in its colour, and a dot where each ends."""
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" width="{0}" height="{1}" viewBox="0 0 {0} {1}">'.format(WIDTH, HEIGHT)
    ]
    frame = ends(curves)
    for number, curve in enumerate(curves):
        known = _known(curve)
        if frame is None or not known:
            continue
        for line in _lines(curve, frame):
            parts.append(
                '<polyline fill="none" stroke="{}" stroke-width="1.5" points="{}"/>'.format(colour(number), line)
            )
        x, y = _position(known[-1], frame)
        parts.append('<circle cx="{:.1f}" cy="{:.1f}" r="2.5" fill="{}"/>'.format(x, y, colour(number)))
    return "".join(parts) + "</svg>"


def _known(curve: Curve) -> List[_Point]:
    return [point for point in zip(curve.places, curve.values) if _is_finite(point)]


def _is_finite(point: _Point) -> bool:
    return math.isfinite(point[0]) and math.isfinite(point[1])


def _lines(curve: Curve, frame: Ends) -> List[str]:
    """Points as SVG has them; a value that is no finite number breaks the line."""
    lines: List[List[str]] = [[]]
    for point in zip(curve.places, curve.values):
        if _is_finite(point):
            lines[-1].append("{:.1f},{:.1f}".format(*_position(point, frame)))
        elif lines[-1]:
            lines.append([])
    return [" ".join(line) for line in lines if line]


def _position(point: _Point, frame: Ends) -> _Point:
    across = share(point[0], frame.first, frame.last)
    up = share(point[1], frame.least, frame.greatest)
    return _MARGIN + (WIDTH - 2 * _MARGIN) * across, _MARGIN + (HEIGHT - 2 * _MARGIN) * (1 - up)
