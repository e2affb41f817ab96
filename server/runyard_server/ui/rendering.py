"""Templates to answers: everything from outside is escaped, and a page may load nothing but our own files."""

from functools import cache
from typing import TYPE_CHECKING, Any

from fastapi.responses import HTMLResponse

from runyard.protocol.status import RunStatus
from runyard_server.ui import words

if TYPE_CHECKING:
    from jinja2 import Environment

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    # Without any, a browser would not say of our own forms that they come from here. Other sites hear nothing.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "private, no-store",
}


def render(template: str, values: dict[str, Any], http_status: int = 200) -> HTMLResponse:
    """The page that a template makes of ``values``."""
    return HTMLResponse(_environment().get_template(template).render(values), http_status, HEADERS)


def notice(code: int, title: str, message: str, again: bool = False, workspace: str | None = None) -> HTMLResponse:
    """A page that says why there is no other.

    Args:
        again: offers to open the same address again.
        workspace: its name; None towards whoever may not know it.
    """
    known = {"code": code, "title": title, "message": message, "again": again}
    return render("notice.html", {**known, "workspace": workspace, "section": ""}, code)


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined  # a server that shows no page need not load it

    environment = Environment(
        loader=PackageLoader("runyard_server.ui"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for word in (
        words.number,
        words.size,
        words.duration,
        words.utc,
        words.iso,
        words.spaced,
        words.run_name,
        words.does,
    ):
        environment.filters[word.__name__] = word
    environment.filters["counted"] = words.count
    environment.tests["terminal"] = lambda status: RunStatus(status).is_terminal
    return environment
