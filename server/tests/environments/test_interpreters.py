import os
import shutil
import sys
from pathlib import Path

import pytest

from runyard.errors import EnvironmentException
from runyard.protocol.environments import EnvironmentSpec
from runyard_server.environments.interpreters import Interpreters, matches, own_version, probe
from runyard_server.environments.provision import Environments
from runyard_server.environments.uv_command import Uv

OWN = own_version()


def silent(_):
    pass


@pytest.fixture
def alone(tmp_path, monkeypatch, stand_in):
    """Interpreters of a machine that has the server's own Python and nothing else."""
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "no-pyenv"))
    return stand_in('echo "error: No interpreter found, network connectivity is disabled" >&2; exit 2')


def fake_python(directory: Path, name: str, version: str) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / name
    path.write_text(f"#!/bin/sh\necho CPython {version.replace('.', ' ')}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("asked", "answer"), [("3.11", True), ("3", True), ("3.11.7", True), ("3.1", False), ("3.11.8", False)]
)
def test_a_version_is_what_its_beginning_asks_for(asked, answer):
    assert matches("3.11.7", asked) is answer


def test_without_a_wish_the_servers_own_python_is_taken(tmp_path, alone):
    found = Interpreters(Uv(alone, tmp_path), []).find([], silent)
    assert (found.path, found.version) == (Path(sys.executable), OWN)


def test_the_servers_own_python_is_taken_where_several_will_do(tmp_path, alone):
    fake_python(tmp_path / "bin", "python3.99", "3.99.1")
    interpreters = Interpreters(Uv(alone, tmp_path), [tmp_path / "bin"])
    assert interpreters.find(["3.99", OWN.rpartition(".")[0]], silent).version == OWN


def test_the_newest_patch_in_the_named_directories_is_taken(tmp_path, alone):
    fake_python(tmp_path / "a", "python3.99", "3.99.1")
    newer = fake_python(tmp_path / "b", "python3.99", "3.99.4")
    interpreters = Interpreters(Uv(alone, tmp_path), [tmp_path / "a", tmp_path / "b"])
    assert interpreters.find(["3.99"], silent).path == newer


def test_the_first_version_that_is_here_is_taken(tmp_path, alone):
    only = fake_python(tmp_path / "a", "python3.98", "3.98.0")
    assert Interpreters(Uv(alone, tmp_path), [tmp_path / "a"]).find(["3.99", "3.98"], silent).path == only


def test_another_patch_serves_where_the_exact_one_cannot_be_had(tmp_path, alone):
    fake_python(tmp_path / "a", "python3.98", "3.98.5")
    lines = []
    assert Interpreters(Uv(alone, tmp_path), [tmp_path / "a"]).find(["3.98.2"], lines.append).version == "3.98.5"
    assert lines[-1] == "Python 3.98.2 cannot be had; 3.98.5 is used"


def test_a_broken_interpreter_is_passed_over(tmp_path, alone):
    broken = tmp_path / "a" / "python3.99"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\nexit 127\n")
    broken.chmod(0o755)
    working = fake_python(tmp_path / "b", "python3.99", "3.99.0")
    interpreters = Interpreters(Uv(alone, tmp_path), [tmp_path / "a", tmp_path / "b"])
    assert interpreters.find(["3.99"], silent).path == working


def test_an_interpreter_that_cannot_be_had_names_those_that_are_here_and_the_cure(tmp_path, alone):
    fake_python(tmp_path / "a", "python3.98", "3.98.5")
    with pytest.raises(EnvironmentException) as failed:
        Interpreters(Uv(alone, tmp_path), [tmp_path / "a"]).find(["3.99"], silent)
    message = str(failed.value)
    assert "Python 3.99 is not on this machine and could not be fetched" in message
    assert OWN in message and "3.98.5" in message and "RUNYARD_PYTHONS" in message


def test_uv_finds_the_interpreters_that_it_knows(tmp_path, stand_in, monkeypatch):
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "no-pyenv"))
    known = fake_python(tmp_path / "managed", "python3.99", "3.99.2")
    uv = stand_in(f'if [ "$1 $2" = "python find" ]; then echo {known}; exit 0; fi; exit 1')
    assert Interpreters(Uv(uv, tmp_path), []).find(["3.99"], silent).path == known


def test_uv_fetches_what_is_not_here(tmp_path, stand_in, monkeypatch):
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "no-pyenv"))
    known = fake_python(tmp_path / "managed", "python3.99", "3.99.2")
    uv = stand_in(
        f'case "$1 $2 $*" in "python find"*--managed-python*) echo {known}; exit 0;; "python find"*) exit 2;; '
        '"python install"*) echo "Installed Python 3.99.2" >&2; exit 0;; esac; exit 1'
    )
    lines = []
    assert Interpreters(Uv(uv, tmp_path), []).find(["3.99"], lines.append).path == known
    assert lines == ["Python 3.99 is not here; fetching it with uv", "Installed Python 3.99.2"]


def test_a_user_managed_environment_is_the_interpreter_itself(root):
    ready = Environments(root).check_user_managed(EnvironmentSpec(user_managed=True, interpreter=sys.executable))
    assert (ready.key, ready.python, ready.python_version) == (None, Path(sys.executable), OWN)
    assert not root.exists()


def test_a_name_of_an_interpreter_is_looked_up_on_the_path(root, tmp_path, monkeypatch):
    named = fake_python(tmp_path / "bin", "mypython", "3.9.1")
    monkeypatch.setenv("PATH", str(tmp_path / "bin") + os.pathsep + os.environ["PATH"])
    ready = Environments(root).check_user_managed(EnvironmentSpec(user_managed=True, interpreter="mypython"))
    assert (ready.python, ready.python_version) == (named, "3.9.1")


def test_python3_serves_where_no_python_is_on_the_path(root, tmp_path, monkeypatch):
    named = fake_python(tmp_path / "bin", "python3", "3.9.1")
    (tmp_path / "bin" / "sh").symlink_to(shutil.which("sh"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert Environments(root).check_user_managed(EnvironmentSpec(user_managed=True)).python == named


@pytest.mark.parametrize(
    ("interpreter", "version", "says"),
    [
        ("/nowhere/python", None, "is not here. Set python.interpreter_path"),
        ("old", None, "is Python 3.6.9; 3.7 is the oldest"),
        ("good", "3.8", "is Python 3.9.1, but the environment asks for Python 3.8"),
        ("broken", None, "does not run as CPython"),
    ],
)
def test_an_interpreter_that_does_not_serve_is_refused(root, tmp_path, interpreter, version, says):
    fake_python(tmp_path / "bin", "old", "3.6.9")
    fake_python(tmp_path / "bin", "good", "3.9.1")
    fake_python(tmp_path / "bin", "broken", "none")
    path = interpreter if interpreter.startswith("/") else str(tmp_path / "bin" / interpreter)
    with pytest.raises(EnvironmentException, match=says):
        Environments(root).check(EnvironmentSpec(user_managed=True, interpreter=path, python_version=version))


def test_the_probe_tells_the_version_of_a_real_interpreter():
    found = probe(Path(sys.executable))
    assert found is not None and found.version == OWN


@pytest.mark.python37
def test_an_environment_on_python_37(environments, packages):
    spec = packages("alpha", python_version="3.7")
    try:
        lock = environments.resolve(spec, silent)
    except EnvironmentException as error:
        pytest.skip(f"needs a Python 3.7 interpreter: {error}")
    assert environments.ensure(lock, silent).python_version.startswith("3.7.")
