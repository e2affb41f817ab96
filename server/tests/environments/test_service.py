import asyncio
import hashlib
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import httpx
import pytest
from fastapi import FastAPI

from runyard.errors import EnvironmentException, UnknownEnvironmentError
from runyard.protocol.codec import from_json, to_json
from runyard.protocol.environments import (
    CachedEnvironment,
    EnvironmentLock,
    EnvironmentRecord,
    EnvironmentSpec,
    PrunedEnvironments,
)
from runyard.protocol.runs import RunRecord
from runyard.protocol.status import RunStatus
from runyard_server.api.environments import router
from runyard_server.api.roles import TABLE, Role
from runyard_server.environments.provision import Environments
from runyard_server.records import experiments, runs, tables
from runyard_server.services.environments import EnvironmentService, spec_digest
from runyard_server.testing.clock import FakeClock


class CountingEnvironments(Environments):
    """Counts how often a spec was resolved; what it resolves to says nothing."""

    resolved = 0

    def resolve(self, spec, log, cancel=None):
        self.resolved += 1
        log("Resolving")
        return EnvironmentLock(key=spec_digest(spec)[:40], python_version="3.11", requirements="", notes=["a note"])


def silent(_):
    pass


@pytest.fixture
def counting(root):
    return CountingEnvironments(root)


@pytest.fixture
def service(database, counting):
    return EnvironmentService(database, FakeClock(), counting)


SPEC = EnvironmentSpec(name="tf", pip_packages=["six"])


def test_the_first_registration_is_version_1(service):
    record = service.register(SPEC)
    assert (record.name, record.version, record.spec.pip_packages) == ("tf", "1", ["six"])
    assert record.created_at == FakeClock().now()
    assert service.get("tf") == record


def test_an_unchanged_environment_keeps_its_version(service):
    first = service.register(SPEC)
    assert service.register(SPEC) == first
    assert service.register(replace(SPEC, version="1")) == first
    assert len(service.versions("tf")) == 1


def test_a_changed_environment_gets_the_next_version_and_the_old_one_stays(service):
    first = service.register(SPEC)
    second = service.register(replace(SPEC, version="1", pip_packages=["six", "numpy"]))
    assert second.version == "2" and second.spec.version == "2"
    assert service.get("tf").version == "2"
    assert service.get("tf", "1") == first
    assert [record.version for record in service.versions("tf")] == ["1", "2"]


def test_variables_make_another_version_but_need_no_other_packages(service, counting):
    service.register(SPEC)
    changed = replace(SPEC, variables={"A": "b"})
    assert service.register(changed).version == "2"
    assert service.lock_for(SPEC, silent) == service.lock_for(changed, silent)
    assert counting.resolved == 1


def test_going_back_to_an_old_content_is_a_new_version(service):
    service.register(SPEC)
    service.register(replace(SPEC, pip_packages=["numpy"]))
    assert service.register(SPEC).version == "3"
    assert service.get("tf").spec.pip_packages == ["six"]


def test_versions_count_as_numbers(service):
    for index in range(11):
        service.register(replace(SPEC, pip_packages=[f"six=={index}"]))
    assert service.get("tf").version == "11"
    assert [record.version for record in service.versions("tf")][-3:] == ["9", "10", "11"]


def test_a_version_of_ones_own_is_kept(service):
    assert service.register(replace(SPEC, version="2019-08")).version == "2019-08"
    with pytest.raises(EnvironmentException, match="has a version '2019-08' with another content"):
        service.register(replace(SPEC, version="2019-08", pip_packages=["numpy"]))


def test_two_registrations_at_one_moment_get_two_versions(service):
    specs = [replace(SPEC, pip_packages=[f"six=={index}"]) for index in range(8)]
    with ThreadPoolExecutor(8) as pool:
        given = [record.version for record in pool.map(service.register, specs)]
    assert sorted(given, key=int) == [str(number) for number in range(1, 9)]


def test_the_list_has_the_newest_of_each_name(service):
    service.register(SPEC)
    service.register(replace(SPEC, pip_packages=["numpy"]))
    service.register(replace(SPEC, name="another"))
    assert [(record.name, record.version) for record in service.list()] == [("another", "1"), ("tf", "2")]


def test_an_unknown_name_is_refused_with_those_there_are(service):
    service.register(SPEC)
    with pytest.raises(UnknownEnvironmentError, match="No environment 'tx' is registered.*Registered: tf"):
        service.get("tx")


