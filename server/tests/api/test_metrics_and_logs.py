"""The routes of metrics and logs, with the SDK's own shipper at the other end."""

import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from fastapi import FastAPI
from sqlalchemy import insert

from runyard.errors import OffsetGapError, PathRefusedError, UserErrorException
from runyard.shipping import Shipper
from runyard.spool import Spool
from runyard.transport.base import Answer, Body, Transport
from runyard_server.api import errors, logs, metrics
from runyard_server.api.roles import TABLE
from runyard_server.records.engine import Database
from runyard_server.records.tables import experiments, runs
from runyard_server.services.curves import CurveService
from runyard_server.services.hub import Hub
from runyard_server.services.logs import LogService
from runyard_server.services.metrics import MetricService
from runyard_server.services.pace import Pace
from runyard_server.services.reading import ReadingService
from runyard_server.testing.client import Client


class InMemory(Transport):
    """Carries requests straight into the application."""

    def __init__(self, app: FastAPI) -> None:
        self._client = Client(app, "http://server")

    def send(
        self,
        method: str,
        path: str,
        body: Body | None,
        headers: dict[str, str],
        stream: bool,
        timeout_s: float | None,
    ) -> Answer:
        assert body is None or isinstance(body, bytes)
        answer = self._client.request(method, path, content=body, headers=headers)
        return Answer(answer.status_code, dict(answer.headers), io.BytesIO(answer.content))


class NoFiles:
    """Of a run that has not ended: nothing is stored yet."""

    def sizes(self, run_id: str, below: Sequence[str]) -> list[tuple[str, int]]:
        return []

    def read(self, run_id: str, path: str, offset: int, limit: int) -> bytes:
        raise AssertionError("the log is live")


@pytest.fixture
def server(database: Database, tmp_path: Path) -> InMemory:
    with database.write() as connection:
        connection.execute(insert(experiments).values(id="e", name="e", created_at=0.0, tags={}, last_number=1))
        connection.execute(
            insert(runs).values(
                id="r1",
                experiment_id="e",
                number=1,
                type="azureml.scriptrun",
                status="Running",
                version=1,
                attempt=1,
                priority=0,
                created_at=0.0,
                warnings=[],
                tags={},
                properties={},
            )
        )
    app = FastAPI()
    errors.install(app)
    hub = Hub()
    stored = LogService(tmp_path / "stored", database, hub)
    app.state.services = SimpleNamespace(
        logs=stored,
        metrics=MetricService(database, hub, lambda *_: None),
        pace=Pace(hub),
        curves=CurveService(database),
        reading=ReadingService(stored, NoFiles()),
    )
    for module in (metrics, logs):
        app.router.routes.extend(module.router.below("/api/v1"))
    return InMemory(app)


