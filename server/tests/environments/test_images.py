"""Images of environments: what is refused before a run begins, and what an engine is told. No container is run here."""

from pathlib import Path

import pytest

from runyard.errors import EnvironmentException
from runyard.protocol.environments import EnvironmentLock, EnvironmentSpec
from runyard_server.environments.container_arguments import checked
from runyard_server.environments.container_engine import ContainerEngine, ContainerSettings
from runyard_server.environments.image_build import local_places
from runyard_server.environments.provision import Environments

IMAGE = EnvironmentSpec(docker_image="ubuntu:22.04", user_managed=True)


def environments(tmp_path: Path, **settings: str) -> Environments:
    return Environments(tmp_path / "environments", containers=ContainerSettings(**settings))


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    """An engine that says what it is told in the file beside it."""
    path = tmp_path / "podman"
    path.write_text('#!/bin/sh\n[ ! -e "$0.broken" ] || { echo "no daemon is running" >&2; exit 1; }\n')
    path.chmod(0o755)
    return path


def test_an_image_without_an_engine_is_refused_with_the_cure(tmp_path: Path) -> None:
    with pytest.raises(
        EnvironmentException, match="'ubuntu:22.04'.*no container engine.*Install podman.*leave the image"
    ):
        environments(tmp_path, engine="none").check(IMAGE)


def test_an_engine_whose_daemon_is_away_is_none_and_one_that_came_back_is_one(tmp_path: Path, engine: Path) -> None:
    broken = engine.with_name("podman.broken")
    broken.touch()
    with pytest.raises(EnvironmentException, match="does not work .no daemon is running"):
        environments(tmp_path, engine=str(engine)).check(IMAGE)
    broken.unlink()
    environments(tmp_path, engine=str(engine)).check(IMAGE)


def test_an_engine_that_is_removed_while_the_server_runs_is_missed(engine: Path) -> None:
    found = ContainerEngine(str(engine))
    assert found.absence == ""
    engine.unlink()
    assert "is not on its PATH" in found.absence


def test_other_machines_need_a_registry(tmp_path: Path, engine: Path) -> None:
    here = environments(tmp_path, engine=str(engine))
    with pytest.raises(EnvironmentException, match="RUNYARD_CONTAINER_REGISTRY=HOST"):
        here.check(IMAGE, elsewhere=True)
    environments(tmp_path, engine=str(engine), registry="registry.example").check(IMAGE, elsewhere=True)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (EnvironmentSpec(docker_image="--privileged"), "is no name of an image"),
        (EnvironmentSpec(docker_image="a b"), "is no name of an image"),
        (EnvironmentSpec(docker_image="a", mpi=True), "An MPI run cannot have a container image"),
        (EnvironmentSpec(docker_image="a", docker_shm_size="much"), "shm_size is 'much'"),
        (EnvironmentSpec(docker_image="a", docker_arguments=["--privileged"]), "nothing runs privileged"),
        (EnvironmentSpec(docker_image="a", framework="tensorflow", framework_version="0.1"), "0.1"),
    ],
)
def test_what_no_container_can_be_is_refused_at_once(
    tmp_path: Path, engine: Path, spec: EnvironmentSpec, said: str
) -> None:
    with pytest.raises(EnvironmentException, match=said):
        environments(tmp_path, engine=str(engine)).check(spec)


def test_arguments_come_with_their_values_in_one_word() -> None:
    assert checked(["-m", "2g", "--cpus=1.5", "--init", "--ulimit", "nofile=9"]) == [
        "--memory=2g",
        "--cpus=1.5",
        "--init",
        "--ulimit=nofile=9",
    ]


@pytest.mark.parametrize(
    "argument", ["--privileged", "-v", "--volume=/:/host", "--user=0", "--cap-add=ALL", "--security-opt", "--pid", "x"]
)
def test_arguments_that_open_the_host_are_refused(argument: str) -> None:
    with pytest.raises(EnvironmentException, match="cannot be among the arguments.*Allowed: --add-host"):
        checked([argument, "x"])


def test_an_argument_without_its_value_is_refused() -> None:
    with pytest.raises(EnvironmentException, match="lacks its value"):
        checked(["--memory"])


def test_a_container_that_is_asked_for_without_an_image_gets_the_servers_own(tmp_path: Path) -> None:
    wanted = EnvironmentSpec(docker_wanted=True)
    assert environments(tmp_path).with_default_image(wanted).docker_image is None
    served = environments(tmp_path, image="python:3.11-slim")
    assert served.with_default_image(wanted).docker_image == "python:3.11-slim"
    assert served.with_default_image(EnvironmentSpec()).docker_image is None
    assert served.with_default_image(EnvironmentSpec(docker_image="mine", docker_wanted=True)).docker_image == "mine"


def test_the_settings_come_from_the_environment_and_the_workspace() -> None:
    assert ContainerSettings.read({}, "registry.example/a/") == ContainerSettings(registry="registry.example/a")
    named = {"RUNYARD_CONTAINER_REGISTRY": "https://other:5000", "RUNYARD_CONTAINER_ENGINE": "/opt/podman"}
    assert ContainerSettings.read(named, "registry.example") == ContainerSettings("/opt/podman", "other:5000")
    with pytest.raises(ValueError, match="RUNYARD_CONTAINER_ENGINE is 'kubectl'. Allowed: podman, docker"):
        ContainerSettings.read({"RUNYARD_CONTAINER_ENGINE": "kubectl"})


def test_folders_that_packages_come_from_are_found_wherever_they_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = [tmp_path / name for name in ("wheels", "index", "more")]
    for place in places:
        place.mkdir()
    monkeypatch.setenv("UV_FIND_LINKS", f"{places[2]} https://host/not/here")
    options = [
        "--find-links",
        str(places[0]),
        f"--extra-index-url=file://{places[1]}",
        "--find-links",
        "/there/is/none",
    ]
    found = local_places(EnvironmentLock(key="k", python_version="3.11", requirements="", options=options))
    assert set(map(str, places)) <= set(found)
    assert "/there/is/none" not in found
