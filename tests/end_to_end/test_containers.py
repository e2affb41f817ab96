"""Runs in containers: an image is made once, found again, and a script in it is as free and as mortal as outside."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from runyard import Environment, Run, Workspace
from runyard.job.processes import processes_of, variable_in
from runyard.runconfig import DockerConfiguration, PyTorchConfiguration
from runyard_server.testing import left_behind
from runyard_server.testing.container_host import BASE, ContainerHost
from runyard_server.testing.wheels import make_wheel
from tests.end_to_end.in_an_image import in_an_image
from tests.end_to_end.meeting import MEETING

pytestmark = pytest.mark.containers

Submit = Callable[..., Run]
Until = Callable[[Run, str], None]

BUILD_LOG = "azureml-logs/20_image_build_log.txt"
DRIVER_LOG = "azureml-logs/70_driver_log.txt"


@pytest.fixture(scope="module", autouse=True)
def containers(container_host: ContainerHost) -> Iterator[ContainerHost]:
    """What the module's server is started with."""
    with container_host.used():
        yield container_host


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    make_wheel(folder, "alpha", "1.0")
    make_wheel(folder, "alpha", "2.0")
    return folder


@pytest.fixture
def packages(wheels: Path) -> Callable[..., Environment]:
    """An environment with these pip packages, from the folder alone, in the base image."""
    return partial(in_an_image, wheels)


@pytest.fixture(scope="module")
def as_it_is() -> Environment:
    """The base image, taken as it is."""
    return Environment.from_docker_image("as-it-is", BASE)


def said(run: Run) -> str:
    run.wait_for_completion()
    return run._read_log(DRIVER_LOG).strip()


def ended(run: Run) -> dict[str, object]:
    run.wait_for_completion(raise_on_error=False)
    return dict(run._refresh())


def key_of(run: Run) -> str:
    return str(run._refresh()["environment_key"])


WHERE = """
import alpha, os, sys
from runyard import Run
run = Run.get_context()
run.log("loss", 0.5)
os.makedirs("outputs", exist_ok=True)
open("outputs/model.txt", "w").write("weights")
print(alpha.version, sys.prefix, os.getuid(), os.path.exists("/etc/debian_version"), sys.argv[1])
"""


def test_an_image_is_made_of_base_and_lock_and_the_next_run_finds_it(
    submit: Submit, packages: Callable[..., Environment], containers: ContainerHost
) -> None:
    first = submit(WHERE, environment=packages("alpha==1.0"), arguments=["a 'b'"])
    assert said(first) == f"1.0 /runyard/env {os.getuid()} False a 'b'"
    assert first.get_metrics() == {"loss": 0.5}
    assert "outputs/model.txt" in first.get_file_names()
    assert first.verify()["ok"]
    log = first._read_log(BUILD_LOG)
    assert "Building the image" in log
    assert "alpha==1.0" in log
    assert key_of(first) in containers.tags()
    second = submit(WHERE, environment=packages("alpha==1.0"), arguments=["a 'b'"])
    assert said(second) == said(first)
    assert key_of(second) == key_of(first)
    assert BUILD_LOG not in second.get_file_names()
    for run in (first, second):
        until_gone(containers, run)


def test_a_host_that_lacks_the_image_has_it_from_the_registry(
    submit: Submit, packages: Callable[..., Environment], containers: ContainerHost
) -> None:
    environment = packages("alpha==2.0")
    first = submit(WHERE, environment=environment, arguments=["x"])
    assert said(first).startswith("2.0 ")
    tag = f"{containers.registry}/runyard/environment:{key_of(first)}"
    containers.call("rmi", "--force", containers.call("image", "inspect", "--format", "{{.Id}}", tag).strip())
    second = submit(WHERE, environment=environment, arguments=["x"])
    assert said(second) == said(first)
    assert "Found in the registry" in second._read_log(BUILD_LOG)
    assert "Building the image" not in second._read_log(BUILD_LOG)


def test_a_user_managed_environment_is_its_image_as_it_is(submit: Submit, as_it_is: Environment) -> None:
    run = submit("import sys\nprint(sys.prefix)\n", environment=as_it_is)
    assert said(run) == "/usr/local"
    assert "Building" not in run._read_log(BUILD_LOG)


