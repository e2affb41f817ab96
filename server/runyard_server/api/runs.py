"""Routes of runs."""

import json
from dataclasses import replace
from typing import Annotated, Any, Literal

from fastapi import Query, Request
from fastapi.responses import JSONResponse

from runyard.errors import UserErrorException
from runyard.protocol.codec import to_json
from runyard.protocol.jobs import JobReport
from runyard.protocol.runs import InteractiveRunSpec, RunChanges, RunError, RunRecord, RunSpec
from runyard_server.api.context import caller, services
from runyard_server.routes import Routes
from runyard_server.services.runs import RunFilter

router = Routes()


@router.post("/runs")
def submit(spec: RunSpec, request: Request) -> Any:
    """Submits a run; it has an id from here on."""
    return JSONResponse(to_json(services(request).runs.submit(spec, caller(request))))


@router.post("/runs/check")
def check(spec: RunSpec, request: Request) -> Any:
    """A dry run: the spec as it would go ahead, and warnings; refused as a submission would be."""
    held = services(request)
    admitted = held.admission.check(spec)
    return to_json(replace(admitted, script=held.planning.script(admitted.spec)))


@router.post("/interactive-runs")
def start_interactive(spec: InteractiveRunSpec, request: Request) -> Any:
    """Makes a run whose process the caller itself is; answers the run and its token."""
    identity = request.state.identity
    if identity.role == "run" and spec.parent != identity.run_id:
        raise UserErrorException("A run's script makes child runs of its own run; this names another parent.")
    held = services(request)
    record = held.runs.start_interactive(spec, caller(request))
    return {"run": to_json(record), "token": held.tokens.for_run(record.id, identity.lease, by=identity)}


@router.get("/runs")
def list_runs(
    request: Request,
    experiment: str | None = None,
    status: str | None = None,
    type: str | None = None,
    target: str | None = None,
    parent: str | None = None,
    include_children: bool = False,
    tags: str | None = None,
    properties: str | None = None,
    before: str | None = None,
    id_part: str | None = None,
    metric: str | None = None,
    metric_value: Literal["last", "min", "max"] = "last",
    ascending: bool = False,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    view: Literal["active", "archived", "all"] = "active",
) -> Any:
    """Runs, newest first; ``before`` the id of a page's last run for the next page.

    ``metric``: only runs that logged numbers under that name, sorted by their last, smallest or greatest one,
    the greatest first or (``ascending``) the smallest; these come on one page.
    ``status``: one, or several with a comma between. ``id_part``: what the id begins or ends with.
    ``view``: archived runs are left out unless it says otherwise.
    ``tags`` and ``properties``: a JSON object of key to value, null for any value.
    """
    wanted = RunFilter(
        experiment=experiment,
        status=status,
        type=type,
        target=target,
        parent_id=parent,
        include_children=include_children,
        tags=_pairs(tags, "tags"),
        properties=_pairs(properties, "properties"),
        before=before,
        id_part=id_part,
        metric=metric,
        metric_value=metric_value,
        ascending=ascending,
        limit=limit,
        view=view,
    )
    if metric is not None and before is not None:
        raise UserErrorException("Runs sorted by a metric come on one page: leave out before, and raise limit.")
    return JSONResponse([to_json(record) for record in services(request).runs.list(wanted)])


@router.get("/runs/{run_id}")
def get(run_id: str, request: Request) -> Any:
    """One run."""
    return _record(request, services(request).runs.get(run_id))


@router.patch("/runs/{run_id}")
def change(run_id: str, changes: RunChanges, request: Request) -> Any:
    """Tags, properties, name, description, and whether it is archived."""
    return _record(request, services(request).runs.change(run_id, changes))


@router.delete("/runs/{run_id}")
def delete(run_id: str, request: Request, keep_models: bool = False, with_logged_models: bool = False) -> Any:
    """Deletes a run that has ended, and the runs below it; answers what is kept of them: that they were."""
    gone = services(request).deletion.delete(
        run_id, caller(request), keep_models, with_logged_models=with_logged_models
    )
    return [to_json(each) for each in gone]


