"""Compute targets: whose nodes are in use by whom, and who waits for them, since when and why."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from fastapi import Request
from fastapi.responses import HTMLResponse

from runyard.errors import UnknownRunError
from runyard.protocol.compute import ComputeNode, ComputeRecord
from runyard.protocol.runs import RunRecord
from runyard.protocol.status import RunStatus
from runyard_server.domain.placement import Decision
from runyard_server.routes import Routes
from runyard_server.services.container import Services
from runyard_server.services.runs import RunFilter
from runyard_server.ui import words
from runyard_server.ui.visits import Page, page, services

router = Routes(route_class=Page)

_GIVEN_ID = re.compile(r"[\w-]+_\d{9,}_[0-9a-f]{8}\b")  # an id that a submission was given
MOST_WAITING = 25  # of each target; all of them are a page of runs


@dataclass(frozen=True)
class Waiting:
    """A queued run: its place in the queue (0 in an engine's own), what it waits for, and since when."""

    run: RunRecord
    position: int
    reason: str
    since: float


@dataclass(frozen=True)
class Target:
    """A compute target as it is now. ``unused`` are the nodes that no run has."""

    record: ComputeRecord
    nodes: Sequence[tuple[ComputeNode, RunRecord]]
    unused: int
    waiting: Sequence[Waiting]
    more_waiting: bool


@router.get("/compute")
def compute(request: Request) -> HTMLResponse:
    """All compute targets."""
    held = services(request)
    return page(request, "compute.html", "compute", targets=[_look(held, record) for record in held.computes.list()])


def _look(held: Services, record: ComputeRecord) -> Target:
    name = record.spec.name
    nodes = [(node, held.runs.get(node.run_id)) for node in held.computes.nodes(name) if node.run_id]
    wanted = RunFilter(status=RunStatus.QUEUED.value, target=name, include_children=True, limit=MOST_WAITING + 1)
    queued = held.runs.list(wanted)
    shown = queued[:MOST_WAITING]
    waiting = [_waiting(held, run, said) for run, said in zip(shown, held.queue.why_each(shown), strict=True)]
    waiting.sort(key=lambda one: (one.position or MOST_WAITING, one.since))
    unused = max(0, record.spec.max_nodes - len(nodes))
    return Target(record, nodes, unused, waiting, len(queued) > MOST_WAITING)


def _waiting(held: Services, run: RunRecord, decision: Decision | None) -> Waiting:
    since = next(
        (event.at for event in reversed(held.runs.events(run.id)) if event.to_status is RunStatus.QUEUED), None
    )
    reason = (
        "starts now" if decision is None or decision.starts else _GIVEN_ID.sub(partial(_named, held), decision.reason)
    )
    return Waiting(run, decision.position if decision is not None else 0, reason, since or run.created_at)


def _named(held: Services, told: re.Match[str]) -> str:
    """What people call the run whose id a reason tells."""
    try:
        return words.run_name(held.runs.get(told[0]))
    except UnknownRunError:  # it has gone meanwhile
        return told[0]