def test_an_image_of_ones_own_stands_for_a_name_that_nobody_has_and_a_new_one_is_another_environment(
    submit: Submit, containers: ContainerHost
) -> None:
    keys = []
    for text in ("first", "second"):
        containers.call("create", "--name", "changed", BASE, "true")
        containers.call("commit", "--quiet", "--change", f"ENV WHICH={text}", "changed", "of-mine")
        containers.call("rm", "changed")
        containers.call("tag", "localhost/of-mine", "docker.io/nobody/has-this")
        environment = Environment.from_docker_image(None, "nobody/has-this")
        run = submit("import os\nprint(os.environ['WHICH'])\n", environment=environment)
        assert said(run) == text
        keys.append(key_of(run))
    assert keys[0] != keys[1]


def test_what_a_script_is_told_is_on_no_command_line_and_in_no_image(
    submit: Submit, as_it_is: Environment, until: Until, containers: ContainerHost
) -> None:
    environment = as_it_is.clone("with-a-secret")
    environment.environment_variables["PASSWORD"] = "se\ncret 'of' \"mine\""
    script = "import os, signal\nprint(repr(os.environ['PASSWORD']), os.environ['HOME'], flush=True)\nsignal.pause()\n"
    run = submit(script, environment=environment)
    until(run, "mine")
    (name,) = of(run, containers)
    shown = containers.call("inspect", name)
    assert "PASSWORD" not in shown
    token = next(filter(None, (variable_in(pid, "AZUREML_RUN_TOKEN") for pid in processes_of(f"{run.id}/1/0"))))
    assert token not in shown
    assert "<module> (train.py:3)" in run.get_stacks(120)["0"]
    settings = json.loads(shown)[0]["HostConfig"]
    assert settings["Privileged"] is False
    assert settings["NetworkMode"] == "host"
    run.cancel()
    run.wait_for_completion(raise_on_error=False)
    assert run._read_log(DRIVER_LOG).startswith(repr(environment.environment_variables["PASSWORD"]))


def test_a_mounted_folder_is_read_and_written_at_its_own_path(
    submit: Submit, as_it_is: Environment, workspace: Workspace, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "numbers.txt").write_text("1 2 3")
    datastore = workspace.get_default_datastore()
    datastore.upload(str(tmp_path / "data"), "given, 'here'", show_progress=False)
    script = (
        "import os, sys\n"
        "print(open(os.path.join(sys.argv[1], 'numbers.txt')).read())\n"
        "open(os.path.join(sys.argv[1], 'found.txt'), 'w').write('more')\n"
    )
    reference = datastore.path("given, 'here'").as_mount()
    run = submit(script, environment=as_it_is, arguments=[reference])
    assert said(run) == "1 2 3"
    datastore.download(str(tmp_path / "back"), "given, 'here'", show_progress=False)
    assert (tmp_path / "back" / "given, 'here'" / "found.txt").read_text() == "more"


def test_the_ranks_of_a_gang_in_containers_find_each_other(submit: Submit, as_it_is: Environment) -> None:
    script = MEETING + "print('heard', heard('hello'))\n"
    run = submit(script, environment=as_it_is, distributed_job_config=PyTorchConfiguration(process_count=2))
    run.wait_for_completion()
    assert "heard hello" in run._read_log("azureml-logs/70_driver_log_1.txt")


def test_options_of_the_container_reach_it(submit: Submit, as_it_is: Environment) -> None:
    script = (
        "import os, resource\n"
        "shm = os.statvfs('/dev/shm')\n"
        "print(shm.f_blocks * shm.f_frsize >> 20, resource.getrlimit(resource.RLIMIT_NOFILE))\n"
    )
    options = DockerConfiguration(
        True, arguments=["--ulimit", "nofile=512:512", "--ulimit=nproc=4096:4096"], shm_size="48m"
    )
    assert said(submit(script, environment=as_it_is, docker_runtime_config=options)) == "48 (512, 512)"


# Ends that are true


