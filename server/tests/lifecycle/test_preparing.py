"""Preparing: an environment is built once for all that wait for it, and each has its log."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runyard.errors import EnvironmentException
from runyard.protocol.environments import EnvironmentLock, EnvironmentSpec
from runyard.protocol.status import Reason, RunStatus
from runyard_server.environments.provision import Environments, ReadyEnvironment
from runyard_server.lifecycle.preparing import LOG
from runyard_server.testing.yard import Yard

SPEC = EnvironmentSpec(pip_packages=["six"])


class HeldEnvironments(Environments):
    """Builds nothing, and not before it is told to; the package index and uv are outside."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.may_end = threading.Event()
        self.has_begun = threading.Event()
        self.trouble: Exception | None = None
        self.built: list[str] = []
        self.warnings: list[str] = []

    def resolve(self, spec, log, cancel=None):  # type: ignore[no-untyped-def]
        log("Resolving six")
        return EnvironmentLock(key="k" * 40, python_version="3.11", requirements="six==1.0\n", warnings=self.warnings)

    def ensure(self, lock, log, cancel=None):  # type: ignore[no-untyped-def]
        log("Building")
        self.has_begun.set()
        assert self.may_end.wait(30)
        if self.trouble is not None:
            raise self.trouble
        self.built.append(lock.key)
        log("Ready")
        return self._found(lock.key)

    def is_ready(self, key: str) -> ReadyEnvironment | None:
        return self._found(key) if key in self.built else None

    def locate(self, key: str) -> ReadyEnvironment | None:
        return self.is_ready(key)

    def _found(self, key: str) -> ReadyEnvironment:
        return ReadyEnvironment(key, Path("/env/bin/python"), Path("/env"), "3.11.0")


@pytest.fixture
def environments(tmp_path: Path) -> Iterator[HeldEnvironments]:
    held = HeldEnvironments(tmp_path / "environments")
    yield held
    held.may_end.set()


@pytest.fixture
def yard(make_yard: Callable[..., Yard], environments: HeldEnvironments) -> Yard:
    return make_yard(environments=environments)


def built(yard: Yard, environments: HeldEnvironments) -> None:
    """The build ends, and the lifecycle looks."""
    environments.may_end.set()
    assert yard.server.woken.wait(30)
    yard.server.woken.clear()
    yard.server.lifecycle.step()


def log_of(yard: Yard, run_id: str) -> str:
    return yard.server.logs.read(run_id, LOG).decode()


def test_a_run_waits_for_its_environment_then_queues_with_its_key(yard: Yard, environments: HeldEnvironments) -> None:
    run_id = yard.submit(environment=SPEC)
    yard.looks(3)
    assert environments.has_begun.wait(30)
    assert yard.run(run_id).status is RunStatus.PREPARING
    assert log_of(yard, run_id) == "Resolving six\nBuilding\n"  # read while it is built
    built(yard, environments)
    run = yard.run(run_id)
    assert yard.reasons(run_id) == ["submitted", "accepted", "environment_ready", "nodes_started"]
    assert run.environment_key == "k" * 40
    assert log_of(yard, run_id) == "Resolving six\nBuilding\nReady\n"
    assert yard.engine.jobs[0].assignment.python == "/env/bin/python"


def test_it_is_built_once_for_all_that_wait_and_each_log_tells_all_of_it(
    yard: Yard, environments: HeldEnvironments
) -> None:
    first = yard.submit(environment=SPEC)
    yard.looks(2)
    second = yard.submit(environment=SPEC)
    yard.looks(2)
    built(yard, environments)
    assert environments.built == ["k" * 40]
    assert log_of(yard, first) == log_of(yard, second) == "Resolving six\nBuilding\nReady\n"
    assert yard.run(first).status is yard.run(second).status is RunStatus.RUNNING


def test_what_its_environment_is_not_as_asked_for_stands_on_each_run_in_it(
    yard: Yard, environments: HeldEnvironments
) -> None:
    environments.warnings = ["1.13.1 is installed instead"]
    first = yard.submit(environment=SPEC)
    yard.looks(3)
    built(yard, environments)
    second = yard.submit(environment=SPEC)  # nothing is built for this one
    yard.looks(3)
    assert [yard.run(run_id).warnings for run_id in (first, second)] == [["1.13.1 is installed instead"]] * 2


def test_a_build_that_fails_fails_its_run_in_the_builders_words(yard: Yard, environments: HeldEnvironments) -> None:
    environments.trouble = EnvironmentException("no wheel of six fits this Python: ask for six<2")
    run_id = yard.submit(environment=SPEC)
    yard.looks(1)
    built(yard, environments)
    run = yard.run(run_id)
    assert (run.status, run.reason) == (RunStatus.FAILED, Reason.ENVIRONMENT_FAILED)
    assert run.error is not None and run.error.message == "no wheel of six fits this Python: ask for six<2"
    kept = yard.server.files.open(run_id, LOG).location.read_text()
    assert kept.endswith("\nno wheel of six fits this Python: ask for six<2\n")


def test_a_run_cancelled_while_it_is_built_ends_and_its_log_is_written_no_more(
    yard: Yard, environments: HeldEnvironments
) -> None:
    run_id = yard.submit(environment=SPEC)
    yard.looks(1)
    yard.server.runs.cancel(run_id, "bea")
    yard.looks(1)
    assert yard.reasons(run_id)[-2:] == ["cancel_asked", "canceled"]
    built(yard, environments)
    assert yard.server.logs.list(run_id) == []


def test_a_server_that_dies_while_it_builds_is_followed_by_one_that_builds_anew(
    yard: Yard, environments: HeldEnvironments
) -> None:
    run_id = yard.submit(environment=SPEC)
    yard.looks(1)
    yard.restart()
    yard.looks(1)
    built(yard, environments)
    assert yard.run(run_id).status is RunStatus.RUNNING
    assert yard.reasons(run_id) == ["submitted", "accepted", "environment_ready", "nodes_started"]


def test_an_interpreter_of_the_users_own_that_is_gone_fails_the_run(yard: Yard, tmp_path: Path) -> None:
    interpreter = tmp_path / "python"
    interpreter.symlink_to(Path("/usr/bin/env").resolve())
    interpreter.unlink()
    import sys

    interpreter.symlink_to(sys.executable)
    run_id = yard.submit(environment=EnvironmentSpec(user_managed=True, interpreter=str(interpreter)))
    interpreter.unlink()
    yard.server.lifecycle.step()
    run = yard.run(run_id)
    assert run.status is RunStatus.FAILED
    assert run.error is not None and str(interpreter) in run.error.message
