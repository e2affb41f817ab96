"""One rank under MPI's process manager: starts the script, says how it ended, and dies with it.

Run by the interpreter of the run's environment without its packages, so that nothing of the user's is imported. It
imports what any interpreter has loaded already: all ranks of a node wait for it, and json and subprocess alone take
longer to load than the interpreter itself. Its node's job has put what it needs into ``RUNYARD_RANK_LAUNCH``, a file.

MPICH's process manager does not end the other ranks when one exits with an error outside of MPI: it
waits for ever. A rank that was killed it notices. So the job is told the script's own exit code, and
then the process that the manager knows kills itself. The script is watched by another one, which
sees its end even where the manager kills all that it knows, as it does after MPI_Abort.
"""

import os

# The interpreter's own, of which the module signal is made.
from _signal import SIG_DFL, SIGKILL, SIGPIPE, SIGXFSZ, signal  # type: ignore[import-not-found]


def written(pipe: str, folder: str, output: str, command: "list[str]") -> bytes:
    """What ``RUNYARD_RANK_LAUNCH`` holds.

    Args:
        pipe: where the job hears of the ranks.
        folder: the working directory.
        output: path of a rank's log, with ``{}`` in the place of its number.
    """
    return b"\0".join(os.fsencode(word) for word in [pipe, folder, output, *command])


def main() -> None:
    watcher = os.fork()
    if watcher == 0:
        os.setsid()
        _let_go()
        os._exit(_watch())
    if os.waitpid(watcher, 0)[1]:
        os.kill(os.getpid(), SIGKILL)


def _let_go() -> None:
    """Leaves the manager's pipes: it waits for the end of what they carry."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nothing, stream)


def _watch() -> int:
    """Runs the script; 0 if it ended well."""
    with open(os.environ["RUNYARD_RANK_LAUNCH"], "rb") as file:
        pipe, folder, output, *command = [os.fsdecode(word) for word in file.read().split(b"\0")]
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
    pid, refusal = _started(command, folder, output.format(number), environment)
    if refusal:
        import json  # it is text from outside

        _tell(pipe, '["refused", {}, {}]'.format(int(number), json.dumps(refusal)))
        return 1
    _tell(pipe, '["started", {}, {}]'.format(int(number), pid))
    status = os.waitpid(pid, 0)[1]
    code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    _tell(pipe, '["ended", {}, {}]'.format(int(number), code))
    return 1 if code else 0


def _started(command: "list[str]", folder: str, log: str, environment: "dict[str, str]") -> "tuple[int, str]":
    """The process of the script, or why there is none.

    It leads a session of its own, and keeps all that is open here: one of them leads to the process manager.
    """
    reading, writing = os.pipe()  # closed by the kernel when the script takes over
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.chdir(folder)
            for number in (SIGPIPE, SIGXFSZ):
                signal(number, SIG_DFL)  # this interpreter ignores them
            os.execvpe(command[0], command, environment)
        except BaseException as fault:
            os.write(writing, os.fsencode(getattr(fault, "strerror", None) or repr(fault)))
        os._exit(127)
    os.close(writing)
    with open(reading, "rb") as pipe:
        refusal = os.fsdecode(pipe.read())
    if refusal:
        os.waitpid(pid, 0)
    return pid, refusal


def _tell(pipe: str, event: str) -> None:
    """One line of JSON, which is short enough to be written whole beside those of other ranks."""
    with open(pipe, "ab", 0) as file:
        file.write(event.encode("ascii") + b"\n")


if __name__ == "__main__":
    main()
