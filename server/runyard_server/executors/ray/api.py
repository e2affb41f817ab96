"""Ray's REST API: how it is asked, and what it answers as values. Ray itself is never imported."""

import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any
from urllib.parse import quote

from runyard.errors import ComputeTargetException
from runyard_server.executors.base import EngineAwayError, StartFailedError

_TIMEOUT_S = 20.0
_SHOWN_BYTES = 2000
# A line of a node's resources as Ray writes them for people: "2.0/4.0 CPU (0.0 used of 2.0 reserved in placement groups)".
_USED = re.compile(r"([\d.]+)\w*/[\d.]+\w* (\S+)(?: \([\d.]+\w* used of ([\d.]+)\w* reserved)?")


@dataclass(frozen=True)
class Job:
    """A job as Ray shows it.

    Attributes:
        status: Ray's word.
        message: Ray's sentence; of a job that has failed with the end of what it printed.
        error_type: Ray's word for what went wrong; "" where nothing did.
        exit_code: of its entrypoint, negative for a signal; None where it is not known.
        metadata: what was said of it when it was submitted.
    """

    status: str
    message: str = ""
    error_type: str = ""
    exit_code: int | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Node:
    """A node that Ray believes to live. ``used``: of its resources, by Ray's names."""

    id: str
    address: str
    is_head: bool
    total: Mapping[str, float]
    used: Mapping[str, float]


@dataclass(frozen=True)
class Cluster:
    """A cluster's nodes.

    Attributes:
        preparing: how many are asked for by its autoscaler and not here yet.
        waiting: where the autoscaler does not tell that: for what Ray's jobs and groups wait, node by node.
        scales: it has an autoscaler.
    """

    nodes: tuple[Node, ...]
    preparing: int = 0
    scales: bool = False
    waiting: tuple[Mapping[str, float], ...] = ()


class RayApi:
    """Asks one cluster. ``calls`` counts how often.

    Args:
        address: of its dashboard, as ``clean_address`` gives it.
        token: asked at each call; "" where the cluster needs none.
    """

    def __init__(self, address: str, token: Callable[[], str]) -> None:
        self.calls = 0
        self._address = address
        self._token = token

    def version(self) -> str:
        """Ray's version.

        Raises:
            EngineAwayError: as all of them, where Ray does not answer, or does not let us in.
        """
        answer = self._json("GET", "/api/version")
        return str(answer["ray_version"])

    def jobs(self) -> dict[str, Job]:
        """All jobs that were submitted to the cluster, by submission id: one look, however many there are."""
        found = self._json("GET", "/api/jobs/")
        return {str(each["submission_id"]): _job(each) for each in found if each.get("submission_id")}

    def job(self, submission_id: str) -> Job | None:
        """One job; None if Ray does not know it."""
        status, text = self._call("GET", f"/api/jobs/{quote(submission_id, safe='')}")
        if status == 404:
            return None
        return _job(_parsed(self._good(status, text)))

    def submit(self, submission: Mapping[str, Any]) -> None:
        """Submits a job under an id of ours.

        Raises:
            StartFailedError: Ray refuses it.
        """
        status, text = self._call("POST", "/api/jobs/", submission)
        if status == 200:
            return
        if status in (401, 403, 502, 503, 504):
            self._good(status, text)
        raise StartFailedError(f"Ray refused the job: {_last_line(text) or f'HTTP {status}'}")

    def stop(self, submission_id: str) -> None:
        """Ends a job: SIGTERM, and SIGKILL after three seconds. Harmless for one that is over, or not there."""
        status, text = self._call("POST", f"/api/jobs/{quote(submission_id, safe='')}/stop")
        if status != 404:
            self._good(status, text)

    def forget(self, submission_id: str) -> None:
        """Takes a job that is over out of Ray's list, so that its id is free. Harmless where it is not there."""
        status, text = self._call("DELETE", f"/api/jobs/{quote(submission_id, safe='')}")
        if status not in (404, 500):  # 500: it is not over, or another one was quicker
            self._good(status, text)

    def cluster(self) -> Cluster:
        """The nodes that are here."""
        listed = self._json("GET", "/api/v0/nodes?detail=1&limit=10000")
        state = self._json("GET", "/api/cluster_status").get("data", {}).get("clusterStatus") or {}
        usage = (state.get("loadMetricsReport") or {}).get("usageByNode") or {}
        report = state.get("autoscalerReport") or {}
        waiting: tuple[Mapping[str, float], ...] = ()
        if not report:  # Ray's second autoscaler tells nothing here
            usage, waiting = self._shown_use(), self._waiting()
        nodes = []
        for each in listed["data"]["result"]["result"]:
            if each["state"] != "ALIVE":
                continue
            used = {name: pair[0] for name, pair in (usage.get(each["node_id"]) or {}).items()}
            nodes.append(
                Node(each["node_id"], each["node_ip"], bool(each["is_head_node"]), each["resources_total"] or {}, used)
            )
        launching = sum(int(count) for count in (report.get("pendingLaunches") or {}).values())
        return Cluster(tuple(nodes), launching + len(report.get("pendingNodes") or []), _scales(report), waiting)

    def _shown_use(self) -> dict[str, dict[str, list[float]]]:
        """What is taken of each node, by its id, as Ray's page of nodes shows it."""
        shown = self._json("GET", "/nodes?view=summary").get("data", {}).get("nodeLogicalResources") or {}
        return {node: _used(text) for node, text in shown.items()}

    def _waiting(self) -> tuple[Mapping[str, float], ...]:
        """What each node is to have that a placement group or a process of Ray's waits for."""
        groups = self._state("placement_groups", "PENDING")
        actors = self._state("actors", "PENDING_CREATION")
        asked = [part.get("unit_resources") or {} for group in groups for part in group.get("bundles") or []]
        placed = ("placement_group_id", "pid")  # one of a group's, or one that has its node and is starting there
        asked += [
            actor.get("required_resources") or {} for actor in actors if not any(actor.get(key) for key in placed)
        ]
        return tuple(each for each in asked if each)

    def _state(self, kind: str, state: str) -> list[Any]:
        wanted = f"detail=1&limit=10000&filter_keys=state&filter_predicates=%3D&filter_values={state}"
        return list(self._json("GET", f"/api/v0/{kind}?{wanted}")["data"]["result"]["result"])

    def _json(self, method: str, path: str) -> Any:
        return _parsed(self._good(*self._call(method, path)))

    def _good(self, status: int, text: str) -> str:
        if status in (401, 403):
            what = "wants a token" if status == 401 else "does not take this token"
            raise EngineAwayError(f"Ray at {self._address} {what}: attach the compute target again with token=....")
        if status != 200:
            raise EngineAwayError(f"Ray at {self._address} answers HTTP {status}: {_last_line(text)}")
        return text

    def _call(self, method: str, path: str, body: Any = None) -> tuple[int, str]:
        self.calls += 1
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._address + path, data, method=method)
        request.add_header("Accept", "application/json")
        if data is not None:
            request.add_header("Content-Type", "application/json")
        token = self._token()
        if token:
            request.add_unredirected_header("Authorization", f"Bearer {token}")
        try:
            with _OPENER.open(request, timeout=_TIMEOUT_S) as answer:
                return answer.status, answer.read().decode("utf-8", "replace")
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, refused.read(1 << 20).decode("utf-8", "replace")
        except (OSError, HTTPException) as fault:
            why = getattr(fault, "reason", fault)
            raise EngineAwayError(f"Ray at {self._address} does not answer: {why}") from fault


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """What answers with another address is no Ray: the token is shown to nobody else."""

    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirects())


