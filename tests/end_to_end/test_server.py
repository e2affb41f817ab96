"""The embedded server: it starts by itself, once; it outlives clients; runs outlive it."""

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runyard import Run, Workspace, embedded
from runyard import home as places
from runyard.errors import WorkspaceException

CLIENT = "from runyard import Workspace; print(Workspace(workspace_name={!r}).get_details()['workspaceid'])"


def test_ten_clients_that_race_start_one_server(runyard_home: Path) -> None:
    clients = [
        subprocess.Popen([sys.executable, "-c", CLIENT.format("raced")], stdout=subprocess.PIPE, text=True)
        for _ in range(10)
    ]
    said = [client.communicate()[0] for client in clients]
    assert [client.returncode for client in clients] == [0] * 10
    assert len(set(said)) == 1
    folder = Path(places.workspace_folder("raced"))
    # Every start writes its own address file; the servers that lost the race would have said so here.
    assert (folder / "server.log").read_text() == ""
    described = embedded.running(str(folder))
    assert described is not None  # it has outlived all ten
    assert embedded.stop(str(folder))
    assert embedded.running(str(folder)) is None


def test_only_the_owner_can_read_the_address_and_the_token(workspace: Workspace) -> None:
    assert workspace.folder is not None
    assert stat.S_IMODE(os.stat(embedded.server_file(workspace.folder)).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(workspace.folder).st_mode) == 0o700
    said = json.loads(Path(embedded.server_file(workspace.folder)).read_text())
    assert said["url"].startswith("http://127.0.0.1:")


def test_a_run_goes_on_while_its_server_is_gone_and_is_found_again(
    workspace: Workspace, submit: Callable[..., Run], until: Callable[[Run, str], None], tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    run = submit(
        "import sys\nfrom runyard import Run\nrun = Run.get_context()\n"
        "run.log('before', 1)\nprint('up and running', flush=True)\n"
        f"open({str(gate)!r}).read()\n"
        "run.log('after', 2)\nprint('went on', flush=True)\n"
    )
    until(run, "up and running")
    assert workspace.folder is not None
    killed = embedded.describe(workspace.folder)
    assert killed is not None
    os.kill(killed["pid"], signal.SIGKILL)
    gate.write_text("go")  # the script logs and ends with no server there
    run.wait_for_completion()  # the client starts another one
    assert run.get_status() == "Completed"
    assert run.get_metrics() == {"before": 1, "after": 2}
    assert run._read_log("azureml-logs/70_driver_log.txt") == "up and running\nwent on\n"
    assert run.verify()["ok"]
    found = embedded.describe(workspace.folder)
    assert found is not None and found["pid"] != killed["pid"]


def test_a_server_comes_back_at_its_old_address(workspace: Workspace) -> None:
    assert workspace.folder is not None
    before = embedded.ensure(workspace.folder)
    embedded.stop(workspace.folder)
    assert embedded.ensure(workspace.folder)["url"] == before["url"]
    assert workspace.get_details()["name"] == workspace.name


def test_without_a_server_installed_the_message_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        "import sys\n"
        "sys.version_info = (3, 7, 0, 'final', 0)\n"  # as a notebook's old kernel has it
        "from runyard import Workspace\n"
        "try:\n    Workspace()\nexcept Exception as e:\n    print(type(e).__name__, e)\n"
    )
    environment = {**os.environ, "RUNYARD_HOME": str(tmp_path), "PATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout.startswith("WorkspaceException No runyard server is installed")
    assert "RUNYARD_SERVER_PYTHON" in done.stdout


def test_workspaces_are_created_listed_found_and_deleted(runyard_home: Path) -> None:
    made = Workspace.create("made-here", subscription_id="s", resource_group="g", tags={"a": "b"}, show_output=False)
    assert made.get_details()["tags"] == {"a": "b"}
    with pytest.raises(WorkspaceException, match="here already"):
        Workspace.create("made-here")
    assert [found.name for found in Workspace.list()["made-here"]] == ["made-here"]
    assert Workspace.get("made-here") == made
    with pytest.raises(WorkspaceException, match="no workspace named 'other'"):
        Workspace.get("other")
    with pytest.raises(WorkspaceException, match="belongs to subscription 's'"):
        Workspace("another", "g", "made-here")
    made.delete(delete_dependent_resources=True)
    assert "made-here" not in Workspace.list()
    assert not Path(places.workspace_folder("made-here")).exists()


def test_azures_config_file_opens_an_embedded_workspace_from_any_folder_below(
    runyard_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "aml_config").mkdir()
    (tmp_path / "aml_config" / "config.json").write_text(
        '{"subscription_id": "0000", "resource_group": "rg", "workspace_name": "from-azure"}'
    )
    below = tmp_path / "notebooks" / "deep"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    opened = Workspace.from_config()
    assert (opened.name, opened.subscription_id, opened.resource_group) == ("from-azure", "0000", "rg")
    opened.write_config(str(below))
    assert Workspace.from_config() == opened
    assert (below / ".azureml" / "config.json").is_file()
    opened.delete(delete_dependent_resources=True)


def test_an_embedded_server_with_nothing_to_do_ends_by_itself(tmp_path: Path) -> None:
    home = tmp_path / "idle"
    environment = {**os.environ, "RUNYARD_IDLE_S": "0.2", "RUNYARD_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "runyard_server", "--home", str(home), "--embedded"]
    server = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    _, said = server.communicate(timeout=180)
    assert server.returncode == 0, said
    assert not (home / "server.json").exists()
