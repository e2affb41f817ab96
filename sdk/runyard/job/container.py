"""The containers of a node's ranks: what podman or docker is told, and how a rank in one has ended."""

import csv
import fcntl
import io
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
from typing import Any, Callable, Dict, List, Optional, Tuple

from runyard.distributed.topology import Rank
from runyard.errors import RunyardError
from runyard.home import read_json, write_json
from runyard.job import in_container
from runyard.job.processes import MARKER, marker_of
from runyard.protocol.jobs import JobAssignment, JobContainer

SERVER_FILE = "server.json"  # in the job's directory: where the server is now, without its token
_ALIVE_FILE = "alive.lock"
_HOME = "home"
_NOT_OF_A_NAME = re.compile(r"[^A-Za-z0-9_.-]")
_PATIENCE_S = 60.0


class Container:
    """Runs the ranks of one node in containers of the run's image, each in one of its own.

    Code, data and the job's directory have the paths that they have outside. The container has the network of the node,
    so that the ranks' addresses are the node's, and the user of the job.
    """

    def __init__(self, assignment: JobAssignment, container: JobContainer, code: str) -> None:
        self._assignment = assignment
        self._container = container
        self._code = code
        self._engine = container.engine
        self._alive = -1
        self._told = ""  # where the server is, as the scripts were told last

    def prepare(self, log: Callable[[str], None]) -> None:
        """Looks for the engine and the image on this node, and fetches the image where it is not here.

        Raises:
            RunyardError: there is no engine, or the image cannot be had.
        """
        self._engine = self._found()
        image = self._container.image
        if not self._is_here(image):
            log("fetching the image {}".format(image))
            self._fetch(image, log)
        os.makedirs(os.path.join(self._assignment.directory, _HOME), mode=0o700, exist_ok=True)
        self._hold_alive(log)
        log("the script runs in a container of {}".format(image))

    def launch(self, rank: Rank, command: List[str], environment: Dict[str, str], output: str) -> List[str]:
        """The engine's command that runs ``command`` as that rank.

        Raises:
            OSError: the disk refuses.
        """
        path = self._file(rank.number, "launch")
        launch = {
            "command": command,
            "environment": dict(environment, **self._own_variables()),
            "path": os.path.dirname(self._assignment.python),
            "code": self._code,
            "output": output,
            "end": self._file(rank.number, "end"),
            "alive": self._alive_path if self._alive >= 0 else "",
        }
        write_json(path, launch, private=True)
        own = os.path.abspath(in_container.__file__)
        inside = os.path.join(self._assignment.sdk_path, "runyard", "job", os.path.basename(own))
        argv = [self._engine, "run", "--rm", "--name", self._name(rank.number)]
        argv += ["--label", "runyard.job=" + self._marker, "--env", "{}={}".format(MARKER, self._marker)]
        argv += ["--network", "host", "--user", "{}:{}".format(os.getuid(), os.getgid()), "--workdir", "/"]
        argv += ["--log-driver", "none", "--pull", "never"]
        # Folders of people's own are mounted, whose labels are not ours to change.
        argv += ["--security-opt", "no-new-privileges", "--security-opt", "label=disable"]
        if not self._is_docker and os.getuid() != 0:
            argv += ["--userns", "keep-id"]
        arguments = self._container.arguments
        if self._container.shm_size and not any(word.startswith("--ipc") for word in arguments):
            argv += ["--shm-size", self._container.shm_size]
        argv += self._gpus() + self._mounts() + arguments
        return argv + ["--entrypoint", self._assignment.python, self._container.image, "-I", "-S", inside, path]

    def variables(self) -> Dict[str, str]:
        """What differs for a script inside from what it would be told outside."""
        own = self._assignment
        # Of the node's GPUs those that were given are all that there are inside.
        found = {"CUDA_VISIBLE_DEVICES": ",".join(str(index) for index in range(len(own.gpus)))}
        if own.server_file is not None:
            found["RUNYARD_RUN_SERVER_FILE"] = os.path.join(own.directory, SERVER_FILE)
        return found

    def ended(self, number: int, code: int, output: str) -> Tuple[Optional[int], str]:
        """How a rank has ended whose engine's command ended with ``code``: its own exit code, or why it never began.

        Args:
            output: the file of what the rank, or else the engine, has printed.
        """
        said = self._said(number)
        if said.get("code") is not None:
            return int(said["code"]), ""
        self._remove(number)
        if said.get("refused"):
            return None, str(said["refused"])
        if code < 0 or said.get("begun"):
            return (code if code < 0 else 128 - code if code > 128 else code), ""
        with open(output, "rb") as file:
            words = _last(file.read())
        return None, "{} could not run its container (exit code {}): {}".format(
            os.path.basename(self._engine), code, words
        )

    def memory_verdict(self, number: int) -> Optional[str]:
        """What the kernel said inside the container of a rank that a SIGKILL has ended; None where nobody asked it."""
        verdict = self._said(number).get("memory")
        return None if verdict is None else str(verdict)

    def tell_address(self, url: str) -> None:
        """Writes down for the scripts where the server is now: the server's own file, with its token, is not mounted."""
        if url != self._told and os.path.isdir(self._assignment.directory):
            write_json(os.path.join(self._assignment.directory, SERVER_FILE), {"url": url}, private=True)
            self._told = url

    @property
    def _marker(self) -> str:
        own = self._assignment
        return marker_of(own.run_id, own.attempt, own.node)

    @property
    def _is_docker(self) -> bool:
        return os.path.basename(self._engine).startswith("docker")

    @property
    def _alive_path(self) -> str:
        return os.path.join(self._assignment.directory, _ALIVE_FILE)

    def _found(self) -> str:
        """The engine's program on this node: at the server's own path, else by its name."""
        for name in (self._container.engine, os.path.basename(self._container.engine)):
            found = shutil.which(name)
            if found is not None:
                return found
        raise RunyardError(
            "The run's environment is a container image, but {0} is not on {1}. Install {0} there.".format(
                os.path.basename(self._container.engine), socket.gethostname()
            )
        )

    def _is_here(self, image: str) -> bool:
        return self._call("image", "inspect", image).returncode == 0

    def _fetch(self, image: str, log: Callable[[str], None]) -> None:
        """Asks a registry that fails once more: several nodes may have begun to fetch at once, some on one machine."""
        pulled = self._call("pull", "--quiet", image, patience_s=None)
        if pulled.returncode != 0 and not self._is_here(image):
            log("the image could not be fetched: {}. Once more".format(_last(pulled.stderr)))
            pulled = self._call("pull", "--quiet", image, patience_s=None)
        if pulled.returncode != 0 and not self._is_here(image):
            raise RunyardError(
                "The image {} of the run's environment cannot be fetched on {}: {}. The node must reach the registry "
                "that the server is told as its container registry, and be logged in there ({} login) if it asks "
                "for that.".format(image, socket.gethostname(), _last(pulled.stderr), self._container.engine)
            )

    def _hold_alive(self, log: Callable[[str], None]) -> None:
        alive = os.open(self._alive_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as fault:
            os.close(alive)
            log("{} cannot be locked: {}. A container may outlive a job that is killed.".format(_ALIVE_FILE, fault))
            return
        self._alive = alive

    def _own_variables(self) -> Dict[str, str]:
        """What an image cannot know: who runs it, and where that one may write."""
        try:
            user = pwd.getpwuid(os.getuid()).pw_name
        except KeyError:
            user = str(os.getuid())
        home = os.path.join(self._assignment.directory, _HOME)
        given = {"HOME": home, "USER": user, "LOGNAME": user}
        return {name: value for name, value in given.items() if name not in self._assignment.variables}

    def _gpus(self) -> List[str]:
        gpus = [str(index) for index in self._assignment.gpus]
        if not gpus:
            return []
        if self._is_docker:
            return ["--gpus", '"device={}"'.format(",".join(gpus))]
        return [word for index in gpus for word in ("--device", "nvidia.com/gpu=" + index)]

    def _mounts(self) -> List[str]:
        own = self._assignment
        places = [(own.directory, False), (self._code, False), (own.sdk_path, True)]
        places += [(mount.local_path, False) for mount in own.data if mount.local_path is not None]
        words: List[str] = []
        taken: List[str] = []
        for path, read_only in places:
            if path in taken or (path != own.directory and path.startswith(own.directory + os.sep)):
                continue
            taken.append(path)
            fields = ["type=bind", "source=" + path, "target=" + path] + (["readonly"] if read_only else [])
            words += ["--mount", _as_csv(fields)]
        return words

    def _said(self, number: int) -> Dict[str, Any]:
        return read_json(self._file(number, "end")) or {}

    def _remove(self, number: int) -> None:
        """Of a container whose end nobody has told, nothing stays behind."""
        how = [] if self._is_docker else ["--ignore", "--time", "0"]
        self._call("rm", "--force", *(how + [self._name(number)]))

    def _name(self, number: int) -> str:
        own = self._assignment
        name = "runyard-{}-{}-{}".format(own.run_id, own.attempt, number)
        return _NOT_OF_A_NAME.sub("-", name)[:200]

    def _file(self, number: int, kind: str) -> str:
        return os.path.join(self._assignment.directory, "rank-{}.{}.json".format(number, kind))

    def _call(self, *words: str, patience_s: Optional[float] = _PATIENCE_S) -> "subprocess.CompletedProcess[bytes]":
        argv = [self._engine] + list(words)
        try:
            return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=patience_s)
        except subprocess.TimeoutExpired as late:
            said = "gave no answer within {:.0f} s".format(late.timeout).encode()
            return subprocess.CompletedProcess(argv, -signal.SIGKILL, b"", said)


def _as_csv(fields: List[str]) -> str:
    """As the engines read ``--mount``: fields with commas or quotes in them are quoted."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(fields)
    return line.getvalue()


def _last(said: bytes) -> str:
    lines = said.decode("utf-8", "replace").strip().splitlines()
    return lines[-1].strip().rstrip(".")[:500] if lines else "it said nothing"
