"""Builds whose server is gone: known by what their processes carry, ended with all that they started."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from runyard.job import processes
from runyard_server.environments import orphans

# Stands for a server: starts what stands for a build, with a program of its own in a session of its own.
SERVER = """
import os, signal, subprocess, sys
from runyard_server.environments import orphans
inner = "import signal; print('here', flush=True); signal.pause()"
start = f"subprocess.Popen([sys.executable, '-c', {inner!r}], start_new_session=True)"
outer = f"import signal, subprocess, sys; {start}; signal.pause()"
build = subprocess.Popen([sys.executable, "-c", outer], env={**os.environ, **orphans.mark()}, start_new_session=True)
print(build.pid, flush=True)
signal.pause()
"""


def _served() -> tuple["subprocess.Popen[str]", int]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    server = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True, env=environment)
    assert server.stdout is not None
    said = {server.stdout.readline().strip(), server.stdout.readline().strip()}  # the build's pid, and "here"
    (pid,) = said - {"here"}
    return server, int(pid)


def test_a_build_is_ended_when_its_server_is_gone_and_not_before() -> None:
    server, build = _served()
    marker = processes.marker_in(build)
    assert marker is not None
    assert orphans.end() == []
    assert len(processes.processes_of(marker)) == 2
    server.send_signal(signal.SIGKILL)
    server.wait(timeout=30)
    assert server.stdout is not None
    server.stdout.close()  # unread: what the build holds open has no end
    assert orphans.end() == []
    assert not processes.is_alive(build)
    assert processes.processes_of(marker) == []


def test_a_build_of_this_very_server_goes_on() -> None:
    build = subprocess.Popen(
        [sys.executable, "-c", "print('here', flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **orphans.mark()},
    )
    assert build.stdout is not None
    assert build.stdout.readline() == b"here\n"
    orphans.end()
    build.communicate(b"\n", timeout=30)
    assert build.returncode == 0


def test_a_temporary_folder_goes_when_its_server_is_gone_and_not_before() -> None:
    script = (
        "import signal; from runyard_server.environments import orphans; it = orphans.temporary_folder(); "
        "print(it.name, flush=True); signal.pause()"
    )
    server = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    theirs = Path(server.stdout.readline().strip())
    with orphans.temporary_folder() as ours:
        nobodys = theirs.with_name(theirs.name.rsplit("-", 3)[0] + "-x-y-z")
        nobodys.mkdir()
        orphans.end()
        assert theirs.is_dir() and nobodys.is_dir()
        nobodys.rmdir()
        server.send_signal(signal.SIGKILL)
        server.wait(timeout=30)
        server.stdout.close()
        orphans.end()
        assert not theirs.exists() and Path(ours).is_dir()
