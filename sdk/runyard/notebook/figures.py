"""Curves in one picture as HTML, with what it lies between beside it: a picture does not know the notebook's theme."""

from html import escape
from typing import Sequence

from runyard.notebook import picture
from runyard.notebook.markup import QUIET
from runyard.notebook.run_view import Curve
from runyard.notebook.wording import number


def figure(title: str, curves: Sequence[Curve]) -> str:
    """One curve under its title, with its last value; of several the names, each in the colour of its line."""
    alone = len(curves) == 1
    last = number(curves[0].values[-1]) if alone and curves[0].values else ""
    head = '<div><b>{}</b> <span style="{}">{}</span></div>'.format(escape(title), QUIET, escape(last))
    head = head if title or last else ""
    ends = picture.ends(curves)
    if ends is None:
        drawn = '<div style="{}">no finite number</div>'.format(QUIET)
    else:
        said = "{} points, last {}".format(len(curves[0].values), last) if alone else "{} lines".format(len(curves))
        image = '<img alt="{}" width="{}" height="{}" src="{}" style="border:1px solid {};margin:0">'.format(
            escape("{}: {}".format(title, said)),
            picture.WIDTH,
            picture.HEIGHT,
            picture.address(curves),
            "rgba(128,128,128,0.25)",
        )
        drawn = (
            '<div style="display:flex;font-size:11px"><div style="{quiet};display:flex;flex-direction:column;'
            'justify-content:space-between;width:74px;margin-right:4px;text-align:right;white-space:nowrap">'
            "<span>{greatest}</span> <span>{least}</span></div>{image}</div>"
            '<div style="{quiet};display:flex;justify-content:space-between;font-size:11px;margin-left:78px">'
            "<span>{first}</span> <span>{last}</span></div>"
        ).format(quiet=QUIET, image=image, **{name: escape(number(end)) for name, end in ends._asdict().items()})
        if not alone:
            drawn += _names(curves)
    return '<div style="display:inline-block;vertical-align:top;margin:0 14px 6px 0">{}{}</div>'.format(head, drawn)


def _names(curves: Sequence[Curve]) -> str:
    # Under each name the line's colour: as the colour of the text it could not be read on every ground.
    return '<div style="font-size:11px;margin-left:78px;max-width:{}px">{}</div>'.format(
        picture.WIDTH,
        " ".join(
            '<span style="border-bottom:2px solid {};margin-right:6px">{}</span>'.format(
                picture.colour(at), escape(curve.name)
            )
            for at, curve in enumerate(curves)
        ),
    )
