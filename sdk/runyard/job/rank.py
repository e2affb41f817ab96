"""One rank under MPI's process manager: starts the script, says how it ended, and dies with it.

Run by the interpreter of the run's environment without its packages, so that it costs little and
nothing of the user's is imported: it imports the standard library alone. Its node's job has put
what it needs into ``RUNYARD_RANK_LAUNCH``, a file.

MPICH's process manager does not end the other ranks when one exits with an error outside of MPI: it
waits for ever. A rank that was killed it notices. So the job is told the script's own exit code, and
then the process that the manager knows kills itself. The script is watched by another one, which
sees its end even where the manager kills all that it knows, as it does after MPI_Abort.
"""

import json
import os
import signal
import subprocess


def main() -> None:
    watcher = os.fork()
    if watcher == 0:
        os.setsid()
        _let_go()
        os._exit(_watch())
    if os.waitpid(watcher, 0)[1]:
        os.kill(os.getpid(), signal.SIGKILL)


def _let_go() -> None:
    """Leaves the manager's pipes: it waits for the end of what they carry."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nothing, stream)


def _watch() -> int:
    """Runs the script; 0 if it ended well."""
    with open(os.environ["RUNYARD_RANK_LAUNCH"]) as file:
        launch = json.load(file)
    environment = dict(os.environ)
    number = environment["PMI_RANK"]
    environment["RUNYARD_RUN_RANK"] = number
    # Open MPI's names, which scripts written for Azure read.
    environment["OMPI_COMM_WORLD_RANK"] = number
    environment["OMPI_COMM_WORLD_SIZE"] = environment["PMI_SIZE"]
    environment["OMPI_COMM_WORLD_LOCAL_RANK"] = environment["MPI_LOCALRANKID"]
    environment["OMPI_COMM_WORLD_LOCAL_SIZE"] = environment["MPI_LOCALNRANKS"]
    for name in ("RUNYARD_RANK_LAUNCH", "RUNYARD_RANK_PYTHON", "RUNYARD_RANK_WRAPPER"):
        environment.pop(name, None)
    with open(launch["output"].format(number), "ab") as output:
        try:
            process = subprocess.Popen(
                launch["command"],
                cwd=launch["code"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                close_fds=False,  # one of them leads to the process manager
            )
        except OSError as fault:
            _tell(launch["pipe"], ["refused", int(number), fault.strerror or str(fault)])
            return 1
    _tell(launch["pipe"], ["started", int(number), process.pid])
    code = process.wait()
    _tell(launch["pipe"], ["ended", int(number), code])
    return 1 if code else 0


def _tell(pipe: str, event: "list[object]") -> None:
    """One line, which is short enough to be written whole beside those of other ranks."""
    with open(pipe, "ab", 0) as file:
        file.write(json.dumps(event).encode("ascii") + b"\n")


if __name__ == "__main__":
    main()
