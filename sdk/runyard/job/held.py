"""A node's task under a process of its engine: started by it, watched by it, and gone with it.

Engines that run Python on their nodes (Ray) start this there. The task stands in a session of its own, so that it can
end the job in order when whoever holds it is killed (``task.py: --held``).
"""

import os
import signal
import subprocess
import sys
from typing import Dict, List

from runyard.home import read_json, write_json
from runyard.job import task
from runyard.job.processes import kill_group, marker_of

# What an engine's own processes know and the script must not: the cluster's token among it.
_ENGINES_OWN = ("RAY_", "PYTHONBREAKPOINT", "PYTHONUNBUFFERED")


def hold(directory: str, sdk_path: str, hosts: List[str], gpus: List[str]) -> int:
    """Runs the task of a node's directory to its end; its exit code, negative for a signal.

    Args:
        hosts: names of the run's nodes, by node.
        gpus: those of this node that the engine has given to the run.
    """
    engine = os.getppid()
    environment = clean(dict(os.environ))
    environment.update({"PYTHONPATH": sdk_path, task.HOSTS: " ".join(hosts), "CUDA_VISIBLE_DEVICES": ",".join(gpus)})
    command = [sys.executable, "-S", "-m", "runyard.job.task", directory, task.HELD]
    held = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment, cwd="/", start_new_session=True)
    code = held.wait()
    if code < 0:
        _bury(directory, held.pid, -code, tells=os.getppid() == engine)
    return code


def clean(environment: Dict[str, str]) -> Dict[str, str]:
    """The variables without those of the engine's own processes."""
    return {name: value for name, value in environment.items() if not name.startswith(_ENGINES_OWN)}


def _bury(directory: str, pid: int, number: int, tells: bool) -> None:
    """A task that was killed itself: its job must not outlive it, and somebody has to say how it ended.

    Args:
        tells: not where what the engine has on this node is gone: that kills all it had started, and the engine tells
            of the node.
    """
    told = read_json(os.path.join(directory, task.TASK_FILE))
    if told is None:
        return
    own = told["assignment"]
    kill_group(marker_of(own["run_id"], own["attempt"], own["node"]), pid)
    path = os.path.join(directory, task.EXIT_FILE)
    if tells and not os.path.exists(path):
        end = {"exit_code": None, "signal": signal.Signals(number).name, "message": "", "salvage": own["salvage"]}
        write_json(path, end)
