"""Builds that somebody asked for before a run did: what they say, how they end, and that a server forgets old ones."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runyard.errors import EnvironmentException, UnknownEnvironmentError
from runyard.protocol.environments import EnvironmentSpec
from runyard_server.environments.provision import Environments
from runyard_server.records.engine import Database
from runyard_server.services.environment_builds import REMEMBERED, EnvironmentBuildService
from runyard_server.services.environments import EnvironmentService
from runyard_server.testing.clock import FakeClock
from runyard_server.testing.wheels import make_wheel

HERE = EnvironmentSpec(user_managed=True, interpreter=sys.executable)


@pytest.fixture
def environments(database: Database, tmp_path: Path) -> EnvironmentService:
    return EnvironmentService(database, FakeClock(), Environments(tmp_path / "environments"))


def test_a_build_is_queued_then_done_and_says_what_it_did(environments: EnvironmentService, tmp_path: Path) -> None:
    make_wheel(tmp_path, "alpha", "1.0")
    spec = EnvironmentSpec(pip_packages=["alpha"], pip_options=["--no-index", f"--find-links {tmp_path}"])
    waiting: list[Callable[[], None]] = []
    builds = EnvironmentBuildService(environments, waiting.append)

    begun = builds.start(spec)
    assert (begun.status, begun.log, begun.key) == ("Queued", "", None)
    waiting.pop()()
    ended = builds.get(begun.id)

    assert ended.status == "Succeeded", ended.log
    assert "The environment is ready: " in ended.log
    assert ended.size == len(ended.log)
    assert builds.get(begun.id, ended.size).log == ""
    ready = environments.ready(spec)
    assert ready is not None and ready.key == ended.key, "the first run finds it there"


def test_a_build_that_fails_says_why(environments: EnvironmentService) -> None:
    builds = EnvironmentBuildService(environments, lambda work: work())
    spec = EnvironmentSpec(pip_packages=["no-such-package-anywhere"], pip_options=["--no-index"])
    failed = builds.start(spec)
    assert failed.status == "Failed"
    assert "no-such-package-anywhere" in failed.log


def test_what_could_never_be_built_is_refused_at_once(environments: EnvironmentService) -> None:
    builds = EnvironmentBuildService(environments, lambda work: work())
    with pytest.raises(EnvironmentException, match="cannot be read"):
        builds.start(EnvironmentSpec(pip_packages=["what is this?"]))


def test_old_builds_are_forgotten_and_others_are_not_known(environments: EnvironmentService) -> None:
    builds = EnvironmentBuildService(environments, lambda work: work())
    first, *_, last = [builds.start(HERE).id for _ in range(REMEMBERED + 1)]
    assert builds.get(last).status == "Succeeded"
    with pytest.raises(UnknownEnvironmentError, match="Build the environment again"):
        builds.get(first)
