"""The packages of a lock in an image: uv installs them in a container of the base, which becomes the image.

The same three commands with podman and docker (``run``, ``commit``, ``rm``), and folders of this machine are mounted
instead of copied.
"""

import os
import re
import shlex
import shutil
import tempfile
import threading
from pathlib import Path

from runyard.errors import EnvironmentException
from runyard.protocol.environments import EnvironmentLock
from runyard_server.environments import causes, orphans
from runyard_server.environments.container_engine import ContainerEngine, EngineFailed, as_root
from runyard_server.environments.disk import full_disk_named
from runyard_server.environments.programs import Log
from runyard_server.environments.uv_command import FOREIGN_VARIABLES, Uv

PREFIX = "/runyard"  # in an image: env/ is the environment, python/ an interpreter that the base lacked
PYTHON = f"{PREFIX}/env/bin/python"

_BUILD = f"{PREFIX}/build"  # there while an image is built
_PASSED_ON = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")
_FOLDER = re.compile(r"(?:^|\s|=|file://)(/[^\s?#]+)")

# Only what is under /runyard is added to the base; the mounted build folder stays outside.
_INSTALL = """\
set -eu
umask 022
. {build}/variables
cd {build}
./uv venv --no-project --quiet --python {python} {env} || exit {no_python}
[ -s requirements.txt ] || exit 0
./uv pip install --python {env}/bin/python --no-deps --strict --compile-bytecode {options} -r requirements.txt
"""
_NO_PYTHON = 71


def build(
    engine: ContainerEngine,
    uv: Uv,
    lock: EnvironmentLock,
    tag: str,
    folder: Path,
    log: Log,
    cancel: threading.Event | None,
) -> None:
    """Makes the image of a lock, whose base is on this host, and tags it.

    Args:
        folder: where what the build needs may lie meanwhile.
    Raises:
        EnvironmentException: the packages cannot be installed in it.
        StorageFullError: the disk has no room.
    """
    assert lock.image is not None
    count = lock.requirements.count("==") + lock.requirements.count(" @ ")
    log(
        f"Building the image {lock.key[:12]}: {lock.image.name} with Python {lock.python_version} and "
        f"{count} package{'' if count == 1 else 's'}"
    )
    container = f"runyard-build-{lock.key}-{os.getpid()}"
    with full_disk_named(), tempfile.TemporaryDirectory(prefix="build-", dir=folder) as laid:
        _lay_out(lock, Path(laid), uv)
        mounts = [_mount(laid, _BUILD), *(_mount(place, place) for place in local_places(lock))]
        words = as_root(lock.image.id, "/bin/sh", container, [word for mount in mounts for word in mount])
        try:
            engine.run([*words, f"{_BUILD}/install.sh"], log, cancel)
            changes = ["ENTRYPOINT []", f'CMD ["{PYTHON}"]', f"LABEL runyard.key={lock.key}"]
            engine.run(["commit", *(word for change in changes for word in ("--change", change)), container, tag])
        except EngineFailed as error:
            raise EnvironmentException(_not_built(lock, error)) from error
        finally:
            _remove(engine, container)


def _lay_out(lock: EnvironmentLock, folder: Path, uv: Uv) -> None:
    shutil.copy2(uv.path, folder / "uv")
    (folder / "requirements.txt").write_text(lock.requirements, encoding="utf-8")
    lines = [f"export {name}={shlex.quote(value)}" for name, value in _variables().items()]
    # In a file, not among the container's variables: those would be part of the image.
    (folder / "variables").write_text("\n".join(lines) + "\n", encoding="utf-8")
    options = [] if " @ git+" in lock.requirements else ["--require-hashes"]
    script = _INSTALL.format(
        build=_BUILD,
        python=shlex.quote(lock.python_version),
        env=f"{PREFIX}/env",
        no_python=_NO_PYTHON,
        options=" ".join(shlex.quote(word) for word in [*options, *lock.options]),
    )
    (folder / "install.sh").write_text(script, encoding="utf-8")


def _remove(engine: ContainerEngine, container: str) -> None:
    try:
        engine.run(["rm", "--force", container])
    except EngineFailed:
        pass  # it never was


def local_places(lock: EnvironmentLock) -> list[str]:
    """Folders and files of this machine from which packages, or what checks their index, may come."""
    said = [*lock.options, *lock.requirements.splitlines(), *(f" {value}" for value in _variables().values())]
    found = dict.fromkeys(path for text in said for path in _FOLDER.findall(text))
    return [path for path in found if os.path.exists(path)]


def _variables() -> dict[str, str]:
    """What uv is told inside a container of what it would be told here."""
    own = {
        name: value
        for name, value in os.environ.items()
        if (name.startswith("UV_") and name not in FOREIGN_VARIABLES) or name.upper() in _PASSED_ON
    }
    for name in ("UV_CACHE_DIR", "UV_PYTHON_INSTALL_DIR", "UV_PYTHON_PREFERENCE", "UV_LINK_MODE", "UV_CONFIG_FILE"):
        own.pop(name, None)
    own.setdefault("UV_HTTP_TIMEOUT", "180")
    return {
        **own,
        **orphans.mark(),  # with its first process the container ends
        "HOME": _BUILD,
        "UV_CACHE_DIR": f"{_BUILD}/cache",
        "UV_LINK_MODE": "copy",
        "UV_PYTHON_INSTALL_DIR": f"{PREFIX}/python",
        "UV_NO_PROGRESS": "1",
        "NO_COLOR": "1",
    }


def _mount(source: str, target: str) -> tuple[str, str]:
    writable = "" if target == _BUILD else ":ro"
    return "--volume", f"{source}:{target}{writable}"


def _not_built(lock: EnvironmentLock, error: EngineFailed) -> str:
    assert lock.image is not None
    if error.exit_code == _NO_PYTHON:
        return (
            f"The image {lock.image.name!r} has no Python {lock.python_version}, and uv could not fetch one: "
            f"{causes.first_cause(error.output)} Ask for the version that the image has, or take an image that has Python "
            f"{lock.python_version}."
        )
    return (
        f"The packages could not be installed in the image {lock.image.name!r}: {causes.first_cause(error.output)} The "
        "image needs /bin/sh and the C library that packages of the registry are built for (glibc; many have no "
        f"wheels for musl, as Alpine has it). The end of what was said:\n{error.output[-2000:]}"
    )
