"""The run's environment on a node that does not see the server's: built there once, under its key, from the same lock."""

import fcntl
import os
import pathlib
import platform
import shutil
import subprocess
import time
from typing import Callable, Dict, List, Optional, Sequence, Tuple

from runyard.digests import sha256_of_file
from runyard.errors import EnvironmentException, ServerUnavailableError
from runyard.home import read_json, write_json
from runyard.protocol.jobs import EnvironmentToBuild
from runyard.transport.base import Transport

Log = Callable[[str], None]

READY = "ready.json"
_LOOK_EVERY_S = 0.2
_PLACES = ("--index-url", "-i", "--extra-index-url", "--find-links", "-f")
_PIECE = 1 << 20
# What the job itself runs in must not lead uv astray.
_FOREIGN = ("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONPATH", "PYTHONHOME", "UV_PYTHON", "UV_PROJECT", "UV_EXCLUDE_NEWER")


class NodeVenv:
    """Finds or builds one environment.

    Args:
        transport: to the server, which lends its own ``uv`` where the node has none.
        log: takes a line for the preparation's log.
        goes_on: whether the run is still wanted: a build may take minutes.
    """

    def __init__(self, wanted: EnvironmentToBuild, transport: Transport, log: Log, goes_on: Callable[[], bool]) -> None:
        self._wanted = wanted
        self._transport = transport
        self._log = log
        self._goes_on = goes_on

    def python(self) -> str:
        """Path of its interpreter.

        Raises:
            EnvironmentException: it cannot be had on this node.
            OSError: the disk refuses.
        """
        wanted = self._wanted
        if not wanted.key:
            return self._user_managed()
        os.makedirs(wanted.folder, mode=0o700, exist_ok=True)
        home = os.path.join(wanted.folder, wanted.key)
        python = os.path.join(home, "venv", "bin", "python")
        with open(home + ".lock", "w") as lock:
            self._hold(lock.fileno())
            if read_json(os.path.join(home, READY)) is None or not os.path.exists(python):
                self._build(home)
            else:
                self._log("environment {} is built on this node already".format(wanted.key[:12]))
        return python

    def _user_managed(self) -> str:
        asked = self._wanted.interpreter
        found = shutil.which(asked or "python") or (None if asked else shutil.which("python3"))
        if found is None:
            raise EnvironmentException(
                "The interpreter {!r} of the user-managed environment is not on node {}. Name one that is "
                "(python.interpreter_path), bring it with a line of setup, or leave user_managed_dependencies out.".format(
                    asked or "python", platform.node()
                )
            )
        return found

    def _hold(self, lock: int) -> None:
        """Waits for who builds it now; the kernel lets go of the lock when its holder is gone."""
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                self._check_wanted()
                time.sleep(_LOOK_EVERY_S)

    def _check_wanted(self) -> None:
        if not self._goes_on():
            raise EnvironmentException("The run was ended while its environment was being built.")

    def _build(self, home: str) -> None:
        wanted = self._wanted
        shutil.rmtree(home, ignore_errors=True)  # what a build that was killed has left
        os.makedirs(home, mode=0o700)
        requirements = os.path.join(home, "requirements.txt")
        with open(requirements, "w", encoding="utf-8") as file:
            addresses, options = _told_apart(wanted.options)
            file.write("".join(line + "\n" for line in addresses + self._fetched_wheels()) + wanted.requirements)
        began = time.monotonic()
        uv = self._uv()
        self._log("building environment {} on this node: Python {}".format(wanted.key[:12], wanted.python_version))
        venv = os.path.join(home, "venv")
        self._make_venv(uv, venv)
        if wanted.requirements.strip():
            hashes = [] if " @ git+" in wanted.requirements else ["--require-hashes"]
            install = ["pip", "install", "--python", os.path.join(venv, "bin", "python"), "--no-deps", "--strict"]
            said = self._run([uv] + install + hashes + ["-r", requirements] + options)
            if said is not None:
                raise EnvironmentException(
                    "The environment could not be built on node {}, which must reach the package index that the server "
                    "reaches: uv pip install failed.\n{}".format(platform.node(), said[-2000:])
                )
        write_json(os.path.join(home, READY), {"python_version": wanted.python_version})
        self._log("environment {} is ready after {:.1f} s".format(wanted.key[:12], time.monotonic() - began))

    def _make_venv(self, uv: str, venv: str) -> None:
        """With the lock's very Python if it is here, else with one of the same minor version, else with a fetched one."""
        exact = self._wanted.python_version
        minor = ".".join(exact.split(".")[:2])
        said: Optional[str] = None
        for version, more in ((exact, ["--no-python-downloads"]), (minor, ["--no-python-downloads"]), (exact, [])):
            said = self._run([uv, "venv", "--no-project", "--quiet", "--python", version] + more + [venv], quietly=True)
            if said is None:
                if version != exact:
                    self._log("Python {} is not on this node; another {} takes its place".format(exact, minor))
                return
        raise EnvironmentException(
            "Node {} has no Python {} for the environment, and none could be fetched: have one on its PATH (a line of "
            "setup), or let it reach uv's downloads.\n{}".format(platform.node(), minor, (said or "")[-1000:])
        )

    def _uv(self) -> str:
        asked = self._wanted.uv
        found = shutil.which(asked or "uv")
        if found is not None:
            return found
        if asked:
            raise EnvironmentException(
                "The uv that the compute target names, {!r}, is not on node {}. Name one that is, bring it with a line of "
                "setup, or name none: the server's own is fetched then.".format(asked, platform.node())
            )
        path = os.path.join(self._wanted.folder, "uv")
        if not os.path.exists(path):
            unfinished = "{}.{}".format(path, os.getpid())
            self._fetch("/job-tools/uv", unfinished, "uv")
            os.chmod(unfinished, 0o700)
            os.replace(unfinished, path)
            self._log("uv is not on this node; the server's own was fetched")
        if self._run([path, "--version"], quietly=True) is not None:
            raise EnvironmentException(
                "Node {} ({}) has no uv, and the server's own does not run there. Install uv on the node, and name it: "
                "uv=... of the compute target.".format(platform.node(), platform.machine())
            )
        return path

    def _fetched_wheels(self) -> List[str]:
        """Lines of a requirements file for what the server has compiled, which is on this disk then."""
        lines = []
        for name, digest in sorted(self._wanted.wheels.items()):
            folder = os.path.join(self._wanted.folder, "wheels", digest)
            path = os.path.join(folder, os.path.basename(name))
            os.makedirs(folder, mode=0o700, exist_ok=True)
            if not os.path.exists(path) or sha256_of_file(path) != digest:  # the machine may have gone down over it
                unfinished = "{}.{}".format(path, os.getpid())
                self._fetch("/job-wheels/" + digest, unfinished, name)
                if sha256_of_file(unfinished) != digest:
                    raise ServerUnavailableError("The wheel {} did not come whole from the server.".format(name))
                os.replace(unfinished, path)
                self._log("{} was compiled by the server, and fetched from there".format(name))
            address = pathlib.Path(path).as_uri()
            lines.append("{} @ {} --hash=sha256:{}".format(name.partition("-")[0], address, digest))
        return lines

    def _fetch(self, route: str, path: str, what: str) -> None:
        try:
            with self._transport.request("GET", route, stream=True) as answer, open(path, "wb") as file:
                shutil.copyfileobj(answer, file, _PIECE)
        except ConnectionError as broken:
            raise ServerUnavailableError(
                "{} could not be fetched whole from the server: {}.".format(what, broken)
            ) from broken

    def _run(self, command: List[str], quietly: bool = False) -> Optional[str]:
        """Runs a program; None where it ended well, else what it said."""
        try:
            running = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=self._variables(),
                cwd=self._wanted.folder,
            )
        except OSError as fault:
            return "{}: {}".format(command[0], fault.strerror or fault)
        while True:
            try:
                said = running.communicate(timeout=_LOOK_EVERY_S)[0].decode("utf-8", "replace").strip()
                break
            except subprocess.TimeoutExpired:
                if not self._goes_on():
                    running.kill()
                    running.communicate()
                self._check_wanted()
        if said and not quietly:
            self._log(said)
        return None if running.returncode == 0 else said or "exit code {}".format(running.returncode)

    def _variables(self) -> Dict[str, str]:
        said = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
        said.setdefault("UV_HTTP_TIMEOUT", "180")
        # One disk with the environments: packages are linked, not copied.
        said.setdefault("UV_CACHE_DIR", os.path.join(self._wanted.folder, "cache"))
        said.setdefault("UV_PYTHON_INSTALL_DIR", os.path.join(self._wanted.folder, "pythons"))
        said.update({"NO_COLOR": "1", "UV_NO_PROGRESS": "1"})
        return said


def _told_apart(options: Sequence[str]) -> Tuple[List[str], List[str]]:
    """Lines of a requirements file, for the options that name places, and the other options.

    An address may hold a password, and whoever is on the node sees the words of a command.
    """
    lines: List[str] = []
    others: List[str] = []
    words = iter(options)
    for word in words:
        if word.partition("=")[0] not in _PLACES:
            others.append(word)
        else:
            lines.append(word if "=" in word else "{} {}".format(word, next(words, "")))
    return lines, others
