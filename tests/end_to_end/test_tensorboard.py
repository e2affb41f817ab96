"""TensorBoard beside runs: what it is given of them while they go on. TensorBoard itself is a stand-in, or the real one."""

import os
import socket
import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from runyard.errors import RunyardError, UserErrorException
from runyard.run import Run
from runyard.tensorboard import Tensorboard

WRITES = """
import os, sys
os.makedirs("logs/train", exist_ok=True)
with open("logs/train/events.out", "ab", 0) as events:
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
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


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


def seen(address: str, path: str, wanted: bytes) -> bool:
    """Looks at what TensorBoard shows until it is that; False after a minute."""
    for _ in range(600):
        with urllib.request.urlopen(address + path) as answer:
            if answer.read() == wanted:
                return True
        threading.Event().wait(0.1)  # it is another process: all that one can do is look again
    return False


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
        assert seen(address, f"{run.id}/train/events.out", b"\x00\xff first")
        gate.write_text("go")
        assert run.wait_for_completion()["status"] == "Completed"
        assert seen(address, f"{run.id}/train/events.out", b"\x00\xff first second")
    finally:
        board.stop()
    with pytest.raises(OSError):
        urllib.request.urlopen(address)
    board = Tensorboard(run, local_root=str(tmp_path / "again"), port=port)
    board.start()
    board.stop()
    assert (tmp_path / "again" / run.id / "train" / "events.out").read_bytes() == b"\x00\xff first second"


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
