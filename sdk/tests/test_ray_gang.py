"""What a holder, which Ray's daemon of a node has started, says of how its task ended."""

import os
import subprocess
import sys

import pytest

# Its parent stands for Ray's daemon: it starts this, and is there until it reads the end of its input.
HOLDER = """
import os, sys
from runyard.job.ray_gang import Holder

class Killed(Holder):
    def _hold(self, told, hosts, gpus):
        while os.read(0, 1):  # until this test says so; by then the parent may be gone
            pass
        return -9

holder = Killed()
holder.start([], [], [])
print("started", flush=True)
holder._thread.join()
print("told" if holder._ended.is_set() else "silent", flush=True)
"""


@pytest.mark.parametrize("daemon_goes, says", [(False, "told"), (True, "silent")])
def test_a_task_that_was_killed_with_its_node_is_not_told_of_as_one_that_was_killed_by_itself(daemon_goes, says):
    order, orders = os.pipe()
    alive, life = os.pipe()
    begins = "import os, subprocess, sys; subprocess.Popen([sys.executable, '-c', sys.argv[1]], stdin={});"
    code = begins + " os.close(1); os.read({}, 1)"  # whoever listens hears the end of what it has started
    daemon = subprocess.Popen(
        [sys.executable, "-c", code.format(order, alive), HOLDER],
        stdout=subprocess.PIPE,
        pass_fds=[order, alive],
        env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)),
        universal_newlines=True,
    )
    os.close(order)
    os.close(alive)
    assert daemon.stdout.readline() == "started\n"
    if daemon_goes:
        daemon.kill()
        daemon.wait()
    os.close(orders)
    assert daemon.stdout.readline() == says + "\n"
    os.close(life)
    daemon.wait()
    daemon.stdout.close()
