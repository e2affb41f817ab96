"""A workspace with a real server, a real executor and real processes: the whole system, as a person has it.

What only this can show is that the parts fit: client, server, job and script are processes of their own.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runyard import Environment, Experiment, ScriptRunConfig, Workspace, embedded
from runyard import home as places
from runyard.run import Run
from runyard_server.testing import ray_cluster as rays
from runyard_server.testing.container_host import ContainerHost, started_host
from runyard_server.testing.ray_cluster import RayCluster
from runyard_server.testing.ray_yard import RayYard
from runyard_server.testing.slurm_cluster import started_cluster
from runyard_server.testing.slurm_yard import SlurmYard
from tests.end_to_end.compile_horovod import wheel_cache
from tests.end_to_end.training_on_nodes import Trained, trained_here

ROOT = Path(__file__).parents[2]
_PATIENCE_S = 300.0  # with a run that was to come this far, on a machine that runs other tests too


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the tests last that share one Ray: from its start to the session's end its idle daemons use a fifth of a core."""
    items.sort(key=lambda item: "ray_cluster" in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def runyard_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """``~/.runyard`` of these tests; every server that was started in it is stopped at the end.

    Built environments are shared with the user's own cache of wheels, not with their environments. What is compiled
    stays in the user's cache folder: it takes minutes, and is the same for every home.
    """
    home = tmp_path_factory.mktemp("home")
    before = {name: os.environ.get(name) for name in ("RUNYARD_HOME", "RUNYARD_WHEELS")}
    os.environ["RUNYARD_HOME"] = str(home)
    os.environ.setdefault("RUNYARD_WHEELS", str(wheel_cache()))
    yield home
    for name in places.workspace_names():
        embedded.stop(places.workspace_folder(name))
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value


@pytest.fixture(scope="module")
def workspace(runyard_home: Path, request: pytest.FixtureRequest) -> Iterator[Workspace]:
    """A workspace of this module's own; its server is stopped afterwards."""
    name = request.module.__name__.rpartition(".")[2].replace("_", "-")[:33]
    opened = Workspace.create(name, exist_ok=True, show_output=False)
    yield opened
    assert opened.folder is not None
    embedded.stop(opened.folder)


@pytest.fixture(scope="session")
def this_python() -> Environment:
    """The interpreter of the tests as a user-managed environment: nothing is built."""
    environment = Environment("this-python")
    environment.python.user_managed_dependencies = True
    environment.python.interpreter_path = sys.executable
    return environment


@pytest.fixture
def submit(workspace: Workspace, this_python: Environment, tmp_path: Path) -> Callable[..., Run]:
    """Submits a script given as text: ``submit("print(1)", arguments=[...])``."""

    def submit(text: str, experiment: str = "tests", tags: dict[str, str] | None = None, **config: object) -> Run:
        source = tmp_path / f"source-{len(list(tmp_path.iterdir()))}"
        source.mkdir()
        (source / "train.py").write_text(text)
        config.setdefault("environment", this_python)
        return Experiment(workspace, experiment).submit(ScriptRunConfig(str(source), "train.py", **config), tags=tags)

    return submit


@pytest.fixture
def until() -> Callable[[Run, str], None]:
    """Follows a run until it has a status, or a log that holds a text; needs no sleeping."""

    def until(run: Run, wanted: str) -> None:
        from runyard.following import events

        stands: dict[str, str] = {}

        def give_up() -> None:  # with the run's end there is nothing more to follow
            try:
                stands.update(run.get_stacks())
            except Exception as fault:  # it may not be so far
                stands["nowhere"] = str(fault)
            run.cancel()

        impatience = threading.Timer(_PATIENCE_S, give_up)
        impatience.daemon = True
        impatience.start()
        seen: dict[str, str] = {}
        try:
            for kind, said in events(run, logs=True):
                if kind == "log":  # a line may come in pieces: an unbuffered print writes each of its words by itself
                    seen[said["name"]] = seen.get(said["name"], "") + said["text"]
                if wanted in seen.get(said["name"], "") if kind == "log" else said["status"] == wanted:
                    return
        finally:
            impatience.cancel()
        logs = [f"--- {name}\n{text[-2000:]}" for name, text in (seen | stands).items()]
        raise AssertionError("\n".join([f"{run.id} ended as {run.get_status()} without {wanted!r}", *logs]))

    return until


@pytest.fixture(scope="session")
def python37() -> str:
    """A Python 3.7 of this machine."""
    # The tests' own virtual environment must not be found instead of the one that is asked for.
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    folders = [folder for folder in (environment.get("PATH"), environment.get("RUNYARD_PYTHONS")) if folder]
    environment["PATH"] = os.pathsep.join(folders)
    command = [sys.executable, "-m", "uv", "python", "find", "3.7", "--no-python-downloads", "--no-project"]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if found.returncode != 0:
        pytest.skip("no Python 3.7 here. Put one on PATH, or its folder into RUNYARD_PYTHONS.")
    return found.stdout.strip()


@pytest.fixture(scope="session")
def mlflow_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Python that has MLflow and scikit-learn, with the pins of requirements/mlflow.txt."""
    return _python_with("mlflow", tmp_path_factory.mktemp("mlflow"))


@pytest.fixture(scope="session")
def tensorboard_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Python that has TensorBoard and a writer of its files, with the pins of requirements/tensorboard.txt."""
    return _python_with("tensorboard", tmp_path_factory.mktemp("tensorboard"))


def _python_with(pins: str, parent: Path) -> str:
    folder = parent / "venv"
    file = str(ROOT / "requirements" / f"{pins}.txt")
    for command in (
        ["venv", "--quiet", "--python", sys.executable, str(folder)],
        ["pip", "install", "--quiet", "--python", str(folder / "bin" / "python"), "--require-hashes", "-r", file],
    ):
        done = subprocess.run([sys.executable, "-m", "uv", *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return str(folder / "bin" / "python")


@pytest.fixture(scope="session")
def container_host() -> Iterator[ContainerHost]:
    """Podman with an image, and a registry, for the tests of this process."""
    with started_host() as host:
        yield host


@pytest.fixture(scope="module")
def slurm_yard(runyard_home: Path) -> Iterator[SlurmYard]:
    """A workspace on a Slurm cluster of this module's own; the module's tests stand in the cluster's network."""
    with started_cluster() as cluster, cluster.inside():
        yard = SlurmYard(cluster, "on-slurm")
        yield yard
        yard.close()


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[RayCluster]:
    """One Ray for all tests: a head and two nodes of two processors each, with a token. It takes a minute to start."""
    with rays.started_cluster() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def ray_yard(runyard_home: Path, ray_cluster: RayCluster) -> Iterator[RayYard]:
    """A workspace with that cluster attached; the module's tests stand in its network."""
    with ray_cluster.inside():
        yard = RayYard(ray_cluster, "on-ray")
        yield yard
        yard.close()


@pytest.fixture(scope="session")
def trained(runyard_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The article's run on this machine: what its runs on engines' nodes are compared with."""
    return trained_here(tmp_path_factory.mktemp("article"))


@pytest.fixture(scope="session")
def with_mpi(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with MPI that stands ready: from inside a cluster's network no package can be fetched."""
    folder = tmp_path_factory.mktemp("mpi") / "venv"
    uv = str(Path(sys.executable).with_name("uv"))
    python = str(folder / "bin" / "python")
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
    subprocess.run([uv, "pip", "install", "--quiet", "--python", python, "mpi4py==4.1.2", "mpich"], check=True)
    environment = Environment("with-mpi")
    environment.python.user_managed_dependencies = True
    environment.python.interpreter_path = python
    return environment
