"""The route of the table of runs."""

import json
from typing import Annotated, Any, Literal

from fastapi import Query, Request
from fastapi.responses import Response

from runyard.protocol.codec import to_json
from runyard_server.api.context import services
from runyard_server.routes import Routes
from runyard_server.services.run_table import TableRequest

router = Routes()


@router.get("/run-table")
def table(
    request: Request,
    filter: str = "",
    sort: str = "",
    column: Annotated[list[str] | None, Query()] = None,
    experiment: str | None = None,
    include_children: bool = False,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    view: Literal["active", "archived", "all"] = "active",
) -> Any:
    """A page of the runs that a filter holds for: ``status = Completed and metrics.loss < 0.1 and tags.team = "a"``.

    ``sort``: a field, as ``metrics.loss``, ``-started`` or ``max(metrics.accuracy) desc``; the newest first without one.
    ``column``: a field to tell of each run, once for each. ``after``: what the page before said is ``next``.
    ``view``: archived runs are left out unless it says otherwise.
    NaN and Infinity come as Python's json writes them.
    """
    asked = TableRequest(filter, sort, tuple(column or ()), experiment, None, include_children, after, limit, view)
    found = services(request).run_table.page(asked)
    said = {"runs": [to_json(run) for run in found.runs], "values": found.cells, "next": found.next}
    return Response(json.dumps(said, separators=(",", ":")), media_type="application/json")