def clean_address(address: str) -> str:
    """A dashboard's address as it is stored: ``http://head:8265``.

    Raises:
        ComputeTargetException: it is none.
    """
    text = address.strip()
    if "://" not in text:
        text = f"http://{text}"
    parts = urllib.parse.urlsplit(text)
    try:
        port = parts.port
    except ValueError:
        port = -1
    if parts.scheme not in ("http", "https") or not parts.hostname or port == -1 or parts.username or parts.query:
        raise ComputeTargetException(
            f"address is that of the Ray cluster's dashboard, such as 'http://head:8265'; this is {address!r}."
        )
    if port is None and parts.scheme == "http" and not parts.path.strip("/"):
        text = f"http://{parts.netloc}:8265"
    return text.rstrip("/")


def _job(answer: Mapping[str, Any]) -> Job:
    return Job(
        status=str(answer.get("status") or ""),
        message=str(answer.get("message") or ""),
        error_type=str(answer.get("error_type") or ""),
        exit_code=answer.get("driver_exit_code"),
        metadata=answer.get("metadata") or {},
    )


def _scales(report: Mapping[str, Any]) -> bool:
    """Whether an autoscaler may stand behind the cluster.

    One that only looks on names each node as a type of its own. Ray's second autoscaler reports nothing here: whoever
    says nothing may bring nodes.
    """
    if not report:
        return True
    types = report.get("nodeTypeMapping")
    if types is None:
        return not report.get("legacy", False)
    return any(str(kind) != f"node_{node}" for node, kind in types.items())


def _used(text: str) -> dict[str, list[float]]:
    """What is used or kept of each resource, by its name, in the lines of one node."""
    found = {}
    for line in text.splitlines():
        read = _USED.match(line)
        if read is not None:
            used, name, kept = read.groups()
            found[name] = [max(float(used), float(kept or 0))]
    return found


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as fault:
        raise EngineAwayError(f"This is no answer of Ray's: {text[:100]!r}. Is the address its dashboard's?") from fault


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text[-_SHOWN_BYTES:].splitlines() if line.strip()]
    return lines[-1] if lines else ""