def test_what_a_script_logs_comes_back_exactly_through_the_api(server: InMemory, tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir()
    spool = Spool(str(tmp_path / "spool"), "rank-0")
    values = [0.1, -0.0, math.nan, math.inf, -math.inf, 2**63 - 1, "text", True]
    for step, value in enumerate(values):
        spool.scalar("x", value, step)
        spool.scalar(f"x {step}", value)
    spool.entry("t", "azureml.v1.table", {"a": [1, None], "b": [math.nan, "é"]})
    spool.close()
    assert Shipper(server, "r1").drain(str(tmp_path), 60).complete
    answer = server.call("GET", "/runs/r1/metrics")
    assert answer["warnings"] == []
    assert [repr(answer["metrics"][f"x {step}"]) for step in range(len(values))] == [repr(value) for value in values]
    assert repr(answer["metrics"]["t"]) == repr({"a": [1, None], "b": [math.nan, "é"]})
    curve = server.call("GET", "/runs/r1/metrics/history", query={"name": "x"})
    assert (curve["steps"], repr(curve["values"])) == ([0, 1, 2, 3, 4, 5], repr(values[:6]))
    asked = {"run": ["r1"], "name": ["x", "x 2"], "width": 100, "from": -1, "to": 9}
    with server.request("GET", "/metrics/curves", query=asked) as reply:
        told = reply.whole()
    drawn, lone = json.loads(told, parse_constant=pytest.fail)["curves"]  # JSON that browsers read, too
    assert (drawn["axis"], drawn["xs"]) == ("step", [0, 1, 2, 3, 4, 5])
    assert drawn["values"] == [0.1, -0.0, "NaN", "Infinity", "-Infinity", 2**63 - 1]
    assert (lone["name"], lone["count"], lone["values"]) == ("x 2", 1, ["NaN"])
    page = server.call("GET", "/runs/r1/metrics/summaries", query={"search": "T", "limit": 1})
    assert (page["count"], page["next"], page["metrics"][0]["glance"]) == (1, None, "columns: a, b")


def test_a_broken_line_in_a_spool_does_not_keep_the_rest_from_arriving(
    server: InMemory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "spool").mkdir()
    good = [json.dumps(["s", "x", number, 1.0]).encode() for number in range(3)]
    content = b"\n".join([good[0], b'["s","x"["s"', good[1], b"garbage", good[2]]) + b"\n"
    (tmp_path / "spool" / "rank-0.metrics").write_bytes(content)
    shipper = Shipper(server, "r1")
    assert shipper.drain(str(tmp_path), 60).complete
    assert server.call("GET", "/runs/r1/metrics")["metrics"] == {"x": [0, 1, 2]}
    assert shipper.written == {"metrics/rank-0": len(content)}
    assert capsys.readouterr().err.count("is left out") == 2


def test_logs_grow_are_listed_and_read_in_parts_as_plain_text(server: InMemory, tmp_path: Path) -> None:
    log = tmp_path / "logs" / "azureml-logs" / "70 driver é.txt"
    log.parent.mkdir(parents=True)
    shipper = Shipper(server, "r1")
    for piece in (b"<script>\n", b"\xff\x00", b""):
        with log.open("ab") as file:
            file.write(piece)
        assert shipper.ship_once(str(tmp_path)).complete
    assert server.call("GET", "/runs/r1/logs") == [{"name": "azureml-logs/70 driver é.txt", "size": 11}]
    path = "/runs/r1/logs/azureml-logs/70%20driver%20%C3%A9.txt"
    with server.request("GET", path) as answer:
        assert answer.whole() == b"<script>\n\xff\x00"
        assert answer.headers["content-type"].startswith("text/plain")
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert server.request("GET", path, query={"offset": 1, "limit": 6}).whole() == b"script"


def test_a_gap_a_climbing_path_and_a_body_without_measure_are_refused(server: InMemory) -> None:
    with pytest.raises(OffsetGapError) as gap:
        server.request("PUT", "/runs/r1/logs/a.txt", query={"offset": 5}, body=b"x")
    assert gap.value.details == {"size": 0}
    with pytest.raises(OffsetGapError) as gap:
        server.request("POST", "/runs/r1/metrics", query={"writer": "w", "offset": 5}, body=b"x\n")
    assert gap.value.details == {"size": 0}
    with pytest.raises(PathRefusedError):
        server.request("PUT", "/runs/r1/logs/a/%2e%2e/%2e%2e/b", query={"offset": 0}, body=b"x")
    for method, path in (("PUT", "/runs/r1/logs/a.txt"), ("POST", "/runs/r1/metrics")):
        with pytest.raises(UserErrorException, match="Send it in parts"):
            server.request(method, path, query={"writer": "w", "offset": 0}, body=bytes((16 << 20) + 1))
        with pytest.raises(UserErrorException):
            server.request(method, path, query={"writer": "w", "offset": -1}, body=b"x\n")


def test_every_route_has_its_row_in_the_table_of_roles() -> None:
    for module in (metrics, logs):
        for route in module.router.routes:
            for method in route.methods:
                assert (method, "/api/v1" + route.path) in TABLE
