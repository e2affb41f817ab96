"""What a person may do to runs that are marked in the table, or to one from its page: archive, restore, tag, cancel, delete.

All of it is forms, so that no script is needed. What cannot be taken back is asked about on a page of its own.
"""

from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, Request
from fastapi.responses import Response

from runyard.errors import RunyardError, UserErrorException
from runyard.names import check_key
from runyard.protocol.runs import RunChanges
from runyard_server.routes import Routes
from runyard_server.ui.visits import Page, fields, onward, own_path, page, services

router = Routes(route_class=Page)

MOST = 500
MOST_FIELDS = 10_000  # of a form that is read: with more runs than are changed at once, it is told how many these are

Fields = dict[str, list[str]]


async def _said(request: Request) -> Fields:
    """What the form says; the runs of it, each once, are at least one.

    Raises:
        UserErrorException: no run is marked, or too many are.
    """
    said = await fields(request, MOST_FIELDS)
    said["run"] = list(dict.fromkeys(said.get("run", ())))
    if not said["run"]:
        raise UserErrorException("No run is marked. Mark some in the table of runs, then press the button once more.")
    if len(said["run"]) > MOST:
        raise UserErrorException(
            f"At most {MOST} runs are changed at once, not {len(said['run']):,}. Mark fewer; or let a retention rule, which "
            "takes a filter, archive or delete them."
        )
    return said


# The form is read before, so that the work itself stands in no other request's way.
Said = Annotated[Fields, Depends(_said)]


@router.post("/marked-runs/archive")
def archive(request: Request, said: Said, back: str = "") -> Response:
    """Hides them from lists. ``back``: where to go on."""
    return _each(request, said, back, "archived", _changes(request, RunChanges(archived=True)))


@router.post("/marked-runs/restore")
def restore(request: Request, said: Said, back: str = "") -> Response:
    """Brings them back into lists."""
    return _each(request, said, back, "restored", _changes(request, RunChanges(archived=False)))


@router.post("/marked-runs/tag")
def tag(request: Request, said: Said, back: str = "") -> Response:
    """Asks for a tag, then sets it or takes it off."""
    if "do" not in said:
        return _asked(request, said, back, "tag")
    key = check_key(_one(said, "key").strip())
    if _one(said, "do") == "remove":
        return _each(request, said, back, "changed", _changes(request, RunChanges(remove_tags=[key])))
    return _each(request, said, back, "tagged", _changes(request, RunChanges(tags={key: _one(said, "value").strip()})))


@router.post("/marked-runs/cancel")
def cancel(request: Request, said: Said, back: str = "") -> Response:
    """Asks whether it is meant, then asks for their ends."""
    if "sure" not in said:
        return _asked(request, said, back, "cancel")
    held, by = services(request), request.state.caller
    return _each(request, said, back, "asked to end", lambda run_id: held.runs.cancel(run_id, by))


@router.post("/marked-runs/delete")
def delete(request: Request, said: Said, back: str = "") -> Response:
    """Asks whether it is meant, then deletes them with the runs below them."""
    if "sure" not in said:
        return _asked(request, said, back, "delete")
    held, by = services(request), request.state.caller

    def remove(run_id: str) -> None:
        if not held.runs.was_deleted(run_id):  # else it stood below another one of them
            held.deletion.delete(run_id, by, "keep_models" in said, with_logged_models="with_logged_models" in said)

    return _each(request, said, back, "deleted", remove)


def _one(said: Fields, name: str) -> str:
    return said.get(name, [""])[0]


def _changes(request: Request, changes: RunChanges) -> Callable[[str], object]:
    held = services(request)
    return lambda run_id: held.runs.change(run_id, changes)


def _asked(request: Request, said: Fields, back: str, what: str) -> Response:
    """The page that asks before something is done."""
    runs = services(request).runs.get_all(said["run"]).values()
    return page(request, "marked.html", "runs", what=what, runs=list(runs), back=own_path(back, "/runs"))


def _each(request: Request, said: Fields, back: str, done: str, act: Callable[[str], object]) -> Response:
    """Does something to each run; those to which it could not be done are told with the reason, and stop no other one."""
    refused: list[tuple[str, str]] = []
    for run_id in said["run"]:
        try:
            act(run_id)
        except RunyardError as fault:
            refused.append((run_id, fault.message))
    back = own_path(back, "/runs")
    if not refused:
        return onward(back)
    count = len(said["run"]) - len(refused)
    shown = page(request, "refused.html", "runs", done=done, count=count, refused=refused, back=back)
    shown.status_code = 409
    return shown