def test_exit_codes_tracebacks_and_signals_are_those_of_the_script(submit: Submit, as_it_is: Environment) -> None:
    exits, raises, is_killed, looks_killed, cannot = (
        submit(text, environment=as_it_is)
        for text in (
            "raise SystemExit(125)",
            "raise ValueError('no data')",
            "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)",
            "raise SystemExit(137)",
            "import os\nos.execv('/there/is/none', ['none'])",
        )
    )
    errors = [ended(run)["error"] for run in (exits, raises, is_killed, looks_killed, cannot)]
    assert [(error["exit_code"], error["signal"]) for error in errors] == [
        (125, None),
        (1, None),
        (None, "SIGSEGV"),
        (137, None),
        (1, None),
    ]
    assert "ValueError: no data" in errors[1]["traceback"]


def test_a_container_that_takes_more_memory_than_it_may_is_told_as_such(submit: Submit, as_it_is: Environment) -> None:
    options = DockerConfiguration(True, arguments=["--memory=64m", "--memory-swap=64m"])
    error = ended(submit("held = bytearray(1 << 30)", environment=as_it_is, docker_runtime_config=options))["error"]
    assert (error["code"], error["signal"]) == ("out_of_memory", "SIGKILL")


STUBBORN = """
import os, signal, subprocess, sys
signal.signal(signal.SIGTERM, lambda *_: print("asked to end", flush=True))
subprocess.Popen([sys.executable, "-c", "import signal\\nsignal.pause()"], start_new_session=True)
print("up", flush=True)
while True:
    signal.pause()
"""


def test_cancelling_reaches_the_script_and_leaves_neither_container_nor_process(
    submit: Submit, as_it_is: Environment, until: Until, containers: ContainerHost
) -> None:
    run = submit(STUBBORN, environment=as_it_is)
    until(run, "up")
    run.cancel()
    until(run, "asked to end")
    assert ended(run)["status"] == "Canceled"
    left_behind.until_gone(run.id)
    until_gone(containers, run)


def test_a_job_that_is_killed_takes_its_container_with_it(
    submit: Submit, as_it_is: Environment, until: Until, containers: ContainerHost, workspace: Workspace
) -> None:
    run = submit(STUBBORN, environment=as_it_is)
    until(run, "up")
    (handle,) = Path(workspace.folder or "", "runs", run.id).rglob("handle.json")
    job = int(json.loads(handle.read_text())["handle"]["job_id"].split("/")[0].split(":")[0])
    os.kill(job, signal.SIGKILL)
    assert ended(run)["status"] == "Failed"
    left_behind.until_gone(run.id)
    until_gone(containers, run)
    assert "up" in run._read_log(DRIVER_LOG)


def until_gone(containers: ContainerHost, run: Run) -> None:
    """Waits until podman's own clearing up, which follows the end of a container, is done."""
    containers.until(lambda: not of(run, containers), "the end of the container")


def of(run: Run, containers: ContainerHost) -> list[str]:
    """Names of the run's containers, whether they run or not."""
    return [name for name in containers.containers() if run.id in name]


# What is refused


def test_an_image_without_a_python_is_refused_with_the_cure(submit: Submit, containers: ContainerHost) -> None:
    environment = Environment.from_docker_image("odd", BASE)
    environment.python.interpreter_path = "/opt/none/bin/python"
    error = ended(submit("print(1)", environment=environment))["error"]
    assert error["code"] == "environment_failed"
    assert "has no Python of 3.7 or later at '/opt/none/bin/python'" in error["message"]


def test_an_image_that_is_nowhere_fails_the_run_and_says_where_it_was_sought(
    submit: Submit, containers: ContainerHost
) -> None:
    environment = Environment.from_docker_image("nowhere", f"{containers.registry}/nobody/has:this")
    error = ended(submit("print(1)", environment=environment))["error"]
    assert "cannot be had" in error["message"]
    assert "podman login" in error["message"] and "podman tag IMAGE" in error["message"]


def test_a_python_that_the_image_lacks_and_that_cannot_be_fetched_is_named(
    submit: Submit, packages: Callable[..., Environment]
) -> None:
    environment = packages("alpha==1.0")
    environment.python.conda_dependencies.set_python_version("3.99")
    error = ended(submit("print(1)", environment=environment))["error"]
    assert f"The image '{BASE}' has no Python 3.99, and uv could not fetch one: " in error["message"]
