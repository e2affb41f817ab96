"""The ranks of an MPI run on this node: started by a proxy of MPICH's process manager, watched by the job.

The first node's job starts ``mpiexec``, which starts nothing itself: it says by which command each
node's proxy is to be started. The line for another node goes by way of the server to the job
there. Each rank stands under ``rank.py``, which tells the job of its beginning and end.
"""

import glob
import json
import os
import queue
import shutil
import subprocess
import threading
from typing import Any, Callable, List, Optional

from runyard.distributed import mpi
from runyard.job import rank as rank_program
from runyard.job.script import Script, bin_folder
from runyard.notebook_parameters import is_notebook
from runyard.protocol.jobs import JobAssignment


class Hydra:
    """Starts a node's share of an MPI run.

    Args:
        events: where ``("started", rank, pid)``, ``("ended", rank, exit code)``, ``("refused", rank, why)``,
            ``("launch", line)`` and, when all parts of the process manager that stand here have ended,
            ``("over", why)`` go.
        tell: on the first node, called with the command lines of all nodes' proxies.
    """

    def __init__(
        self,
        assignment: JobAssignment,
        script: Script,
        events: "queue.SimpleQueue[Any]",
        tell: Callable[[List[str]], None],
    ) -> None:
        self.pids: List[int] = []  # of what this process waits for itself
        self._assignment = assignment
        self._script = script
        self._log = os.path.join(script.logs, "azureml-logs", "55_mpi-{}.txt".format(assignment.node))
        self._events = events
        self._tell = tell
        self._pipe = os.path.join(assignment.directory, "ranks.pipe")
        self._launch = os.path.join(assignment.directory, "rank.launch")

    def start(self) -> None:
        """Makes ready; on the first node it calls for the others.

        Raises:
            OSError: there is no MPICH in the environment, or the disk refuses.
        """
        own = self._assignment
        self._proxy = self._program(mpi.PROXY)
        launch = rank_program.written(self._pipe, self._script.code, self._script.output("{}"), self._command())
        with os.fdopen(os.open(self._launch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(launch)
        if os.path.exists(self._pipe):
            os.unlink(self._pipe)
        os.mkfifo(self._pipe, 0o600)
        # Held open for writing too, so that it does not end between two ranks.
        self._reading = os.fdopen(os.open(self._pipe, os.O_RDWR | os.O_CLOEXEC), "rb", 0)
        threading.Thread(target=self._read_ranks, name="ranks", daemon=True).start()
        if own.node == 0:
            command = mpi.mpiexec_command(self._program("mpiexec"), own)
            with open(self._log, "ab") as log:
                mpiexec = subprocess.Popen(
                    command,
                    cwd=self._script.code,
                    env=self._script.node_environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    start_new_session=True,
                )
            self.pids.append(mpiexec.pid)
            threading.Thread(target=self._read_mpiexec, args=(mpiexec,), name="mpiexec", daemon=True).start()

    def join(self, line: str) -> None:
        """Starts this node's proxy by the line that the first node has for it."""
        command = mpi.proxy_command(self._proxy, line)
        environment = self._script.node_environment()
        environment[mpi.PYTHON] = self._assignment.python
        environment[mpi.WRAPPER] = os.path.abspath(rank_program.__file__)
        environment["RUNYARD_RANK_LAUNCH"] = self._launch
        with open(self._log, "ab") as log:
            proxy = subprocess.Popen(
                command,
                cwd=self._script.code,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.pids.append(proxy.pid)
        threading.Thread(target=self._wait_for_proxy, args=(proxy,), name="proxy", daemon=True).start()

    def _read_ranks(self) -> None:
        parts = 2 if self._assignment.node == 0 else 1  # the proxy, and mpiexec
        with self._reading as pipe:
            while parts:
                kind, number, value = json.loads(pipe.readline())
                if kind == "part":
                    parts -= 1
                else:
                    self._events.put((kind, number, value))
        self._events.put(("over", value))

    def _read_mpiexec(self, mpiexec: "subprocess.Popen[bytes]") -> None:
        lines: Optional[mpi.LaunchLines] = mpi.LaunchLines()
        assert mpiexec.stdout is not None
        with open(self._log, "ab", 0) as log:
            for raw in mpiexec.stdout:
                log.write(raw)
                found = lines.read(raw.decode("utf-8", "replace")) if lines else None
                if found is not None:
                    lines = None
                    if len(found) > 1:
                        self._tell(found)
                    self._events.put(("launch", found[0]))
        self._part_ended("mpiexec", mpiexec.wait())
        if lines is not None:
            self._part_ended("the proxy that it never called for", 0)

    def _wait_for_proxy(self, proxy: "subprocess.Popen[bytes]") -> None:
        self._part_ended(mpi.PROXY, proxy.wait())

    def _part_ended(self, name: str, code: int) -> None:
        """Says so through the ranks' own pipe, so that it comes after all that they said."""
        said = "MPI's process manager ended before the ranks did ({}: {})".format(name, code)
        with open(self._pipe, "ab", 0) as pipe:
            pipe.write(json.dumps(["part", 0, said]).encode("ascii") + b"\n")

    def _command(self) -> List[str]:
        """The script's command; under mpi4py one that ends all ranks where one raises.

        A rank with an exception would else wait in MPI_Finalize for the others, which wait for it:
        https://mpi4py.readthedocs.io/en/stable/mpi4py.run.html
        """
        command = self._script.command()
        own = self._assignment
        packages = os.path.join(os.path.dirname(bin_folder(own)), "lib", "python*", "site-packages", "mpi4py", "run.py")
        is_script = not own.command and not is_notebook(own.script)
        return [command[0], "-m", "mpi4py"] + command[1:] if is_script and glob.glob(packages) else command

    def _program(self, name: str) -> str:
        found = shutil.which(name, path=bin_folder(self._assignment) + os.pathsep + os.environ.get("PATH", os.defpath))
        if found is None:
            raise FileNotFoundError(
                2,
                "no {} in the run's environment. MPI runs need MPICH there: add the pip package 'mpich'".format(name),
                name,
            )
        return found
