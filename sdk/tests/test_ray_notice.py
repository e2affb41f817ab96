"""Which node of Ray's a process stands on, and which of them will be taken away."""

import os
import subprocess
import sys
from collections import namedtuple

import pytest

from runyard.job.ray_notice import Notices, own_daemon

Told = namedtuple("Told", "node_manager_address raylet_socket_name")


class Head:
    """Ray's, as far as it is asked."""

    def get_all_node_info(self, timeout):
        return {b"\x01": Told("10.0.0.1", "/r/raylet"), b"\x02": Told("10.0.0.2", "/r/raylet")}

    def get_draining_nodes(self, timeout):
        return {b"\x02": 1000}


def test_a_node_is_known_by_its_address_and_socket_which_is_the_same_on_each_machine():
    notices = Notices(Head())
    assert notices.node_of(["raylet", "--raylet_socket_name=/r/raylet", "--node_ip_address=10.0.0.2"]) == "02"
    assert notices.node_of(["raylet", "--raylet_socket_name=/r/raylet.1", "--node_ip_address=10.0.0.2"]) == ""
    assert notices.node_of([]) == ""
    assert notices.draining() == {"02"}
    assert notices.leaving(["01", "02"]) == "its node 02 is about to be taken away"
    assert notices.leaving(["01", ""]) == ""


def test_the_daemon_is_found_above_a_process_and_none_where_none_is():
    assert own_daemon() == ()
    asks = "from runyard.job.ray_notice import own_daemon; print(*own_daemon()[-2:])"
    above = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]], check=True)"
    words = ["--raylet_socket_name=/r/raylet", "--node_ip_address=10.0.0.1"]
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    told = subprocess.run(
        [sys.executable, "-c", above, asks, *words], env=environment, stdout=subprocess.PIPE, check=True
    )
    assert told.stdout.decode().split() == words


# What of Ray's is asked, of a head that is away at first.
RAYS = """
import os
from collections import namedtuple
Told = namedtuple("Told", "node_manager_address raylet_socket_name")
class GcsClient:
    def __init__(self, address):
        assert address == "head:1"
        self.is_away = True
    def get_all_node_info(self, timeout):
        if self.is_away:
            self.is_away = False
            raise OSError("away")
        return {b"\\x02": Told("10.0.0.2", "/r/raylet")}
    def get_draining_nodes(self, timeout):
        return {b"\\x02": 1000}
"""

# What looks ends by itself: after the notice, or where there can be none.
LOOKS = """
import threading
from runyard.job.ray_notice import OwnNotice
notice = OwnNotice(print, alone_for_s=0.0)
[thread.join() for thread in threading.enumerate() if thread.name == "notice"]
notice.close()
"""


@pytest.mark.parametrize("has_ray, says", [(True, "its node 02 is about to be taken away\n"), (False, "")])
def test_a_process_hears_that_its_own_node_is_taken_away_where_its_python_is_the_clusters(tmp_path, has_ray, says):
    if has_ray:
        (tmp_path / "ray").mkdir()
        (tmp_path / "ray" / "__init__.py").write_text("")
        (tmp_path / "ray" / "_raylet.py").write_text(RAYS)
    above = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]], check=True)"
    words = ["--raylet_socket_name=/r/raylet", "--node_ip_address=10.0.0.2"]
    path = os.pathsep.join([str(tmp_path), *sys.path])
    environment = dict(os.environ, PYTHONPATH=path, RAY_ADDRESS="head:1")
    command = [sys.executable, "-c", above, LOOKS, *words]
    told = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    assert told.stdout.decode() == says