def test_an_unknown_version_is_refused_with_those_there_are(service):
    service.register(SPEC)
    with pytest.raises(UnknownEnvironmentError, match="'tf' has no version '7'. Versions: 1"):
        service.get("tf", "7")


@pytest.mark.parametrize(
    "spec",
    [
        EnvironmentSpec(name=None),
        EnvironmentSpec(name="a/b"),
        EnvironmentSpec(name="tf", version="../1"),
        EnvironmentSpec(name="tf", pip_packages=["numpy=1.2"]),
        EnvironmentSpec(name="tf", framework="tensorflow", framework_version="9.9"),
    ],
)
def test_what_could_never_be_used_is_not_registered(service, spec):
    with pytest.raises(EnvironmentException):
        service.register(spec)
    assert service.list() == []


def test_a_spec_is_resolved_once_in_a_workspace(service, counting, database):
    lines = []
    first = service.lock_for(SPEC, lines.append)
    assert lines == ["Resolving"]
    assert service.lock_for(replace(SPEC, name="other"), lines.append) == first
    another_server = EnvironmentService(database, FakeClock(), counting)
    assert another_server.lock_for(SPEC, lines.append) == first
    assert counting.resolved == 1
    assert lines == ["Resolving", "a note", "a note"]


def test_ten_runs_at_once_resolve_once(service, counting):
    with ThreadPoolExecutor(10) as pool:
        locks = list(pool.map(lambda _: service.lock_for(SPEC, silent), range(10)))
    assert counting.resolved == 1 and all(lock == locks[0] for lock in locks)


def test_different_specs_do_not_wait_for_each_other(service, root, database):
    both_here = threading.Barrier(2, timeout=30)

    class Meeting(CountingEnvironments):
        def resolve(self, spec, log, cancel=None):
            both_here.wait()
            return super().resolve(spec, log)

    service = EnvironmentService(database, FakeClock(), Meeting(root))
    with ThreadPoolExecutor(2) as pool:
        keys = list(
            pool.map(lambda name: service.lock_for(EnvironmentSpec(pip_packages=[name]), silent).key, ["a", "b"])
        )
    assert keys[0] != keys[1]


def test_the_order_of_packages_does_not_count_but_what_they_are_does():
    spec = EnvironmentSpec(pip_packages=["six", "numpy"])
    assert spec_digest(spec) == spec_digest(replace(spec, name="x", version="1", pip_packages=["numpy", " six"]))
    for other in (
        replace(spec, pip_packages=["six"]),
        replace(spec, python_version="3.9"),
        replace(spec, use_gpu=True),
        replace(spec, pip_options=["--pre"]),
        replace(spec, packages_as_of="2019-08-13"),
    ):
        assert spec_digest(spec) != spec_digest(other)


def test_what_was_locked_before_there_were_notebooks_keeps_its_lock():
    spec = EnvironmentSpec(pip_packages=["numpy"])
    assert spec_digest(spec) == "5327a70d53ea45eddb550cccaf6b7c45d0eff5ed52ba3fd3186f29097753c456"
    with_mpi = replace(spec, mpi=True)
    assert spec_digest(with_mpi) == "6a52e5bb2ac6b89e9d870c6dab2c33cfc6de31236d5a437ff7e1b650350bd79a"
    assert spec_digest(replace(spec, notebook=True)) not in (spec_digest(spec), spec_digest(with_mpi))


def test_a_spec_that_uses_nothing_that_came_later_has_the_digest_that_it_always_had():
    spec = EnvironmentSpec(pip_packages=["six"], python_version="3.11")
    assert spec_digest(spec) == "d21980433cf9703df74c5f3a5041f445371bb220547907de270bc818a37768c1"


def test_a_lock_is_found_by_its_key(service):
    lock = service.lock_for(SPEC, silent)
    assert service.lock_by_key(lock.key) == lock
    assert service.lock_by_key("0" * 40) is None


def test_an_environment_is_ready_after_it_was_prepared(database, environments, packages):
    service = EnvironmentService(database, FakeClock(), environments)
    spec = packages("alpha")
    assert service.ready(spec) is None
    prepared = service.prepare(spec, None, silent)
    assert service.ready(spec) == prepared
    assert service.ready(EnvironmentSpec(), prepared.key) == prepared
    assert service.interpreter(spec, prepared.key) == prepared


def test_an_earlier_runs_environment_is_prepared_by_its_key(database, environments, packages, root, tmp_path):
    service = EnvironmentService(database, FakeClock(), environments)
    key = service.prepare(packages("alpha==1.0"), None, silent).key
    elsewhere = EnvironmentService(database, FakeClock(), Environments(tmp_path / "elsewhere"))
    assert elsewhere.prepare(packages("alpha"), key, silent).key == key
    with pytest.raises(EnvironmentException, match="of the earlier run is not known"):
        elsewhere.prepare(packages("alpha"), "0" * 40, silent)


