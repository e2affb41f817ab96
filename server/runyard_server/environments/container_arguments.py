"""What an environment may add to the engine's ``run``: what bounds or feeds a container, nothing that opens the host."""

from collections.abc import Sequence

from runyard.errors import EnvironmentException

ALLOWED = (
    "--add-host",
    "--cap-drop",
    "--cpus",
    "--cpuset-cpus",
    "--init",
    "--ipc",
    "--memory",
    "--memory-reservation",
    "--memory-swap",
    "--oom-score-adj",
    "--pids-limit",
    "--read-only",
    "--shm-size",
    "--stop-timeout",
    "--tmpfs",
    "--ulimit",
)
_ALONE = ("--init", "--read-only")
_SHORT = {"-m": "--memory"}


def checked(arguments: Sequence[str]) -> list[str]:
    """The arguments, each with its value in one word.

    Raises:
        EnvironmentException: one that is not allowed; says which are.
    """
    found: list[str] = []
    waiting = list(arguments)
    while waiting:
        word = waiting.pop(0)
        name, has_value, value = word.partition("=")
        name = _SHORT.get(name, name)
        if name not in ALLOWED:
            raise EnvironmentException(
                f"{word!r} cannot be among the arguments of a run's container. Allowed: {', '.join(ALLOWED)}. Code, data, "
                "outputs, GPUs, the network and the user are given to every container; nothing runs privileged."
            )
        if name in _ALONE:
            found.append(word)
            continue
        if not has_value:
            if not waiting:
                raise EnvironmentException(f"{word!r}, of the arguments of a run's container, lacks its value.")
            value = waiting.pop(0)
        found.append(f"{name}={value}")
    return found
