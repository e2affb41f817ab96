"""TensorBoard beside runs: what it is given of them while they go on. TensorBoard itself is a stand-in, or the real one."""

import json
import logging
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from runyard import Environment, Experiment, Workspace
from runyard.errors import RunyardError, UserErrorException
from runyard.event_files import EventFile
from runyard.run import Run
from runyard.tensorboard import Tensorboard
from runyard.tensorboard_export import export_to_tensorboard
from runyard_server.domain.event_files import read
from runyard_server.testing.free_port import free_port

EVENTS = "events.out.tfevents.1571.node"
SCRIPTS = Path(__file__).parent / "tensorboard_scripts"

WRITES = """
import os, sys
os.makedirs("logs/train", exist_ok=True)
open("logs/train/model.ckpt", "w").write("a checkpoint")
with open("logs/train/events.out.tfevents.1571.node", "ab", 0) as events:
    events.write(b"\\x00\\xff first")
    print("first", flush=True)
    open(sys.argv[1]).read()
    events.write(b" second")
"""
SHOWS = """
import argparse, functools, http.server
parser = argparse.ArgumentParser()
for name in ("--logdir", "--host", "--port"):
    parser.add_argument(name)
args = parser.parse_args()
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=args.logdir)
http.server.ThreadingHTTPServer((args.host, int(args.port)), handler).serve_forever()
"""


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a package ``tensorboard`` before any other that this interpreter has."""

    def program(text: str) -> None:
        package = tmp_path / "stand-in" / "tensorboard"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "main.py").write_text(text)
        monkeypatch.syspath_prepend(str(package.parent))
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(package.parent), os.environ.get("PYTHONPATH", "")]))

    return program


def eventually(holds: Callable[[], bool]) -> bool:
    """Asks until it holds; False after some minutes."""
    for _ in range(2400):
        if holds():
            return True
        threading.Event().wait(0.1)  # it is another process: all that one can do is look again
    return False


def seen(address: str, path: str, wanted: bytes) -> bool:
    """Looks at what TensorBoard shows until it is that."""

    def shows() -> bool:
        try:
            with urllib.request.urlopen(address + path) as answer:
                return bool(answer.read() == wanted)
        except urllib.error.HTTPError:  # nothing of it has come yet
            return False

    return eventually(shows)


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_tensorboard_sees_what_a_run_writes_while_it_goes_on_and_its_end(
    submit: Callable[..., Run],
    until: Callable[[Run, str], None],
    program: Callable[[str], None],
    port: int,
    tmp_path: Path,
) -> None:
    program(SHOWS)
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    run = submit(WRITES, arguments=[str(gate)])
    until(run, "first")
    board = Tensorboard([run], local_root=str(tmp_path / "root"), port=port)
    address = board.start()
    try:
        assert address == f"http://localhost:{port}/"
        assert board.start() == address, "it is started once"
        assert seen(address, f"{run.id}/train/{EVENTS}", b"\x00\xff first")
        gate.write_text("go")
        assert run.wait_for_completion()["status"] == "Completed"
        assert seen(address, f"{run.id}/train/{EVENTS}", b"\x00\xff first second")
    finally:
        board.stop()
    with pytest.raises(OSError):
        urllib.request.urlopen(address)
    board = Tensorboard(run, local_root=str(tmp_path / "again"), port=port)
    board.start()
    board.stop()
    assert (tmp_path / "again" / run.id / "train" / EVENTS).read_bytes() == b"\x00\xff first second"
    assert os.listdir(tmp_path / "again" / run.id / "train") == [EVENTS], "a checkpoint is nothing to TensorBoard"


def test_what_was_made_for_it_goes_with_it(
    submit: Callable[..., Run],
    program: Callable[[str], None],
    port: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program(SHOWS)
    run = submit("print(1)")
    run.wait_for_completion()
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    board = Tensorboard(run, port=port)
    for _ in range(2):
        board.start()
        assert os.listdir(tmp_path / "scratch"), "the files of runs"
        board.stop()
        assert not os.listdir(tmp_path / "scratch") and not answers(port)
    board.stop()


def test_a_run_may_stand_there_under_the_name_that_it_is_shown_by(
    submit: Callable[..., Run], program: Callable[[str], None], port: int, tmp_path: Path
) -> None:
    program(SHOWS)
    text = "open('logs/{}', 'w').write('x')".format(EVENTS)
    runs = [submit(text) for _ in range(3)]
    for run, name in zip(runs, ("../first/try", "same", "same"), strict=True):
        run.wait_for_completion()
        run.display_name = name
    board = Tensorboard(runs, local_root=str(tmp_path / "root"), port=port, use_display_name=True)
    board.start()
    board.stop()
    assert sorted(os.listdir(tmp_path / "root")) == sorted(["_first_try", runs[1].id, runs[2].id])


def test_tensorboard_ends_with_the_program_that_started_it_however_that_ends(
    program: Callable[[str], None], port: int, tmp_path: Path
) -> None:
    program(SHOWS)
    text = "import sys, time; from runyard.tensorboard import Tensorboard\n"
    text += "Tensorboard([], local_root=sys.argv[1], port=int(sys.argv[2])).start(); sys.stdin.read()"
    command = [sys.executable, "-c", text, str(tmp_path / "root"), str(port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as starter:
        assert starter.stdout is not None and starter.stdout.readline()
        assert answers(port)
        starter.send_signal(signal.SIGKILL)
    assert eventually(lambda: not answers(port))


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_the_command_shows_runs_until_it_is_ended(
    submit: Callable[..., Run],
    workspace: Workspace,
    program: Callable[[str], None],
    port: int,
    tmp_path: Path,
    ending: signal.Signals,
) -> None:
    program(SHOWS)
    run = submit("open('logs/{}', 'w').write('x')".format(EVENTS))
    run.wait_for_completion()
    command = [sys.executable, "-m", "runyard", "--workspace", workspace.name, "tensorboard", run.id]
    environment = {**os.environ, "TMPDIR": str(tmp_path / "scratch")}
    (tmp_path / "scratch").mkdir()
    with subprocess.Popen([*command, "--port", str(port)], env=environment, stdout=subprocess.PIPE, text=True) as shown:
        assert shown.stdout is not None
        assert shown.stdout.readline() == f"http://localhost:{port}/\n"
        assert seen(f"http://localhost:{port}/", f"{run.id}/{EVENTS}", b"x")
        shown.send_signal(ending)
        assert shown.wait() == 0
    assert not answers(port) and not os.listdir(tmp_path / "scratch")


def test_a_port_that_is_taken_is_named_with_the_cure(
    submit: Callable[..., Run], program: Callable[[str], None]
) -> None:
    program(SHOWS)
    run = submit("print(1)")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(UserErrorException, match=f"Port {port} is in use.*port={port + 1}"):
            Tensorboard(run, port=port).start()
    run.wait_for_completion()


def test_a_tensorboard_that_does_not_start_says_why(
    submit: Callable[..., Run], program: Callable[[str], None], port: int
) -> None:
    program("raise SystemExit('no luck with protobuf')")
    run = submit("print(1)")
    with pytest.raises(RunyardError, match="TensorBoard did not start. It said:\nno luck with protobuf"):
        Tensorboard(run, port=port).start()
    run.wait_for_completion()


@pytest.mark.parametrize("runs", [[], ["a run's name"]])
def test_what_is_no_run_is_refused(runs: list[Run]) -> None:
    with pytest.raises(UserErrorException, match="Tensorboard takes runs, at least one"):
        Tensorboard(runs)


def test_without_tensorboard_and_uv_the_cure_is_said(
    submit: Callable[..., Run], port: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = submit("print(1)")
    text = "import sys; from runyard import Run, Workspace; from runyard.tensorboard import Tensorboard\n"
    text += "Tensorboard([], local_root='x', port={}).start()".format(port)
    bare = subprocess.run(
        [sys.executable, "-S", "-c", text],
        env={"PATH": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2] / "sdk")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Install it (" in bare.stderr and "-m pip install tensorboard)" in bare.stderr
    assert os.listdir(tmp_path) == [path.name for path in tmp_path.glob("source-*")]
    run.wait_for_completion()


# The history as event files


def numbers(folder: Path) -> dict[str, list[tuple[int | None, float]]]:
    """Steps and values by tag, of the one event file in a folder."""
    (file,) = folder.glob("*tfevents*")
    found = read(file.read_bytes())
    assert not found.faults and found.end == file.stat().st_size
    return {tag: list(zip(points.steps, points.values, strict=True)) for tag, points in found.points.items()}


def test_the_history_of_runs_is_written_as_event_files_the_same_each_time(
    workspace: Workspace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    experiment = Experiment(workspace, "exported")
    root = experiment.start_logging(outputs=None, snapshot_directory=None)
    for step, loss in enumerate([0.5, 0.25, float("nan")]):
        root.log("loss", loss, step=10 * step)
    root.log("epochs", 3)
    root.log("kind", "a text")
    root.log_list("sizes", [1, 2, 3])
    root.log_list("names", ["a", "b"])
    root.log_row("table", x=1, note="one")
    root.log_row("table", x=2, note="two")
    with root.child_run("child") as child:
        child.log("loss", 1.5)
    with root.child_run("silent"):
        pass
    folder = tmp_path / "logs"
    with caplog.at_level(logging.INFO):
        export_to_tensorboard(root, str(folder), logging.getLogger("export"))
    assert f"Run {child.id}: 1 numbers" in caplog.text
    found = numbers(folder / root.id)
    assert str(found.pop("loss")) == "[(0, 0.5), (10, 0.25), (20, nan)]"
    assert found == {
        "epochs": [(0, 3.0)],
        "sizes": [(0, 1.0), (1, 2.0), (2, 3.0)],
        "table/x": [(0, 1.0), (1, 2.0)],
    }
    assert numbers(folder / root.id / child.id) == {"loss": [(0, 1.5)]}
    root.complete()
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    export_to_tensorboard(experiment, str(folder))
    export_to_tensorboard([root], str(folder), recursive=False)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert len(before) == 2


def test_an_export_has_archived_child_runs_too(workspace: Workspace, tmp_path: Path) -> None:
    experiment = Experiment(workspace, "exported")
    root = experiment.start_logging(outputs=None, snapshot_directory=None)
    with root.child_run("hidden") as child:
        child.log("loss", 1.5)
        with child.child_run("below") as below:
            below.log("loss", 2.5)
    root.complete()
    child.archive()
    root.archive()
    export_to_tensorboard(experiment, str(tmp_path))
    assert numbers(tmp_path / root.id / child.id) == {"loss": [(0, 1.5)]}
    assert numbers(tmp_path / root.id / child.id / below.id) == {"loss": [(0, 2.5)]}


@pytest.mark.parametrize("wrong", ["a run's id", ["a run's id"], None, 7])
def test_what_cannot_be_exported_is_refused(wrong: Any, tmp_path: Path) -> None:
    with pytest.raises(UserErrorException, match="takes a run, a list of runs or an experiment"):
        export_to_tensorboard(wrong, str(tmp_path))


def test_the_command_writes_event_files(workspace: Workspace, tmp_path: Path) -> None:
    with Experiment(workspace, "exported").start_logging(outputs=None, snapshot_directory=None) as run:
        run.log("loss", 0.5)
    command = [sys.executable, "-m", "runyard", "--workspace", workspace.name, "tensorboard", run.id]
    done = subprocess.run([*command, "--export", str(tmp_path / "to")], capture_output=True, text=True, check=True)
    assert done.stdout == f"1 number of 1 run to {tmp_path / 'to'}\n"
    assert numbers(tmp_path / "to" / run.id) == {"loss": [(0, 0.5)]}


# Event files as metrics


def test_the_numbers_of_event_files_are_taken_on_demand_each_once(workspace: Workspace, tmp_path: Path) -> None:
    with EventFile(str(tmp_path / EVENTS), 1.0) as file:
        for step in range(40_000):  # more than one request takes
            file.scalar("loss", step / 2, step, 100.0 + step)
    with Experiment(workspace, "taken").start_logging(outputs=None, snapshot_directory=None) as run:
        run.upload_file(f"logs/train/{EVENTS}", str(tmp_path / EVENTS))
    found = run.import_tensorboard()
    assert found == {"files": 1, "points": 40_000, "metrics": ["train/loss"], "warnings": []}
    assert run.get_metrics() == {"train/loss": [step / 2 for step in range(40_000)]}
    command = [sys.executable, "-m", "runyard", "--workspace", workspace.name, "tensorboard", run.id, "--take"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"{run.id}: 0 numbers for 0 metrics, from 1 event file\n"
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {run.id: {"files": 1, "points": 0, "metrics": [], "warnings": []}}
    assert len(run.get_metrics()["train/loss"]) == 40_000
    assert run.verify()["ok"]


# TensorBoard as it is on PyPI


def shown(address: str, run: str, tag: str) -> list[tuple[int, float]]:
    """Steps and values that TensorBoard has of a tag; none while it has no such tag."""
    query = urlencode({"run": run, "tag": tag})
    try:
        with urllib.request.urlopen(f"{address}data/plugin/scalars/scalars?{query}") as answer:
            return [(step, value) for _, step, value in json.load(answer)]
    except urllib.error.HTTPError:
        return []


TRAINS = """
import sys
from tensorboardX import SummaryWriter
with SummaryWriter("logs/train", flush_secs=1) as writer:
    for step, loss in enumerate([0.5, 0.25]):
        writer.add_scalar("loss", loss, step)
    writer.flush()
    print("first", flush=True)
    open(sys.argv[1]).read()
    writer.add_scalar("loss", 0.125, 2)
