"""What a person may do to a run from its page. Each button is a form of the page's own: no script is needed."""

from urllib.parse import quote

from fastapi import Request
from fastapi.responses import RedirectResponse

from runyard_server.routes import Routes
from runyard_server.ui.visits import Page, onward, services

router = Routes(route_class=Page)


@router.post("/runs/{run_id}/cancel")
def cancel(request: Request, run_id: str) -> RedirectResponse:
    """Asks for the run's end."""
    services(request).runs.cancel(run_id, request.state.caller)
    return onward(f"/runs/{quote(run_id, safe='')}")


@router.post("/runs/{run_id}/rerun")
def rerun(request: Request, run_id: str, new_id: str) -> RedirectResponse:
    """Submits the same again, as ``new_id``: a button that is pressed twice makes one run."""
    made = services(request).runs.rerun(run_id, request.state.caller, new_id)
    return onward(f"/runs/{quote(made.id, safe='')}")
