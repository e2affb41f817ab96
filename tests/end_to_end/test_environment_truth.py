"""Many environments at once through real servers: only they have builds, jobs and scripts that could meet."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runyard import Environment, Experiment, Run, ScriptRunConfig, Workspace, embedded
from runyard_server.environments.provision import Environments
from runyard_server.testing.package_index import PackageIndex

COUNT = 20
SHARED = "".join(f"line_{number} = {number}\n" for number in range(2000))
# What the script finds: each package by what pip's records say, by what it is when imported, and its prefix.
LOOK = """
import importlib, importlib.metadata, json, sys
found = {d.metadata["Name"]: d.version for d in importlib.metadata.distributions()}
own = {name: importlib.import_module(name.replace("-", "_")).version for name in found if name != "shared"}
import shared
print(json.dumps({"found": found, "own": own, "lines": len([n for n in dir(shared) if n.startswith("line_")]),
                  "prefix": sys.prefix}))
"""


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PackageIndex]:
    """``own`` in as many versions as there are environments, ``shared`` that all of them have."""
    index = PackageIndex(tmp_path_factory.mktemp("index"))
    index.publish("shared", "1.0", content=SHARED)
    for number in range(COUNT):
        index.publish("own", f"1.{number}", ["shared"])
        index.publish(f"own-{number}", f"2.{number}", ["shared"])
    yield index
    index.stop()


@pytest.fixture
def environment(index: PackageIndex) -> Callable[[int], Environment]:
    """The environment of a number: a version of ``own`` and a package that no other environment has."""

    def environment(number: int) -> Environment:
        made = Environment(f"number-{number}")
        made.python.conda_dependencies.set_pip_requirements(
            [f"--index-url {index.url}", f"own==1.{number}", f"own-{number}"]
        )
        return made

    return environment


@pytest.fixture
def neighbour(runyard_home: Path) -> Iterator[Workspace]:
    """Another workspace of the same user: a server of its own over the same folder of environments."""
    opened = Workspace.create("environment-neighbour", exist_ok=True, show_output=False)
    yield opened
    assert opened.folder is not None
    embedded.stop(opened.folder)


def submit_to(workspace: Workspace, folder: Path, environment: Environment) -> Run:
    (folder / "train.py").write_text(LOOK)
    return Experiment(workspace, "truth").submit(ScriptRunConfig(str(folder), "train.py", environment=environment))


def test_twenty_runs_with_twenty_environments_at_once_get_each_its_own(
    workspace: Workspace,
    neighbour: Workspace,
    environment: Callable[[int], Environment],
    runyard_home: Path,
    tmp_path: Path,
    index: PackageIndex,
) -> None:
    index.refuse(503, 3, "/files/")  # one of many requests fails now and then
    runs = []
    for number in range(COUNT):
        runs.append((number, submit_to(workspace, tmp_path, environment(number))))
        if number % 4 == 0:  # two servers build the same one
            runs.append((number, submit_to(neighbour, tmp_path, environment(number))))
    keys: dict[int, set[str]] = {}
    for number, run in runs:
        run.wait_for_completion()
        said = json.loads(run._read_log("azureml-logs/70_driver_log.txt"))
        assert said["found"] == {"own": f"1.{number}", f"own-{number}": f"2.{number}", "shared": "1.0"}
        assert said["own"] == {"own": f"1.{number}", f"own-{number}": f"2.{number}"}
        assert said["lines"] == 2000
        key = run._refresh()["environment_key"]
        assert f"/{key}/1/venv" in said["prefix"], "it was built once, and the first build was good"
        keys.setdefault(number, set()).add(key)
    assert all(len(found) == 1 for found in keys.values()), "two servers come to the same lock"
    assert len({key for found in keys.values() for key in found}) == COUNT
    here = Environments(runyard_home / "environments")
    for found in keys.values():
        (key,) = found
        assert here.is_ready(key) is not None, "whole when all is done"
        assert sorted(path.name for path in (runyard_home / "environments" / key).iterdir()) == [
            "1",
            "ready.json",
            "requirements.txt",
            "used",
        ]