@router.get("/deleted-runs")
def list_deleted(request: Request, before: str | None = None, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> Any:
    """Runs that were deleted, the last one first; ``before``: the last id of the page before."""
    return [to_json(gone) for gone in services(request).deletion.list(limit, before)]


@router.post("/runs/{run_id}/cancel")
def cancel(run_id: str, request: Request) -> Any:
    """Asks for the run's end."""
    return _record(request, services(request).runs.cancel(run_id, caller(request)))


@router.post("/runs/{run_id}/complete")
def complete(run_id: str, request: Request) -> Any:
    """Ends an interactive run well."""
    return _record(request, services(request).runs.complete(run_id, caller(request)))


@router.post("/runs/{run_id}/fail")
def fail(run_id: str, error: RunError, request: Request) -> Any:
    """Ends an interactive run badly."""
    return _record(request, services(request).runs.fail(run_id, error, caller(request)))


@router.post("/runs/{run_id}/rerun")
def rerun(run_id: str, request: Request, new_id: str | None = None) -> Any:
    """Submits the same again, as ``new_id`` where one is given: sent twice, it makes one run then."""
    return _record(request, services(request).runs.rerun(run_id, caller(request), new_id))


@router.post("/runs/{run_id}/children")
def submit_child(run_id: str, spec: RunSpec, request: Request) -> Any:
    """Submits a run below this one; answers it and its token. A script with its run's token submits no other runs."""
    held = services(request)
    identity = request.state.identity
    if identity.role == "run":
        held.given_files.check_child(run_id, spec)
    record = held.runs.submit(replace(spec, parent=run_id), caller(request))
    return JSONResponse({"run": to_json(record), "token": held.tokens.for_run(record.id, identity.lease, by=identity)})


@router.get("/runs/{run_id}/events")
def events(run_id: str, request: Request) -> Any:
    """The run's story."""
    return [to_json(event) for event in services(request).runs.events(run_id)]


@router.get("/runs/{run_id}/why")
def why(run_id: str, request: Request) -> Any:
    """What the run waits for, or how it ended: ``{"status", "since", "reason", "position"}``."""
    held = services(request)
    record = held.runs.get(run_id)
    said = {"status": record.status, "since": held.runs.events(run_id)[-1].at}
    decision = held.queue.why(record)
    if decision is not None:
        return {**said, "reason": decision.reason or "starts now", "position": decision.position}
    waits_for = held.runs.waits_for(record)
    return {**said, "reason": waits_for or record.message or record.reason or "", "position": 0}


@router.get("/runs/{run_id}/ranks")
def ranks(run_id: str, request: Request) -> Any:
    """Every process of the run: where it stands, and when its log last grew. An interactive run has none."""
    return [to_json(rank) for rank in services(request).ranks.list(run_id)]


@router.post("/runs/{run_id}/stacks")
def stacks(run_id: str, request: Request) -> Any:
    """Asks for the stack of every rank of a run that goes on.

    Within seconds they are logs of the run, ``azureml-logs/stacks/<name>/rank-<rank>.txt``, one for each of the
    answer's ``ranks``; such a log is whole once its last line is ``-- end of rank <rank> --``.
    """
    return to_json(services(request).ranks.ask_for_stacks(run_id))


@router.get("/runs/{run_id}/verify")
def verify(run_id: str, request: Request) -> Any:
    """The proof that what was written is what is stored."""
    held = services(request)
    held.runs.get(run_id)
    return held.verification.verify(run_id)


@router.post("/runs/{run_id}/report")
def report(run_id: str, said: JobReport, request: Request) -> Any:
    """A job's report; answers whether it is to stop."""
    held = services(request)
    reply = held.runs.report(run_id, said)
    return to_json(replace(reply, instance=held.instance, stacks=held.ranks.wanted_stacks(run_id)))


@router.post("/runs/{run_id}/heartbeat")
def heartbeat(run_id: str, request: Request) -> Any:
    """A sign of life of an interactive run's client."""
    return to_json(services(request).runs.heartbeat(run_id))


def _record(request: Request, record: RunRecord) -> Any:
    address = services(request).pages.run(record.id, request.state.identity)
    return JSONResponse({**to_json(record), "portal_url": address})


def _pairs(text: str | None, what: str) -> dict[str, str | None] | None:
    if text is None:
        return None
    try:
        said = json.loads(text)
    except ValueError as fault:
        raise UserErrorException(f"{what} must be a JSON object: {fault}.") from fault
    if not isinstance(said, dict) or not all(value is None or isinstance(value, str) for value in said.values()):
        raise UserErrorException(f"{what} must be a JSON object of texts (null for any value).")
    return said