def test_an_environment_that_is_gone_is_refused_when_processes_are_to_start(service):
    with pytest.raises(EnvironmentException, match="no longer on this host"):
        service.interpreter(SPEC, "0" * 40)


class Client:
    """Sends requests to an application in memory."""

    def __init__(self, service):
        self.service = service
        self._app = FastAPI()
        self._app.router.routes.extend(router.below("/api/v1"))
        self._app.state.services = SimpleNamespace(environments=service)

    def call(self, method, path, body=None):
        async def once():
            transport = httpx.ASGITransport(app=self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://server/api/v1") as client:
                return await client.request(method, path, json=body)

        answer = asyncio.run(once())
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture
def client(database, environments):
    return Client(EnvironmentService(database, FakeClock(), environments))


def test_every_route_is_in_the_table_of_roles():
    routes = {(method, "/api/v1" + route.path) for route in router.routes for method in route.methods}
    assert routes and routes <= set(TABLE)


def test_a_jobs_token_reads_no_environments_since_their_options_may_hold_a_password():
    assert not any(Role.RUN in TABLE[key] or Role.VIEWER in TABLE[key] for key in TABLE if "/environments" in key[1])


def test_registered_environments_travel_over_the_api(client):
    record = from_json(EnvironmentRecord, client.call("POST", "/environments", to_json(SPEC)))
    assert (record.name, record.version) == ("tf", "1")
    client.call("POST", "/environments", to_json(replace(SPEC, pip_packages=["numpy"])))
    assert client.call("GET", "/environments")["environments"][0]["version"] == "2"
    assert from_json(EnvironmentRecord, client.call("GET", "/environments/tf?version=1")) == record
    assert len(client.call("GET", "/environments/tf/versions")["environments"]) == 2


def test_built_environments_are_listed_and_pruned_over_the_api(client, packages):
    key = client.service.prepare(packages("alpha"), None, silent).key
    (entry,) = client.call("GET", "/environment-cache")["environments"]
    assert from_json(CachedEnvironment, entry).key == key
    assert client.call("GET", f"/environment-cache/{key[:10]}")["requirements"] == ["alpha==2.0"]
    answer = client.call("POST", "/environment-cache/prune", {"unused_for_s": 60, "dry_run": True})
    assert from_json(PrunedEnvironments, answer).kept == {key: "it was used just now"}


def test_a_built_environment_that_no_key_begins_like_is_refused(client):
    with pytest.raises(UnknownEnvironmentError, match="'runyard env list' shows them"):
        client.service.cached_one("abc")


def test_prune_keeps_the_environments_of_runs_that_have_not_ended(database, environments, packages, root):
    service = EnvironmentService(database, FakeClock(), environments)
    key = service.prepare(packages("alpha"), None, silent).key
    os.utime(root / key / "used", (0, 0))
    with database.write() as connection:
        experiment = experiments.get_or_create(connection, "e", 0.0)
        run = RunRecord("r", 1, "e", "script", RunStatus.QUEUED, 0.0, version=1, environment_key=key)
        runs.add(connection, run, experiment.id)
    assert service.prune().kept == {key: "a run that has not ended needs it"}
    with database.write() as connection:
        connection.execute(tables.runs.update().values(status="Completed"))
    assert [entry.key for entry in service.prune().removed] == [key]


@pytest.mark.parametrize(
    ("spec", "is_new"),
    [
        (EnvironmentSpec(framework="tensorflow", framework_version="2.15", mpi=True), True),
        (EnvironmentSpec(pip_packages=["tensorflow", " Horovod==0.16.1"]), True),
        (EnvironmentSpec(framework="tensorflow", framework_version="2.15"), False),
        (EnvironmentSpec(framework="pytorch", mpi=True), False),
    ],
)
def test_a_lock_from_before_there_was_horovod_is_no_lock_for_who_gets_it(spec, is_new):
    content = to_json(replace(spec, name=None, version=None))
    for name in ("notebook", "packages_as_of", "conda_solver"):  # fields that came with Horovod or after it
        del content[name]
    for name in ("docker_wanted", "docker_shm_size", "docker_arguments"):
        del content[name]
    if not spec.mpi:
        del content["mpi"]
    earlier = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    assert (spec_digest(spec) != earlier) is is_new
