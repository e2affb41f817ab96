import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from runyard.errors import EnvironmentException, StorageFullError
from runyard.job import processes
from runyard.protocol.codec import to_json
from runyard.protocol.environments import EnvironmentLock, EnvironmentSpec
from runyard_server.environments import bytecode
from runyard_server.environments.provision import Environments

ENSURE = """
import json, sys
from pathlib import Path
from runyard.protocol.codec import from_json
from runyard.protocol.environments import EnvironmentLock
from runyard_server.environments.provision import Environments
root, uv, lock = sys.argv[1:]
environments = Environments(Path(root), uv=uv or None)
ready = environments.ensure(from_json(EnvironmentLock, json.loads(lock)), print)
print("PYTHON", ready.python)
"""


def silent(_):
    pass


def ensure_in_a_process(root, lock, uv=""):
    arguments = [sys.executable, "-c", ENSURE, str(root), uv, json.dumps(to_json(lock))]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=environment)


def versions(ready):
    code = "import alpha; print(alpha.version)"
    return subprocess.run([ready.python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def module(ready) -> Path:
    (path,) = ready.directory.glob("lib/python*/site-packages/alpha.py")
    return path


@pytest.fixture
def lock(environments, packages) -> EnvironmentLock:
    return environments.resolve(packages("alpha==1.0"), silent)


def test_an_environment_has_exactly_the_locks_packages(environments, lock):
    ready = environments.ensure(lock, silent)
    assert versions(ready) == "1.0"
    assert ready.key == lock.key and ready.python.is_file()
    code = "import importlib.metadata as m; print(sorted(d.metadata['Name'] for d in m.distributions()))"
    listed = subprocess.run([ready.python, "-c", code], capture_output=True, text=True, check=True).stdout
    assert listed.strip() == "['alpha']"


def test_an_environment_without_packages_is_a_bare_python(environments):
    ready = environments.ensure(environments.resolve(EnvironmentSpec(), silent), silent)
    answer = subprocess.run([ready.python, "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True)
    assert answer.stdout.strip() == str(ready.directory)


def test_the_second_use_builds_nothing(environments, lock):
    built = environments.ensure(lock, silent)
    lines = []
    assert environments.ensure(lock, lines.append) == built
    assert environments.is_ready(lock.key) == built
    assert lines == []


def test_it_is_not_ready_before_it_is_built(environments, lock):
    assert environments.is_ready(lock.key) is None
    assert environments.locate(lock.key) is None


def test_the_log_tells_the_build_live(environments, lock):
    lines = []
    environments.ensure(lock, lines.append)
    assert lines[0].startswith(f"Building environment {lock.key[:12]}: Python 3.")
    assert " + alpha==1.0" in lines
    assert f"Environment {lock.key[:12]} is ready after" in lines[-1]


def test_ten_runs_with_one_new_environment_build_it_once(environments, lock):
    logs = [[] for _ in range(10)]
    with ThreadPoolExecutor(10) as pool:
        ready = list(pool.map(lambda log: environments.ensure(lock, log.append), logs))
    assert len(set(ready)) == 1
    assert sum(any(line.startswith("Building") for line in log) for log in logs) == 1


def test_servers_that_start_at_once_build_it_once(root, lock):
    servers = [ensure_in_a_process(root, lock) for _ in range(3)]
    outputs = [server.communicate()[0] for server in servers]
    assert [server.returncode for server in servers] == [0, 0, 0]
    assert sum("Building environment" in output for output in outputs) == 1
    assert len({output.splitlines()[-1] for output in outputs}) == 1


def test_a_build_killed_halfway_is_rebuilt(root, lock, stand_in, tmp_path, environments):
    started = tmp_path / "started"
    os.mkfifo(started)
    uv = stand_in(f'case "$*" in *"pip install"*) echo $$ > {started}; exec sleep 600;; esac\nexec REAL "$@"')
    server = ensure_in_a_process(root, lock, uv)
    orphan = int(started.read_text())
    try:
        server.send_signal(signal.SIGKILL)
        server.communicate()
        assert environments.is_ready(lock.key) is None
        assert (root / lock.key / "1" / "venv").is_dir()
        lines = []
        assert versions(environments.ensure(lock, lines.append)) == "1.0"
        assert lines[0].startswith("Building environment")
        assert not (root / lock.key / "1").exists(), "what the killed build left is removed"
        assert not processes.is_alive(orphan), "and so is its process, which would write it anew"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(orphan, signal.SIGKILL)


def test_a_build_that_failed_leaves_nothing_that_looks_ready(root, lock, stand_in):
    uv = stand_in('case "$*" in *"pip install"*) echo "error: broken" >&2; exit 1;; esac\nexec REAL "$@"')
    with pytest.raises(EnvironmentException, match="could not be built: uv pip failed.\nerror: broken"):
        Environments(root, uv=uv).ensure(lock, silent)
    assert Environments(root).is_ready(lock.key) is None
    assert versions(Environments(root).ensure(lock, silent)) == "1.0"


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda path: path.write_text(path.read_text() + "# more\n"), "alpha.py has 23 bytes instead of 16"),
        (lambda path: path.unlink(), "alpha.py is gone"),
        (lambda path: path.with_name("alpha-1.0.dist-info").rename(path.with_name("x")), "is gone"),
    ],
)
def test_a_damaged_environment_is_noticed_and_rebuilt(environments, lock, damage, says):
    damaged = environments.ensure(lock, silent)
    damage(module(damaged))
    assert environments.is_ready(lock.key) is None
    lines = []
    rebuilt = environments.ensure(lock, lines.append)
    assert says in lines[0] and lines[0].startswith(f"Environment {lock.key[:12]} is damaged: ")
    assert versions(rebuilt) == "1.0"
    assert rebuilt.directory != damaged.directory, "a run may still be in the damaged one"


def test_a_damaged_package_cache_is_not_trusted_in_a_rebuild(environments, lock):
    path = module(environments.ensure(lock, silent))
    with open(path, "a") as stream:  # in place: the package cache's hard link changes with it
        stream.write("raise RuntimeError\n")
    lines = []
    assert versions(environments.ensure(lock, lines.append)) == "1.0"
    assert "The package cache holds a damaged copy of alpha; fetching afresh" in lines


def test_what_a_script_writes_into_a_package_reaches_no_other_environment(environments, lock, packages):
    other = environments.resolve(packages("beta"), silent)  # has the same alpha: one file on the disk, linked twice
    assert other.key != lock.key
    written, shared = module(environments.ensure(lock, silent)), module(environments.ensure(other, silent))
    assert written.samefile(shared)
    written.write_text("version = '6.6'\n")  # as many bytes as before
    os.utime(written, (0, 0))  # the clock of the test is as quick as the build
    assert environments.is_ready(other.key) is None
    lines = []
    assert versions(environments.ensure(other, lines.append)) == "1.0"
    assert lines[0].endswith("alpha.py was written to")
    assert "The package cache holds a damaged copy of alpha; fetching afresh" in lines


def test_a_new_environment_does_not_take_over_what_a_script_wrote_into_the_package_cache(environments, lock, packages):
    module(environments.ensure(lock, silent)).write_text("version = '6.6'\n")
    lines = []
    assert versions(environments.ensure(environments.resolve(packages("beta"), silent), lines.append)) == "1.0"
    assert "The package cache holds a damaged copy of alpha; fetching afresh" in lines


def test_a_package_whose_makers_recorded_another_digest_is_taken_and_the_log_says_so(tmp_path, environments, wheel):
    folder = tmp_path / "repacked"
    with zipfile.ZipFile(wheel(tmp_path, "alpha", "1.0")) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    files["alpha.py"] = files["alpha.py"].replace(b"1.0", b"1.1")
    folder.mkdir()
    with zipfile.ZipFile(folder / "alpha-1.0-py3-none-any.whl", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    spec = EnvironmentSpec(pip_packages=["alpha"], pip_options=["--no-index", f"--find-links {folder}"])
    lines = []
    assert versions(environments.ensure(environments.resolve(spec, silent), lines.append)) == "1.1"
    assert "The files of alpha are not as the package itself records" in lines


def test_an_environment_that_the_first_version_built_is_used_as_it_is(environments, lock):
    ready = environments.ensure(lock, silent)
    listing = ready.directory.parent / "files.txt"
    old = [line.split(" ", 2) for line in listing.read_text().splitlines()[1:]]
    listing.write_text("".join(f"{size} {path}\n" for size, _, path in old))  # 0.1.0 wrote no times
    assert environments.is_ready(lock.key) == ready
    module(ready).write_text("")
    assert environments.is_ready(lock.key) is None


def test_a_package_installed_afterwards_is_noticed(environments, lock):
    ready = environments.ensure(lock, silent)
    stranger = module(ready).with_name("stranger-1.0.dist-info")
    stranger.mkdir()
    (stranger / "METADATA").write_text("Name: stranger\n")
    lines = []
    environments.ensure(lock, lines.append)
    assert lines[0].endswith("stranger-1.0.dist-info was installed into it afterwards")


def test_what_scripts_leave_behind_does_no_harm(environments, lock):
    ready = environments.ensure(lock, silent)
    assert versions(ready) == "1.0"  # writes __pycache__
    module(ready).with_name("a-cache.json").write_text("{}")
    assert environments.is_ready(lock.key) == ready


def compiled(ready) -> list[Path]:
    return list(ready.directory.glob("lib/python*/site-packages/__pycache__/alpha.*.pyc"))


def test_modules_are_compiled_before_anyone_imports_them(environments, lock, monkeypatch):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")  # as in many images: no import would ever keep what it compiled
    ready = environments.ensure(lock, silent)
    (file,) = compiled(ready)
    code = "import sys, alpha; print(alpha.__cached__)"
    said = subprocess.run([ready.python, "-v", "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == str(file)
    assert f"code object from '{file}'" in said.stderr, "it was compiled anew"


def test_a_module_that_was_compiled_is_no_part_of_what_is_verified(environments, lock):
    ready = environments.ensure(lock, silent)
    (file,) = compiled(ready)
    file.unlink()
    assert environments.is_ready(lock.key) == ready
    assert versions(ready) == "1.0"


def test_a_module_for_another_python_ends_no_build(environments, wheel, tmp_path):
    folder = tmp_path / "other"
    wheel(folder, "alpha", "1.0")
    wheel(folder, "old", "1.0", content="print 'Python 2'\n")
    spec = EnvironmentSpec(pip_packages=["alpha", "old"], pip_options=["--no-index", f"--find-links {folder}"])
    lines = []
    ready = environments.ensure(environments.resolve(spec, silent), lines.append)
    assert versions(ready) == "1.0"
    assert len(compiled(ready)) == 1
    assert not any("compiled" in line for line in lines), "a package's own business"


def test_what_a_compiler_thinks_of_a_packages_code_is_not_for_the_log(environments, wheel, tmp_path):
    folder = tmp_path / "other"
    wheel(folder, "alpha", "1.0", content="version = '1.0'\nodd = version is '1.0'\nescaped = '\\d'\n")
    spec = EnvironmentSpec(pip_packages=["alpha"], pip_options=["--no-index", f"--find-links {folder}"])
    lines = []
    ready = environments.ensure(environments.resolve(spec, silent), lines.append)
    assert len(compiled(ready)) == 1
    assert not any("compiled" in line for line in lines)


def test_a_compiler_of_modules_that_breaks_down_ends_no_build(tmp_path):
    python = tmp_path / "bin" / "python"
    site = tmp_path / "lib" / "python3.11" / "site-packages"
    for folder in (python.parent, site):
        folder.mkdir(parents=True)
    python.write_text("#!/bin/sh\necho no semaphores here >&2\nexit 1\n")
    python.chmod(0o755)
    lines = []
    bytecode.compile_modules(python, tmp_path, tmp_path / "kept", lines.append, None)
    assert lines == ["Not all modules were compiled; that is done when they are imported. no semaphores here"]


def with_one_more(environments, wheel, folder, name):
    """An environment with alpha and a package of that name."""
    wheel(folder, name, "1.0")
    spec = EnvironmentSpec(pip_packages=["alpha", name], pip_options=["--no-index", f"--find-links {folder}"])
    return environments.ensure(environments.resolve(spec, silent), silent)


def test_what_was_compiled_of_a_package_serves_the_next_environment_that_has_it(environments, wheel, tmp_path):
    wheel(tmp_path / "more", "alpha", "1.0")
    first = with_one_more(environments, wheel, tmp_path / "more", "beta")
    second = with_one_more(environments, wheel, tmp_path / "more", "gamma")
    (one,), (other,) = compiled(first), compiled(second)
    assert one.samefile(other)
    assert versions(second) == "1.0"
    shutil.rmtree(first.directory)
    assert versions(second) == "1.0" and compiled(second) == [other]


def test_what_was_compiled_of_other_modules_of_that_name_serves_nobody(environments, wheel, tmp_path):
    wheel(tmp_path / "one", "alpha", "1.0")
    wheel(tmp_path / "other", "alpha", "1.0", content="version = '1.1'\n")
    first = with_one_more(environments, wheel, tmp_path / "one", "beta")
    second = with_one_more(environments, wheel, tmp_path / "other", "beta")
    (one,), (other,) = compiled(first), compiled(second)
    assert not one.samefile(other)
    assert (versions(first), versions(second)) == ("1.0", "1.1")


def test_what_was_compiled_goes_with_the_last_environment_that_has_it(environments, wheel, tmp_path):
    wheel(tmp_path / "more", "alpha", "1.0")
    ready = with_one_more(environments, wheel, tmp_path / "more", "beta")
    kept = ready.directory.parents[2] / "bytecode"
    long_ago = time.time() - 3600
    for folder in kept.iterdir():
        os.utime(folder, (long_ago, long_ago))
    assert len(list(kept.iterdir())) == 2
    assert bytecode.prune(kept, dry_run=False) == 0
    assert len(list(kept.iterdir())) == 2
    shutil.rmtree(ready.directory)
    assert bytecode.prune(kept, dry_run=True) > 0
    assert len(list(kept.iterdir())) == 2
    assert bytecode.prune(kept, dry_run=False) > 0
    assert list(kept.iterdir()) == []


def test_a_record_that_names_places_elsewhere_has_nothing_kept(tmp_path):
    python, site = tmp_path / "bin" / "python", tmp_path / "lib" / "python3.11" / "site-packages"
    for folder in (python.parent, site / "evil-1.0.dist-info", site / "__pycache__"):
        folder.mkdir(parents=True)
    python.write_text("#!/bin/sh\n")
    python.chmod(0o755)
    (site / "__pycache__" / "evil.cpython-311.pyc").write_bytes(b"")
    rows = ["evil.py,sha256=0,1", "../../../evil.py,sha256=0,1"]
    (site / "evil-1.0.dist-info" / "RECORD").write_text("\n".join(rows) + "\n")
    bytecode.compile_modules(python, tmp_path, tmp_path / "kept", silent, None)
    assert not (tmp_path / "kept").exists()


def test_an_environment_whose_python_is_gone_is_rebuilt(environments, lock):
    ready = environments.ensure(lock, silent)
    for path in (ready.python.parent).glob("python*"):
        if path.is_symlink() and os.path.isabs(os.readlink(path)):
            size = len(os.readlink(path))
            path.unlink()
            path.symlink_to("/" + "x" * (size - 1))
    assert environments.is_ready(lock.key) is None
    assert versions(environments.ensure(lock, silent)) == "1.0"


def test_a_package_whose_bytes_are_not_the_locked_ones_is_refused(tmp_path, environments, monkeypatch, wheel):
    folder = tmp_path / "other"
    wheel(folder, "alpha", "1.0")
    spec = EnvironmentSpec(pip_packages=["alpha"], pip_options=["--no-index", f"--find-links {folder}"])
    lock = environments.resolve(spec, silent)
    wheel(folder, "alpha", "1.0", content="print('other bytes')\n")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "another-cache"))
    with pytest.raises(
        EnvironmentException, match="gave other bytes for alpha==1.0 than the lock.*expected sha256:.*got sha256:"
    ):
        environments.ensure(lock, silent)
    assert environments.is_ready(lock.key) is None


def test_what_is_cached_needs_no_network(root, tmp_path, lock, stand_in):
    Environments(root).ensure(lock, silent)
    offline = stand_in('case "$*" in *"pip install"*--offline*|*venv*|*python*find*) exec REAL "$@";; esac\nexit 1')
    assert versions(Environments(tmp_path / "elsewhere", uv=offline).ensure(lock, silent)) == "1.0"


def test_a_full_disk_is_named_with_the_cure(root, lock, stand_in):
    uv = stand_in(
        'case "$*" in *install*) echo "error: No space left on device (os error 28)" >&2; exit 2;; esac\nexec REAL "$@"'
    )
    with pytest.raises(StorageFullError, match="no room for the environment.*runyard env prune"):
        Environments(root, uv=uv).ensure(lock, silent)


def test_a_build_can_be_cancelled(root, lock, stand_in, tmp_path):
    started = tmp_path / "started"
    os.mkfifo(started)
    uv = stand_in(f'case "$*" in *"pip install"*) echo $$ > {started}; exec sleep 600;; esac\nexec REAL "$@"')
    cancel = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        build = pool.submit(Environments(root, uv=uv).ensure, lock, silent, cancel)
        started.read_text()
        cancel.set()
        with pytest.raises(EnvironmentException, match="cancelled"):
            build.result()
    assert versions(Environments(root).ensure(lock, silent)) == "1.0"


def test_without_uv_the_message_says_how_to_get_it(root, lock):
    with pytest.raises(EnvironmentException, match="pip install uv"):
        Environments(root, uv="/nowhere/uv").ensure(lock, silent)


def test_where_uv_is_nowhere_the_message_names_the_command_that_installs_it(root, lock):
    # A process of its own: the package uv cannot be taken from this one.
    code = f"import sys; sys.modules['uv'] = None\n{ENSURE}"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PATH": "/nowhere"}
    arguments = [sys.executable, "-c", code, str(root), "", json.dumps(to_json(lock))]
    said = subprocess.run(arguments, capture_output=True, text=True, env=environment)
    assert said.returncode == 1
    assert f"which is not installed here: it came with the server and is gone. Install it with: {sys.executable}" in (
        said.stderr
    )


def test_a_uv_that_is_installed_while_the_server_runs_is_used(root, lock, tmp_path, stand_in):
    path = Path(stand_in('exec REAL "$@"'))
    content = path.read_text()
    environments = Environments(root, uv=str(path))
    path.unlink()
    with pytest.raises(EnvironmentException, match="pip install uv"):
        environments.ensure(lock, silent)
    path.write_text(content)
    path.chmod(0o755)
    assert versions(environments.ensure(lock, silent)) == "1.0"
    path.unlink()
    (root / lock.key / "ready.json").unlink()
    with pytest.raises(EnvironmentException, match="pip install uv"):
        environments.ensure(lock, silent)


def test_an_old_uv_is_refused_with_the_oldest_that_serves(root, lock, tmp_path):
    old = tmp_path / "old-uv"
    old.write_text("#!/bin/sh\necho uv 0.4.30\n")
    old.chmod(0o755)
    with pytest.raises(EnvironmentException, match=r"is 0\.4; 0\.5 is the oldest that serves"):
        Environments(root, uv=str(old)).ensure(lock, silent)
