"""The routes of compute targets: what goes in and comes out as JSON."""

from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from runyard.errors import RunyardError
from runyard_server.api import computes
from runyard_server.api.roles import TABLE
from runyard_server.records.engine import Database
from runyard_server.services.computes import ComputeService
from runyard_server.testing.client import Client
from runyard_server.testing.clock import FakeClock


class Caller(Client):
    """Calls the routes of computes."""

    def send(self, method: str, path: str, body: Any = None) -> httpx.Response:
        return self.request(method, "/api/v1" + path, json=body)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.send(method, path, body)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture
def client(database: Database) -> Caller:
    app = FastAPI()
    app.router.routes.extend(computes.router.below("/api/v1"))
    service = ComputeService(database, FakeClock(), ["local"], lambda: 0, cpus=2)
    app.state.services = SimpleNamespace(computes=service)
    return Caller(app, "http://server", raises=True)


def test_a_target_is_made_read_changed_and_deleted(client: Caller) -> None:
    asked = {"name": "gpucluster", "vm_size": "STANDARD_NC6", "max_nodes": 4}
    made = client.call("POST", "/computes", asked)
    assert (made["spec"]["name"], made["spec"]["max_nodes"], made["gpus_per_node"]) == ("gpucluster", 4, 1)
    assert client.call("GET", "/computes/gpucluster") == made
    changed = client.call("PATCH", "/computes/gpucluster", {"max_nodes": 2})
    assert changed["spec"]["max_nodes"] == 2
    assert [item["spec"]["name"] for item in client.call("GET", "/computes")] == ["local", "gpucluster"]
    assert client.call("GET", "/computes/gpucluster/nodes") == []
    assert client.call("DELETE", "/computes/gpucluster") == {}
    with pytest.raises(RunyardError) as failure:
        client.send("GET", "/computes/gpucluster")
    assert (failure.value.code, failure.value.http_status) == ("unknown_compute", 404)


def test_the_sizes_are_listed(client: Caller) -> None:
    sizes = {size["name"]: size for size in client.call("GET", "/vm_sizes")}
    assert sizes["STANDARD_NC6"] == {"name": "STANDARD_NC6", "cpus": 6, "memory_gb": 56.0, "gpus": 1}


@pytest.mark.parametrize("body", [{}, {"name": "c", "max_nodes": "many"}, [], {"name": 5}])
def test_a_body_of_another_shape_is_not_let_in(client: Caller, body: object) -> None:
    assert client.send("POST", "/computes", body).status_code == 422


def test_every_route_says_who_may_call_it() -> None:
    for route in computes.router.routes:
        for method in route.methods:
            assert (method, f"/api/v1{route.path}") in TABLE