"""


@pytest.mark.network
def test_the_real_tensorboard_shows_a_run_while_it_goes_on_and_what_was_exported(
    submit: Callable[..., Run], until: Callable[[Run, str], None], tensorboard_python: str, port: int, tmp_path: Path
) -> None:
    environment = Environment("tensorboard")
    environment.python.user_managed_dependencies = True
    environment.python.interpreter_path = tensorboard_python
    environment.environment_variables["RUNYARD_TENSORBOARD_METRICS"] = "1"
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    run = submit(TRAINS, arguments=[str(gate)], environment=environment)
    until(run, "first")
    board = Tensorboard([run], local_root=str(tmp_path / "root"), port=port, python=tensorboard_python)
    try:
        address = board.start()
        name = f"{run.id}/train"
        assert eventually(lambda: shown(address, name, "loss") == [(0, 0.5), (1, 0.25)])
        assert eventually(lambda: run.get_metrics() == {"train/loss": [0.5, 0.25]})
        gate.write_text("go")
        run.wait_for_completion()
        assert run.get_metrics() == {"train/loss": [0.5, 0.25, 0.125]}
        assert eventually(lambda: shown(address, name, "loss") == [(0, 0.5), (1, 0.25), (2, 0.125)])
        with Experiment(run.experiment.workspace, "exported").start_logging(
            outputs=None, snapshot_directory=None
        ) as logged:
            logged.log("accuracy", 0.75, step=4)
            logged.log("accuracy", 0.875, step=5)
        export_to_tensorboard(logged, str(tmp_path / "root"))
        assert eventually(lambda: shown(address, logged.id, "accuracy") == [(4, 0.75), (5, 0.875)])
    finally:
        board.stop()
    assert not answers(port)


@pytest.mark.network
def test_tensorboards_reader_finds_what_is_written_here(tensorboard_python: str, tmp_path: Path) -> None:
    chance = random.Random(7)
    wanted, paths = [], []
    for number in range(40):
        path = tmp_path / f"events.out.tfevents.{number}"
        scalars = [
            (
                chance.choice(["loss", "train/acc", "größe", "x" * 255]),
                chance.randint(-(1 << 63) + 1, (1 << 63) - 1) >> chance.randint(0, 63),
                chance.uniform(0, 2e9),
                struct.unpack("<f", chance.randbytes(4))[0],
            )
            for _ in range(chance.randint(0, 40))
        ]
        with EventFile(str(path), 1.0) as file:
            for tag, step, at, value in scalars:
                file.scalar(tag, value, step, at)
        wanted.append(json.loads(json.dumps(scalars)))
        paths.append(str(path))
    command = [tensorboard_python, str(SCRIPTS / "read_files.py"), *paths]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert str([json.loads(line) for line in done.stdout.splitlines()]) == str(wanted)


@pytest.mark.network
def test_what_others_write_is_read_here(tensorboard_python: str, tmp_path: Path) -> None:
    subprocess.run([tensorboard_python, str(SCRIPTS / "write_files.py"), str(tmp_path)], check=True)
    (old,), (new,) = (list((tmp_path / name).iterdir()) for name in ("old", "new"))
    found = read(old.read_bytes())
    assert not found.faults and found.end == old.stat().st_size and set(found.points) == {"loss", "odd/größe"}
    loss = found.points["loss"]
    assert loss.steps == list(range(50)) and loss.times == [1000.0 + step for step in range(50)]
    assert loss.values == [struct.unpack("<f", struct.pack("<f", 1 / (step + 1)))[0] for step in range(50)]
    assert str(found.points["odd/größe"].values) == "[nan]" and found.points["odd/größe"].steps == [2**40]
    found = read(new.read_bytes())
    assert not found.faults and set(found.points) == {"kinds"}
    assert found.points["kinds"].values == [0.5, 0.1, 1.5, -3.0, float(2**40), 7.0, 1.0]
    assert found.points["kinds"].times == [3000.0 + step for step in range(7)]
